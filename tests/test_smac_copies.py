"""A copied environment steps with the machine code that is there, in this process and in others."""

import copy
import os
import pickle
import subprocess
import sys

import pytest

from marl_nb.smac import make
from marl_nb.smac.lanes import take_lanes

COPIES = {"pickle": lambda env: pickle.loads(pickle.dumps(env)), "deepcopy": copy.deepcopy}
CHILD = """
import pickle, sys
env = pickle.load(open(sys.argv[1], "rb"))
from marl_nb.smac.lanes import take_lanes
env.step(env.time_step.available_actions.argmax(-1))
print(len(take_lanes.signatures), sum(take_lanes.stats.cache_misses.values()))
"""


def step(env):
    """Every agent takes its first available action."""
    return env.step(env.time_step.available_actions.argmax(-1))


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", ["3m", "2s_vs_1sc"])  # without and with ways round obstacles
def test_no_second_signature(name, how):
    env = make(name, n_envs=2, threads=1)
    step(env)
    compiled = len(take_lanes.signatures)
    other = COPIES[how](env)
    step(env), step(other)
    assert len(take_lanes.signatures) == compiled
    assert other.fingerprint() == env.fingerprint()


def test_a_new_process_loads_what_is_compiled(tmp_path):
    env = make("2s_vs_1sc", n_envs=2, threads=1)
    step(env)
    (tmp_path / "env.pickle").write_bytes(pickle.dumps(env))
    run = subprocess.run([sys.executable, "-c", CHILD, tmp_path / "env.pickle"], capture_output=True, text=True)
    assert run.stdout.split() == ["1", "0"], run.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_compiles_nothing():
    env = make("2s_vs_1sc", n_envs=2, threads=1)
    step(env)
    compiled, (read, write) = len(take_lanes.signatures), os.pipe()
    if os.fork() == 0:
        step(copy.deepcopy(env))
        os.write(write, str(len(take_lanes.signatures)).encode())
        os._exit(0)
    os.wait()
    assert int(os.read(read, 100)) == compiled
