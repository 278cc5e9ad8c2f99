"A peer's process: how it ends, and what an interrupted installation leaves."

import os
import select
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest

from marl_nb.core.peers import STAMP, Peer, peer_python

PID = "import os\ndef measure(request): return os.getpid()"


def alive(pid):
    "Whether a process that is no child of ours still runs."
    with suppress(ProcessLookupError, FileNotFoundError), open(f"/proc/{pid}/stat") as file:
        return file.read().split(") ")[1][0] != "Z"
    return False


def test_a_closed_peer_is_gone():
    with Peer(sys.executable, PID) as peer:
        pid = peer.ask()
        assert alive(pid)
    assert not alive(pid)
    peer.close()


def test_a_peer_that_is_killed_is_reported():
    with Peer(sys.executable, PID) as peer:
        os.kill(peer.ask(), signal.SIGKILL)
        with pytest.raises(RuntimeError, match="peer: the process ended with status -9"): peer.ask()
        with pytest.raises(RuntimeError, match="peer: the process has ended"): peer.ask()


def test_a_peer_that_does_not_answer_is_stopped():
    with Peer(sys.executable, PID + "\nimport threading\ndef measure(r): threading.Event().wait()", timeout=20) as peer:
        peer.timeout = 0.1
        with pytest.raises(TimeoutError, match=r"peer: no answer within 0\.1 s"): peer.ask()
        assert not alive(peer._process.pid)


def test_a_peer_that_ignores_the_end_of_its_input_is_killed(monkeypatch):
    peer = Peer(sys.executable, "import atexit, threading\natexit.register(threading.Event().wait)\n" + PID)
    wait = peer._process.wait
    monkeypatch.setattr(peer._process, "wait", lambda timeout=None: wait(0.1 if timeout else None))
    pid = peer.ask()
    peer.close()
    assert not alive(pid) and peer._process.returncode == -signal.SIGKILL


def test_a_peer_ends_with_the_process_that_started_it():
    code = f"""import os, sys
from marl_nb.core.peers import Peer
print(Peer(sys.executable, {PID!r}).ask(), flush=True)
os._exit(0)"""
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    with suppress(ProcessLookupError):  # gone already
        descriptor = os.pidfd_open(pid)
        assert select.select([descriptor], [], [], 20)[0], "the peer is still there"
        os.close(descriptor)


def test_a_long_answer_arrives_whole():
    with Peer(sys.executable, "def measure(n): return 'x' * n") as peer: assert peer.ask(1 << 20) == "x" * (1 << 20)


def test_an_installation_that_was_killed_starts_again(tmp_path, monkeypatch):
    monkeypatch.setenv("MARL_NB_PEERS", str(tmp_path))
    code = textwrap.dedent("""
        import os, signal
        from marl_nb.core import peers
        install = peers._install
        def killed(what, command):
            install(what, command)
            os.kill(os.getpid(), signal.SIGKILL)
        peers._install = killed
        peers.peer_python("quark", ["quark==1.0"])
    """)
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    folder = tmp_path / "quark-1.0"
    assert (folder / "bin" / "python").exists() and not (folder / STAMP).exists()
    (folder / "left over").touch()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RuntimeError, match="pip failed: .*quark==1.0"): peer_python("quark", ["quark==1.0"])
    assert not (folder / "left over").exists() and not (folder / STAMP).exists()
