"""AMAL on a GPU, where there is one."""

import numpy as np
import pytest
import torch

from marl_nb import smac
from marl_nb.amal.amal import Teams
from marl_nb.amal.config import AMALConfig
from marl_nb.mappo.training import Trainer, load_checkpoint, save_checkpoint

SMALL = dict(rollout_steps=16, epochs=2, hidden_size=16, total_steps=10_000, members=2, model_hidden_size=16,
             model_batch=32, model_steps=4)


def training(device: str, **options) -> Trainer:
    return Trainer(AMALConfig(**SMALL, device=device, **options), smac.make("3m", n_envs=16, threads=1),
                   algorithm=Teams)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["central", "local"])
def test_an_iteration_on_a_gpu(kind, tmp_path):
    """The first iteration finds the same losses as on the CPU; the models live there; a checkpoint goes on."""
    here, there = (training(device, model=kind) for device in ("cpu", "cuda"))
    first, second = here.iterate(), there.iterate()
    for name in ("policy_loss", "value_loss", "entropy", "model_loss"):
        assert second[name] == pytest.approx(first[name], rel=1e-2, abs=1e-3, nan_ok=True), name
    assert there.algorithm.model.device.type == "cuda"
    save_checkpoint(there, tmp_path / "checkpoint.safetensors")
    again = training("cuda", model=kind)
    load_checkpoint(again, tmp_path / "checkpoint.safetensors")
    for name, array in there.algorithm.arrays().items():
        np.testing.assert_array_equal(again.algorithm.arrays()[name], array)
    assert np.isfinite(again.iterate()["model_loss"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_without_its_extras_it_is_mappo_on_a_gpu():
    """The reduction of the chapter on AMAL, with the arithmetic of the device."""
    off = {"auxiliary_share": 0.0, "information_weight": 0.0, "model": "none", "channel": "C0"}
    ours = training("cuda", **off)
    plain = Trainer(ours.config, smac.make("3m", n_envs=16, threads=1))
    for _ in range(3): a, b = ours.iterate(), plain.iterate()
    for name in ("policy_loss", "value_loss", "entropy"): assert a[name] == pytest.approx(b[name], rel=1e-3, abs=1e-4)
