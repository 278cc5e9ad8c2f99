"""The stand-in as a process: nothing is left of it, whatever happens; unmodified smac plays on it."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from s2clientprotocol import sc2api_pb2 as sc
from test_smac_exact import installed

from marl_nb.smac.sc2 import INSTALL
from marl_nb.smac.server import install, reply
from marl_nb.smac.session import Session

CLIENT = """
import os, sys
from absl import flags
flags.FLAGS.mark_as_parsed()
from pysc2 import run_configs
process = run_configs.get().start(want_rgb=False)
print(process.pid, process._tmp_dir, flush=True)
sys.stdin.read()
"""
SMAC = """
import numpy as np
from smac.env import StarCraft2Env
env = StarCraft2Env(map_name="3m", seed=1)
rng = np.random.default_rng(0)
for _ in range(2):
    env.reset()
    terminated = False
    while not terminated:
        _, terminated, _ = env.step([rng.choice(np.flatnonzero(a)) for a in env.get_avail_actions()])
env.save_replay()
print(env.get_stats())
env.close()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return install(tmp_path_factory.mktemp("sc2") / "SC2")


def gone(pid: int, seconds: float = 20.0) -> bool:
    """Whether the process ends within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try: os.kill(pid, 0)
        except OSError: return True
        time.sleep(0.1)
    return False


def test_a_killed_client_leaves_nothing(folder):
    client = subprocess.Popen([sys.executable, "-c", CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "SC2PATH": str(folder)})
    pid, temporary = client.stdout.readline().split()
    assert os.path.isdir(temporary) and not gone(int(pid), 0.2)
    client.send_signal(signal.SIGKILL)
    client.wait()
    assert gone(int(pid)) and not os.path.exists(temporary)


def test_unmodified_smac(folder, tmp_path):
    if not installed("smac"): pytest.skip(f"needs smac: {INSTALL}")
    done = subprocess.run([sys.executable, "-c", SMAC], capture_output=True, text=True, cwd=tmp_path,
                          env={**os.environ, "SC2PATH": str(folder)})
    assert done.returncode == 0, done.stderr[-2000:]
    assert "'battles_game': 2" in done.stdout and "'restarts': 0" in done.stdout
    assert list(folder.rglob("*.SC2Replay"))


@pytest.mark.soak
def test_a_hundred_thousand_mutated_messages():
    from marl_nb.smac.game import MAX_UNITS

    rng, session = np.random.default_rng(1), Session()
    create = sc.RequestCreateGame(local_map=sc.LocalMap(map_path="SMAC_Maps/32x32_flat.SC2Map"))
    create.player_setup.add(type=1)
    units = dict(create_unit=dict(unit_type=48, owner=1, pos=dict(x=9, y=9), quantity=2))
    parts = [dict(create_game=create), dict(join_game=sc.RequestJoinGame(race=1, options=dict(raw=True))),
             dict(debug=dict(debug=[units])), dict(step=dict(count=8)), dict(observation={}), dict(quick_save={}),
             dict(quick_load={}), dict(save_replay={}), dict(query={}), dict(action={}), dict(game_info={})]
    requests = [sc.Request(id=k, **part).SerializeToString() for k, part in enumerate(parts)]
    for _ in range(100_000):
        data = bytearray(requests[rng.integers(len(requests))])
        for _ in range(rng.integers(0, 4)): data[rng.integers(len(data))] = int(rng.integers(256))
        if rng.random() < 0.1: del data[rng.integers(len(data)) :]
        sc.Response.FromString(reply(session, bytes(data)))
        assert session.game is None or len(session.game.tags) <= MAX_UNITS
