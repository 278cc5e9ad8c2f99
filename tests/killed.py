"""Trainings that kill themselves at a step, in a process of their own, and their logs."""

import subprocess
import sys
from pathlib import Path

import pandas as pd

from marl_nb.mappo.training import MEASURED

BATTLES = """
import os, signal, sys
from marl_nb import smac

class Battles(smac.BattleEnv):
    left = int(sys.argv[2])

    def step(self, actions):
        self.left -= 1
        if not self.left: os.kill(os.getpid(), signal.SIGKILL)
        return super().step(actions)

scenario = smac.scenarios.get("3m")
where = dict(env=Battles(scenario, n_envs=16, threads=1), eval_env=smac.make(scenario, n_envs=8, threads=1),
             out=sys.argv[1], resume=True, progress=False)
"""


def run(script: str, out: Path, kill_at: int = 0, *more: str) -> int:
    """Train, killed at the `kill_at`-th step of all lanes; the exit status. A script begins after `BATTLES`."""
    return subprocess.run([sys.executable, "-c", BATTLES + script, str(out), str(kill_at), *more],
                          timeout=600).returncode


def rows(out: Path, name: str) -> pd.DataFrame:
    """A log without what depends on the clock."""
    table = pd.read_csv(out / name)
    return table.drop(columns=[c for c in table if c in MEASURED])
