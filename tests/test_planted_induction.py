"""Planted faults of `induction` that no test saw (tools/faults.py), each with a test that sees it."""

import os
from dataclasses import replace

import numpy as np
import pytest

from marl_nb.induction.dictionaries import list_states
from marl_nb.induction.game import world_digest
from marl_nb.induction.memory import Plan, fit_part
from marl_nb.induction.multigrid import MultiGrid, load
from marl_nb.induction.slices import Sink, write_states
from marl_nb.induction.solve import compute_human_policy_prior, compute_robot_policy


def test_after_the_last_step_nobody_attains_anything_more():
    prior = compute_human_policy_prior(load("three_way", 2), quiet=True, dtype="float32")
    end = compute_robot_policy(prior, quiet=True).human_values(2)
    np.testing.assert_array_equal(end, np.zeros((prior.game.space.sizes[2], prior.game.n_columns), np.float32))
    assert end.dtype == np.float32


def test_without_a_folder_the_files_get_one_named_by_what_is_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prior = compute_human_policy_prior(load("three_way", 2), use_disk_slicing=True, quiet=True)
    (manifest,) = tmp_path.glob("runs/induction/*/human/manifest.json")
    assert manifest.parent == prior.store.folder.resolve()


def test_levels_are_on_the_disk_before_they_get_their_name(tmp_path, monkeypatch):
    """What a power failure would show: the file is synchronised after the last byte and before it is closed."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda f: synced.append(os.fstat(f)))
    sink = Sink(tmp_path / "level")
    sink.write(b"12345")
    assert not synced
    sink.sync()
    there = os.stat(tmp_path / "level")
    assert [(s.st_ino, s.st_size) for s in synced] == [(there.st_ino, 5)] and sink.file.closed


def test_a_plan_that_fits_with_files_says_so_and_how_much_that_is():
    plan = Plan(sizes=(2000,) * 1000, n_actions=4, n_humans=1, n_robots=1, n_columns=10, phases=(1,))
    files = replace(plan, on_disk=True).peak
    assert 2 * files < plan.peak
    with pytest.raises(MemoryError, match=rf"are allowed; with files \(use_disk_slicing=True\) {files / 1e6:,.0f} MB$"):
        fit_part(plan, files)
    with pytest.raises(MemoryError, match="a shorter horizon, fewer goals or more memory is needed$"):
        fit_part(replace(plan, on_disk=True), 10**6)


def test_worlds_that_only_move_differently_are_told_apart():
    """The rules of a world of one's own are code that no attribute shows."""
    def world(backwards):
        class Own(MultiGrid):
            def successors(self, states, step):
                moves = super().successors(states, step)
                return moves._replace(states=moves.states[:, ::-1]) if backwards else moves

        found = load("three_way", 2)
        found.__class__ = Own
        return found

    assert world_digest(world(False)) == world_digest(world(False)) != world_digest(world(True))


def test_states_are_compressed(tmp_path):
    level = np.repeat(np.arange(1000, dtype=np.uint64), 20)[:, None]
    write_states(tmp_path / "states.arrow", [level])
    assert (tmp_path / "states.arrow").stat().st_size < level.nbytes / 10


def test_agents_in_lists_are_neither_gone_nor_paused_and_carry_nothing():
    """What never changes here of the agents of a grid world: terminated, started, paused, and three for the load."""
    for _, agents, *_ in list_states(compute_human_policy_prior(load("three_way", 2), quiet=True).game.space):
        assert {agent[3:] for agent in agents} == {(False, True, False, None, None, None)}
