"""Train somebody else's code on 3m through a door of the stand-in, untouched, and keep its curve.

    VENV/bin/python tools/clients.py epymarl fast FOLDER      client; fast or exact; an unchanged clone of its repository

VENV holds `marl_nb[sc2]` and what the client needs, which the report lists. The run ends when more than 80 % of 128 greedy
battles are won, or after a million steps, and writes records/clients/CLIENT_DOOR.json.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from marl_nb.core.files import write_json

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
        f"--use_eval --eval_interval 8 --eval_episodes {BATTLES}",
        printed, ("gym", "wandb", "smac")),
}


def clean_commit(folder: Path) -> str:
    """The commit of a clone whose files are as committed; anything else is a `ValueError`."""
    ask = lambda *words: subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True).stdout
    if changed := ask("diff", "--name-only", "HEAD"): raise ValueError(f"folder: expected an unchanged clone, {changed}")
    return ask("rev-parse", "HEAD").strip()


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


def train(name: str, door: str, folder: Path, log: Path, seconds: float) -> dict:
    """Run a client until it has passed the bar, ends, or its time is up; what is recorded."""
    client, commit, began = CLIENTS[name], clean_commit(folder), time.time()
    flags = ["--fast"] * (door == "fast")
    command = [Path(sys.executable).with_name("marl-nb"), "standin", "run", *flags, "--", *client.command.split()]
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
        for process in [*processes(root)] if child.poll() is None else []: process.send_signal(signal.SIGTERM)
        child.wait()
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
    parser = argparse.ArgumentParser(prog="tools/clients.py", description="Train other codes on 3m with the stand-in.")
    parser.add_argument("client", choices=sorted(CLIENTS))
    parser.add_argument("door", choices=["fast", "exact"])
    parser.add_argument("folder", type=Path, help="an unchanged clone of the client")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--out", type=Path, default=ROOT / "records" / "clients")
    args = parser.parse_args(argv)
    name = f"{args.client}_{args.door}"
    args.out.mkdir(parents=True, exist_ok=True)
    result = train(args.client, args.door, args.folder, args.folder.parent / f"{name}.log", args.seconds)
    write_json(args.out / f"{name}.json", result)
    print(f"{name}: {'passed' if result['passed'] else 'not passed'} after {result['curve'][-1:]}")
    return 0 if result["passed"] else 1


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
