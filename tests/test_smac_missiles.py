"""Missiles in flight belong to a battle: snapshots hold them, damaged ones are refused, sides have their own values."""

import numpy as np
import pytest

from marl_nb.core.protocols import RandomPolicy, Snapshots
from marl_nb.core.seeding import lane_keys
from marl_nb.smac import make, scenarios

MAPS = ("2s3z", "2s_vs_1sc", "MMM2", "6h_vs_8z")  # stalkers, a spine crawler, marauders, hydralisks


def random_step(env, t):
    """One step of random play, the same for the same `t`."""
    return env.step(RandomPolicy().act(env.time_step, None, lane_keys(11, t, env.n_envs)).actions)


def in_flight(name):
    """An environment in which a missile flies, and the time steps played."""
    env = make(name, n_envs=16, seed=2, threads=1)
    for t in range(200):
        random_step(env, t)
        if (env._state.missile_target >= 0).any():
            return env, t + 1
    raise AssertionError(f"no missile in 200 time steps of {name}")


@pytest.mark.parametrize("name", MAPS)
def test_a_snapshot_holds_what_flies(name):
    env, t = in_flight(name)
    saved, flying = env.snapshot(), env._state.missile_target.copy()
    for k in range(20):
        random_step(env, t + k)
    after = env.fingerprint()
    env.restore(saved)
    assert (env._state.missile_target == flying).all()
    for k in range(20):
        random_step(env, t + k)
    assert env.fingerprint() == after


def test_a_lost_missile_changes_the_battle():
    """The test above can fail: without its missiles the same point goes on another way."""
    env, t = in_flight("2s3z")
    saved = env.snapshot()
    for k in range(20):
        random_step(env, t + k)
    after = env.fingerprint()
    env.restore(saved)
    env._state.missile_target[:] = -1
    for k in range(20):
        random_step(env, t + k)
    assert env.fingerprint() != after


def test_an_impossible_missile_is_refused():
    env, _ = in_flight("2s3z")
    saved = env.snapshot()
    unit = np.ascontiguousarray(saved.arrays["unit"]).view(env._state.unit.dtype).copy()
    unit["missile_target"] = 99
    damaged = dict(saved.arrays, unit=unit.view(np.uint8).reshape(saved.arrays["unit"].shape))
    with pytest.raises(ValueError, match="a value that no battle can have"):
        env.restore(Snapshots(damaged, saved.source))


def test_each_side_has_its_own_statistics():
    """The game's own hydralisk has 90 health, that of SMAC's maps 80; its medivac is slower."""
    env = make("zerg_5_vs_5", n_envs=64, seed=0, threads=1)
    kinds = np.array([k.name for k in env.scenario.kinds])
    full = {side: set() for side in ("allies", "enemies")}
    for e in range(64):
        u = env.units(e)
        hydra = kinds[u["kind"].astype(int)] == "hydralisk"
        full["allies"] |= set(u["health_max"][:5][hydra[:5]])
        full["enemies"] |= set(u["health_max"][5:][hydra[5:]])
    assert full == {"allies": {80}, "enemies": {90}}
    medivacs = [k for k in scenarios.get("MMM").kinds if k.name == "medivac"]
    assert [m.speed for m in medivacs] == [2.75, 2.5]
