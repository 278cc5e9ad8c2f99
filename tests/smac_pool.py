"""Game processes that are killed: a training that goes on, and what launches leave behind; each prints one JSON line.

    python tests/smac_pool.py training --lanes 8 --seconds 120 --every 5        MAPPO on 3m while lanes are killed
    python tests/smac_pool.py launches --count 200                              the stand-in, ended in four ways

Without the game and smac the lanes of a training play the fast double; `--server` wants SC2PATH and smac.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from marl_nb.mappo.config import MAPPOConfig
from marl_nb.mappo.training import train
from marl_nb.smac import make
from marl_nb.smac.server import install
from marl_nb.smac.standin import standin

CONFIG = MAPPOConfig(rollout_steps=32, hidden_size=32, epochs=2, total_steps=10**9)


class Clock:
    """A callback that ends a training when its time is over, and counts."""

    def __init__(self, seconds: float):
        self.end, self.steps, self.lost, self.ended = time.monotonic() + seconds, 0, 0, 0

    def before(self, step, action):
        if time.monotonic() > self.end:
            self.end = float("inf")     # a second signal would end the process
            signal.raise_signal(signal.SIGTERM)

    def after(self, step):
        assert not (step.lost & step.won).any() and not step.reward[step.lost].any()
        self.steps, self.lost = self.steps + len(step.reward), self.lost + int(step.lost.sum())
        self.ended += int((step.done & ~step.lost).sum())

    def row(self): return {"lost": self.lost}


def killer(env, every: float, stop: threading.Event, killed: list[str]) -> None:
    """Kill a random lane's game, its Python, or all of it, every so many seconds."""
    rng = np.random.default_rng(0)
    while not stop.wait(every):
        process = env.processes[rng.integers(env.n_envs)].process
        with contextlib.suppress(psutil.Error, OSError):
            games = psutil.Process(process.pid).children()
            kind = rng.choice(["game", "process", "group"]) if games else "process"
            if kind == "game": games[0].kill()
            elif kind == "process": process.send_signal(signal.SIGKILL)
            else: os.killpg(process.pid, signal.SIGKILL)
            killed.append(str(kind))


def leftovers(processes: list[psutil.Process], folders: list[str], ports: set[int] = frozenset()) -> dict[str, int]:
    """What is still there of processes, folders and ports."""
    psutil.wait_procs(processes, timeout=20)
    return {"processes": sum(p.is_running() for p in processes), "folders": sum(map(os.path.exists, folders)),
            "ports": sum(map(taken, ports))}


def known(*pids: int) -> list[psutil.Process]:
    """Processes that are there now; numbers are used again, so a number says nothing later."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess): found.append(psutil.Process(pid))
    return found


def taken(port: int) -> bool:
    """Whether somebody listens on a port."""
    with socket.socket() as s: return s.connect_ex(("127.0.0.1", port)) == 0


def training(lanes: int, seconds: float, every: float, spares: int, server: bool) -> dict:
    """Train MAPPO while lanes are killed; what it did, and what is left."""
    stop, killed, folder = threading.Event(), list[str](), tempfile.mkdtemp(prefix="marl-nb-pool-")
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    with contextlib.nullcontext() if server else standin(fast=True):
        env = make("3m", lanes, "sc2", seed=1, spares=spares)
    clock, start = Clock(seconds), time.monotonic()
    thread = threading.Thread(target=killer, args=(env, every, stop, killed), daemon=True)
    thread.start()
    with tempfile.TemporaryDirectory() as out:
        with contextlib.suppress(SystemExit):
            train(replace(CONFIG, minibatches=1), env, out=out, progress=False, callbacks=[clock])
        kept = sorted(p.name for p in Path(out).iterdir())
    stop.set()
    thread.join()
    children = psutil.Process().children(recursive=True)
    env.close()
    left = leftovers(children, [str(p) for p in Path(folder).glob("marl-nb-game-*")])
    shutil.rmtree(folder)
    return {"lanes": lanes, "spares": spares, "seconds": round(time.monotonic() - start, 1),
            "killed": {k: killed.count(k) for k in sorted(set(killed))},
            "env_steps": clock.steps, "episodes": clock.ended, "lost_episodes": int(env.lost_episodes.sum()),
            "restarts": int(env.restarts.sum()), "checkpoint": "checkpoint.safetensors" in kept,
            "left": left}


CLIENT = """
import os, sys
from absl import flags
flags.FLAGS.mark_as_parsed()
from pysc2 import run_configs
process = run_configs.get().start(want_rgb=False)
print(process.pid, process._tmp_dir, process.port, flush=True)
if sys.argv[1] == "quit": process.close()
else: sys.stdin.read()
"""
WAYS = ("quit", "client", "server", "both")  # a clean quit; SIGKILL to one, the other, or both


def launch(way: str, env: dict[str, str]) -> tuple[list[psutil.Process], str, int]:
    """Start the stand-in as pysc2 does and end it; its processes, temporary folder and port."""
    client = subprocess.Popen([sys.executable, "-c", CLIENT, way], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, env=env)
    pid, temporary, port = client.stdout.readline().split()
    processes = known(int(pid), client.pid)
    if way in ("server", "both"): os.kill(int(pid), signal.SIGKILL)
    if way in ("client", "both"): client.kill()
    client.communicate()     # closes its stdin: where the server alone is gone, the client ends by itself
    return processes, temporary, int(port)


def launches(count: int, ways: tuple[str, ...] = WAYS) -> dict:
    """Start and end the stand-in in several ways; what is left of each."""
    with tempfile.TemporaryDirectory(prefix="marl-nb-launches-") as folder:
        scratch = Path(folder, "tmp")
        scratch.mkdir()
        env = {**os.environ, "SC2PATH": str(install(Path(folder, "SC2"))), "TMPDIR": str(scratch)}
        start, done = time.monotonic(), {way: [launch(way, env) for _ in range(count // len(ways))] for way in ways}
        seconds = round(time.monotonic() - start, 1)
        left = {way: leftovers(sum((p for p, *_ in found), []), [f for _, f, _ in found], {p for *_, p in found})
                for way, found in done.items()}
        files = len(list(scratch.iterdir())) - left.get("both", {"folders": 0})["folders"]
        return {"launches": sum(map(len, done.values())), "seconds": seconds, "left": left, "other files": files}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["training", "launches"])
    for name, default in (("lanes", 8), ("seconds", 120.0), ("every", 5.0), ("spares", 3), ("count", 200)):
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--server", action="store_true")
    args = parser.parse_args()
    if args.what == "launches": done = launches(args.count)
    else: done = training(args.lanes, args.seconds, args.every, args.spares, args.server)
    print(json.dumps(done), flush=True)
