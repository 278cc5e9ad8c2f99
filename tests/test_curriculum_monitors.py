"""Monitors in battles and arenas, without learning and through the hook of a training."""

import math

import numpy as np
import pytest

from marl_nb import smac
from marl_nb.app.trainers import hearts_arena
from marl_nb.core.protocols import RandomPolicy
from marl_nb.curriculum.monitors import judge, monitors, watch
from marl_nb.curriculum.simulator import ArenaSimulator
from marl_nb.mappo import train
from marl_nb.mappo.training import MEASURED, debug_config

SHAPE = (32, 32)


def cells(env):
    """[E, A, 2] whole coordinates of the allies of a battle."""
    def positions(step):
        units = [env.units(lane) for lane in range(env.n_envs)]
        at = np.array([[u["y"][: env.n_agents], u["x"][: env.n_agents]] for u in units]).transpose(0, 2, 1)
        return at.astype(int).clip(0, SHAPE[0] - 1)

    return positions


def test_a_training_on_3m_gets_the_columns_and_stays_the_same():
    """Columns of entropy, waste and coverage are in every row, and the training is the same to the bit."""
    config = debug_config(seed=3)
    plain = train(config, smac.make("3m", n_envs=8, threads=1), progress=False)
    env = smac.make("3m", n_envs=8, threads=1)
    watched = train(config, env, progress=False, callbacks=monitors(env, cells(env), SHAPE))
    new = {"policy_entropy", "action_entropy", "invalid_action_rate", "coverage"}
    for a, b in zip(plain.progress, watched.progress, strict=True):
        assert b.keys() - a.keys() == new
        assert {k: v for k, v in a.items() if k not in MEASURED} == {k: b[k] for k in a if k not in MEASURED}
        assert b["invalid_action_rate"] == 0 < b["policy_entropy"] <= 1.0 + 1e-6
        assert math.isnan(b["coverage"]) == (b["episodes"] == 0)
    assert any(row["coverage"] > 1 for row in watched.progress if row["episodes"])
    learned = watched.policy.arrays()
    for name, array in plain.policy.arrays().items(): np.testing.assert_array_equal(array, learned[name])


@pytest.mark.parametrize("split", [False, True])
def test_counters_are_per_agent_whether_or_not_agents_are_lanes(split):
    """The same columns for a team and for agents as lanes; a heart needs a battery, a battery needs ore."""
    sim = ArenaSimulator(hearts_arena(max_steps=60), 16, threads=1, split=split)
    row = watch(sim, RandomPolicy(), monitors(sim.arena), 120, seed=1)
    assert 0 < row["ore_red.get.reached"] <= 1 and row["heart.get"] <= row["battery_red.get"] <= row["ore_red.get"]
    assert 0.3 < row["invalid_action_rate"] < 0.9 and 1 <= row["coverage"] <= 6
    assert row["policy_entropy"] == pytest.approx(1) and row["action_entropy"] < 1  # 18 of 54 numbers are legal
    assert judge(row, row) == "exploring"


def test_what_is_counted_is_what_happened():
    """One agent that does nothing: no resources, one cell, no failed action, and it is called stuck beside chance."""
    sim = ArenaSimulator(hearts_arena(max_steps=20), 4, threads=1, split=True)

    class Still:
        def initial_memory(self, n_envs): return None

        def act(self, step, memory, keys, greedy=False):
            action = RandomPolicy().act(step, None, keys)
            return action._replace(actions=np.full_like(action.actions, 27))  # noop

    row = watch(sim, Still(), monitors(sim.arena), 40)
    assert (row["ore_red.get"], row["coverage"], row["invalid_action_rate"], row["action_entropy"]) == (0, 1, 0, 0)
    assert judge(row, {"coverage": 3.0, "heart.get": 0.1}) == "stuck"
