"""The arena as a simulator: the A/A gate, MAPPO on it, and lanes that do not know of each other."""

from dataclasses import replace

import numpy as np
import pytest

from marl_nb.core.protocols import RandomPolicy
from marl_nb.core.seeding import lane_keys
from marl_nb.counterfactual.snapshots import RestoreError, check_restore, record_episodes
from marl_nb.curriculum.config import ArenaConfig, Recipe, arena_config, old_arena, small_arena
from marl_nb.curriculum.simulator import ArenaSimulator
from marl_nb.mappo.training import MEASURED, debug_config, train

ROOM = replace(old_arena(), rooms=1, room_size=9, border=1, agents_per_room=4, window=5, max_tokens=80, max_steps=40,
               objects={"mine": 4, "generator": 3, "altar": 2, "wall": 3, "block": 2})


def test_the_gate():
    """A restored arena goes on to the bit, and new chance (who goes first, what is lost) makes a difference."""
    mine = Recipe({}, {"ore_red": 1}, initial_resource_count=5)
    crowd = replace(ROOM, room_size=5, agents_per_room=8, objects={"mine": 8}, recipes={"mine": mine},
                    resource_loss=0.1)
    sim = ArenaSimulator(crowd, n_envs=5, threads=1)
    states = record_episodes(RandomPolicy(), sim, seed=1, greedy=False)
    gate = check_restore(RandomPolicy(), sim, states)
    assert (gate.kind, gate.points, gate.draws) == ("to the bit", 5 * 40, 5)
    assert gate.distinct > 1


def test_the_gate_notices():
    """A simulator that loses the agents' inventories when it goes back does not pass."""
    class Forgetful(ArenaSimulator):
        def restore(self, snapshots, lanes=None, noise=None):
            super().restore(snapshots, lanes, noise)
            self.arena._state.inventory[:] = 0
            return self._time_step(fresh=True)

    sim = Forgetful(replace(ROOM, recipes={}, rewards={"ore_red": 1.0}), n_envs=4, threads=1)
    states = record_episodes(RandomPolicy(), sim, seed=1, greedy=False)
    assert states.reward.max() > 0  # somebody took something
    with pytest.raises(RestoreError): check_restore(RandomPolicy(), sim, states)


def test_lanes_do_not_depend_on_their_number():
    """The first lanes of many are the lanes of few."""
    few, many = ArenaSimulator(ROOM, 2, threads=1), ArenaSimulator(ROOM, 7, threads=2)
    a, b = few.reset(3), many.reset(3)
    for t in range(90):
        actions = RandomPolicy().act(b, None, lane_keys(0, t, 7)).actions
        a, b = few.step(actions[:2]), many.step(actions)
        for name, value in vars(a).items(): np.testing.assert_array_equal(value, getattr(b, name)[:2], err_msg=name)


@pytest.mark.parametrize("truncates", [False, True])
def test_ends_and_rewards(truncates):
    """Terminal or truncation as configured; a team's returns are its rewards; `won` is a heart."""
    config: ArenaConfig = arena_config({"max_steps": 7, "truncates": truncates}, small_arena())
    sim = ArenaSimulator(config, 1)
    heart = [9, 48, 36, 9, 47, 36, 9]  # take, right, put, take, left, put, take
    for actions, won in ((heart, True), ([27] * 7, False)):
        steps = [sim.step(np.array([[a]])) for a in actions[:-1]]
        assert not steps[-1].done.any()
        last = sim.step(np.array([[actions[-1]]]))
        assert (last.terminated[0], last.truncated[0]) == (not truncates, truncates)
        assert (last.won[0], last.episode_length[0]) == (won, 7)
        np.testing.assert_allclose(last.episode_return[0], 1.0 if won else 0.0, atol=1e-6)
        assert last.obs[0, 0, 5] == 0 and last.final_obs[0, 0, 5] == 1.0  # how far the episode is
        assert last.final_obs[0, 0, 9] == (1 / 8 if won else 0)  # one heart is held


@pytest.mark.parametrize("split", [False, True])
def test_mappo_trains_on_it(split, tmp_path):
    """Two rounds of MAPPO, stopped between them and resumed from the checkpoint: the same as in one go."""
    def run(steps, folder, resume=False):
        sims = (ArenaSimulator(ROOM, n, threads=1, split=split) for n in (2, 1))
        config = debug_config(total_steps=steps, checkpoint_interval=1)
        return train(config, *sims, folder, resume=resume, progress=False)

    lanes = 8 if split else 2
    whole = run(64 * lanes, tmp_path / "whole")
    run(32 * lanes, tmp_path / "parts")
    again = run(64 * lanes, tmp_path / "parts", resume=True)
    assert whole.env_steps == again.env_steps == 64 * lanes and len(whole.progress) == 2
    numbers = [{k: v for k, v in row.items() if k not in MEASURED} for row in (whole.progress[-1], again.progress[-1])]
    assert numbers[0] == numbers[1] and np.isfinite(list(numbers[0].values())).any()
