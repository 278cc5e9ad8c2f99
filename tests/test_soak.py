"""Long runs: `make soak`. Every scenario for many battles, and nothing drifts, leaks or leaves its bounds."""

import numpy as np
import psutil
import pytest

from marl_nb.core.protocols import RandomPolicy
from marl_nb.core.seeding import lane_keys
from marl_nb.smac import make, scenarios

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("name", scenarios.names())
def test_thousands_of_battles(name):
    env, policy, ended = make(name, n_envs=64, seed=0), RandomPolicy(), 0
    step, process, settled = env.time_step, psutil.Process(), 0
    for t in range(4000):
        step = env.step(policy.act(step, None, lane_keys(0, t, 64)).actions)
        assert np.isfinite(step.obs).all() and np.isfinite(step.state).all() and np.isfinite(step.reward).all()
        assert step.available_actions.any(-1).all() and (step.available_actions[..., 0] == ~step.alive).all()
        done = step.done
        assert (step.episode_length[done] <= env.episode_limit).all() and not (step.terminated & step.truncated).any()
        ended += done.sum()
        if t == 1000:
            settled = process.memory_info().rss
    assert ended >= 64 * 4000 // env.episode_limit - 64
    assert process.memory_info().rss - settled < 20e6
