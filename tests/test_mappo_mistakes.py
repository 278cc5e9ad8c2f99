"""Wrong arguments of MAPPO are refused at once, by name, with what is allowed."""

import importlib
import inspect
import pkgutil
from dataclasses import replace

import numpy as np
import pytest

import marl_nb.app
import marl_nb.mappo
from marl_nb import smac
from marl_nb.core.seeding import lane_keys
from marl_nb.mappo import MAPPOConfig, MAPPOPolicy, evaluate, settings, train
from marl_nb.mappo.probes import FollowCue, OwnPart
from marl_nb.mappo.training import debug_config


@pytest.mark.parametrize(("make", "message"), [
    (lambda: train(debug_config(), "3m"), "env: expected an environment, such as .* got '3m'"),
    (lambda: train(debug_config(), FollowCue), "env: expected an environment"),
    (lambda: train(debug_config(), FollowCue(2), "3m"), "eval_env: expected an environment, .* got '3m'"),
    (lambda: train({"clip": 0.1}, FollowCue(2)), r"config: expected a MAPPOConfig .* got \{'clip': 0.1\}"),
    (lambda: train(debug_config(), FollowCue(2), OwnPart(2)), "eval_env: expected the sizes of the training environ"),
    (lambda: evaluate(None, "3m"), "env: expected an environment"),
    (lambda: MAPPOConfig(lr=1e-3), "MAPPOConfig: unknown field 'lr'; known fields: seed, total_steps"),
    (lambda: replace(MAPPOConfig(), lr=1e-3, cip=1), "MAPPOConfig: unknown field 'cip', 'lr'; known fields"),
    (lambda: settings("3m", lr=1e-3), "MAPPOConfig: unknown field 'lr'"),
    (lambda: MAPPOConfig(stop_win_rate=0), "stop_win_rate: expected more than 0 and at most 1"),
])
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("env", [lambda: smac.make("3m", 2, obs_last_action=True), lambda: smac.make("8m", 2),
                                 lambda: smac.make("3m", 2, use_unit_ranges=True)])
def test_a_wrong_eval_env_is_refused_before_training(tmp_path, env):
    """Not a single step is made, and no folder."""
    with pytest.raises(ValueError, match="eval_env: "):
        train(debug_config(), smac.make("3m", 8), env(), out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("keys", [lane_keys(0, 0, 1), lane_keys(0, 0, 3), np.uint64(1), None])
def test_one_key_a_lane(keys):
    env = FollowCue(2)
    policy = MAPPOPolicy.for_step(MAPPOConfig(), env.reset(0))
    with pytest.raises(ValueError, match="keys: expected one for each of 2 lanes, got shape"):
        policy.act(env.reset(0), None, keys)
    policy.act(env.reset(0), None, keys, greedy=True)  # nothing is drawn


@pytest.mark.parametrize("package", [marl_nb.mappo, marl_nb.app])
def test_no_function_hides_behind_its_module(package):
    """`from marl_nb.mappo import settings` is the function; no module is called like something of its own."""
    assert inspect.isfunction(settings) and settings("3m")[1] == 128
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        assert not hasattr(module, info.name), info.name
