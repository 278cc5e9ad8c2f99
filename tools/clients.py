"""Run somebody else's code through a door of the stand-in, untouched, and record what came of it.

    VENV/bin/python tools/clients.py visit harl fast FOLDER       a few steps: does it run?
    VENV/bin/python tools/clients.py train epymarl fast FOLDER    3m, until it wins; its curve

FOLDER is an unchanged clone of the client's repository, VENV a virtual environment with `marl_nb[sc2]` and what the
client needs. A visit adds a row to records/clients/visits.json. A training ends when more than 80 % of 128 greedy
battles are won, or after a million steps, and writes records/clients/CLIENT_DOOR.json.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from marl_nb.core.files import read_json, write_json

ROOT = Path(__file__).resolve().parent.parent
STEPS, BATTLES, BAR = 1_000_000, 128, 0.8
Curve = list[tuple[int, float]]  # environment steps, share of the greedy battles won


def sacred(folder: Path, log: str, since: float) -> Curve:
    """What PyMARL's family writes: lists of a statistic and of the steps at which it was taken."""
    files = [f for f in folder.glob("results/sacred/**/info.json") if f.stat().st_mtime > since]
    if not files: return []
    try: info = json.loads(max(files, key=lambda f: f.stat().st_mtime).read_text())
    except json.JSONDecodeError: return []  # it is being written
    values = info.get("test_battle_won_mean", [])
    return list(zip(info.get("test_battle_won_mean_T", []), [v["value"] if isinstance(v, dict) else v for v in values],
                    strict=True))


def printed(folder: Path, log: str, since: float) -> Curve:
    """What on-policy prints: the steps so far, then the share of battles won."""
    steps, curve = 0, []
    for found in re.finditer(r"total num timesteps (\d+)/|eval win rate is ([\d.]+)\.\s", log):
        if found[1]: steps = int(found[1])
        else: curve.append((steps, float(found[2])))
    return curve


class Client(NamedTuple):
    """A public training code."""

    repository: str  # on GitHub
    command: str  # in a clone of it
    curve: Callable[[Path, str, float], Curve]  # from the clone, what was printed and the time of the start
    packages: tuple[str, ...]  # whose versions are recorded


CLIENTS = {
    "epymarl": Client(
        "uoe-agents/epymarl",
        "python src/main.py --config=qmix --env-config=sc2 with env_args.map_name=3m seed=1 runner=parallel "
        f"batch_size_run=4 batch_size=64 t_max={STEPS} test_nepisode={BATTLES} test_interval=20000",
        sacred, ("sacred", "smac")),
    "on-policy": Client(
        "marlbenchmark/on-policy",
        "python onpolicy/scripts/train/train_smac.py --env_name StarCraft2 --algorithm_name rmappo --map_name 3m "
        "--experiment_name check --seed 1 --use_wandb --n_training_threads 1 --n_rollout_threads 8 "
        f"--num_mini_batch 1 --episode_length 400 --num_env_steps {STEPS} --ppo_epoch 15 --use_value_active_masks "
        f"--use_eval --eval_interval 8 --log_interval 8 --eval_episodes {BATTLES}",
        printed, ("gym", "wandb", "smac")),
}


# What a visit runs: name -> repository, command in a clone of it. All end by themselves after some hundred steps.
ON_POLICY = ("python onpolicy/scripts/train/train_smac.py --algorithm_name rmappo --experiment_name visit --use_wandb "
             "--n_training_threads 1 --n_rollout_threads 2 --episode_length 60 --num_env_steps 240 --ppo_epoch 2 "
             "--use_eval --eval_interval 1 --eval_episodes 2")
HARL = ("python examples/train.py --algo mappo --exp_name visit --n_rollout_threads 2 --n_eval_rollout_threads 1 "
        "--eval_episodes 2 --eval_interval 1 --episode_length 60 --num_env_steps 240 --log_interval 1")
VISITS: dict[str, tuple[str, str]] = {
    "epymarl": ("uoe-agents/epymarl", "python src/main.py --config=qmix --env-config=sc2 with env_args.map_name=3m "
                "t_max=1000 test_nepisode=4 test_interval=500 log_interval=500"),
    "epymarl-v2": ("uoe-agents/epymarl", "python src/main.py --config=qmix --env-config=sc2v2 with "
                   "env_args.map_name=protoss_5_vs_5 t_max=1000 test_nepisode=4 test_interval=500 log_interval=500"),
    "on-policy": ("marlbenchmark/on-policy", f"{ON_POLICY} --env_name StarCraft2 --map_name 3m"),
    "on-policy-v2": ("marlbenchmark/on-policy", f"{ON_POLICY} --env_name SMACv2 --map_name 10gen_protoss --units 5v5"),
    "harl": ("PKU-MARL/HARL", f"{HARL} --env smac --map_name 3m"),
    "harl-v2": ("PKU-MARL/HARL", f"{HARL} --env smacv2 --map_name protoss_5_vs_5"),
    "pymarl2": ("hijkzzz/pymarl2", "python src/main.py --config=qmix --env-config=sc2 with env_args.map_name=3m "
                "t_max=1000 test_nepisode=8 test_interval=500 log_interval=500 batch_size_run=2 use_cuda=False"),
    "smac": ("oxwhirl/smac", "python smac/examples/random_agents.py"),
    "smacv2": ("oxwhirl/smacv2", "python smacv2/examples/random_agents.py"),
}


def clean_commit(folder: Path) -> str:
    """The commit of a clone whose files are as committed; anything else is a `ValueError`."""
    ask = lambda *words: subprocess.check_output(["git", "-C", folder, *words], text=True).strip()
    changed = ask("diff", "--name-only", "--diff-filter=M", "HEAD")
    if changed: raise ValueError(f"folder: expected an unchanged clone, these files differ: {changed}")
    return ask("rev-parse", "HEAD")


def processes(root: psutil.Process) -> Iterator[psutil.Process]:
    """A process and all that it has started."""
    yield root
    yield from root.children(recursive=True)


def processor_seconds(root: psutil.Process) -> float:
    """Processor time of a process, of what it has started, and of what has ended since."""
    total = 0.0
    for process in processes(root):
        try: total += sum(process.cpu_times()[:4])  # its own, and its children's that have ended
        except psutil.NoSuchProcess: pass
    return total


def through(door: str, command: str) -> list[str]:
    """A command that runs behind a door."""
    marl_nb = str(Path(sys.executable).with_name("marl-nb"))
    return [marl_nb, "standin", "run", *["--fast"] * (door == "fast"), "--", *command.split()]


def end(child: subprocess.Popen) -> None:
    """Ask a child and all below it to end; whoever has not within a minute is killed."""
    if child.poll() is not None: return
    everyone = [*processes(psutil.Process(child.pid))]
    for ask in ("terminate", "kill"):
        for process in everyone:
            with suppress(psutil.NoSuchProcess): getattr(process, ask)()
        _, everyone = psutil.wait_procs(everyone, timeout=60)
    child.wait()


def visit(name: str, door: str, folder: Path, log: Path, seconds: float) -> dict:
    """Run a client for some hundred steps; what is recorded."""
    repository, command = VISITS[name]
    row = {"client": name, "repository": repository, "commit": clean_commit(folder), "door": door, "command": command,
           "python": sys.version.split()[0], "numpy": version("numpy")}
    with log.open("w") as out:
        child = subprocess.Popen(through(door, command), cwd=folder, stdout=out, stderr=subprocess.STDOUT)
        try: code = child.wait(seconds if seconds < float("inf") else None)
        except subprocess.TimeoutExpired:
            code = None
            end(child)
    said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return {**row, "ended": code, "passed": code == 0, "said": said[-1][-200:] if code and said else ""}


def train(name: str, door: str, folder: Path, log: Path, seconds: float) -> dict:
    """Run a client until it has passed the bar, ends, or its time is up; what is recorded."""
    client, commit, began = CLIENTS[name], clean_commit(folder), time.time()
    command = through(door, client.command)
    with log.open("w") as out: child = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    root, busy, seen = psutil.Process(child.pid), 0.0, []
    try:
        while child.poll() is None and not any(won > BAR for _, won in seen) and time.time() < began + seconds:
            time.sleep(5)
            busy = max(busy, processor_seconds(root)) if root.is_running() else busy
            new = client.curve(folder, log.read_text(errors="replace"), began)
            if len(new) > len(seen): print(f"{time.time() - began:.0f} s", *new[len(seen):], flush=True)
            seen = new
    finally:
        end(child)
    versions = {p: version(p) for p in ("torch", "numpy", *client.packages) if installed(p)}
    return {"client": name, "repository": client.repository, "commit": commit, "door": door, "command": client.command,
            "curve": seen, "seconds": time.time() - began, "processor_seconds": busy, "versions": versions,
            "python": sys.version.split()[0], "cores": os.cpu_count(), "battles": BATTLES,
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "passed": any(won > BAR for _, won in seen)}


def installed(package: str) -> bool:
    """Whether a package has a version."""
    try: return bool(version(package))
    except PackageNotFoundError: return False


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tools/clients.py", description="Other people's codes on the stand-in.")
    parser.add_argument("what", choices=["visit", "train"])
    parser.add_argument("client", choices=sorted({*CLIENTS, *VISITS}))
    parser.add_argument("door", choices=["fast", "exact"])
    parser.add_argument("folder", type=Path, help="an unchanged clone of the client")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--needed", default="", help="what was put beside the client to run it, for the record")
    parser.add_argument("--out", type=Path, default=ROOT / "records" / "clients")
    args = parser.parse_args(argv)
    if args.what == "train" and args.client not in CLIENTS: parser.error(f"train: expected one of {sorted(CLIENTS)}")
    name, run = f"{args.client}_{args.door}", {"visit": visit, "train": train}[args.what]
    result = run(args.client, args.door, args.folder, args.folder.parent / f"{name}_{args.what}.log", args.seconds)
    result["needed"] = args.needed
    args.out.mkdir(parents=True, exist_ok=True)
    if args.what == "train": write_json(args.out / f"{name}.json", result)
    else:
        rows = read_json(visits) if (visits := args.out / "visits.json").exists() else {}
        write_json(visits, {**rows, name: result})
    print(f"{name}: {'passed' if result['passed'] else 'not passed'}")
    return 0 if result["passed"] else 1


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
