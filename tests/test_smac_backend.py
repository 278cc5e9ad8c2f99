"""The game as a backend: a pool that outlives its games; and, where they are, unmodified smac and smacv2 in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from test_smac_exact import installed

from marl_nb.core.protocols import RandomPolicy
from marl_nb.core.seeding import lane_keys
from marl_nb.counterfactual.snapshots import RestoreError, check_restore, lone_point, restore_lanes
from marl_nb.smac import make
from marl_nb.smac.sc2 import INSTALL
from marl_nb.smac.server import install
from marl_nb.smac.standin import standin

POOL = Path(__file__).with_name("smac_pool.py")
NOTHING = {"processes": 0, "folders": 0, "ports": 0}


def pool(*arguments: str) -> dict:
    """What the program prints."""
    done = subprocess.run([sys.executable, str(POOL), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def check_training(found: dict, killed: int) -> None:
    """A training that went on."""
    assert min(sum(found["killed"].values()), found["restarts"]) >= killed and found["left"] == NOTHING, found
    assert found["env_steps"] and found["lost_episodes"] <= found["restarts"] and found["checkpoint"], found


def check_launches(found: dict) -> None:
    """Nothing is left, except where nobody was left who could have removed a folder."""
    for way in ("quit", "client", "server"): assert found["left"][way] == NOTHING, found
    assert not found["left"]["both"]["processes"] + found["left"]["both"]["ports"] + found["other files"], found


def test_a_training_outlives_its_games():
    check_training(pool("training", "--lanes", "2", "--spares", "1", "--seconds", "14", "--every", "4"), 1)


def test_the_stand_in_leaves_nothing():
    check_launches(pool("launches", "--count", "4"))


@pytest.mark.soak
def test_a_long_training_outlives_its_games():
    check_training(found := pool("training", "--lanes", "8", "--seconds", "120", "--every", "5"), 15)
    assert found["lost_episodes"] and found["episodes"] > found["lost_episodes"], found


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_launches_leave_nothing():
    check_launches(pool("launches", "--count", "200"))


def random_step(env, t: int):
    """One step of random play."""
    return env.step(RandomPolicy().act(env.time_step, None, lane_keys(1, t, env.n_envs)).actions)


@pytest.fixture(params=["exact", "server"])
def door(request, tmp_path, monkeypatch):
    """Either stand-in, for unmodified packages."""
    for package in ("smac", "smacv2"):
        if not installed(package): pytest.skip(f"needs {package}: {INSTALL}")
    if request.param == "exact":
        with standin(): yield request.param
    else:
        monkeypatch.setenv("SC2PATH", str(install(tmp_path / "SC2")))
        yield request.param


def test_battles_are_those_of_the_simulator(door):
    with make("3m", 2, "sc2", seed=3) as env:
        for seed in (None, 9):     # as begun, and begun again in the same processes
            if seed: env.reset(seed)
            games = [psutil.Process(p.process.pid).children() for p in env.processes]
            battles = [make("3m", seed=int(s)) for s in env.seeds]
            for t in range(70):
                actions = RandomPolicy().act(env.time_step, None, lane_keys(0, t, 2)).actions
                ts, others = env.step(actions), [b.step(actions[[e]]) for e, b in enumerate(battles)]
                for name in ("obs", "state", "available_actions", "alive", "reward", "terminated", "truncated"):
                    mine, theirs = getattr(ts, name), np.concatenate([getattr(o, name) for o in others])
                    np.testing.assert_allclose(mine.astype(float), theirs.astype(float), atol=1e-5)
        assert games == [psutil.Process(p.process.pid).children() for p in env.processes]


def test_a_seed_decides_what_smacv2_draws(door):
    with make("zerg_10_vs_11", 1, "sc2", seed=3) as env:
        first = [random_step(env, t).copy() for t in range(20)]
        env.reset()
        assert not np.array_equal(env.time_step.state, first[0].state)
        env.reset(3)
        for t, before in enumerate(first): np.testing.assert_array_equal(random_step(env, t).state, before.state)


def test_bookmarks_pass_the_gate(door):
    with make("3m", 1, "sc2", seed=3, bookmarks=True) as env:
        for t in range(12): random_step(env, t)
        saved, seen, before = env.snapshot(), env.time_step.copy(), env.fingerprint()
        point = lone_point(saved, seen, seen.available_actions.argmax(-1), before[0])
        assert str(check_restore(RandomPolicy(), env, point)).startswith("1 points go on to the bit")
        ends = []
        for _ in range(2):
            env.restore(saved)
            ends.append([random_step(env, t).copy() for t in range(5)])
        for a, b in zip(*ends, strict=True):
            assert all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("obs", "reward", "episode_return"))
        env.snapshot()
        with pytest.raises(ValueError, match="expected the last of each lane"): env.restore(saved)
        with pytest.raises(ValueError, match="cannot be renewed"): env.restore(saved, noise=np.zeros(1, np.uint64))
    with make("3m", 1, "sc2") as env, pytest.raises(RestoreError, match="at most 0"): restore_lanes(env, saved)


def test_a_dead_game_is_a_lost_episode(door, tmp_path):
    if door == "exact": pytest.skip("no process to kill")
    with make("terran_5_vs_5", 2, "sc2", replay_dir=tmp_path) as env:
        random_step(env, 0)
        env.save_replay(1)
        assert [p.suffix for p in tmp_path.glob("*.SC2Replay")] == [".SC2Replay"]
        old = psutil.Process(env.processes[0].process.pid)
        old.children()[0].kill()
        ts = random_step(env, 1)
        assert ts.lost.tolist() == [True, False] and env.restarts.tolist() == [1, 0] and not old.is_running()
        assert random_step(env, 2).episode_length.tolist() == [1, 3]
        processes = [c for p in env.processes for c in psutil.Process(p.process.pid).children(recursive=True)]
        assert len(processes) == 2
    assert not any(p.is_running() for p in processes) and not any(os.path.exists(p.folder) for p in env.processes)
