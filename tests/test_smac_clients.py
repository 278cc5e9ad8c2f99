"""Clients written for SMAC and SMACv2, unmodified, through the fast door."""

import subprocess
import sys

import numpy as np
import pytest

from marl_nb.smac.standin import command, standin


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
