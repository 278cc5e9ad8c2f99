"""Send mutated messages and frames to a server of the stand-in, then play a battle on it; prints a line of JSON.

    python tests/smac_fuzz.py 100000
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import psutil
import websocket
from google.protobuf.message import DecodeError
from s2clientprotocol import debug_pb2, raw_pb2
from s2clientprotocol import sc2api_pb2 as sc

HOSTILE = ("../../../../etc/passwd", "/etc/passwd", "SMAC_Maps/../../x.SC2Map", "\0", "~/x", "SMAC_Maps/3m.SC2Map")


def requests() -> list[bytes]:
    """Every kind of request, of battles on two kinds of maps, and hostile paths."""
    unit = dict(unit_type=48, owner=1, pos=dict(x=9, y=9), quantity=2)
    order = raw_pb2.ActionRawUnitCommand(ability_id=23, unit_tags=[1, 2], target_unit_tag=7)
    walk = raw_pb2.ActionRawUnitCommand(ability_id=16, unit_tags=[3], target_world_space_pos=dict(x=9, y=9))
    act = lambda o: sc.RequestAction(actions=[sc.Action(action_raw=raw_pb2.ActionRaw(unit_command=o))])
    kill = debug_pb2.DebugCommand(kill_unit=debug_pb2.DebugKillUnit(tag=[1, 3]))
    parts = [dict(game_info={}), dict(observation={}), dict(action=act(order)), dict(action=act(walk)),
             dict(step=dict(count=8)), dict(step=dict(count=3)), dict(quick_save={}), dict(quick_load={}),
             dict(debug=dict(debug=[kill])), dict(debug=dict(debug=[dict(create_unit=unit)])), dict(save_replay={}),
             dict(query=dict(pathing=[dict(unit_tag=2, end_pos=dict(x=20, y=16))])), dict(ping={}), dict(data={}),
             dict(restart_game={}), dict(leave_game={}), dict(available_maps={}), dict(replay_info={})]
    for path in ("SMAC_Maps/2s3z.SC2Map", "SMAC_Maps/32x32_flat.SC2Map", *HOSTILE):
        create = sc.RequestCreateGame(local_map=sc.LocalMap(map_path=path, map_data=b"x"), random_seed=1)
        create.player_setup.add(type=1)
        create.player_setup.add(type=2, race=3)
        parts += [dict(create_game=create), dict(save_map=dict(map_path=path, map_data=b"x")),
                  dict(start_replay=dict(replay_path=path))]
    parts += [dict(join_game=sc.RequestJoinGame(race=race, options=dict(raw=True))) for race in (1, 2, 3)] * 3
    return [sc.Request(id=k, **part).SerializeToString() for k, part in enumerate(parts)]


def begin(path: str, race: int) -> list[bytes]:
    """The requests that begin a game."""
    create = sc.RequestCreateGame(local_map=sc.LocalMap(map_path=path), random_seed=1)
    create.player_setup.add(type=1)
    create.player_setup.add(type=2, race=race)
    join = sc.RequestJoinGame(race=race, options=dict(raw=True))
    return [sc.Request(create_game=create).SerializeToString(), sc.Request(join_game=join).SerializeToString()]


def quits(data: bytes) -> bool:
    """Whether a server that is told this has to end."""
    try: return sc.Request.FromString(data).WhichOneof("request") == "quit"
    except DecodeError: return False


def mutated(rng: np.random.Generator, data: bytes) -> bytes:
    """Some bytes changed, cut off, doubled or put in."""
    array = bytearray(data)
    for _ in range(rng.integers(0, 4)):
        i = int(rng.integers(0, len(array) + 1)) if array else 0
        what = rng.integers(4)
        if what == 0 and i < len(array): array[i] = int(rng.integers(256))
        elif what == 1 and rng.random() < 0.3: del array[i:]
        elif what == 2: array[i:i] = array[: int(rng.integers(1, 9))]
        elif what == 3: array[i:i] = rng.bytes(int(rng.integers(1, 5)))
    return bytes(array)


def battle(port: int, steps: int = 40) -> int:
    """A battle on 3m through the websocket: game loops that passed."""
    client = websocket.create_connection(f"ws://127.0.0.1:{port}/sc2api", timeout=60)
    turn = [sc.Request(step=dict(count=8)).SerializeToString(), sc.Request(observation={}).SerializeToString()]
    for data in begin("SMAC_Maps/3m.SC2Map", 1) + turn * steps:
        client.send_binary(data)
        answer = sc.Response.FromString(client.recv())
        assert not answer.error, answer.error
    client.close()
    return answer.observation.observation.game_loop


def noise(port: int, rng: np.random.Generator) -> None:
    """A connection that sends anything: before the handshake, or as frames after it."""
    with contextlib.suppress(OSError, websocket.WebSocketException):
        if rng.random() < 0.5:
            client = socket.create_connection(("127.0.0.1", port), timeout=5)
            head = b"GET /sc2api HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
            client.sendall(mutated(rng, head) if rng.random() < 0.7 else rng.bytes(200))
        else:
            client = websocket.create_connection(f"ws://127.0.0.1:{port}/sc2api", timeout=5)
            client.sock.sendall(mutated(rng, websocket.ABNF.create_frame(rng.bytes(40), 2).format()) + rng.bytes(20))
        client.close()


def start() -> tuple[subprocess.Popen, int]:
    """A server and its port."""
    program = "import sys; from marl_nb.smac.server import serve; sys.exit(serve(sys.argv[1:]))"
    server = subprocess.Popen([sys.executable, "-c", program, "-port", "0", "--with-parent"], stderr=subprocess.PIPE,
                              text=True, env={**os.environ})
    for line in server.stderr:
        if line.startswith("listening on"): return server, int(line.rsplit(":", 1)[1])
    raise RuntimeError("the server did not start")


def fuzz(count: int, seed: int = 0, per_connection: int = 100) -> dict:
    """Mutated messages, and one connection of noise for each connection of messages."""
    rng, (server, port), answered, errors, memory = np.random.default_rng(seed), start(), 0, 0, []
    process, kinds, began = psutil.Process(server.pid), requests(), time.monotonic()
    try:
        while answered < count:
            client = websocket.create_connection(f"ws://127.0.0.1:{port}/sc2api", timeout=60)
            game = begin(*(("SMAC_Maps/32x32_flat.SC2Map", 1), ("SMAC_Maps/2s3z.SC2Map", 3))[rng.integers(2)])
            for k in range(per_connection):
                data = game[k] if k < 2 else mutated(rng, kinds[rng.integers(len(kinds))])
                if quits(data): continue
                client.send_binary(data)
                errors += bool(sc.Response.FromString(client.recv()).error)
                answered += 1
            client.close()
            noise(port, rng)
            if answered % max(count // 10, per_connection) < per_connection:
                memory.append(round(process.memory_info().rss / 1e6, 1))
        return {"messages": answered, "errors": errors, "seconds": round(time.monotonic() - began), "megabytes": memory,
                "threads": process.num_threads(), "alive": server.poll() is None, "game_loops_after": battle(port)}
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__": print(json.dumps(fuzz(int(sys.argv[1]))))
