"""The command `marl-nb induction`: what it refuses, says, and does with a folder that has something in it."""

import pytest

from marl_nb.core.cli import main
from marl_nb.induction import commands, neural
from marl_nb.induction.commands import solve
from marl_nb.induction.multigrid import load

RUN = ["induction", "--world", "three_way", "--steps", "3", "--disk"]


def test_a_finished_folder_is_opened_and_a_damaged_one_is_named(tmp_path, capsys):
    assert main([*RUN, str(tmp_path)]) == 0
    assert "estimate: " in capsys.readouterr().out
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.arrow")}
    for more in ([], ["--workers", "2"]):
        assert main([*RUN, str(tmp_path), *more]) == 0
        assert "both phases are finished in this folder" in capsys.readouterr().out
    assert times == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.arrow")}
    for phase, step in (("human", 1), ("robot", 2)):
        path = tmp_path / phase / f"level_0000{step}.arrow"
        good = path.read_bytes()
        path.write_bytes(good[:-50])
        for more in ([], ["--workers", "2"]):
            assert main([*RUN, str(tmp_path), *more]) == 2
            assert f"{path}: expected {len(good)} bytes, got {len(good) - 50}; delete it" in capsys.readouterr().err
        path.unlink()  # as the message says
        assert main([*RUN, str(tmp_path)]) == 0
        assert path.read_bytes() == good


def test_the_states_of_a_finished_folder_are_checked(tmp_path, capsys):
    assert main([*RUN, str(tmp_path)]) == 0
    states = tmp_path / "human" / "states.arrow"
    states.write_bytes(states.read_bytes()[:-50])
    assert main([*RUN, str(tmp_path)]) == 2
    assert "states.arrow: " in capsys.readouterr().err


def test_a_damaged_level_is_named_before_the_rest_is_computed(tmp_path):
    world = load("three_way", 3)
    solve(world, tmp_path, quiet=True)
    (tmp_path / "human" / "level_00000.arrow").unlink()
    (tmp_path / "robot" / "level_00000.arrow").unlink()
    path = tmp_path / "robot" / "level_00001.arrow"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="level_00001.arrow: damaged"): solve(world, tmp_path, quiet=True)
    assert not (tmp_path / "human" / "level_00000.arrow").exists()


def test_networks_take_one_process_and_say_what_they_will_take(tmp_path, capsys, monkeypatch):
    with pytest.raises(SystemExit): main([*RUN, str(tmp_path), "--neural", "--workers", "2"])
    assert "--workers: expected 1 with --neural, got 2" in capsys.readouterr().err
    small = neural.NeuralConfig(states=40, updates=3, width=16)
    monkeypatch.setattr(neural, "NeuralConfig", lambda *a, **k: small)
    assert commands.solve_with_networks(load("three_way", 2), tmp_path).exists()
    first = capsys.readouterr().out.splitlines()[0]
    assert "2 steps" in first and "3 updates of 256 states; estimate: " in first


def test_too_little_memory_is_told_with_numbers_before_the_search_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(commands.MemoryMonitor, "budget", lambda self: 1000)
    assert main(["induction", "--world", "hall", "--disk", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "MB are allowed" in said.err and "estimate" not in said.out and not any(tmp_path.iterdir())
