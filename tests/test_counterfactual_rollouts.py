"""Saved points and rollouts of battles with the policies of the zoo, against one rollout at a time."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from marl_nb import smac
from marl_nb.core.protocols import RandomPolicy
from marl_nb.core.seeding import lane_keys
from marl_nb.counterfactual.adapters import GymSimulator, ParallelSimulator
from marl_nb.counterfactual.alternatives import alternatives, single_deviations
from marl_nb.counterfactual.rollouts import Roller, RolloutConfig, noise_keys, policy_keys
from marl_nb.counterfactual.snapshots import RestoreError, check_restore, record_episodes
from marl_nb.mappo import pretrained

MAPS = ("3m", "3m-mlp", "8m", "2s3z", "5m_vs_6m", "MMM")


def world(name, n_envs, **options):
    return smac.make(name.removesuffix("-mlp"), n_envs, threads=1, autoreset=False, **options)


def one_rollout(policy, env, states, point, actions, key, config):
    """The definition: one lane, no batch, the policy asked at every step, also at the forced one."""
    step = env.restore(states.snapshots[point], [0], np.array([key], np.uint64))
    memory = {k: v[[point]] for k, v in states.memory.items()}
    total, t = 0.0, 0
    while True:
        action = policy.act(step, memory, policy_keys(np.array([key], np.uint64), t), config.greedy)
        played = action.actions if t else np.asarray(actions)[None]
        memory = {**action.memory, "last_actions": played}
        step = env.step(played)
        total += config.gamma**t * float(step.reward[0])
        t += 1
        if step.done[0] or t == config.horizon: return total, bool(step.done[0] and step.won[0]), t


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("greedy", [True, False])
def test_batch_is_the_definition(name, greedy):
    policy, config = pretrained(name), RolloutConfig(horizon=12, greedy=greedy)
    states = record_episodes(policy, world(name, 2), seed=3, greedy=greedy)
    assert check_restore(policy, world(name, 64), states).kind == "to the bit"
    roller, lone, keys = Roller(policy, world(name, 64), states, config), world(name, 1), noise_keys(1, 6)
    for point in (0, len(states) // 3, len(states) - 2):
        available = states.step.available_actions[point]
        found = alternatives(available, states.actions[point], states.probs[point], top=2, random=1)
        result = roller.rollout(point, found.joint, keys)
        for k in range(len(found.joint)):
            expected = [one_rollout(policy, lone, states, point, found.joint[k], key, config) for key in keys]
            returns, won, lengths = (np.array(x) for x in zip(*expected, strict=True))
            np.testing.assert_allclose(result.returns[k], returns, rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(result.won[k], won)
            np.testing.assert_array_equal(result.lengths[k], lengths)


def test_largest_map():
    """27 agents with 36 actions: the top-k of 36**27 joint actions, and rollouts of them."""
    policy = pretrained("27m_vs_30m")
    states = record_episodes(policy, world("27m_vs_30m", 1), seed=1)
    roller, point = Roller(policy, world("27m_vs_30m", 24), states), len(states) // 2
    found = alternatives(states.step.available_actions[point], states.actions[point], states.probs[point])
    result = roller.rollout(point, found.joint, noise_keys(0, 4))
    assert result.returns.shape == (6, 4) and np.isfinite(result.returns).all()
    assert np.all(np.diff(found.log_prob[1:]) <= 0)


def test_dead_agents_do_nothing():
    policy = pretrained("3m")
    states = record_episodes(policy, world("3m", 32), seed=5)
    dead = np.flatnonzero(~states.step.alive.all(1))
    assert len(dead)
    for point in dead[:20]:
        available, gone = states.step.available_actions[point], ~states.step.alive[point]
        found = alternatives(available, states.actions[point], states.probs[point], 5, True, 5)
        assert (found.joint[:, gone] == 0).all()
        varies = (found.joint != found.joint[0]).any(0)
        assert (varies == (available.sum(1) > 1)).all()


def test_memory_matters():
    """A GRU with its memory passes to the bit; without it the gate refuses."""
    policy, env = pretrained("3m"), world("3m", 64)
    states = record_episodes(policy, world("3m", 4), seed=2)
    lost = replace(states, memory=policy.initial_memory(len(states)))
    with pytest.raises(RestoreError, match="acts differently"): Roller(policy, env, lost)
    roller = Roller(policy, env, states)
    blind = Roller(policy, env, lost, gate=roller.gate)
    points = range(0, len(states), 5)
    sets = [states.actions[[i]] for i in points]
    with_memory, without = (r.rollouts(points, sets, noise_keys(0, 8)) for r in (roller, blind))
    assert any((a.returns != b.returns).any() for a, b in zip(with_memory, without, strict=True))


def test_bootstrap_with_a_critic():
    """A value of the whole rest makes the horizon matter less."""
    policy, env = pretrained("3m-mlp"), world("3m", 512)
    states = record_episodes(policy, world("3m", 4), seed=2)
    start = np.flatnonzero(states.time == 2)
    sets = [states.actions[[i]] for i in start]
    mean = lambda **options: np.array([r.returns.mean() for r in Roller(
        policy, env, states, RolloutConfig(**options)).rollouts(start, sets, noise_keys(0, 128))])
    whole, cut, closed = mean(horizon=None), mean(horizon=5), mean(horizon=5, bootstrap=True)
    assert np.abs(closed - whole).mean() < 0.25 * np.abs(cut - whole).mean()


def test_foreign_points():
    policy = pretrained("3m")
    states = record_episodes(policy, world("3m", 2), seed=0)
    with pytest.raises(ValueError, match="expected them from a simulator of equal rules and options"):
        Roller(policy, smac.make("3m", 8, threads=1, autoreset=False, reward_win=100), states)
    with pytest.raises(ValueError, match="step: expected sizes"): Roller(pretrained("8m"), world("3m", 8), states)
    with pytest.raises(RestoreError, match="acts differently"):
        Roller(RandomPolicy(), world("3m", 8), states)
    damaged = {k: v.copy() for k, v in states.snapshots.arrays.items()}
    damaged["health"][0, 0] = np.nan
    with pytest.raises(ValueError, match="a value that no battle can have"):
        world("3m", 1).restore(type(states.snapshots)(damaged, states.snapshots.source)[:1])


def lake(n):
    import gymnasium

    return GymSimulator(partial(gymnasium.make, "FrozenLake-v1"), n, autoreset=False)


@pytest.mark.parametrize("make", [lake, partial(smac.make, "3m", threads=1, autoreset=False)])
def test_processes_are_no_other_world(make):
    """In processes that are started afresh: the same rollouts as in this one, errors come back, and they end."""
    states = record_episodes(RandomPolicy(), make(3), seed=4, greedy=False)
    joint = single_deviations(states.step.available_actions[0], states.actions[0])
    results = []
    with ParallelSimulator(make, 10, workers=2, context="forkserver") as two:
        for simulator in (make(10), two):
            roller = Roller(RandomPolicy(), simulator, states, RolloutConfig(greedy=False))
            results.append(roller.rollout(0, joint, noise_keys(0, 7)))
        with pytest.raises(ValueError): two.step(np.full((10, states.actions.shape[1]), -1))
        processes = two._processes
    for a, b in zip(*results, strict=True): np.testing.assert_array_equal(a, b)
    assert [p.exitcode for p in processes] == [0, 0]


def test_keys_of_the_episode():
    """Chance that is saved goes on; chance that is given depends on the key alone."""
    env = world("3m", 4)
    states = record_episodes(RandomPolicy(), env, seed=1, greedy=False)
    point = states[np.full(4, 3)].snapshots
    env.restore(point, noise=lane_keys(0, 0, 4)[[0, 1, 0, 1]])
    a, b, c, d = env.fingerprint()
    assert a == c and b == d and a != b
