"""What users have run into: folders, horizons, inert maps, killed training, options; the ledger; the structure."""

import ast
import errno
import inspect
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from marl_nb.core.claims import ledger
from marl_nb.core.cli import main
from marl_nb.induction import commands, slices
from marl_nb.induction.commands import solve
from marl_nb.induction.game import HumanModel
from marl_nb.induction.multigrid import load, loads, names
from marl_nb.induction.neural import (
    NeuralConfig,
    load_neural,
    read_weights,
    save_neural,
    solve_neural,
    training_seconds,
)
from marl_nb.induction.slices import open_solution
from marl_nb.induction.solve import act_out, compute_human_policy_prior, compute_robot_policy
from marl_nb.induction.states import search
from marl_nb.induction.worlds import TableWorld

ROOT = Path(__file__).parents[1]
RUN = ["induction", "--world", "three_way", "--steps", "3", "--disk"]


# ---- folders -----------------------------------------------------------------------------------------------------

def test_damaged_states_are_not_gone_on_with(tmp_path, capsys):
    assert main([*RUN, str(tmp_path)]) == 0
    states = tmp_path / "human" / "states.arrow"
    good = states.read_bytes()
    (tmp_path / "robot" / "level_00000.arrow").unlink()  # something is left to do
    for damaged in (good[:-50], good[:-50] + bytes(50), b""):
        states.write_bytes(damaged)
        assert main([*RUN, str(tmp_path)]) == 2
        assert "states.arrow: " in (said := capsys.readouterr().err) and "delete it, and the next run" in said
    states.unlink()  # as the message says
    assert main([*RUN, str(tmp_path)]) == 0
    assert states.read_bytes() == good and open_solution(tmp_path).value(0).shape == (1,)


def test_the_folder_is_checked_before_the_search(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "other" / "human").mkdir(parents=True)
    (tmp_path / "other" / "human" / "thesis.doc").touch()
    assert main([*RUN, str(tmp_path / "run")]) == 0
    capsys.readouterr()

    def searched(*args, **words): raise AssertionError("the search has begun")

    monkeypatch.setattr(commands, "make_game", searched)
    for folder, more, said in (
        ("file", [], "file"), ("file/below", [], "expected a folder for the levels"), ("other", [], "found thesis.doc"),
        ("run", ["--steps", "4"], "belongs to another run: steps is 3 there and 4 here"),
        ("run", ["--beta-h", "3"], "model.beta_h is 10.0 there and 3.0 here"),
        ("run", ["--world", "button"], 'world is "three_way" there and "button" here'),
        ("run", ["--compression"], "compression is false there and true here"),
    ):
        assert main([*RUN, str(tmp_path / folder), *more]) == 2
        assert said in capsys.readouterr().err

    def refuse(dir): raise PermissionError(errno.EACCES, "no", dir)

    monkeypatch.setattr(slices.tempfile, "TemporaryFile", refuse)
    assert main([*RUN, str(tmp_path / "new")]) == 2
    assert "the levels cannot be written" in capsys.readouterr().err
    with pytest.raises(AssertionError, match="the search has begun"): solve(load("three_way"), tmp_path / "run", 3)


def test_the_call_checks_the_folder_before_the_search_too(tmp_path, monkeypatch):
    world = load("three_way", 2)
    options = dict(use_disk_slicing=True, disk_cache_dir=tmp_path)
    compute_human_policy_prior(world, **options)
    monkeypatch.setattr("marl_nb.induction.solve.make_game", lambda *a, **k: pytest.fail("the search has begun"))
    with pytest.raises(ValueError, match="steps is 2 there and 3 here"):
        compute_human_policy_prior(world, max_steps=3, **options)


def refuse(folder): raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(folder / "lock"))


def test_a_finished_result_on_a_disk_for_reading(tmp_path, capsys, monkeypatch):
    assert main([*RUN, str(tmp_path)]) == 0
    first = capsys.readouterr().out.splitlines()
    monkeypatch.setattr(slices, "take_lock", refuse)
    assert main([*RUN, str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "both phases are finished in this folder" in said and all(line in said for line in first[-4:])
    (tmp_path / "human" / "level_00000.arrow").unlink()
    (tmp_path / "robot" / "level_00000.arrow").unlink()
    assert main([*RUN, str(tmp_path)]) == 2  # something is left to do, and nothing can be written
    assert "Read-only file system; steps 1 to 2 are finished" in capsys.readouterr().err
    assert main([*RUN, str(tmp_path / "new")]) == 2
    assert "Read-only file system" in capsys.readouterr().err


def test_a_finished_result_on_a_mount_for_reading(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode: pytest.skip("mounting takes root")
    try:
        assert main([*RUN, str(folder / "run")]) == 0
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        assert main([*RUN, str(folder / "run")]) == 0
        assert main([*RUN, str(folder / "new")]) == 2
    finally: subprocess.run(["umount", "-l", folder], check=True)


# ---- values ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("wrong", [10**21, 3.0, "3", 0, -1, True])
def test_horizons_are_whole_numbers_of_a_sensible_size(wrong, tmp_path):
    with pytest.raises(ValueError, match="max_steps: expected"): search(load("three_way"), wrong)
    with pytest.raises(ValueError, match="max_steps: expected"): load("three_way", wrong)
    with pytest.raises(ValueError, match="max_steps: expected"): solve(load("three_way"), tmp_path, wrong)
    with pytest.raises(ValueError, match="max_steps: expected"): TableWorld([[[0]]], [[[1.0]]], 1, [[0]], wrong)
    with pytest.raises(ValueError, match="max_steps"): loads(f"max_steps: {wrong!r}\nmap: Ay ..")


@pytest.mark.parametrize(("rows", "actions", "said"), [
    ("Ay Ky ..", None, "expected pickup for the key 'Ky'"), ("Ay Ly ..", None, "expected toggle or a button 'Sy'"),
    ("Ay Dg ..", "minimal", "expected toggle or a button 'Sg' for the door of the colour g"),
    ("Ay Og Sr Or", None, "for the door of the colour g"), ("Ay Ky ..", "[still, forward, toggle]", "expected pickup"),
])
def test_a_map_whose_things_nobody_can_use_is_refused(rows, actions, said, tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text(f"max_steps: 2\nmap: {rows}\n" + (f"actions: {actions}\n" if actions else ""))
    with pytest.raises(ValueError, match=rf"w.yaml: line \d, column \d+: actions: .*{said}"): load(file)
    file.write_text(f"max_steps: 2\nmap: {rows}\nactions: full\n")
    assert load(file).n_actions == 8
    for name in names(): load(name)  # all can be used


def test_tables_take_what_exists():
    outcomes, prob = np.array([[[0, 1]], [[1, 1]]]), np.array([[[0.5, 0.5]], [[1.0, 0.0]]])
    TableWorld(outcomes, prob, 1, [[1]], 2)
    for words, said in (
        (dict(prob=prob * np.nan), "prob: expected rows of non-negative numbers"),
        (dict(prob=np.where(prob == 1, 2.0, prob)), "prob: expected rows"),
        (dict(goals=[[1], [2]]), r"goals: expected states 0 to 1, got \[2\]"), (dict(goals=[[-1]]), "goals: expected"),
        (dict(goals=[[0.5]]), "goals: expected states"), (dict(start=[5]), "start: expected states 0 to 1"),
        (dict(outcomes=outcomes + 0.5), "outcomes: expected states"), (dict(start=[]), "start: expected at least one"),
        (dict(humans=[1]), r"humans: expected agents 0 to 0, got \[1\]"), (dict(humans=[-1]), "humans: expected"),
        (dict(humans=[0.0]), "humans: expected"), (dict(idle_action=1), "idle_action: expected actions 0 to 0"),
        (dict(n_agents=0), "n_agents: expected 1 or more, got 0"), (dict(n_agents=1.5), "n_agents: expected 1 or more"),
    ):
        with pytest.raises(ValueError, match=said):
            TableWorld(**{**dict(outcomes=outcomes, prob=prob, n_agents=1, goals=[[1]], max_steps=2), **words})


@pytest.mark.parametrize("step", [3, 99, -1, 1.5, True])
@pytest.mark.parametrize("disk", [False, True])
def test_steps_that_are_not_there_are_named(step, disk, tmp_path):
    options = dict(use_disk_slicing=True, disk_cache_dir=tmp_path) if disk else {}
    prior = compute_human_policy_prior(load("three_way", 3), **options)
    solution = compute_robot_policy(prior)
    asked = [prior.policies, prior.table, solution.policy, solution.power, solution.reward, solution.table]
    asked += [prior.game.space.edges] + ([] if step == 3 else [prior.values, solution.value, solution.human_values])
    for f in asked:
        with pytest.raises(ValueError, match=rf"step: expected 0 to [23], got {step}"): f(step)


@pytest.mark.parametrize("goal", [-1, 99, 0.0, "0", None])
def test_goals_of_a_walk_are_whole_numbers(goal):
    world = load("three_way", 2)
    solution = compute_robot_policy(compute_human_policy_prior(world))
    goals = dict.fromkeys(world.human_agent_indices, 0)
    act_out(solution, goals)
    with pytest.raises(ValueError, match="goals: expected 0 to"): act_out(solution, goals | {min(goals): goal})


@pytest.mark.parametrize("workers", [-1, 0, 1.5, "2", True])
def test_workers_are_a_whole_number(workers, tmp_path):
    with pytest.raises(ValueError, match="workers: expected 1 or more, got"):
        solve(load("three_way", 2), tmp_path, workers=workers, quiet=True)
    assert not any(tmp_path.iterdir())


# ---- the command -------------------------------------------------------------------------------------------------

def test_the_literal_of_the_document(tmp_path, capsys):
    run = ["induction", "--world", "jobst_challenges/asymmetric_freeing", "--steps", "5", "--disk", str(tmp_path)]
    assert main(run) == 0
    assert "asymmetric_freeing: 5 steps, 1,253 states" in capsys.readouterr().out
    assert main(["induction", "--world", "jobst_challenges/nowhere"]) == 2


def test_options_reach_the_solver(tmp_path, monkeypatch):
    options = ["--preset", "empo", "--beta-h", "7", "--gamma-h", "0.9", "--beta-r", "3", "--gamma-r", "0.8",
               "--compression", "--free-memory", "0.02"]
    seen, monitor = [], commands.MemoryMonitor
    monkeypatch.setattr(commands, "MemoryMonitor", lambda fraction: seen.append(fraction) or monitor(fraction))
    assert main([*RUN, str(tmp_path), *options]) == 0
    solution = open_solution(tmp_path)
    model, robot, manifest = solution.prior.model, solution.model, solution.store.manifest
    assert (model.beta_h, model.gamma_h, robot.beta_r, robot.gamma_r) == (7.0, 0.9, 3.0, 0.8) and seen == [0.02]
    assert model.conventions.reward_factor and manifest["compression"] and solution.prior.store.manifest["compression"]


def test_files_are_not_compressed_unless_asked_for(tmp_path):
    for f in (compute_human_policy_prior, slices.human_files, slices.human_manifest, solve):
        assert inspect.signature(f).parameters["use_compression"].default is False
    world = load("three_way", 3)
    plain, packed = (solve(world, tmp_path / str(c), quiet=True, use_compression=c) for c in (False, True))
    size = lambda solution: solution.prior.store.path(2).stat().st_size
    assert size(packed) < 0.7 * size(plain) and not plain.store.manifest["compression"]
    assert (plain.prior.values(0) == packed.prior.values(0)).all()


# ---- networks ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("steps", [1, 3])
def test_the_estimate_of_training_is_of_the_right_size(steps):
    """It was 500 times too large: the cost of a level with one state was taken for that of each state."""
    torch.set_num_threads(1)
    config = NeuralConfig(states=2000, updates=60)
    estimate, begun = training_seconds(load("three_way"), max_steps=steps, config=config), time.perf_counter()
    solve_neural(load("three_way"), max_steps=steps, config=config, quiet=True)
    assert estimate / 30 < time.perf_counter() - begun < 30 * estimate  # a busy machine: either may be slow


KILLED = """
import os, signal, sys
import torch
from marl_nb.induction import neural
from marl_nb.induction.multigrid import load
torch.set_num_threads(1)
left, write = int(sys.argv[2]), neural.write_weights
def killing(*args):
    global left
    left -= 1
    if not left: os.kill(os.getpid(), signal.SIGKILL)
    write(*args)
neural.write_weights = killing
config = neural.NeuralConfig(states=40, updates=3, width=16, rounds=2)
neural.solve_neural(load("three_way", 3), config=config, folder=sys.argv[1], quiet=True)
"""


@pytest.mark.parametrize("last", [2, 5])
def test_killed_training_goes_on(last, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run"), str(last)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run").glob("*.safetensors")}
    assert len(kept) == last - 1
    config = NeuralConfig(states=40, updates=3, width=16, rounds=2)
    whole = solve_neural(load("three_way", 3), config=config, quiet=True)
    resumed = solve_neural(load("three_way", 3), config=config, folder=tmp_path / "run", quiet=True)
    for a, b in zip(whole.networks, resumed.networks, strict=True):
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True): assert torch.equal(x, y)
    assert all((a == b).all() for a, b in zip(whole.met, resumed.met, strict=True))
    assert kept == {name: (tmp_path / "run" / name).stat().st_mtime_ns for name in kept}  # not fitted again
    damaged = tmp_path / "run" / "round-00-level-00002.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="round-00-level-00002.safetensors: "):
        solve_neural(load("three_way", 3), config=config, folder=tmp_path / "run", quiet=True)


def test_a_command_with_networks_leaves_one_file_and_takes_parameters(tmp_path, monkeypatch):
    small = NeuralConfig(states=40, updates=3, width=16)
    monkeypatch.setattr("marl_nb.induction.neural.NeuralConfig", lambda **words: small)
    run = ["induction", "--world", "three_way", "--steps", "2", "--neural", "--disk", str(tmp_path), "--beta-h", "4"]
    assert main(run) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["networks.safetensors"]
    monkeypatch.undo()
    assert load_neural(tmp_path / "networks.safetensors", load("three_way", 2)).human == HumanModel(4.0)
    save_neural(tmp_path / "again.safetensors", load_neural(tmp_path / "networks.safetensors", load("three_way", 2)))
    (a, about), (b, same) = (read_weights(tmp_path / f"{name}.safetensors") for name in ("networks", "again"))
    assert about == same and a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# ---- the ledger --------------------------------------------------------------------------------------------------

def test_rows_of_the_ledger_say_what_their_intervals_are():
    rows = ledger(ROOT / "records" / "claims")
    rows = rows[rows.document == "backward-induction"].set_index("statement")
    for statement, row in rows[rows.interval.notna()].iterrows():
        assert "the ends are the" in row.test, statement
    line = rows[rows.test.str.contains("a line over the states")]
    assert len(line) >= 6 and line.interval.isna().all()
    for statement in ("The number of states is roughly exponential in max_steps.",
                      "The impact of float16 on value iteration is negligible.",
                      "The memory monitor pauses when free memory is low and so prevents kills for lack of memory.",
                      "For large state spaces backward induction is impractical and neural networks are needed."):
        assert rows.verdict[statement] == "refuted", statement
    for words in ("automatically if a level function", "deleted when the run ends", "A slice is a pickle",
                  "attainment cache of phase 1 is reused in phase 2"):
        assert sum(words in s for s in rows.index) == 1, words


# ---- the structure -----------------------------------------------------------------------------------------------

ORDER = ["worlds", "multigrid", "states", "game", "backup", "sweep", "store", "memory", "slices", "solve"]


def imports():
    """module -> names that it takes from other modules of the room, also inside functions."""
    found = {}
    for path in (ROOT / "marl_nb" / "induction").glob("*.py"):
        found[path.stem] = []
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import): assert not any("marl_nb.induction" in a.name for a in node.names)
            if not isinstance(node, ast.ImportFrom): continue
            inside = node.level == 1 or (node.module or "").startswith("marl_nb.induction")
            if inside: found[path.stem].append(((node.module or "").split(".")[-1], [a.name for a in node.names]))
    return found


def test_modules_stand_on_earlier_ones_and_take_no_private_names():
    found = imports()
    for module, taken in found.items():
        for other, what in taken:
            assert other in found and not any(name.startswith("_") for name in what), (module, other, what)
            if module in ORDER: assert ORDER.index(other) < ORDER.index(module), (module, other)
    edges = {m: {o for o, _ in taken} for m, taken in found.items()}
    while leaves := [m for m in edges if not edges[m]]:
        for m in leaves: del edges[m]
        edges = {m: others - set(leaves) for m, others in edges.items()}
    assert not edges, f"circle among {edges}"


def test_one_loop_goes_back_over_the_levels():
    """Of the modules that solve; `dictionaries` is the document's way, `validate_coverage` asks about goals alone."""
    loops = []
    for path in (ROOT / "marl_nb" / "induction").glob("*.py"):
        if path.stem == "dictionaries": continue
        for function in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)):
            for node in ast.walk(function):
                if isinstance(node, ast.For) and getattr(node.target, "id", "") in ("step", "t"):
                    if "reversed" in ast.unparse(node.iter): loops.append((path.stem, function.name))
    assert sorted(loops) == [("game", "validate_coverage"), ("sweep", "sweep")]
