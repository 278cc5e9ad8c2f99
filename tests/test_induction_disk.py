"""Level files: every combination of options, kills, damage, full disks, and two runs at once."""

import errno
import functools
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from marl_nb.induction import slices
from marl_nb.induction.game import HumanModel, make_game
from marl_nb.induction.memory import MemoryMonitor, Plan, limits
from marl_nb.induction.multigrid import load
from marl_nb.induction.slices import LevelFiles, human_files, open_solution
from marl_nb.induction.solve import compute_human_policy_prior, compute_robot_policy
from marl_nb.induction.worlds import random_world

STEPS = 7
HUMAN, ROBOT = ("values", "policies"), ("policy", "value", "human_values", "power", "reward")
WORLDS = {
    "grid": lambda: load("asymmetric_freeing", STEPS),
    "timed": lambda: random_world(3, n_humans=2, timed=True, max_steps=STEPS),
}


def solve(folder=None, world="grid", steps=None, **options):
    """Both phases, on disk if a folder is given."""
    disk = dict(use_disk_slicing=True, disk_cache_dir=folder) if folder is not None else {}
    prior = compute_human_policy_prior(
        WORLDS[world]() if steps is None else load("asymmetric_freeing", steps), **disk, **options
    )
    return compute_robot_policy(prior)


def arrays(solution):
    """Every array of every level."""
    steps = range(solution.prior.max_steps)
    found = {(name, t): getattr(solution.prior, name)(t) for name in HUMAN for t in steps}
    return found | {(name, t): getattr(solution, name)(t) for name in ROBOT for t in steps}


def same(a, b):
    """Bit for bit."""
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and np.array_equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module", params=WORLDS)
def world(request):
    return request.param


@pytest.fixture(scope="module")
def in_memory(world):
    """The same without files; what is stored with 16 bits there are the probabilities of rows of chance."""
    return {float16: arrays(solve(world=world, use_float16=float16)) for float16 in (True, False)}


@pytest.fixture(scope="module")
def in_files(tmp_path_factory):
    """A finished solution of the grid; tests copy it."""
    folder = tmp_path_factory.mktemp("solution")
    solve(folder)
    return folder


@pytest.fixture
def copied(in_files, tmp_path):
    return shutil.copytree(in_files, tmp_path / "run")


@pytest.mark.parametrize("compression, float16, resumed", list(itertools.product([True, False], repeat=3)))
def test_options_give_the_same_result(world, in_memory, compression, float16, resumed, tmp_path):
    options = dict(world=world, use_compression=compression, use_float16=float16)
    solution = solve(tmp_path, **options)
    if resumed:  # as after a kill that left two levels of phase 1 and three of phase 2
        for phase, left in (("human", 2), ("robot", 3)):
            journal = tmp_path / phase / "journal.jsonl"
            journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:left]))
        solution = solve(tmp_path, **options)
    for found in (solution, open_solution(tmp_path, world=None if world == "grid" else WORLDS[world]())):
        there = arrays(found)
        if not float16:
            assert same(there, in_memory[False])
            continue
        for (name, step), expected in in_memory[True].items():
            got = there[name, step]
            assert got.dtype == expected.dtype
            if name == "values": assert np.array_equal(got, expected)  # values of phase 1 never see a stored policy
            elif name == "policies" or name == "policy":
                np.testing.assert_allclose(got, expected, atol=1e-3)
                np.testing.assert_allclose(got.sum(1), 1, atol=1e-6)
            else: np.testing.assert_allclose(got, expected, rtol=5e-3, atol=1e-4)


def test_rows_are_read_lazily(in_files, monkeypatch):
    monkeypatch.setattr("marl_nb.induction.sweep.BLOCK", 64)
    solution = open_solution(in_files)
    whole = solution.prior.store.read("policies", 5)
    for low, high in ((0, 1), (3, 70), (len(whole) - 1, len(whole))):
        assert np.array_equal(solution.prior.store.read("policies", 5, low, high), whole[low:high])
    with pytest.raises(ValueError, match="rows: expected some of the 496 rows of step 5, got 600 to 700"):
        solution.prior.store.read("policies", 5, 600, 700)
    with pytest.raises(ValueError, match="name: expected one of values, policies, got 'power'"):
        solution.prior.store.read("power", 5)
    with pytest.raises(ValueError, match=r"step: expected a finished one of \[0, 1, .*, got 7"):
        solution.prior.store.read("values", 7)
    with pytest.raises(ValueError, match="opened for reading"): solution.store.write(0, 0, {"policy": whole})


def test_many_blocks_in_a_level(tmp_path):
    store = human_files(make_game(load("asymmetric_freeing", 2)), HumanModel(), tmp_path)
    rng, rows = np.random.default_rng(0), [8, 8, 8, 3]
    values, starts = rng.random((sum(rows), 36)).astype(np.float32), np.cumsum([0, *rows])
    with store:
        for low, high in itertools.pairwise(starts): store.write(1, low, {"values": values[low:high]})
        with pytest.raises(ValueError, match="start: expected 27, the next row of step 1, got 40"):
            store.write(1, 40, {"values": values[:2]})
        store.finish(1)
    for low, high in ((0, 27), (7, 9), (16, 24), (25, 27)):
        assert np.array_equal(store.read("values", 1, low, high), values[low:high])
    assert store.finished() == 1


def test_any_arrow_reader_reads_a_level(in_files):
    table = pa.ipc.open_file(in_files / "human" / "level_00003.arrow").read_all()
    assert table.num_rows == 224 and table.column_names == ["values", "policies"]
    assert str(table.schema.field("policies").type).startswith(
        "extension<arrow.fixed_shape_tensor[value_type=halffloat, shape=[4,36]"
    )


# ---- kills -------------------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys
from marl_nb.induction import slices
folder, steps, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
left = last
def counted(f):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0: os.kill(os.getpid(), signal.SIGKILL)
        return f(*args, **kwargs)
    return call
os.fsync, os.replace, os.open, slices.Sink.write = map(counted, (os.fsync, os.replace, os.open, slices.Sink.write))
from marl_nb.induction.multigrid import load
from marl_nb.induction.solve import compute_human_policy_prior, compute_robot_policy
prior = compute_human_policy_prior(load("asymmetric_freeing", steps), use_disk_slicing=True, disk_cache_dir=folder)
compute_robot_policy(prior)
print(last - left)
"""


def child(folder, steps, last):
    """Both phases in a process of its own that kills itself at a certain operation on files; 0: never."""
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), str(steps), str(last)], capture_output=True, text=True
    )


def kill_and_resume(folder, steps, points, expected):
    for n, last in enumerate(points):
        where = folder / str(n)
        done = child(where, steps, last)
        assert done.returncode == -signal.SIGKILL, done.stderr
        kept = {p: p.stat().st_ino for p in where.rglob("level_*.arrow")}
        journalled = sum(
            1
            for p in where.rglob("journal.jsonl")
            for line in p.read_text().splitlines(keepends=True)
            if line[-1] == "\n"
        )
        assert same(arrays(solve(where, steps=steps)), expected), last
        assert sum(p.stat().st_ino == i for p, i in kept.items()) >= journalled  # nothing finished was computed again
        assert not list(where.rglob("*.tmp"))
        for phase in ("human", "robot"): assert LevelFiles(where / phase).verify() == list(range(steps))


def operations(folder, steps):
    """How many operations there are to be killed at, and the result without a kill."""
    done = child(folder, steps, 0)
    assert done.returncode == 0, done.stderr
    return int(done.stdout), arrays(open_solution(folder))


def test_kill_and_resume(tmp_path):
    total, expected = operations(tmp_path / "whole", STEPS)
    assert total > 100
    kill_and_resume(tmp_path, STEPS, (total // 10, total // 2, total - 3), expected)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_kill_at_twenty_points_and_resume(tmp_path):
    total, expected = operations(tmp_path / "whole", 12)
    kill_and_resume(tmp_path, 12, sorted(random.Random(0).sample(range(1, total), 20)), expected)


def test_an_unfinished_line_of_the_journal_is_forgotten(copied):
    journal = copied / "robot" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    before = arrays(solve(steps=STEPS))
    assert LevelFiles(copied / "robot").finished() == 1
    there = arrays(solve(copied))
    assert all(np.allclose(there[k], before[k], atol=5e-3, rtol=5e-3) for k in before)
    assert LevelFiles(copied / "robot").finished() == 0


# ---- damage ------------------------------------------------------------------------------------------------------

def test_damaged_files_are_named(copied):
    path, again = copied / "human" / "level_00004.arrow", "delete it, and the next run computes it anew"
    whole = path.read_bytes()
    for damage, message in [
        (whole[:-7], f"expected {len(whole)} bytes, got {len(whole) - 7}; {again}"),
        (b"", f"expected {len(whole)} bytes, got 0; {again}"),
        (
            whole[:999] + bytes([whole[999] ^ 4]) + whole[1000:],
            f"damaged, its checksum is not the one in the journal; {again}",
        ),
        (bytes(len(whole)), f"damaged, its checksum is not the one in the journal; {again}"),
        ((copied / "human" / "level_00003.arrow").read_bytes(), f"belongs to another run or step; {again}"),
    ]:
        path.write_bytes(damage)
        with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")): open_solution(copied).prior.values(4)
        with pytest.raises(ValueError, match=re.escape(str(path))): LevelFiles(copied / "human").verify()
        assert len(open_solution(copied).prior.values(5))  # the others are as good as before
    path.unlink()
    with pytest.raises(ValueError, match=f"{path}: missing; the next run computes it anew"):
        open_solution(copied).prior.values(4)
    compute_human_policy_prior(load("asymmetric_freeing", STEPS), use_disk_slicing=True, disk_cache_dir=copied)
    assert path.read_bytes() == whole


def test_foreign_levels_are_named(copied, tmp_path):
    other = tmp_path / "other"
    compute_human_policy_prior(
        load("asymmetric_freeing", STEPS), beta_h=3.0, use_disk_slicing=True, disk_cache_dir=other
    )
    path = copied / "human" / "level_00006.arrow"
    shutil.copy(other / "human" / path.name, path)
    with pytest.raises(ValueError, match=f"{path}: belongs to another run"): open_solution(copied).prior.values(6)


def test_damaged_descriptions_are_named(copied):
    manifest, journal, states = (copied / "human" / name for name in ("manifest.json", "journal.jsonl", "states.arrow"))
    for path, text, message in [(manifest, "{", "not a readable JSON file"), (journal, "nonsense\n", "line 1: damaged"),
                                (states, "", "not a readable file of states")]:
        whole = path.read_bytes()
        path.write_text(text)
        with pytest.raises(ValueError, match=f"{path}.*{message}"): open_solution(copied)
        path.write_bytes(whole)
    states.write_bytes((copied / "human" / "level_00003.arrow").read_bytes())
    with pytest.raises(ValueError, match=f"{states}: "): open_solution(copied)
    with pytest.raises(ValueError, match="nowhere: expected a folder of levels"): open_solution(copied / "nowhere")


def test_a_folder_of_another_run_is_refused(copied):
    grid, path = load("asymmetric_freeing", STEPS), re.escape(str(copied / "human" / "manifest.json"))
    for options, message in [
        (dict(beta_h=3.0), "model.beta_h is 10.0 there and 3.0 here"),
        (dict(use_float16=False), "float16 is true there"),
        (dict(possible_goals=grid.possible_goals[:5]), "digest.goals is"),
        (dict(max_steps=5), "steps is 7 there and 5 here"),
    ]:
        with pytest.raises(ValueError, match=f"{path}: belongs to another run: {message}"):
            compute_human_policy_prior(grid, use_disk_slicing=True, disk_cache_dir=copied, **options)
    with pytest.raises(
        ValueError,
        match=f"{copied / 'robot' / 'manifest.json'}: belongs to another run: model.beta_r is 5.0 there and 6.0 here",
    ):
        compute_robot_policy(open_solution(copied).prior, beta_r=6.0)
    with pytest.raises(ValueError, match="world: corridor is not the world of"):
        open_solution(copied, world=load("corridor", STEPS))


def test_the_code_belongs_to_a_run(copied, monkeypatch):
    monkeypatch.setattr(slices, "code_digest", lambda: "another version")
    with pytest.raises(ValueError, match="belongs to another run: code is"): solve(copied)
    assert len(open_solution(copied).value(0)) == 1  # reading does not depend on it


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "human").mkdir()
    (tmp_path / "human" / "thesis.doc").write_text("important")
    with pytest.raises(ValueError, match="expected an empty folder or one with a manifest, found thesis.doc"):
        solve(tmp_path)
    assert (tmp_path / "human" / "thesis.doc").read_text() == "important"


RATE = 1.0


def helper(n, depth=0): return RATE * n if depth else helper(n, 1)


@functools.lru_cache
def kept(n): return helper(n)


def by_helper(step, states, human, *, floor=0.0): return max([floor, *(kept(n) for n in {1, 2})])


def by_lambda(step, states, human): return (lambda: RATE)() + len(np.unique(states)) * isinstance(step, int)


def by_unknown(step, states, human): return RANDOM.random()


RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("f", [by_helper, by_lambda])
def test_globals_belong_to_a_run(f, tmp_path, monkeypatch):
    """Levels of two functions that differ only in a global name are not mixed."""
    game = make_game(load("asymmetric_freeing", 3))
    told = lambda: slices.parameters(HumanModel(beta_h=f))["beta_h"]
    first = told()
    human_files(game, HumanModel(beta_h=f), tmp_path).close()
    assert told() == first
    monkeypatch.setitem(globals(), "RATE", 30.0)
    assert told() != first
    with pytest.raises(ValueError, match="belongs to another run: model.beta_h is"):
        human_files(game, HumanModel(beta_h=f), tmp_path)
    monkeypatch.setitem(globals(), "RATE", 1.0)
    human_files(game, HumanModel(beta_h=f), tmp_path).close()
    monkeypatch.setitem(globals(), "RATE", RANDOM)
    with pytest.raises(ValueError, match="beta_h: expected numbers, .*, got Generator.* in (helper|by_lambda)"): told()


def test_what_a_function_reads_is_told():
    told = lambda f: slices.parameters(HumanModel(beta_h=f))["beta_h"]
    first = told(by_helper)
    by_helper.__kwdefaults__["floor"] = 3.0
    assert told(by_helper) != first
    by_helper.__kwdefaults__["floor"] = 0.0
    assert told(by_helper) == first
    with pytest.raises(ValueError, match="beta_h: .* got Generator.* in by_unknown"): told(by_unknown)
    for harmless in (np.mean, compute_robot_policy, Plan, len, np.maximum, slices, {1: b"x"}, frozenset({2}), ...):
        given = [harmless]
        assert told(lambda *_, given=given: given)["holds"] == told(lambda *_, given=list(given): given)["holds"]
    ones, twos = (told(lambda *_, n=n: n) for n in (1, 2))
    assert ones["code"] == twos["code"] and ones != twos


def test_columns_are_read_without_pandas(in_files):
    code = f"""if True:
        import sys
        from marl_nb.induction.slices import open_solution
        solution = open_solution({str(in_files)!r})
        assert solution.value(3).shape == (224,) and solution.reward(3)[7:9].sum() < 0
        print("pandas" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
    for dtype in ("float16", "float32", "int64"):
        for shape in ((9,), (0,), (9, 2), (0, 2)):
            array = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
            column = slices.column_of(array)
            assert np.array_equal(slices.rows_of(column), array) and slices.rows_of(column).dtype == dtype
            assert np.array_equal(slices.rows_of(column.slice(3, 4)), array[3:7])


# ---- disks -------------------------------------------------------------------------------------------------------

def test_full_disk_keeps_what_is_finished(tmp_path, monkeypatch):
    expected, write, room = arrays(solve(tmp_path / "whole")), slices.Sink.write, [0]
    room[0] = sum(p.stat().st_size for p in (tmp_path / "whole" / "human").glob("*.arrow")) * 2 // 3

    def limited(self, data):
        room[0] -= memoryview(data).nbytes
        if room[0] < 0: raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, data)

    monkeypatch.setattr(slices.Sink, "write", limited)
    with pytest.raises(
        OSError, match="No space left on device; steps . to 6 are finished and stay usable; run it again"
    ) as full:
        solve(tmp_path / "small")
    assert full.value.errno == errno.ENOSPC and str(tmp_path / "small" / "human") in str(full.value)
    assert not list((tmp_path / "small").rglob("*.tmp"))
    prior = open_solution(tmp_path / "small")
    assert np.array_equal(prior.values(6), expected["values", 6])
    room[0] = 10**9
    assert same(arrays(solve(tmp_path / "small")), expected)


def test_full_disk_at_the_journal(tmp_path, monkeypatch):
    expected, append, calls = arrays(solve(tmp_path / "whole")), os.fsync, [0]

    def limited(handle):
        calls[0] += 1
        if calls[0] in (9, 10, 11): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return append(handle)

    monkeypatch.setattr(os, "fsync", limited)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"): solve(tmp_path / "small")
    assert same(arrays(solve(tmp_path / "small")), expected)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte; skipped where nothing can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode
    ):
        pytest.skip("mounting a small disk takes root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_is_really_full(small_disk, tmp_path):
    with pytest.raises(OSError, match="[0-9,]+ bytes are needed and [0-9,]+ are free; use_compression=True needs less"):
        solve(small_disk / "plain", steps=10, use_compression=False)
    (small_disk / "ballast").write_bytes(bytes(850_000))
    with pytest.raises(OSError, match="No space left on device; (steps|no step)") as full:
        solve(small_disk / "run", steps=12, use_compression=True)
    assert full.value.errno == errno.ENOSPC
    (small_disk / "ballast").unlink()
    places = (small_disk / "run", tmp_path / "whole")
    found, expected = (solve(where, steps=12, use_compression=True) for where in places)
    assert same(arrays(found), arrays(expected))


def test_a_folder_that_cannot_be_written(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OSError, match=re.escape(str(small_disk))) as refused: solve(small_disk / "run")
    assert refused.value.errno == errno.EROFS


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"): solve(tmp_path / "file")


# ---- two at once -------------------------------------------------------------------------------------------------

def test_two_runs_at_once_are_refused(tmp_path):
    game, model = make_game(load("asymmetric_freeing", STEPS)), HumanModel()
    with human_files(game, model, tmp_path):
        with pytest.raises(
            ValueError, match=f"in use by process {os.getpid()} on .*; wait for it or choose another folder"
        ):
            solve(tmp_path)
        done = child(tmp_path, STEPS, 0)
        assert done.returncode == 1 and f"in use by process {os.getpid()}" in done.stderr
    assert child(tmp_path, STEPS, 0).returncode == 0  # and now it is free


def test_reading_needs_no_lock(in_files):
    game, model = make_game(load("asymmetric_freeing", STEPS)), HumanModel()
    with human_files(game, model, in_files): assert len(open_solution(in_files).prior.values(0)) == 1


# ---- memory and the command --------------------------------------------------------------------------------------

def test_too_little_memory_is_told_before_the_start():
    code = """if True:
        import psutil, resource
        from marl_nb.induction import memory
        from marl_nb.induction.multigrid import load
        from marl_nb.induction.solve import compute_human_policy_prior
        limit = psutil.Process().memory_info().vms + 70 * 10**6
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        compute_human_policy_prior(load("asymmetric_freeing", 18), min_free_memory_fraction=0)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"MemoryError: 126,514 states with 36 columns need 1\d\d MB, \d+ MB are allowed; ", done.stderr), (
        done.stderr
    )


def test_a_limit_of_this_process_alone_is_not_waited_for():
    """A real limit is reached in the middle of a run: it ends at once, and not after the pause."""
    code = """if True:
        import psutil, resource, time
        from marl_nb.induction import memory
        from marl_nb.induction.game import HumanModel, make_game
        from marl_nb.induction.multigrid import load
        from marl_nb.induction.solve import solve_humans
        game = make_game(load("asymmetric_freeing", 15))
        limit = psutil.Process().memory_info().vms + 60 * 10**6
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        def sleep(seconds): raise SystemExit("it waits")
        monitor = memory.MemoryMonitor(30 * 10**6 / limit, 60, sleep=sleep)
        monitor.check()
        solve_humans(game, HumanModel(), quiet=True, check=monitor.check)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"MemoryError: \d+ of [0-9,]+ MB \(RLIMIT_AS\) are free, less than min_free_memory_fraction=.*; "
                     r"this process itself holds [0-9,]+ MB, so waiting cannot help", done.stderr), done.stderr


def test_the_search_keeps_to_a_real_limit():
    code = """if True:
        import psutil, resource
        from marl_nb.induction.multigrid import load
        from marl_nb.induction.solve import compute_human_policy_prior
        limit = psutil.Process().memory_info().vms + 40 * 10**6
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        compute_human_policy_prior(load("asymmetric_freeing", 30), min_free_memory_fraction=0)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"MemoryError: level \d\d has [0-9,]+ states, .* needs about \d+ MB, \d+ MB are allowed; fewer st",
                     done.stderr), done.stderr


def test_the_plan_bounds_what_is_written(in_files):
    sizes = tuple(LevelFiles(in_files / "human").manifest["sizes"])
    plan = Plan(sizes, n_actions=4, n_humans=2, n_robots=1, n_columns=36, on_disk=True)
    written = sum(p.stat().st_size for p in in_files.rglob("level_*.arrow"))
    assert 0 < written < plan.disk and MemoryMonitor(0.0).budget() == min(x.free for x in limits())


def test_command(tmp_path):
    marl_nb = Path(sys.executable).with_name("marl-nb")

    def run(*args): return subprocess.run([marl_nb, "induction", *args], capture_output=True, text=True, cwd=tmp_path)

    done = run("--world", "asymmetric_freeing", "--steps", "5", "--disk", "there")
    assert done.returncode == 0, done.stderr
    assert "1,253 states" in done.stdout and "estimate: " in done.stdout and 'open_solution("there")' in done.stdout
    assert open_solution(tmp_path / "there").prior.max_steps == 5
    assert run("--world", "asymmetric_freeing", "--steps", "5").returncode == 0
    assert (tmp_path / "runs" / "induction" / "asymmetric_freeing-5" / "robot" / "manifest.json").exists()
    again = run("--world", "asymmetric_freeing", "--steps", "6", "--disk", "there")
    assert again.returncode == 2 and again.stderr.startswith(
        "marl-nb: error: there/human/manifest.json: belongs to another run"
    )
    assert json.loads((tmp_path / "there" / "human" / "manifest.json").read_text())["sizes"][-1] == 496
