"""Error rates and budgets of counterfactual analysis on battles of trained policies."""

import numpy as np
import pytest

from marl_nb.core.seeding import stream
from marl_nb.core.stats import binomial_interval
from marl_nb.counterfactual.alternatives import alternatives
from marl_nb.counterfactual.budgets import race_points
from marl_nb.counterfactual.effects import return_effects, win_effects
from marl_nb.counterfactual.rollouts import Roller, RolloutConfig, noise_keys
from marl_nb.counterfactual.snapshots import record_episodes
from marl_nb.mappo.zoo import pretrained
from marl_nb.smac import make

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
BATTLES = {"3m-mlp": "3m", "5m_vs_6m": "5m_vs_6m"}


def roller_of(name, episodes, horizon=None):
    """Points of some greedy episodes of a policy of the zoo, ready to be rolled out to the end of the battle."""
    policy, scenario = pretrained(name), BATTLES[name]
    states = record_episodes(policy, make(scenario, n_envs=episodes, seed=5), seed=5)
    return Roller(policy, make(scenario, n_envs=6144), states, RolloutConfig(horizon))


@pytest.mark.parametrize("name", BATTLES)
def test_family_wise_error_on_battles(name):
    """Six times the same action with independent noise: at most 6 % of 10,000 states may show a finding."""
    roller = roller_of(name, 2)
    points = np.linspace(0, len(roller.states) - 1, 10).astype(int)
    joints = [roller.states.actions[p][None] for p in points]
    played = [roller.rollout(p, j, noise_keys(p, 1152)) for p, j in zip(points, joints, strict=True)]
    random, found = stream(0, "battle nulls"), {"holm": 0, "max_t": 0, "wins": 0}
    for rollouts in played:
        draw = random.permuted(np.tile(np.arange(1152), (1000, 1)), axis=1)[:, :288].reshape(1000, 6, 48)
        returns, won = rollouts.returns[0][draw], rollouts.won[0][draw]
        for kind, effect in (("holm", return_effects(returns, flips=999)), ("wins", win_effects(won)),
                             ("max_t", return_effects(returns, flips=999, family="max_t"))):
            found[kind] += int((effect.p_family.min(-1) <= 0.05).sum())
    rare = sum(0 < r.won.mean() < 0.05 or 0.95 < r.won.mean() < 1 for r in played)
    print(f"{name}: {rare} of 10 points have a rare outcome;", {k: f"{v / 10_000:.2%}" for k, v in found.items()})
    for count in found.values(): assert binomial_interval(count, 10_000).high <= 0.06


@pytest.mark.parametrize("name", BATTLES)
def test_races_decide_like_a_reference_of_2048_rollouts(name):
    """At least 99 % of the decisions right, a median of 0.35 of 48 rollouts a row, few undecided far from 2."""
    roller, threshold, rows = roller_of(name, 2, horizon=20), 2.0, []
    s, points, joints = roller.states, [], []
    for p in range(len(s)):
        joint = alternatives(s.step.available_actions[p], s.actions[p], s.probs[p], top=3, random=2, seed=p).joint
        if len(joint) > 1: points, joints = [*points, p], [*joints, joint]
    for p, joint, d in zip(points, joints, race_points(roller, points, joints, threshold), strict=True):
        fresh = roller.rollout(p, joint, noise_keys(10_000 + p, 2048)).returns.astype(float)
        size = np.abs((fresh[1:] - fresh[0]).mean(-1)).max()
        rows.append((-1 if d.above is None else d.above, size, d.rollouts.mean() / 48))
    decided, size, cost = np.array(rows).T
    sure, far = decided >= 0, np.abs(size - threshold) > 0.5
    right = (decided == (size > threshold))[sure].mean()
    print(f"{name}: {len(rows)} states, {sure.mean():.1%} decided, {right:.2%} right, median {np.median(cost):.3f}, "
          f"mean {cost.mean():.2f}, undecided far {np.mean(~sure[far]):.1%}")
    assert right >= 0.99 and np.mean(~sure[far]) <= 0.1 and np.median(cost) <= 0.35
