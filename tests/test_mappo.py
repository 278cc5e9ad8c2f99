"""MAPPO as a process: killed and resumed, in battles, with and without a progress bar."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marl_nb import smac
from marl_nb.mappo import MAPPOConfig, MAPPOPolicy, evaluate, train
from marl_nb.mappo.training import MEASURED

CONFIG = dict(total_steps=12_288, rollout_steps=32, epochs=2, eval_interval=2_048, checkpoint_interval=1_024)

SCRIPT = """
import sys
from marl_nb import smac
from marl_nb.mappo import MAPPOConfig, train
config = MAPPOConfig(**{config})
train(config, smac.make("3m", n_envs=16, threads=1), smac.make("3m", n_envs=8, threads=1), out=sys.argv[1],
      resume=True, progress={progress})
"""


def command(out: Path, progress: bool = False, **options) -> list[str]:
    return [sys.executable, "-c", SCRIPT.format(config=CONFIG | options, progress=progress), str(out)]


def battles(n_envs: int):
    return smac.make("3m", n_envs=n_envs, threads=1)


def rows(out: Path, name: str) -> pd.DataFrame:
    table = pd.read_csv(out / name)
    return table.drop(columns=[c for c in table if c in MEASURED])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A training that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(MAPPOConfig(**CONFIG), battles(16), battles(8), out=out, progress=False)
    return out


def assert_same(a: Path, b: Path) -> None:
    """Equal weights and equal logs, times apart."""
    first, second = (MAPPOPolicy.load(p / "policy.safetensors").arrays() for p in (a, b))
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, name)
    for name in ("progress.csv", "evaluations.csv"):
        pd.testing.assert_frame_equal(rows(a, name), rows(b, name))


def test_killed_and_resumed_to_the_bit(whole, tmp_path):
    """SIGKILL at some point after the first checkpoint; the next start finishes the same training."""
    out = tmp_path / "run"
    process = subprocess.Popen(command(out))
    limit = time.monotonic() + 120
    while not (out / "checkpoint.safetensors").exists():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "policy.safetensors").exists()
    subprocess.run(command(out), check=True, timeout=120)
    assert_same(whole, out)


def test_killed_before_the_first_checkpoint(whole, tmp_path):
    """A folder with logs but no checkpoint is begun anew."""
    out = tmp_path / "run"
    with pytest.raises(RuntimeError, match="power cut"):
        train(MAPPOConfig(**CONFIG), FailingBattles(20), battles(8), out=out, progress=False)
    assert not (out / "checkpoint.safetensors").exists()
    train(MAPPOConfig(**CONFIG), battles(16), battles(8), out=out, resume=True, progress=False)
    assert_same(whole, out)


def test_lost_logs_come_back_with_the_checkpoint(whole, tmp_path):
    """The checkpoint holds the rows of both logs: missing or cut files are written anew on resuming."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "progress.csv").unlink()
    (out / "evaluations.csv").write_text("env_steps,win")
    train(MAPPOConfig(**CONFIG), battles(16), battles(8), out=out, resume=True, progress=False)
    assert len(rows(out, "evaluations.csv")) == 6
    assert_same(whole, out)


class FailingBattles(smac.BattleEnv):
    """Battles that raise after some steps."""

    def __init__(self, steps: int):
        super().__init__("3m", 16, threads=1)
        self.left = steps

    def step(self, actions):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("power cut")
        return super().step(actions)


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "policy.safetensors"])
@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_truncated_files_are_named(whole, tmp_path, name, size):
    """Whatever is cut off, the error says which file it was."""
    data = (whole / name).read_bytes()
    (tmp_path / name).write_bytes(data[:size])
    with pytest.raises(ValueError, match=rf"{name}: not a readable (checkpoint|policy) file"):
        if name == "policy.safetensors":
            MAPPOPolicy.load(tmp_path / name)
        else:
            train(MAPPOConfig(**CONFIG), battles(16), out=tmp_path, resume=True, progress=False)


def test_a_checkpoint_of_another_map_is_refused(whole, tmp_path):
    """The error names the file; nothing is overwritten."""
    data = (whole / "checkpoint.safetensors").read_bytes()
    (tmp_path / "checkpoint.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="checkpoint.safetensors: does not fit this training"):
        train(MAPPOConfig(**CONFIG), smac.make("8m", n_envs=16, threads=1), out=tmp_path, resume=True, progress=False)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == data


def test_progress_bar_in_a_log_file_and_silence(tmp_path):
    """Without a terminal the bar writes few lines, with a rate and the win rate; switched off it writes nothing."""
    options = dict(total_steps=1_024, eval_interval=512)
    keywords = dict(capture_output=True, text=True, check=True, timeout=120)
    shown, silent = (subprocess.run(command(tmp_path / str(p), p, **options), **keywords) for p in (True, False))
    assert "step/s" in shown.stderr and "greedy win rate" in shown.stderr and "100%" in shown.stderr
    assert shown.stderr.count("\r") < 8
    assert (silent.stdout, silent.stderr) == ("", "")


def test_training_and_evaluation_do_not_disturb_each_other(whole):
    """Without evaluations the training is the same."""
    alone = train(MAPPOConfig(**CONFIG), battles(16), progress=False)
    for name, array in MAPPOPolicy.load(whole / "policy.safetensors").arrays().items():
        np.testing.assert_array_equal(alone.policy.arrays()[name], array, name)
    assert alone.evaluations == []
    first = evaluate(alone.policy, battles(8), 2, seed=5)
    assert evaluate(alone.policy, battles(8), 2, seed=5) == first
    assert first.episodes == 16 and first.episode_length > 0
