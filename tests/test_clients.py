"""The tool that runs other people's training codes: what it reads of them, and when it stops."""

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("clients", ROOT / "tools" / "clients.py")
clients = importlib.util.module_from_spec(spec)
spec.loader.exec_module(clients)


@pytest.fixture
def clone(tmp_path):
    """A repository whose program prints like on-policy and would go on for ever."""
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / "train.py").write_text("import time\nfor n, won in (3200, 0.5), (6400, 0.875):\n"
                                     "    print(f'total num timesteps {n}/10, FPS 1\\neval win rate is {won}.')\n"
                                     "print(flush=True)\ntime.sleep(600)\n")
    for words in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -qm one"):
        subprocess.run(["git", "-C", folder, *words.split()], check=True)
    return folder


def test_it_stops_when_the_bar_is_passed(clone, monkeypatch):
    client = clients.Client("a/b", "python train.py", clients.printed, ())
    monkeypatch.setitem(clients.CLIENTS, "made-up", client)
    found = clients.train("made-up", "fast", clone, clone.parent / "log", 60)
    assert found["passed"] and found["curve"] == [(3200, 0.5), (6400, 0.875)] and found["seconds"] < 60
    assert len(found["commit"]) == 40 and 0 < found["processor_seconds"] < 60
    monkeypatch.setitem(clients.VISITS, "made-up", ("a/b", "python -c pass"))
    assert clients.visit("made-up", "exact", clone, clone.parent / "log", 60)["passed"]
    (clone / "train.py").write_text("")
    with pytest.raises(ValueError, match=r"these files differ: train\.py"): clients.clean_commit(clone)


def test_what_sacred_has_written(tmp_path):
    where = tmp_path / "results" / "sacred" / "qmix" / "3m" / "1"
    where.mkdir(parents=True)
    assert clients.sacred(tmp_path, "", 0) == []
    tests = {"test_battle_won_mean": [0.0, {"dtype": "float64", "value": 0.75}], "test_battle_won_mean_T": [21, 20_021]}
    (where / "info.json").write_text(json.dumps(tests))
    assert clients.sacred(tmp_path, "", 0) == [(21, 0.0), (20_021, 0.75)]
    (where / "info.json").write_text('{"test_battle')
    assert clients.sacred(tmp_path, "", 0) == []
