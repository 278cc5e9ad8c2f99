"""MAPPO with everything that has a memory is killed in the middle of anything and resumed: the same to the bit."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from killed import rows, run

from marl_nb.mappo import MAPPOPolicy

SCRIPT = """
from marl_nb.mappo import MAPPOConfig, train

train(MAPPOConfig(total_steps=8_192, rollout_steps=32, epochs=2, eval_interval=2_048, checkpoint_interval=1_024,
                  checkpoint_episodes=17, recurrent=True, chunk_length=8, share_actor=False, state="FP",
                  frame_stack=2, minibatches=2, hidden_size=16, value_norm="popart"), **where)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A training that nobody disturbed: 512 steps of 16 lanes."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run(SCRIPT, out) == 0
    return out


def check(whole: Path, out: Path, points) -> None:
    """Kill at each of the points, one process after the other, then finish; compare with the undisturbed training."""
    for kill_at in points: assert run(SCRIPT, out, int(kill_at)) == -9
    assert run(SCRIPT, out) == 0
    first, second = (MAPPOPolicy.load(p / "policy.safetensors").arrays() for p in (whole, out))
    for name, array in first.items(): np.testing.assert_array_equal(second[name], array, name)
    for name in ("progress.csv", "evaluations.csv"): pd.testing.assert_frame_equal(rows(whole, name), rows(out, name))


def test_killed_and_resumed(whole, tmp_path):
    check(whole, tmp_path / "run", [200])


@pytest.mark.soak
@pytest.mark.parametrize("kill_at", np.random.default_rng(0).integers(1, 500, 20).tolist())
def test_killed_at_twenty_points(whole, tmp_path, kill_at):
    check(whole, tmp_path / "run", [kill_at])


@pytest.mark.soak
def test_killed_again_and_again(whole, tmp_path):
    check(whole, tmp_path / "run", [100] * 4)
