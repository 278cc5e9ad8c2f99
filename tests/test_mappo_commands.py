"""`marl-nb train` and `marl-nb eval` as processes."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from marl_nb import smac
from marl_nb.app.commands import field_comments
from marl_nb.core.cli import main
from marl_nb.core.files import read_json
from marl_nb.mappo import MAPPOConfig, MAPPOPolicy, settings

MARL_NB = Path(sys.executable).with_name("marl-nb")
BRIDGE = """
name: bridge
terrain: [..........., .....#....., ..........., .....#....., ...........]
allies: [{unit: marine, count: 2, at: [2.5, 2.5]}]
enemies: [{unit: zergling, count: 2, at: [8.5, 2.5]}]
limit: 40
"""
SMALL = ["--hidden-size", "16", "--rollout-steps", "32", "--epochs", "2", "--n-envs", "16", "--eval-envs", "8",
         "--eval-interval", "1024", "--no-progress"]


def run(*args, cwd=None, status=0, **env):
    done = subprocess.run([MARL_NB, *map(str, args)], capture_output=True, text=True, env=os.environ | env, timeout=120,
                          cwd=cwd)
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder in which `marl-nb train` was called."""
    folder = tmp_path_factory.mktemp("work")
    run("train", "3m", *SMALL, "--total-steps", "2048", "--seed", "3", cwd=folder)
    return folder


def test_help_lists_every_field():
    text = " ".join(run("train", "--help", COLUMNS="100").stdout.split())
    comments = field_comments(MAPPOConfig)
    for f in fields(MAPPOConfig):
        assert "--" + f.name.replace("_", "-") in text and comments[f.name], f.name
        assert " ".join(comments[f.name].split()) in text
    options = ("--n-envs", "--preset", "--out", "--resume", "--config", "--debug", "--log-to")
    assert all(option in text for option in options)
    text = run("eval", "--help").stdout
    assert all(o in text for o in ("--episodes", "--seed", "--stochastic", "--replay", "--compare"))
    assert "train" in run("--help").stdout and "eval" in run("--help").stdout


@pytest.mark.parametrize(("args", "shown"), [
    ([], ["those of any map, settings ours", "steps of the whole training (default 2000000)"]),
    (["3m"], ["those of 3m, settings ours", "(default 1000000)", "(default 128)"]),
    (["27m_vs_30m"], ["those of 27m_vs_30m", "training environment (default 64)", "rollout (default 5)"]),
    (["5m_vs_6m", "--preset", "published"], ["5m_vs_6m, settings published", "old ones (default 0.05)", "(default 8)"]),
    (["3m", "--debug"], ["settings for finding mistakes", "hidden layer (default 16)"]),
])
def test_help_shows_the_settings_of_the_map(capsys, args, shown):
    with pytest.raises(SystemExit) as ended: main(["train", *args, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    assert all(part in text for part in shown), text


@pytest.mark.parametrize(("args", "named"), [
    (["5m_vs_6m"], ["clip 0.1,", "actor_lr 0.0005,"]), (["3m", "--gamma", "0.9"], ["gamma 0.9,", "actor_lr 0.001,"]),
])
def test_a_run_says_which_settings_it_has(tmp_path, capsys, args, named):
    small = ["--total-steps", "64", "--rollout-steps", "16", "--n-envs", "4", "--eval-envs", "0", "--epochs", "1"]
    assert main(["train", *args, *small, "--no-progress", "--out", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{args[0]}: settings ours; 4 lanes of 16 steps\n")
    assert all(part in text for part in [*named, "total_steps 64"]), text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told_before_anything_else(tmp_path):
    done = run("train", "3m", "--device", "cuda", cwd=tmp_path, status=2)
    assert "device: expected cpu or auto (no GPU was found)" in done.stderr
    assert done.stdout == "" and list(tmp_path.iterdir()) == []


def test_a_scenario_of_ones_own(tmp_path, capsys, monkeypatch):
    """Trained, evaluated where its file no longer is, filmed, and refused elsewhere."""
    def called(*args, status=0):
        assert main(list(args)) == status
        return "".join(capsys.readouterr())

    monkeypatch.chdir(tmp_path)
    (tmp_path / "bridge.yaml").write_text(BRIDGE)
    text = called("train", "bridge.yaml", *SMALL, "--total-steps", "512")
    assert text.startswith("bridge: settings ours, for any map; 16 lanes of 32 steps\n")
    (tmp_path / "bridge.yaml").rename(tmp_path / "moved.yaml")
    args = ["eval", "runs/bridge-seed0", "--episodes", "10", "--replay", "battle.html"]
    text = called(*args)
    assert text.startswith("bridge, 10 battles, greedy") and (tmp_path / "battle.html").exists()
    assert called(*args[:2], "moved.yaml", *args[2:]) == text
    (tmp_path / "moved.yaml").write_text(BRIDGE.replace("limit: 40", "limit: 41"))
    assert "the rules of bridge have changed" in called(*args[:2], "moved.yaml", *args[2:], status=2)
    assert settings("bridge") == settings(smac.scenarios.load(tmp_path / "moved.yaml")) == settings("any other")


@pytest.mark.parametrize(("args", "message"), [
    (["train"], "the following arguments are required: SCENARIO"),
    (["train", "nowhere"], "scenario: expected one of 3m"),
    (["train", "nowhere.yaml"], "nowhere.yaml: no such scenario file"),
    (["train", "bad.yaml"], "bad.yaml: scenario: "),
    (["train", "3m", "--stop-win-rate", "0"], "stop_win_rate: expected more than 0 and at most 1"),
    (["train", "3m", "--epochs", "2.5"], "argument --epochs: invalid int value: '2.5'"),
    (["train", "3m", "--gamma", "1.5"], "gamma: expected 0 to 1, got 1.5"),
    (["train", "3m", "--timeout", "ignore"], "timeout: expected one of bootstrap, terminal"),
    (["train", "3m", "--gama", "0.9"], "unrecognized arguments: --gama 0.9"),
    (["train", "3m", "--n-envs", "-3"], "n_envs: expected an integer of at least 1, got -3"),
    (["train", "3m", "--n-envs", "0"], "n_envs: expected an integer of at least 1, got 0"),
    (["train", "3m", "--eval-envs", "-1"], "--eval-envs: expected at least 0, got -1"),
    (["train", "3m", "--preset", "best"], "argument --preset: invalid choice: 'best'"),
    (["train", "3m", "--minibatches", "999999"], "minibatches: expected at most"),
    (["eval", "absent.safetensors", "--replay", "nodir/x.html"], "--replay: expected a file in a folder that exists"),
    (["train", "3m", "--config", "absent.yaml"], "absent.yaml"),
    (["train", "3m", "--config", "bad.yaml"], "bad.yaml: MAPPOConfig: unknown key 'lr'"),
    (["train", "3m", "--log-to", "paper"], "log_to: expected some of csv, tensorboard, wandb"),
    (["eval", "absent.safetensors"], "absent.safetensors: no such policy file"),
    (["eval", "bad.yaml"], "bad.yaml: not a readable policy file"),
])
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, capsys, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("lr: 0.1\n")
    assert main(args) == 2
    error = capsys.readouterr().err
    assert error.startswith("marl-nb: error: ") and error.count("\n") == 1, error
    assert message in error and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_extra_is_named(tmp_path, name):
    if importlib.util.find_spec(name):
        pytest.skip(f"{name} is installed")
    done = run("train", "3m", "--log-to", name, cwd=tmp_path, status=2)
    assert f"""log_to: '{name}' needs a package that is not installed: pip install "marl_nb[{name}]\"""" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_train_leaves_a_run(trained):
    out = trained / "runs" / "3m-seed3"
    assert {p.name for p in out.iterdir()} == {"config.json", "progress.csv", "evaluations.csv",
                                               "checkpoint.safetensors", "policy.safetensors"}
    about = read_json(out / "config.json")
    assert (about["scenario"], about["n_envs"], about["config"]["seed"], about["config"]["epochs"]) == ("3m", 16, 3, 2)
    again = run("train", "3m", *SMALL, "--total-steps", "2048", "--seed", "3", cwd=trained, status=2)
    assert "already holds a run; resume it" in again.stderr


def test_resumed_longer_is_the_same_as_at_once(trained, tmp_path):
    """Options come from a file, then from the command line."""
    (tmp_path / "run.yaml").write_text("hidden_size: 16\nrollout_steps: 32\nepochs: 7\neval_interval: 1024\nseed: 3\n")
    common = ["--config", "run.yaml", "--epochs", "2", "--n-envs", "16", "--eval-envs", "8", "--no-progress"]
    done = run("train", "3m", *common, "--total-steps", "4_096", "--out", "once", cwd=tmp_path)
    assert "3m: 4,096 environment steps" in done.stdout and "policy: once/policy.safetensors" in done.stdout
    for steps in ("2048", "4096"):
        run("train", "3m", *common, "--total-steps", steps, "--out", "twice", "--resume", cwd=tmp_path)
    once, twice = (MAPPOPolicy.load(tmp_path / name / "policy.safetensors").arrays() for name in ("once", "twice"))
    for name, array in once.items():
        np.testing.assert_array_equal(twice[name], array, name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_with_a_checkpoint_and_resumed(trained, tmp_path, monkeypatch, capsys, number):
    """The first signal ends the run after the iteration, status 128 + number."""
    from marl_nb.app import commands

    left = [70]

    class Battles(smac.BattleEnv):
        def step(self, actions):
            left[0] -= 1
            if not left[0]: signal.raise_signal(number)
            return super().step(actions)

    monkeypatch.setattr(commands, "battles", lambda *args: Battles(*args[:2], threads=args[2]))
    args = ["train", "3m", *SMALL, "--total-steps", "2048", "--seed", "3", "--out", str(tmp_path), "--eval-envs", "0"]
    with pytest.raises(SystemExit) as ended: main(args)
    said = capsys.readouterr()
    assert ended.value.code == 128 + number and f"stopped by {number.name} after 1,536" in said.err
    assert (tmp_path / "checkpoint.safetensors").exists() and not (tmp_path / "policy.safetensors").exists()
    assert main([*args, "--resume"]) == 0
    assert "beginning anew" not in capsys.readouterr().out
    once, twice = (MAPPOPolicy.load(p / "policy.safetensors").arrays() for p in (trained / "runs/3m-seed3", tmp_path))
    for name, array in once.items(): np.testing.assert_array_equal(twice[name], array, name)


def test_eval(trained):
    """The scenario is known from the run; the result depends on the seed alone; a battle is filmed."""
    policy = "runs/3m-seed3/policy.safetensors"
    first = run("eval", policy, "--episodes", "20", "--seed", "5", "--replay", "battle.html", cwd=trained).stdout
    assert first.startswith("3m, 20 battles, greedy, seed 5")
    assert "<canvas" in (trained / "battle.html").read_text() and "battle.html" in first
    again = run("eval", "runs/3m-seed3", "3m", "--episodes", "20", "--seed", "5", cwd=trained).stdout
    assert again.splitlines() == first.splitlines()[:2]
    drawn = run("eval", policy, "--episodes", "20", "--seed", "5", "--stochastic", cwd=trained).stdout
    assert "drawn actions" in drawn and drawn.splitlines()[1] != first.splitlines()[1]


def test_eval_compares(trained):
    """A policy against a copy of itself: the difference is zero, with an interval around it."""
    file = trained / "runs" / "3m-seed3" / "policy.safetensors"
    (trained / "copy.safetensors").write_bytes(file.read_bytes())
    text = run("eval", file, "--episodes", "30", "--compare", "copy.safetensors", cwd=trained).stdout
    assert re.search(r"minus the first: \+0.0% \[-\d+.\d%, \+\d+.\d%\]", text), text
    assert run("eval", "copy.safetensors", "--episodes", "9", cwd=trained).stdout.startswith("3m, 9 battles")
