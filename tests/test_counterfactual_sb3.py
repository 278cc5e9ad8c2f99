"""A real Stable-Baselines3 model through the document's analysers; skipped where the library is not installed."""

from functools import partial

import gymnasium
import numpy as np
import pytest

from marl_nb.core.seeding import lane_keys
from marl_nb.counterfactual.adapters import GymSimulator
from marl_nb.counterfactual.document import ModelPolicy, SmacCounterfactualAnalyzer
from marl_nb.counterfactual.rollouts import Roller, RolloutConfig, noise_keys
from marl_nb.counterfactual.snapshots import check_restore, record_episodes

sb3 = pytest.importorskip("stable_baselines3", reason="pip install '.[sb3]'")
lake = partial(gymnasium.make, "FrozenLake-v1", is_slippery=True)
won = lambda reward, info: reward > 0


@pytest.fixture(scope="module")
def model():
    env = lake()
    found = sb3.PPO("MlpPolicy", env, n_steps=256, seed=0, device="cpu")
    return found.learn(3_000)


def test_policy(model):
    sim = GymSimulator(lake, 6, won=won, autoreset=False)
    policy, step = ModelPolicy(model), sim.reset(0)
    action = policy.act(step, None, lane_keys(0, 0, 6), greedy=True)
    assert action.probs.shape == (6, 1, 4)
    np.testing.assert_allclose(action.probs.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(action.actions, action.probs.argmax(-1))
    assert policy.value(step).shape == (6,)
    for greedy in (True, False):
        states = record_episodes(policy, sim, seed=1, greedy=greedy)
        assert check_restore(policy, sim, states).kind == "to the bit"


def test_box_observations():
    pole = partial(gymnasium.make, "CartPole-v1")
    model = sb3.PPO("MlpPolicy", pole(), n_steps=64, seed=0, device="cpu").learn(64)
    sim = GymSimulator(pole, 3, autoreset=False)
    policy, step = ModelPolicy(model), sim.reset(0)
    assert policy.obs(step).shape == (3, 4)
    np.testing.assert_array_equal(policy.act(step, None, lane_keys(0, 0, 3), True).actions[:, 0],
                                  model.predict(step.state, deterministic=True)[0])


def test_several_discrete():
    """A `MultiDiscrete` policy has a list of distributions: an agent each."""
    class Pair(gymnasium.Env):
        action_space = gymnasium.spaces.MultiDiscrete([3, 2])
        observation_space = gymnasium.spaces.Box(0, 1, (2,))

        def reset(self, seed=None, options=None):
            super().reset(seed=seed)
            self.t = 0
            return self.np_random.random(2).astype(np.float32), {}

        def step(self, action):
            self.t += 1
            return self.np_random.random(2).astype(np.float32), float(action[0] == action[1]), self.t == 4, False, {}

    model = sb3.PPO("MlpPolicy", Pair(), n_steps=64, seed=0, device="cpu").learn(64)
    sim = GymSimulator(Pair, 2, autoreset=False)
    action = ModelPolicy(model).act(sim.reset(0), None, lane_keys(0, 0, 2))
    assert action.probs.shape == (2, 2, 3) and (action.probs[:, 1, 2] == 0).all()
    assert check_restore(ModelPolicy(model), sim, record_episodes(ModelPolicy(model), sim, greedy=False)).points


def test_analysis(model):
    """The slippery lake: 48 rollouts are not one rollout, and the analyser's numbers are those of the exact table."""
    sim = GymSimulator(lake, 48, won=won, autoreset=False)
    analyzer = SmacCounterfactualAnalyzer(model, sim, n_alternatives=3, horizon=100)
    sim.reset(0)
    chosen = int(model.predict(np.array([0]), deterministic=True)[0][0])
    returns = analyzer.perform_counterfactual_rollouts(analyzer.state_manager.clone_state(sim), chosen)
    assert list(returns)[0] == chosen and len(returns) == 4
    assert all(len(np.unique(r)) > 1 or not r.any() for r in returns.values())
    policy = model.predict(np.arange(16), deterministic=True)[0]
    table = sim.lanes[0].env.unwrapped.P
    V = np.zeros(16)
    q = lambda s, a: sum(p * (r + 0.99 * V[s2] * (not end)) for p, s2, r, end in table[s][a])
    for _ in range(100): V = np.array([q(s, policy[s]) for s in range(16)])
    point = record_episodes(ModelPolicy(model), GymSimulator(lake, 1, won=won, autoreset=False), seed=0)[:1]
    roller = Roller(ModelPolicy(model), sim, point, RolloutConfig(horizon=None))
    found = roller.rollout(0, np.arange(4)[:, None], noise_keys(0, 480)).returns
    for a in range(4):
        assert abs(found[a].mean() - q(0, a)) < 4 * found[a].std() / np.sqrt(480) + 0.01
