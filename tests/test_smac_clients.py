"""Clients written for SMAC and SMACv2, unmodified, through the fast door."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from marl_nb.core.peers import Peer, peer_python
from marl_nb.smac.standin import command, standin

ROOT = Path(__file__).resolve().parent.parent
BENCHMARL = ("benchmarl==1.5.1", "torchrl==0.10.1", "tensordict==0.10.0", "torch==2.13.0", "numpy==2.4.6",
             "numba==0.68.1", "gymnasium==1.4.0", "pettingzoo==1.27.0")
TRAIN = f"""
import os, sys, tempfile
sys.path.insert(0, {str(ROOT)!r})
from benchmarl.algorithms import MappoConfig
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig
from marl_nb.smac.torchrl import benchmarl_task

def measure(rounds):
    os.chdir(tempfile.mkdtemp())
    config, network = ExperimentConfig.get_from_yaml(), MlpConfig.get_from_yaml()
    config.loggers, config.create_json, config.render = [], False, False
    config.max_n_iters, config.max_n_frames = rounds, None
    config.on_policy_n_envs_per_worker, config.on_policy_collected_frames_per_batch = 64, 6_400
    config.on_policy_minibatch_size, config.on_policy_n_minibatch_iters = 1_600, 10
    config.evaluation_interval, config.evaluation_episodes = 6_400, 64
    experiment = Experiment(task=benchmarl_task("3m"), algorithm_config=MappoConfig.get_from_yaml(), seed=0,
                            model_config=network, critic_model_config=network, config=config)
    experiment.run()
    return experiment.total_frames, float(experiment.mean_return)
"""
RLLIB = ("ray[rllib]==2.60.0", "torch==2.13.0", "numpy==2.4.6", "numba==0.68.1", "pettingzoo==1.27.0")
PPO = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module import MultiRLModuleSpec, RLModuleSpec
from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule
from ray.tune import register_env
from marl_nb.smac.rllib import rllib_env

def measure(rounds):
    register_env("battle", rllib_env)
    team = MultiRLModuleSpec(rl_module_specs={{"team": RLModuleSpec(module_class=ActionMaskingTorchRLModule)}})
    config = (PPOConfig().environment("battle", env_config={{"scenario": "3m", "seed": 0}}).debugging(seed=0)
              .multi_agent(policies={{"team"}}, policy_mapping_fn=lambda *agent, **rest: "team")
              .rl_module(rl_module_spec=team).env_runners(num_env_runners=0)
              .training(train_batch_size=2_000, minibatch_size=500, num_epochs=10))
    algorithm = config.build_algo()
    return [algorithm.train()["env_runners"]["episode_return_mean"] for _ in range(rounds)]
"""


def test_torchrl_wrapper():
    """TorchRL's wrapper of SMACv2 asks for unit types by number, renders through `.env`, and catches AssertionError."""
    code = """
from marl_nb.smac.standin import standin
with standin(fast=True):
    from torchrl.envs.libs.smacv2 import SMACv2Env
    from torchrl.envs.utils import check_env_specs
    env = SMACv2Env(map_name="MMM2", seed=0, categorical_actions=True)
    check_env_specs(env)
    env.reset()
    print([env.get_agent_type(a) for a in range(10)], env.rollout(5).shape, env.render("rgb_array").shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "'marauder', 'marauder', 'marine'" in done.stdout and "'medivac'] torch.Size([5])" in done.stdout


def test_on_policy_style():
    """`.env.env`, `seed(seed)`, columns of actions, positional arguments: what on-policy and HARL do."""
    with standin(fast=True):
        from smacv2.env import StarCraftCapabilityEnvWrapper
        config = {"n_units": 5, "n_enemies": 5, "team_gen": {
            "dist_type": "weighted_teams", "unit_types": ["stalker", "zealot", "colossus"],
            "weights": [0.45, 0.45, 0.1],
            "observe": True}, "start_positions": {"dist_type": "surrounded_and_reflect", "p": 0.5}}
        env = StarCraftCapabilityEnvWrapper(capability_config=config, map_name="10gen_protoss", conic_fov=True)
        env.env.seed(4)
        env.reset()
        chosen = np.array(env.get_avail_actions()).argmax(1)[:, None]
        assert env.step(chosen)[1] is False and env.env.n_agents == 5 and env.seed() == 4
        with pytest.raises(AssertionError): env.step(np.zeros((5, 1), int))


def test_program_of_another_folder(tmp_path):
    (tmp_path / "train.py").write_text("import sys\nfrom smac.env import StarCraft2Env\n"
                                       "sys.exit(StarCraft2Env('3m', seed=1).get_env_info()['n_actions'])\n")
    assert command(["run", "--fast", "--", "python", str(tmp_path / "train.py")]) == 9


@pytest.mark.soak
def test_benchmarl_trains():
    """BenchMARL's MAPPO on a task of ours, in a virtual environment of its own: 120 gradient steps."""
    with Peer(peer_python("benchmarl", BENCHMARL), TRAIN, timeout=3600) as benchmarl:
        frames, mean_return = benchmarl.ask(3)
    assert frames == 19_200 and 1 < mean_return < 20, (frames, mean_return)  # random play: 1.57


@pytest.mark.soak
def test_rllib_trains():
    """RLlib's PPO with its own masking on an environment of ours, in a virtual environment of its own."""
    with Peer(peer_python("rllib", RLLIB), PPO, timeout=3600) as rllib: returns = rllib.ask(4)
    assert len(returns) == 4 and all(3 < x < 60 for x in returns), returns  # summed over three agents; random play: 4.7
