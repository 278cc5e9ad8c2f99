"""A training as others see it: stopped by a signal, counted, measured and logged."""

import math
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marl_nb import smac
from marl_nb.core.files import read_json, read_tensors
from marl_nb.core.seeding import stream
from marl_nb.mappo import MAPPOConfig, MAPPOPolicy, train
from marl_nb.mappo.probes import Endless, FollowCue
from marl_nb.mappo.training import MEASURED, PARTS, debug_config, sample_efficiency

CONFIG = dict(total_steps=6_144, rollout_steps=32, epochs=2, eval_interval=2_048, checkpoint_interval=10**9)

SCRIPT = """
import os, signal, sys
from marl_nb import smac
from marl_nb.mappo import MAPPOConfig, train

class Ending(smac.BattleEnv):
    def step(self, actions):
        self.left -= 1
        for number in {signals} * (self.left == 0): os.kill(os.getpid(), number)
        return super().step(actions)

env = Ending("3m", 16, threads=1)
env.left = {steps}
train(MAPPOConfig(**{config}), env, smac.make("3m", n_envs=8, threads=1), out=sys.argv[1], resume=True, progress=True)
"""


def battles(n_envs: int):
    return smac.make("3m", n_envs=n_envs, threads=1)


def start(out: Path, *signals: int, steps: int = 150, **options) -> subprocess.CompletedProcess:
    """Train in a process that sends itself signals after some steps."""
    script = SCRIPT.format(config=CONFIG | options, signals=[int(s) for s in signals], steps=steps)
    return subprocess.run([sys.executable, "-c", script, str(out)], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A training that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(MAPPOConfig(**CONFIG), battles(16), battles(8), out=out, progress=False)
    return out


def table(out: Path, name: str, measured: bool = False) -> pd.DataFrame:
    rows = pd.read_csv(out / name)
    return rows if measured else rows.drop(columns=[c for c in MEASURED if c in rows])


def assert_same(a: Path, b: Path) -> None:
    """Equal weights and equal logs, but for what depends on the machine."""
    first, second = (MAPPOPolicy.load(p / "policy.safetensors").arrays() for p in (a, b))
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, name)
    for name in ("progress.csv", "evaluations.csv"):
        pd.testing.assert_frame_equal(table(a, name), table(b, name))


def test_sigterm_ends_with_a_checkpoint_and_the_run_goes_on(whole, tmp_path):
    """The signal comes in the middle of the fifth iteration, which is finished and kept."""
    done = start(tmp_path / "run", signal.SIGTERM)
    assert done.returncode == 143
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"stopped by SIGTERM after 2,560 environment steps; resume the run in {tmp_path / 'run'}"
    assert "Traceback" not in done.stderr and not (tmp_path / "run" / "policy.safetensors").exists()
    assert len(table(tmp_path / "run", "progress.csv")) == 5
    assert start(tmp_path / "run").returncode == 0
    assert_same(whole, tmp_path / "run")


def test_a_second_sigterm_ends_at_once(tmp_path):
    """Whoever insists is obeyed: the process dies of the signal, without a checkpoint."""
    done = start(tmp_path / "run", signal.SIGTERM, signal.SIGTERM)
    assert done.returncode == -signal.SIGTERM and not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_training_in_a_thread_leaves_signals_alone():
    """Only the main thread may set handlers; elsewhere training works without."""
    before, results = signal.getsignal(signal.SIGTERM), []
    thread = threading.Thread(target=lambda: results.append(train(debug_config(), FollowCue(8), progress=False)))
    thread.start()
    thread.join()
    assert results[0].env_steps == 2_560 and signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_killed_again_and_again(tmp_path, kills):
    """SIGKILL at random points of a training that is resumed every time; nobody can see it in the end."""
    options = {"checkpoint_interval": 512, "total_steps": 512 * 3 * kills}
    train(MAPPOConfig(**CONFIG | options), battles(16), battles(8), out=tmp_path / "whole", progress=False)
    for steps in stream(0, "kills").integers(1, 96, kills):
        assert start(tmp_path / "run", signal.SIGKILL, steps=int(steps), **options).returncode == -signal.SIGKILL
    assert start(tmp_path / "run", **options).returncode == 0
    assert_same(tmp_path / "whole", tmp_path / "run")


class Recording(smac.BattleEnv):
    """Battles that note how each episode ended, in the order of steps and lanes."""

    def step(self, actions):
        step = super().step(actions)
        for e in np.flatnonzero(step.done):
            row = step.won[e], step.episode_return[e], step.dead_allies[e], step.dead_enemies[e]
            self.ended[-1].append([float(x) for x in row])
        self.steps += 1
        if self.steps % 32 == 0:
            self.ended.append([])
        return step


def test_metrics_are_those_of_the_episodes():
    """Every row of the log against what the environment itself reported."""
    env = Recording("3m", 16, threads=1)
    env.ended, env.steps = [[]], 0
    result = train(MAPPOConfig(**CONFIG), env, battles(8), progress=False)
    assert sum(map(len, env.ended)) > 100 and len(result.progress) == 12
    for row, ended in zip(result.progress, env.ended, strict=False):
        assert row["episodes"] == len(ended)
        if not ended:
            assert math.isnan(row["win_rate"])
            continue
        won, returns, allies, enemies = np.array(ended).T
        assert (row["battle_won"], row["win_rate"]) == (won.sum(), won.mean())
        got = [row[k] for k in ("episode_return", "dead_allies", "dead_enemies")]
        np.testing.assert_allclose(got, [returns.mean(), allies.mean(), enemies.mean()], rtol=1e-12)
    counted = np.cumsum([row["episodes"] for row in result.progress])
    assert [row["training_episodes"] for row in result.evaluations] == list(counted[3::4])


def test_times_and_memory(whole):
    """The clock runs on, the parts add up to it, and memory is that of this process."""
    rows = table(whole, "progress.csv", measured=True)
    assert set(MEASURED) <= set(rows)
    assert (rows.training_time.diff().dropna() > 0).all()
    parts = rows[[f"{part}_seconds" for part in PARTS]]
    assert (parts > 0).all(axis=None) and parts.to_numpy().sum() <= rows.training_time.iloc[-1]
    np.testing.assert_allclose(rows.env_steps_per_second, 512 / parts.sum(axis=1), rtol=1e-9)
    assert rows.resident_memory.between(50e6, 20e9).all() and (rows.gpu_memory >= 0).all()
    result = train(debug_config(), FollowCue(8), FollowCue(8), progress=False)
    assert math.isclose(sum(result.profile.values()), 1) and set(result.profile) == {*PARTS, "evaluation", "files"}
    assert result.seconds >= result.progress[-1]["training_time"]


def test_time_goes_on_after_resuming(tmp_path):
    """Seconds and episodes of the first part count."""
    first = train(debug_config(), FollowCue(8), FollowCue(8), out=tmp_path, progress=False)
    both = train(debug_config(total_steps=5_120), FollowCue(8), FollowCue(8), out=tmp_path, resume=True, progress=False)
    times = [row["training_time"] for row in both.progress]
    assert times[:10] == [row["training_time"] for row in first.progress] and times == sorted(times)
    assert both.seconds > first.progress[-1]["training_time"] and both.evaluations[-1]["training_episodes"] == 5_120


def test_checkpoints_by_episodes(tmp_path):
    """`Endless` ends every 10 steps: 8 lanes have ended 24 episodes after one rollout of 32 steps, 48 after two."""
    for every, kept in ((48, 128), (24, 160), (0, None)):
        out, config = tmp_path / str(every), debug_config(checkpoint_episodes=every, checkpoint_interval=10**9)
        env = Endless(8)
        step, env.left = env.step, 5 * 32 + 1

        def failing(actions, env=env, step=step):
            env.left -= 1
            if env.left < 0:
                raise RuntimeError("power cut")
            return step(actions)

        env.step = failing
        with pytest.raises(RuntimeError, match="power cut"):
            train(config, env, out=out, progress=False)
        found = out / "checkpoint.safetensors"
        assert (read_tensors(found, "checkpoint")[1]["time"] if found.exists() else None) == kept


@pytest.mark.parametrize("evaluations", [1, 2, 4])
def test_early_stopping(tmp_path, evaluations):
    """It stops with the first run of good evaluations, and resuming a run that stopped changes nothing."""
    config = debug_config(total_steps=10**6, eval_interval=512, hidden_size=32, epochs=6, actor_lr=3e-3, critic_lr=3e-3,
                          stop_win_rate=0.95, stop_evaluations=evaluations)
    result = train(config, FollowCue(8), FollowCue(32), out=tmp_path, progress=False)
    good = "".join("+" if row["win_rate"] > 0.95 else "-" for row in result.evaluations)
    assert good.endswith("+" * evaluations) and good.count("+" * evaluations) == 1
    again = train(config, FollowCue(8), FollowCue(32), out=tmp_path, resume=True, progress=False)
    assert again.env_steps == result.env_steps and again.evaluations == result.evaluations
    assert result.sample_efficiency == sample_efficiency(result.evaluations)
    assert result.sample_efficiency["90%"]["reached"]


def test_the_debug_preset_is_about_a_hundred_battles():
    result = train(debug_config(), battles(8), battles(8), progress=False)
    assert 60 <= sum(row["episodes"] for row in result.progress) <= 140 and len(result.evaluations) == 2


def test_the_run_folder_names_its_scenario(whole):
    assert read_json(whole / "config.json")["scenario"] == "3m"


def points(out: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars in a TensorBoard log."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard(tmp_path):
    """The curves are the rows of the logs, also after resuming: nothing twice, nothing lost."""
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    for steps in (2_560, 5_120):
        result = train(debug_config(total_steps=steps), FollowCue(8), FollowCue(8), out=tmp_path, resume=True,
                       progress=False, log_to=("csv", "tensorboard"))
    found = points(tmp_path)
    for name, rows in (("progress", result.progress), ("evaluations", result.evaluations)):
        for column in rows[0]:
            steps, values = zip(*found[f"{name}/{column}"], strict=True)
            assert list(steps) == [row["env_steps"] for row in rows]
            np.testing.assert_allclose(values, [row[column] for row in rows], rtol=1e-6)


def test_wandb_offline(tmp_path):
    """One offline run is left, with the rows of the logs."""
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    for steps in (2_560, 5_120):
        train(debug_config(total_steps=steps), FollowCue(8), FollowCue(8), out=tmp_path / "run", resume=True,
              progress=False, log_to=["wandb"])
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    data = file.read_bytes()
    assert b"evaluations/win_rate" in data and data.count(b"progress/value_loss") >= 20
    assert (tmp_path / "run" / "progress.csv").exists()
