"""Planted faults of `smac` that no test saw (tools/faults.py), each with a test that sees it."""

from dataclasses import replace

import numpy as np
import pytest
from s2clientprotocol import debug_pb2
from s2clientprotocol import sc2api_pb2 as sc

from marl_nb.smac import SMACEnv, make, scenarios
from marl_nb.smac.observation import score
from marl_nb.smac.options import Options, switches
from marl_nb.smac.orders import heuristic_action
from marl_nb.smac.session import Session, play_again
from marl_nb.smac.start import draw_groups
from marl_nb.smac.state import allocate, compile_rules, lane


def test_every_enemy_gets_a_place_in_a_group_on_a_diagonal():
    """All five in one place: surely with one group, in 2 of 2^5 cases with two; one to four groups as often."""
    rules = compile_rules(scenarios.get("terran_5_vs_5"), Options())
    battle, together, times = lane.py_func(allocate(rules, 1, Options()), 0), 0, 2000
    for _ in range(times):
        battle.x[:] = battle.y[:] = np.nan
        draw_groups.py_func(rules, battle)
        x, y = battle.x[5:] - 16, battle.y[5:] - 16
        np.testing.assert_allclose(abs(x), abs(y))
        assert (abs(x) >= 2).all() and 1 <= (places := len(set(zip(x, y, strict=True)))) <= 4
        together += places == 1
    expected = np.mean([k * k**-5.0 for k in range(1, 5)])
    assert together / times == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / times))


def test_the_heuristic_player_attacks_the_nearest_until_it_is_dead():
    options = Options(heuristic_ai=True)
    rules, o = compile_rules(scenarios.get("3m"), options), switches(options)
    battle = lane.py_func(allocate(rules, 1, options), 0)
    battle.unit["kind"][:], battle.unit["favourite"][:], battle.health[:] = rules.start[:, 0], -1, 45
    battle.x[:], battle.y[:] = (5, 5, 5, 9, 8, 10), (5, 6, 7, 5, 5, 5)
    chosen = lambda: heuristic_action(rules, o, battle, 0, 0)
    assert chosen() == 6 + 1  # six actions come before the attacks; of the distances 4, 3 and 5 the second is smallest
    battle.x[3] = 6
    assert chosen() == 6 + 1
    battle.health[4] = 0
    assert chosen() == 6 + 0
    battle.health[3:] = 0
    assert chosen() == 0  # no order


def test_a_reset_clears_the_outputs_of_both_sides():
    """What an episode left behind, such as its length, is gone on the side of the enemies too."""
    short = replace(scenarios.get("3m"), limit=2)
    env = make(short, control="both", autoreset=False, seed=0)
    for _ in range(2): env.step(env.time_step.available_actions.argmax(-1), env.rival.available_actions.argmax(-1))
    assert env.time_step.truncated.all() and env.rival.truncated.all() and (env.rival.episode_length == 2).all()
    env.reset()
    for side in (env.time_step, env.rival):
        for name in ("truncated", "terminated", "won", "reward", "episode_return", "episode_length", "dead_enemies"):
            assert not np.any(getattr(side, name)), name


def test_restoring_one_lane_leaves_the_others_as_they_are():
    env = make("3m", n_envs=2, seed=0)
    saved = env.snapshot([0])
    first, _ = env.fingerprint()
    env.step(env.time_step.available_actions.argmax(-1))
    _, second = env.fingerprint()
    env.restore(saved, [0])
    assert env.fingerprint() == [first, second]


def test_a_unit_with_half_a_point_of_health_has_not_died():
    options = Options(reward_scale=False)
    rules, o = compile_rules(scenarios.get("3m"), options), switches(options)
    battle = lane.py_func(allocate(rules, 1, options), 0)
    battle.unit["kind"][:], battle.unit["shield"][:] = rules.start[:, 0], 0
    reward = lambda: score(rules, o, battle, 0, 0)
    battle.unit["vitality"][:], battle.health[:] = 45, (45, 45, 45, 0.5, 45, 45)
    assert reward() == 44.5
    battle.health[3] = 0
    assert reward() == 45 + o.reward_death_value


def test_the_state_in_parts_has_the_time():
    env = SMACEnv("3m", state_timestep_number=True, seed=0)
    env.reset()
    env.step([1, 1, 1])
    parts = env.get_state_dict()
    assert parts["timestep"] == pytest.approx(1 / env.episode_limit) == env.get_state()[-1]
    assert sum(part.size for name, part in parts.items() if name != "timestep") == env.get_state_size() - 1


def test_a_replay_of_the_stand_in_has_what_was_killed_and_its_map_heights_of_a_byte():
    session = Session()
    create = sc.RequestCreateGame(local_map=sc.LocalMap(map_path="SMAC_Maps/3m.SC2Map"), random_seed=1)
    for kind in (1, 2): create.player_setup.add(type=kind, race=1)
    raw = sc.InterfaceOptions(raw=True)
    for request in (sc.Request(create_game=create), sc.Request(join_game=sc.RequestJoinGame(race=1, options=raw))):
        assert not session.answer(request).error
    raw = session.answer(sc.Request(game_info=sc.RequestGameInfo())).game_info.start_raw
    grids = [raw.pathing_grid, raw.terrain_height, raw.placement_grid]
    assert [g.bits_per_pixel for g in grids] == [1, 8, 1]
    assert all(len(g.data) * 8 == g.size.x * g.size.y * g.bits_per_pixel for g in grids)
    units = session.answer(sc.Request(observation=sc.RequestObservation())).observation.observation.raw_data.units
    kill = debug_pb2.DebugCommand(kill_unit=debug_pb2.DebugKillUnit(tag=[units[0].tag]))
    session.answer(sc.Request(debug=sc.RequestDebug(debug=[kill])))
    again = play_again(session.answer(sc.Request(save_replay=sc.RequestSaveReplay())).save_replay.data)
    assert again.alive.sum() == session.game.alive.sum() == len(units) - 1
