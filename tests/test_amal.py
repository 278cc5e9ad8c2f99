"""AMAL, killed in the middle of anything and resumed, is the same to the bit; and it learns 3m, unlike the original."""


import numpy as np
import pandas as pd
import pytest
from killed import rows, run

from marl_nb import smac
from marl_nb.amal.amal import train
from marl_nb.amal.config import AMALConfig
from marl_nb.core.config import to_dict
from marl_nb.core.files import read_tensors
from marl_nb.mappo import MAPPOPolicy, settings
from marl_nb.mappo.probes import OwnPart
from marl_nb.mappo.training import debug_config

SCRIPT = """
from marl_nb.amal.amal import train
from marl_nb.amal.config import AMALConfig

train(AMALConfig(total_steps=4_096, rollout_steps=32, epochs=2, eval_interval=1_024, checkpoint_interval=1_024,
                 hidden_size=16, members=2, model_hidden_size=16, model_batch=32, model_steps=4, diversity=0.1,
                 refresh_interval=2, buffer_transitions=500, channel=sys.argv[3]), **where)
"""


@pytest.mark.soak
@pytest.mark.parametrize("channel", ["C0", "C1", "C2", "C3"])
def test_killed_anywhere_and_resumed(channel, tmp_path):
    whole, out, random = tmp_path / "whole", tmp_path / "run", np.random.default_rng(len(channel))
    assert run(SCRIPT, whole, 0, channel) == 0
    for kill_at in random.integers(20, 100, size=3):
        assert run(SCRIPT, out, int(kill_at), channel) == -9
    assert run(SCRIPT, out, 0, channel) == 0
    first, second = (MAPPOPolicy.load(p / "policy.safetensors").arrays() for p in (whole, out))
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, name)
    first, second = (read_tensors(p / "checkpoint.safetensors", "checkpoint")[0] for p in (whole, out))
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, name)
    for name in ("progress.csv", "evaluations.csv"):
        pd.testing.assert_frame_equal(rows(whole, name), rows(out, name))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(5))
def test_learns_3m_within_half_a_million_steps(seed):
    _, n_envs = settings("3m")
    config = AMALConfig(total_steps=500_000, eval_interval=25_000, seed=seed)
    assert config.auxiliary_share >= 0.25 and config.information_weight > 0
    result = train(config, smac.make("3m", n_envs, threads=1), smac.make("3m", 64, threads=1), progress=False)
    assert result.sample_efficiency["90%"]["reached"]
    assert result.evaluations[-1]["win_rate"] >= 0.9


def test_logs_for_wandb(tmp_path):
    """The loop's loggers take AMAL's columns too; the run stays on the disk."""
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    config = AMALConfig(**to_dict(debug_config()), members=2, model_hidden_size=16, model_steps=2)
    train(config, OwnPart(8), OwnPart(8), out=tmp_path / "run", progress=False, log_to=["wandb"])
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"progress/model_loss" in file.read_bytes() and b"progress/imitated" in file.read_bytes()
