"""MAPPO on a GPU, where there is one, and with compiled networks."""

import numpy as np
import pytest
import torch

from marl_nb import smac
from marl_nb.mappo import MAPPOConfig, MAPPOPolicy
from marl_nb.mappo.learner import Learner
from marl_nb.mappo.training import Trainer, load_checkpoint, save_checkpoint

SMALL = dict(rollout_steps=32, epochs=2, hidden_size=16, total_steps=10_000, chunk_length=16)
LOSSES = ("policy_loss", "value_loss", "entropy")


def battles():
    return smac.make("3m", n_envs=8, threads=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("recurrent", [False, True])
def test_an_update_on_a_gpu(tmp_path, recurrent):
    """The same update as on the CPU; the policy acts on either device, and a checkpoint goes on."""
    config = {**SMALL, "recurrent": recurrent}
    here, there = (Trainer(MAPPOConfig(**config, device=device), battles()) for device in ("cpu", "cuda"))
    here.collect()
    losses, other = (Learner(trainer.policy).update(here.algorithm.rollout) for trainer in (here, there))
    for name in LOSSES: assert other[name] == pytest.approx(losses[name], rel=1e-3, abs=1e-4), name
    assert there.iterate()["ratio_0"] < 1e-4
    there.policy.save(tmp_path / "policy.safetensors")
    step, keys = battles().reset(1), np.arange(8, dtype=np.uint64)
    probs = [MAPPOPolicy.load(tmp_path / "policy.safetensors", device).act(step, None, keys).probs
             for device in ("cpu", "cuda")]
    np.testing.assert_allclose(*probs, atol=1e-5)
    save_checkpoint(there, tmp_path / "checkpoint.safetensors")
    again = Trainer(there.config, battles())
    load_checkpoint(again, tmp_path / "checkpoint.safetensors")
    for name, array in there.policy.arrays().items(): np.testing.assert_array_equal(again.policy.arrays()[name], array)
    first, second = there.iterate(), again.iterate()
    for name in LOSSES: assert second[name] == pytest.approx(first[name], rel=1e-3, abs=1e-4), name


@pytest.mark.soak
def test_compiled_networks_learn_the_same(tmp_path):
    """`torch.compile` takes minutes and changes only the rounding; a loaded policy is not compiled."""
    rows = []
    for compiled in (False, True):
        trainer = Trainer(MAPPOConfig(**SMALL, compile=compiled), battles())
        rows.append([trainer.iterate() for _ in range(2)])
    for plain, other in zip(*rows, strict=True):
        for name in LOSSES: assert other[name] == pytest.approx(plain[name], abs=1e-6), name
    trainer.policy.save(tmp_path / "policy.safetensors")
    assert not MAPPOPolicy.load(tmp_path / "policy.safetensors").config.compile
