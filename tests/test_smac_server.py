"""The stand-in as a process: nothing is left of it, whatever happens; unmodified smac plays on it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import websocket
from smac_fuzz import battle, fuzz
from test_smac_exact import installed

from marl_nb.smac.sc2 import INSTALL
from marl_nb.smac.server import Api, Server, install, serve

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


def hand(port: int, request: bytes) -> bytes:
    """The first line of what a server says to a request, b"" if it closes without a word."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request)
        return client.recv(4096).split(b"\r\n")[0]


@pytest.fixture
def server(monkeypatch):
    """A server in this process that waits half a second for a handshake and takes three clients."""
    monkeypatch.setattr(Api, "timeout", 0.5)
    monkeypatch.setattr("marl_nb.smac.server.MAX_CLIENTS", 3)
    with Server("127.0.0.1", 0) as it:
        threading.Thread(target=it.serve_forever, args=(0.05,), daemon=True).start()
        yield it
        it.shutdown()


KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
GOOD = b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
HANDSHAKES = {  # what is sent -> the status, None: no word
    b"GET /sc2api HTTP/1.1\r\n" + GOOD + KEY + b"\r\n": 101,
    b"GET /sc2api HTTP/1.1\r\nOrigin: http://localhost:80\r\n" + GOOD + KEY + b"\r\n": 101,
    b"GET /sc2api HTTP/1.1\r\nOrigin: http://example.org\r\n" + GOOD + KEY + b"\r\n": 403,
    b"GET /sc2api HTTP/1.1\r\nOrigin: null\r\n" + GOOD + KEY + b"\r\n": 403,
    b"GET /sc2api HTTP/1.1\r\nOrigin: http://[\r\n" + GOOD + KEY + b"\r\n": 400,
    b"GET /sc2api HTTP/1.1\r\n" + GOOD + b"\r\n": 400,
    b"GET /sc2api HTTP/1.1\r\n" + GOOD + b"Sec-WebSocket-Key: short\r\n\r\n": 400,
    b"GET /sc2api HTTP/1.1\r\n" + GOOD.replace(b"13", b"8") + KEY + b"\r\n": 400,
    b"GET /sc2api HTTP/1.1\r\n\r\n": 400,
    b"GET /../../etc/passwd HTTP/1.1\r\n" + GOOD + KEY + b"\r\n": 404,
    b"POST /sc2api HTTP/1.1\r\n" + GOOD + KEY + b"\r\n": 501,
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n": 414,
    b"GET /sc2api HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % k for k in range(200)) + b"\r\n": 431,
    b"GET /sc2api HTTP/9\r\n\r\n": 400,
    b"\x16\x03\x01\x02 this is TLS\r\n\r\n": 400,
    b"GET /sc2api HTTP/1.1\r\nUpgrade": None,
    b"\xff" * 100: None,
}


def test_handshakes(server):
    for request, status in HANDSHAKES.items():
        line = hand(server.server_address[1], request)
        if status is None: assert line == b"", (request[:60], line)
        else: assert str(status).encode() in line, (request[:60], line)
    assert battle(server.server_address[1], 3) == 24


def test_stuck_clients_block_nobody_and_there_are_not_too_many(server):
    port = server.server_address[1]
    url = f"ws://127.0.0.1:{port}/sc2api"
    stuck = [websocket.create_connection(url, timeout=20) for _ in range(2)]
    for client in stuck: client.sock.sendall(b"\x82\xfe\x10\x00half a frame")
    assert battle(port, 3) == 24                                 # the third
    time.sleep(0.2)                                              # until its thread has ended
    stuck.append(websocket.create_connection(url, timeout=20))
    with pytest.raises((OSError, websocket.WebSocketException)): websocket.create_connection(url, timeout=20)
    for client in stuck: client.close()


def test_only_loopback(server):
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(ValueError, match="listen: expected one of 127.0.0.1, localhost, ::1 without --remote"):
        serve(["-listen", "192.168.0.1", "-port", "0"])


def test_nobody_there():
    program = "import sys; from marl_nb.smac.server import serve; sys.exit(serve(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", program, "-port", "0", "--idle", "0.5"], timeout=120)
    assert done.returncode == 0


NO_FILES = """
import sys, numpy as np
sys.path.insert(0, sys.argv[1])
from smac_fuzz import begin, mutated, requests
from marl_nb.smac.server import reply, warm_up
from marl_nb.smac.session import Session
warm_up()
rng, kinds, touched, watching = np.random.default_rng(3), requests(), [], False
for race in (1, 2, 3):
    session = Session()
    for data in begin("SMAC_Maps/32x32_flat.SC2Map", race): reply(session, data)
for data in kinds + begin("SMAC_Maps/2s3z.SC2Map", 3) + kinds: reply(session, data)
sys.addaudithook(lambda name, args: watching and name.split(".")[0] in ("open", "os", "shutil", "subprocess", "socket",
                 "glob", "tempfile", "pathlib", "import") and touched.append((name, str(args)[:80])))
watching = True
for _ in range(30):
    session = Session()
    for data in begin("SMAC_Maps/2s3z.SC2Map", 3): reply(session, data)
    for data in kinds: reply(session, data)
    for _ in range(60): reply(session, mutated(rng, kinds[rng.integers(len(kinds))]))
watching = False
print([t for t in touched if t[0] != "import"][:5])
"""


def test_no_message_reads_or_writes_a_file():
    done = subprocess.run([sys.executable, "-c", NO_FILES, os.path.dirname(__file__)], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr[-2000:]


def harmless(found: dict) -> bool:
    """Whether a server that was sent noise goes on as before."""
    start, end = found["megabytes"][len(found["megabytes"]) // 3], found["megabytes"][-1]
    return found["alive"] and found["game_loops_after"] == 320 and end < 1.1 * start and found["threads"] < 10


def test_a_sample_of_mutated_messages():
    assert harmless(found := fuzz(1500)), found


@pytest.mark.soak
def test_a_hundred_thousand_mutated_messages():
    assert harmless(found := fuzz(100_000)), found
