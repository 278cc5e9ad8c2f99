"""Levels spread over processes: equal to one process, whatever the parts, and after a worker died."""

import functools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from marl_nb.induction import commands
from marl_nb.induction.cluster import (
    ROBOT_ARRAYS,
    make_run,
    part_of,
    run_tasks,
    shares,
    solve_on_cluster,
)
from marl_nb.induction.game import HumanModel, RobotModel, make_game, world_digest
from marl_nb.induction.multigrid import load, loads
from marl_nb.induction.slices import human_files
from marl_nb.induction.solve import compute_robot_policy, solve_humans
from marl_nb.induction.worlds import random_world

NAMES = ("values", "policies", *ROBOT_ARRAYS)


class Here:
    """In place of a dask client: the same tasks, one after the other in this process."""

    def __init__(self): self.tasks = []

    def submit(self, task, *args, pure):
        self.tasks.append((task.__name__, *args[1:]))
        return task(*args)

    def gather(self, results): return results


def one_after_the_other(run):
    """The tasks of a run in this process."""
    return run_tasks(Here(), run)


def check_equal(solution, model, tolerance=0.0):
    """Equal to the single process, state by state."""
    run = solution.run
    game = make_game(run.game.space.world, run.game.humans, run.game.goals, solution.max_steps,
                     prob_dtype=run.prob_dtype)
    prior = solve_humans(game, model, quiet=True)
    robot = compute_robot_policy(prior, quiet=True)
    np.testing.assert_array_equal(solution.sizes.sum(1), game.space.sizes)
    for t in range(solution.max_steps):
        order = game.space.find(t, solution.level("states", t))
        assert len(set(order.tolist())) == game.space.sizes[t]
        for name in NAMES:
            expected = getattr(robot if name in ROBOT_ARRAYS else prior, name)(t)[order]
            np.testing.assert_allclose(solution.level(name, t), expected, rtol=0, atol=tolerance, err_msg=f"{name} {t}")


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("name, steps", [("asymmetric_freeing", 5), ("three_way", 3), ("button", 40), ("corridor", 4)])
def test_parts_of_the_states_change_no_bit(tmp_path, name, steps, parts):
    model = HumanModel(robot="best" if parts == 2 else "worst")
    solution = one_after_the_other(make_run(load(name), max_steps=steps, human=model, parts=parts, folder=tmp_path))
    check_equal(solution, model)
    for t in range(steps + 1):
        for k in range(parts): assert (part_of(solution.part("states", t, k), parts) == k).all()


@pytest.mark.parametrize("seed", range(12))
def test_random_worlds_and_parts_of_the_columns(tmp_path, seed):
    world = random_world(seed, n_humans=1 + seed % 3, timed=seed % 2 == 1, chance=0.5)
    model = HumanModel(dtype="float64", nu_h=0.2, beta_h=np.linspace(1, 20, len(world.human_agent_indices)))
    goal_parts = 1 + seed % (3 * len(world.human_agent_indices))
    options = dict(parts=1 + seed % 4, goal_parts=goal_parts, prob_dtype=np.float64)
    run = make_run(world, human=model, folder=tmp_path, **options)
    check_equal(one_after_the_other(run), model, 1e-12)


def test_processes_and_a_worker_that_dies(tmp_path):
    world, marker = load("asymmetric_freeing", max_steps=5), str(tmp_path / "died")

    def deadly(step, states, human):
        import os
        import pathlib
        import signal

        if step == 2 and not pathlib.Path(marker).exists():
            pathlib.Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full((1, 1), 10.0)

    folder = tmp_path / "run"
    solution = solve_on_cluster(world, workers=2, human=HumanModel(beta_h=deadly), folder=folder)
    assert Path(marker).exists() and solution.run.parts == 2 and Path(solution.run.folder) == folder
    check_equal(solution, HumanModel())


def test_scheduler_by_address_and_errors_of_workers(tmp_path):
    from dask.distributed import LocalCluster

    options = dict(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0")
    with LocalCluster(**options) as cluster:
        address, world = cluster.scheduler_address, load("three_way", max_steps=3)
        check_equal(solve_on_cluster(world, scheduler=address, goal_parts=2, human=HumanModel(dtype="float64")),
                    HumanModel(dtype="float64"), 1e-12)
        nowhere = [g for g in world.possible_goals if not g.name == world.possible_goals[0].name][:1]
        with pytest.raises(ValueError, match="has no power in some state"):
            solve_on_cluster(world, possible_goals=nowhere, scheduler=address)


def test_a_finished_task_computes_nothing_and_damage_is_named(tmp_path):
    run = make_run(load("three_way"), max_steps=2, folder=tmp_path)
    solution = one_after_the_other(run)
    kept = {f.name: f.stat().st_mtime_ns for f in tmp_path.iterdir()}
    assert (one_after_the_other(run).sizes == solution.sizes).all()
    assert kept == {f.name: f.stat().st_mtime_ns for f in tmp_path.iterdir()}
    path = run.path("values0", 1, 0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="values0-0001-000.npy: not a readable array"): solution.level("values", 1)


def test_bad_arguments(tmp_path):
    world, timed = load("three_way"), random_world(1, timed=True)
    by_function = HumanModel(nu_h=lambda *a: np.zeros((1, 1)))
    for words, match in (
        (dict(max_steps=0), "max_steps: expected 1 or more, got 0"),
        (dict(parts=0), "parts: expected 1 or more, got 0"),
        (dict(goal_parts=0), "goal_parts: expected 1 to"),
        (dict(goal_parts=2, human=by_function), "goal_parts: expected 1 with a function"),
        (dict(human_agent_indices=[9]), "human_agent_indices"),
        (dict(human=HumanModel(beta_h=[1, 2, 3, 4, 5])), "beta_h"),
        (dict(world=timed, max_steps=timed.max_steps + 1), "max_steps: expected at most"),
    ):
        with pytest.raises(ValueError, match=match): make_run(**({"world": world, "folder": tmp_path / "x"} | words))
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "file").touch()
    with pytest.raises(ValueError, match="folder: expected an empty one"): make_run(world, folder=tmp_path / "y")


def test_a_folder_is_kept_for_the_same_run_and_refused_for_another(tmp_path):
    world = load("three_way", max_steps=3)
    make_run(world, folder=tmp_path)
    make_run(load("three_way", max_steps=3), folder=tmp_path)
    opaque = functools.partial(lambda *a: np.zeros((1, 1)))
    for words, name in ((dict(parts=3), "parts"), (dict(max_steps=2), "steps"), (dict(goal_parts=2), "columns"),
                        (dict(human=HumanModel(beta_h=1.0)), "human"), (dict(robot=RobotModel(xi=2.0)), "robot"),
                        (dict(human=HumanModel(nu_h=opaque)), "human"), (dict(rounded=True), "rounded"),
                        (dict(possible_goals=world.possible_goals[1:]), "goals"),
                        (dict(world=load("button")), "world")):
        with pytest.raises(ValueError, match=f"run.json: of another run, its {name} differs"):
            make_run(**{"world": world, "max_steps": 3, "folder": tmp_path} | words)


def test_digest_of_a_world():
    text = load("asymmetric_freeing").source
    digests = [world_digest(loads(text + option)) for option in
               ("", "\nactions: full", "\nactions: [forward, still, left, right]", "\ncan_push_rocks: ey",
                "\norientations: [0, 0, 1]")]
    assert len(set(digests)) == len(digests)
    used = loads(text, "other name", 7)
    used.successors(used.initial())
    assert world_digest(used) == digests[0]
    assert len({world_digest(random_world(s)) for s in range(5)}) == 5


@pytest.mark.parametrize("goal_parts", [1, 2])
def test_rounded_policies_are_those_of_level_files(tmp_path, goal_parts):
    world = load("three_way", max_steps=3)
    run = make_run(world, parts=2, goal_parts=goal_parts, folder=tmp_path / "plan", rounded=True)
    found, game = one_after_the_other(run), make_game(world)
    with human_files(game, HumanModel(), tmp_path) as files:
        robot = compute_robot_policy(solve_humans(game, HumanModel(), files, quiet=True), quiet=True)
        for t in range(3):
            order = np.argsort(game.space.find(t, found.level("states", t)))
            for name in ROBOT_ARRAYS[1:]:
                expected = getattr(robot, name)(t)
                np.testing.assert_allclose(found.rows(name, t, order), expected, rtol=0,
                                           atol=0 if goal_parts == 1 else 1e-6)


KILLED = """
import os, signal, sys
from marl_nb.induction import cluster, commands
from marl_nb.induction.multigrid import load, loads

class Dying:
    def __init__(self, client): self.client, self.all = client, []
    def gather(self, futures): return self.client.gather(futures)
    def submit(self, task, *args, **words):
        if task.__name__ == "solve_human_part" and args[1] == 2:
            self.client.gather(self.all)
            os.kill(os.getpid(), signal.SIGKILL)
        self.all.append(self.client.submit(task, *args, **words))
        return self.all[-1]

if __name__ == "__main__":
    run = cluster.run_tasks
    cluster.run_tasks = lambda client, plan: run(Dying(client), plan)
    commands.solve(load("asymmetric_freeing", 6), sys.argv[1], workers=2, quiet=True)
"""


def test_a_command_that_was_killed_goes_on(tmp_path, monkeypatch):
    folder, script = tmp_path / "two", tmp_path / "killed.py"
    script.write_text(KILLED)
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    times = lambda: {p.name: p.stat().st_mtime_ns for p in (folder / "cluster").glob("*.np?")}
    kept = times()
    assert "value-0003-001.npy" in kept and "value-0002-001.npy" not in kept
    world = load("asymmetric_freeing", 6)
    with pytest.raises(ValueError, match="run.json: of another run, its parts differs"):
        commands.solve(world, folder, workers=1 + 2, quiet=True)
    monkeypatch.setattr(commands, "shutil", SimpleNamespace(rmtree=lambda path, **words: None))
    two = commands.solve(world, folder, workers=2, quiet=True)
    after = times()
    assert {name: after[name] for name in kept} == kept and len(after) > len(kept)
    monkeypatch.undo()
    one = commands.solve(world, tmp_path / "one", quiet=True)
    assert two.store.journal == one.store.journal and two.prior.store.journal == one.prior.store.journal
    again = commands.solve(world, tmp_path / "one", workers=2, quiet=True)
    assert again.store.journal == one.store.journal and not (tmp_path / "one" / "cluster").exists()


def test_a_horizon_beyond_the_closure_searches_and_reads_no_more(tmp_path):
    tasks = []
    for steps in (25, 50):
        here = Here()
        solution = run_tasks(here, make_run(load("button"), max_steps=steps, folder=tmp_path / str(steps)))
        assert solution.run.last == 14 and len(solution.sizes) == steps + 1
        assert (solution.sizes[15:] == solution.sizes[14]).all()
        tasks.append(here.tasks)
    search = [[t for t in some if t[0] in ("find_states", "merge_shares")] for some in tasks]
    assert search[0] == search[1] and len(search[0]) == 2 * 16 + 2
    fronts = list(shares(solution.run, 30, 0))
    assert len(fronts) == 1 and len(fronts[0].states) == solution.sizes[-1, 0]
    for rows in fronts[0].rows: assert len(set(rows.tolist())) == len(rows)


@pytest.mark.soak
def test_t12_with_four_parts(tmp_path):
    model = HumanModel()
    solution = solve_on_cluster(load("asymmetric_freeing"), max_steps=12, workers=2, parts=4, goal_parts=3, human=model)
    check_equal(solution, model, 1e-6)


@pytest.mark.soak
def test_a_task_that_always_kills_its_worker_is_given_up(tmp_path):
    from dask.distributed import KilledWorker

    def deadly(step, states, human):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(KilledWorker):
        solve_on_cluster(load("three_way", max_steps=2), human=HumanModel(beta_h=deadly), folder=tmp_path)
    assert any(tmp_path.glob("found-*"))
