"""One-line faults that once went unnoticed, each with the test that sees it."""

import numpy as np
import pytest
import torch
from test_mappo_definition import CHUNK, T, make_policy, make_rollout, played, reading

from marl_nb.core.protocols import RandomPolicy
from marl_nb.core.seeding import child_seed, lane_keys
from marl_nb.mappo import Learner, MAPPOConfig, MAPPOPolicy, evaluate
from marl_nb.mappo.learner import Batches, rollout_values
from marl_nb.mappo.probes import FollowCue


def test_minibatches_are_dealt_anew_in_every_epoch(monkeypatch):
    """Every epoch takes every time step once, in other company than the epoch before."""
    taken = []
    take = Batches.take
    monkeypatch.setattr(Batches, "take", lambda self, which: taken.append(sorted(which.tolist())) or take(self, which))
    policy = make_policy(minibatches=3, epochs=4)
    Learner(policy).update(make_rollout(policy))
    epochs = [taken[i:i + 3] for i in range(0, 12, 3)]
    assert len(taken) == 12 and all(sorted(sum(epoch, [])) == sorted(sum(epochs[0], [])) for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) == 4


def test_diagnostics_are_those_of_their_definitions():
    """KL by Schulman's estimator, the share of clipped ratios, the share of explained variance, in one step."""
    policy = make_policy(epochs=1)
    rollout = make_rollout(policy)  # its log-probabilities are an older policy's
    batch = Batches(policy, rollout).whole
    log_probs = torch.log_softmax(policy.actor(batch.actor_input)[0].masked_fill(~batch.available, -1e10), -1)
    new = log_probs.gather(-1, batch.actions[..., None])[..., 0].detach().numpy()
    change, alive = new - batch.old_log_prob.numpy(), batch.alive.numpy() > 0
    value, returns, *_ = reading(policy).prepare(played(rollout))
    mean, std = policy.value_norm.mean, policy.value_norm.std
    losses = Learner(policy).update(rollout)
    kl, clipped = np.exp(change) - 1 - change, abs(np.exp(change) - 1) > policy.config.clip
    assert losses["approx_kl"] == pytest.approx(kl[alive].mean(), rel=1e-5) and losses["approx_kl"] > 0.01
    assert losses["clip_fraction"] == pytest.approx(clipped[alive].mean(), abs=1e-6)
    assert 0.1 < losses["clip_fraction"] < 0.9
    error = returns - (value[:T] * std + mean)
    assert losses["explained_variance"] == pytest.approx(1 - error.var() / returns.var(), rel=1e-6)


@pytest.mark.parametrize(("schedule", "share"), [("linear", 0.25), ("constant", 1.0)])
def test_each_rate_decays_from_its_own(schedule, share):
    learner = Learner(make_policy(lr_schedule=schedule, actor_lr=0.04, critic_lr=0.08))
    learner.set_lr(0.75)
    rates = [o.param_groups[0]["lr"] for o in (learner.actor_optimiser, learner.critic_optimiser)]
    assert rates == pytest.approx([share * 0.04, share * 0.08])


def test_networks_depend_on_the_seed():
    """The same seed, the same networks; another seed, another of every matrix."""
    one, same, other = (MAPPOPolicy(MAPPOConfig(seed=s, recurrent=True), 2, 4, 6, 3).arrays() for s in (5, 5, 6))
    matrices = [k for k, v in one.items() if v.ndim == 2]
    assert {k.split(".")[0] for k in matrices} == {"actor", "critic"}
    for k in one:
        np.testing.assert_array_equal(one[k], same[k])
        assert k not in matrices or not np.isclose(one[k], other[k]).all(), k


def test_evaluation_draws_with_new_keys_in_every_step():
    """Keys go on with the steps, and depend on the seed."""
    class Watching(RandomPolicy):
        def act(self, step, memory, keys, greedy=False):
            seen.append(keys.copy())
            return super().act(step, memory, keys, greedy)

    seen: list[np.ndarray] = []
    evaluate(Watching(), FollowCue(3), episodes_per_lane=5, seed=9, greedy=False)
    assert len(seen) == 5 and len(np.unique(seen)) == 15
    for t, keys in enumerate(seen):
        np.testing.assert_array_equal(keys, lane_keys(child_seed(9, "policy"), t, 3))


@pytest.mark.parametrize("per_agent", [False, True])
def test_the_critics_stored_hidden_state_is_empty_where_an_episode_begins(per_agent):
    """Of two lanes one begins an episode at a chunk, in the middle of the rollout and at its end."""
    policy = make_policy(recurrent=True, critic_per_agent=per_agent)
    rollout = make_rollout(policy)
    rollout.first[CHUNK] = rollout.first[T] = torch.tensor([True, False])
    rollout_values(policy, rollout)
    hidden = rollout.get_critic_rnn()
    assert hidden.shape[:2] == (3, 2) and (hidden[1:, 0] == 0).all() and (hidden[1:, 1] != 0).all()
