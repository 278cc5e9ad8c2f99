"""The slow reading of SMAC's definitions, checked by hand: sizes of every map, small moments, upstream's oddities."""

import math

import pytest
from smac_definition import (
    ALLY_TYPES,
    ENEMY_TYPES,
    MAPS,
    Battle,
    Settings,
    Unit,
    available_actions,
    forget,
    in_cone,
    in_reach,
    in_view,
    killed_next,
    look,
    look_direction,
    max_reward,
    n_actions,
    obs_size,
    observation,
    outcome,
    reward,
    state,
    state_size,
)

HEALTH = {  # health, shield
    "marine": (45, 0), "marauder": (125, 0), "medivac": (150, 0), "stalker": (80, 80), "zealot": (100, 50),
    "colossus": (200, 150), "zergling": (35, 0), "baneling": (30, 0), "hydralisk": (80, 0),
}
SIZES = {  # actions, observation, state
    "3m": (9, 30, 48), "8m": (14, 80, 168), "25m": (31, 250, 950), "5m_vs_6m": (12, 55, 98), "8m_vs_9m": (15, 85, 179),
    "10m_vs_11m": (17, 105, 243), "27m_vs_30m": (36, 285, 1170), "MMM": (16, 160, 290), "MMM2": (18, 176, 322),
    "2s3z": (11, 80, 120), "3s5z": (14, 128, 216), "3s5z_vs_3s6z": (15, 136, 230), "1c3s5z": (15, 162, 270),
    "3s_vs_3z": (9, 36, 54), "3s_vs_4z": (10, 42, 61), "3s_vs_5z": (11, 48, 68), "2m_vs_1z": (7, 16, 26),
    "2s_vs_1sc": (7, 17, 27), "corridor": (30, 156, 282), "6h_vs_8z": (14, 78, 140), "bane_vs_bane": (30, 336, 984),
    "so_many_baneling": (38, 202, 397), "2c_vs_64zg": (70, 332, 342),
}
GENERATED = {  # the same for SMACv2's maps, plain and with cones
    "5_vs_5": ((11, 82, 120), (23, 84, 190)), "10_vs_10": ((16, 162, 290), (28, 164, 430)),
    "10_vs_11": ((17, 170, 306), (29, 172, 446)), "20_vs_20": ((26, 322, 780), (38, 324, 1060)),
    "20_vs_23": ((29, 346, 858), (41, 348, 1138)),
}
PROTOSS = {
    "5_vs_5": ((11, 92, 130), (23, 94, 200)), "10_vs_10": ((16, 182, 310), (28, 184, 450)),
    "10_vs_11": ((17, 191, 327), (29, 193, 467)), "20_vs_20": ((26, 362, 820), (38, 364, 1100)),
    "20_vs_23": ((29, 389, 901), (41, 391, 1181)),
}


def unit(kind="marine", x=16.0, y=16.0, **values):
    health, shield = HEALTH[kind]
    return Unit(kind, x, y, **{"health": health, "health_max": health, "shield": shield, "shield_max": shield} | values)


def battle(name, allies=None, enemies=None, **values):
    """A moment on a map; teams not given stand in the middle, of a kind that the map has."""
    facts = MAPS[name]
    some = {"marines": "marine", "zealots": "zealot", "stalkers": "stalker", "hydralisks": "hydralisk"}
    kind = some.get(facts.map_type, "colossus")
    ally, enemy = (types.get(facts.map_type, [kind])[0] for types in (ALLY_TYPES, ENEMY_TYPES))
    return Battle(
        allies or [unit(ally) for _ in range(facts.n_agents)], enemies or [unit(enemy) for _ in range(facts.n_enemies)],
        facts.limit, facts.races, facts.type_bits, facts.map_type, **values,
    )


def sizes(b, s):
    """Actions, observation and state by counting, and by looking."""
    counted = n_actions(b, s), obs_size(b, s), state_size(b, s)
    assert counted == (len(available_actions(b, s, 0)), len(observation(b, s, 0)), len(state(b, s)))
    return counted


@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_smac(name):
    assert sizes(battle(name), Settings()) == SIZES[name]


@pytest.mark.parametrize("name", [n for n in MAPS if n not in SIZES])
def test_sizes_of_smacv2(name):
    race, teams = name.split("_", 1)
    plain, conic = (PROTOSS if race == "protoss" else GENERATED)[teams]
    v2 = {"obs_own_pos": True, "use_unit_ranges": True}
    assert sizes(battle(name), Settings(**v2)) == plain
    assert sizes(battle(name), Settings(**v2, conic_fov=True)) == conic


def test_there_are_23_and_15_maps():
    assert len(SIZES) == 23 and len(MAPS) == 38


@pytest.mark.parametrize("more", [
    {"obs_last_action": True}, {"obs_pathing_grid": True, "obs_terrain_height": True}, {"obs_all_health": False},
    {"obs_all_health": False, "obs_own_health": False}, {"obs_timestep_number": True, "quirk_timestep_column": True},
    {"obs_instead_of_state": True, "obs_own_pos": True}, {"state_last_action": False, "state_timestep_number": True},
    {"conic_fov": True, "num_fov_actions": 8},
])
def test_sizes_hold_with_all_switches(more):
    for name in ("MMM", "2s3z", "3m"):
        agents = MAPS[name].n_agents
        for extra in ({}, {"attack_probs": [0.5] * agents}, {"health_levels": [0.5] * agents}):
            sizes(battle(name, **extra), Settings(**more))


def test_terran_agents_can_heal_a_larger_team():
    team, others = [unit("medivac"), *(unit() for _ in range(5))], [unit() for _ in range(3)]
    assert n_actions(battle("terran_5_vs_5", team, others), Settings()) == 12
    assert n_actions(battle("zerg_5_vs_5", team, others), Settings()) == 9
    assert available_actions(battle("terran_5_vs_5", team, others), Settings(), 0)[6:] == [0, 1, 1, 1, 1, 1]


def test_a_marine_sees_what_is_near():
    """3m by hand: enemy 0 in range, enemy 1 in sight, enemy 2 exactly at the rim of sight, ally 2 dead."""
    allies = [unit(x=10.5, y=16.5, health=9), unit(x=10.5, y=13.5), unit(x=11.0, y=16.0, health=0)]
    enemies = [unit(x=16.5, y=16.5, health=22.5), unit(x=10.5, y=23.5), unit(x=19.5, y=16.5)]
    b, s = battle("3m", allies, enemies), Settings()
    assert available_actions(b, s, 0) == [0, 1, 1, 1, 1, 1, 1, 0, 0]
    assert available_actions(b, s, 2) == [1] + [0] * 8
    assert list(observation(b, s, 0).values()) == pytest.approx(
        [1, 1, 1, 1] + [1, 6 / 9, 6 / 9, 0, 0.5] + [0, 7 / 9, 0, 7 / 9, 1] + [0] * 5
        + [1, 3 / 9, 0, -3 / 9, 1] + [0] * 5 + [0.2]
    )
    assert set(observation(b, s, 2).values()) == {0.0}
    row = state(b, s)
    assert list(row.values())[:4] == pytest.approx([0.2, 0, -5.5 / 32, 0.5 / 32])
    assert list(row.values())[8:12] == [0.0] * 4
    assert list(row.values())[12:15] == pytest.approx([0.5, 0.5 / 32, 0.5 / 32])
    assert list(row)[12:15] == ["enemy_health_0", "enemy_relative_x_0", "enemy_relative_y_0"]
    assert list(row.values())[21:] == [0.0] * 27


def test_last_actions_are_one_hot():
    b = battle("3m", last_actions=[6, 0, None])
    assert list(state(b, Settings()).values())[21:] == [0] * 6 + [1, 0, 0] + [1] + [0] * 8 + [0] * 9
    seen = observation(b, Settings(obs_last_action=True), 1)
    assert [seen[f"ally_last_action_0_action_{k}"] for k in range(9)] == [0] * 6 + [1, 0, 0]
    b.allies[0].health = 0
    assert not any(v for k, v in observation(b, Settings(obs_last_action=True), 1).items() if k.startswith("ally_last"))


def test_moves_shift_first_and_cut_towards_zero():
    """West of 0.5 is -0.5, whose integer part is 0: still on the map."""
    b = battle("3m", [unit(x=0.5, y=31.5), unit(x=5.9, y=5.1), unit()])
    b.pathing[5][4] = False
    assert available_actions(b, Settings(), 0)[2:6] == [0, 1, 1, 1]
    assert available_actions(b, Settings(), 1)[2:6] == [1, 0, 1, 1]


def test_the_ground_around():
    b = battle("3m", [unit(x=2.9, y=2.9), unit(), unit()])
    b.pathing[4][4] = b.pathing[2][6] = False
    b.height = [[x / 100 + y / 10 for y in range(32)] for x in range(32)]
    s = Settings(obs_pathing_grid=True, obs_terrain_height=True)
    row = list(observation(b, s, 0).values())
    assert row[4:12] == [0, 1, 1, 1, 0, 1, 1, 1]  # outside counts as walkable
    assert row[12:21] == pytest.approx([0.62, 1, 0.26, 1, 0.44, 0, 0.04, 0.4, 0.22])  # outside counts as 1


def test_health_of_all_shows_the_own_too():
    assert "own_health" in observation(battle("3m"), Settings(obs_own_health=False), 0)
    assert "own_health" not in observation(battle("3m"), Settings(obs_own_health=False, obs_all_health=False), 0)


def test_the_share_of_the_episode_is_shown_to_the_dead():
    b = battle("3m", [unit(health=0), unit(), unit()], steps=15)
    assert list(observation(b, Settings(obs_timestep_number=True), 0).values())[-1] == 0.25
    assert list(observation(b, Settings(obs_timestep_number=True), 1).values())[-2:] == [1, 0.25]
    wide = Settings(obs_timestep_number=True, quirk_timestep_column=True)
    assert list(observation(b, wide, 1).values())[-3:] == [1, 0, 0.25] and obs_size(b, wide) == 32
    assert list(state(b, Settings(state_timestep_number=True)).values())[-1] == 0.25


def test_stalkers_and_zealots_are_numbered_differently():
    kinds = ["stalker"] * 2 + ["zealot"] * 3
    row = state(battle("2s3z", [unit(k) for k in kinds], [unit(k) for k in kinds]), Settings())
    types = lambda team: [[row[f"{team}_unit_type_{i}_bit_{k}"] for k in range(2)] for i in range(5)]
    assert types("ally") == [[1, 0]] * 2 + [[0, 1]] * 3
    assert types("enemy") == [[0, 1]] * 2 + [[1, 0]] * 3
    assert row["ally_shield_0"] == row["enemy_shield_4"] == 1


def mmm(**values):
    allies = [unit("marauder") for _ in range(2)] + [unit() for _ in range(7)] + [unit("medivac", energy=50)]
    return battle("MMM", allies, [unit() for _ in range(9)] + [unit("medivac")], **values)


def test_a_medivac_heals():
    b, s = mmm(), Settings()
    b.allies[1].health, b.allies[2].x = 0, 22.5
    heal = [1, 0, 0] + [1] * 6 + [0]
    assert available_actions(b, s, 9)[6:] == heal
    assert available_actions(b, s, 0)[6:] == [1] * 10
    row = observation(b, s, 9)
    assert [row[f"enemy_shootable_{e}"] for e in range(10)] == heal  # ally e can be healed, shown at enemy e
    assert state(b, s)["ally_cooldown_9"] == 0.25  # energy
    assert [row[f"own_unit_type_bit_{k}"] for k in range(3)] == [0, 0, 1]


def test_smacv2_ranges_and_own_position():
    far = [unit("marauder", x=26), unit("medivac", x=27), *(unit(x=26) for _ in range(3))]
    b = battle("terran_5_vs_5", far, [unit() for _ in range(5)])
    s = Settings(use_unit_ranges=True, obs_own_pos=True)
    assert [in_view(b, s, a, b.enemies[0]) for a in range(3)] == [False] * 3  # exactly at the rim
    for ally in far: ally.x -= 0.01
    assert [in_view(b, s, a, b.enemies[0]) for a in range(3)] == [True, True, False]
    for ally, x in zip(far, (22, 20, 21, 21.01, 16), strict=True): ally.x = x
    assert [in_reach(b, s, a, b.enemies[0]) for a in range(5)] == [True, True, True, False, True]
    row = observation(b, s, 0)
    assert (row["own_pos_x"], row["own_pos_y"]) == (22 / 32, 0.5)
    assert list(row)[-6:] == ["own_health", "own_pos_x", "own_pos_y", *(f"own_unit_type_bit_{k}" for k in range(3))]
    swarm = battle("zerg_5_vs_5", [unit("zergling", x=18)] * 5, [unit("zergling")] * 5)
    assert in_reach(swarm, s, 0, swarm.enemies[0])  # 0.1, but at least min_attack_range
    assert not in_reach(swarm, Settings(use_unit_ranges=True, min_attack_range=1.9), 0, swarm.enemies[0])


def cone(direction, angle, gap=4.0):
    """Whether an agent that looks in one of 12 directions sees a unit at an angle in degrees."""
    s = Settings(conic_fov=True)
    turn = math.radians(angle)
    other = unit(x=16 + gap * math.cos(turn), y=16 + gap * math.sin(turn))
    b = battle("3m", [unit()] * 3, looks=[look_direction(direction, s)] * 3)
    return in_cone(b, s, 0, other, 9.0)


def seen_arc(direction):
    """The angles, in tens of degrees from 0, that an agent sees."""
    return [angle for angle in range(0, 360, 10) if cone(direction, angle)]


def test_cones_are_30_degrees_wide():
    assert [look_direction(i, Settings())[0] for i in (0, 3)] == pytest.approx([1, 0], abs=1e-12)
    for direction in range(12): assert cone(direction, 30 * direction + 14.9) and cone(direction, 30 * direction - 14.9)
    assert not cone(1, 45.1) and not cone(1, 14.9) and not cone(11, 345.1)
    s = Settings(conic_fov=True)
    b = battle("3m", [unit()] * 3)
    assert in_view(b, s, 0, unit(x=25.0)) and not in_view(b, s, 0, unit(x=25.01))  # the rim counts
    assert not in_view(b, Settings(), 0, unit(x=25.0))  # without a cone it does not


def test_cones_leak_to_the_other_side():
    """The view is brought to the other unit's side: east sees west, slanting views see a strip past the vertical."""
    assert seen_arc(0) == seen_arc(6) == [0, 10, 170, 180, 190, 350]
    assert seen_arc(1) == [20, 30, 40, 90, 100]
    assert seen_arc(2) == [50, 60, 70, 90, 100] and seen_arc(3) == [80, 90, 100] and seen_arc(4) == [80, 110, 120, 130]
    assert seen_arc(5) == [80, 140, 150, 160] and seen_arc(10) == [260, 270, 290, 300, 310]


def test_cones_bound_sight_and_attacks():
    s = Settings(conic_fov=True)
    looks = [look_direction(3, s), (1, 0), (1, 0)]
    b = battle("3m", [unit()] * 3, [unit(x=20.0), unit(y=20.0), unit(x=23.0)], looks=looks)
    assert available_actions(b, s, 0)[6:] == [1] * 12 + [0, 1, 0]
    assert available_actions(b, s, 1)[6:] == [1] * 12 + [1, 0, 0]
    row = observation(b, s, 0)
    assert [row[f"enemy_distance_{e}"] for e in range(3)] == [0, 4 / 9, 0]
    assert [row["own_fov_x"], row["own_fov_y"]] == pytest.approx([0, 1])
    assert [state(b, s)[k] for k in ("ally_fov_x_1", "ally_fov_y_1")] == [1, 0]


def test_without_action_mask_all_living_targets_are_offered():
    b = battle("3m", enemies=[unit(), unit(x=30.0), unit(health=0)])
    s = Settings(action_mask=False)
    assert available_actions(b, s, 0)[6:] == [1, 1, 0]
    b.enemies[1].x = 23.0
    row = observation(b, s, 0)
    assert [row[f"enemy_shootable_{e}"] for e in range(3)] == [1, 0, 0] and row["enemy_distance_1"] == 7 / 9


def test_masks_hide_health_shield_and_type():
    b = battle("protoss_5_vs_5", masked=[[e == 1 for e in range(5)]] * 5)
    row = observation(b, Settings(), 0)
    hidden = [k for k in row if k.startswith(("enemy_health", "enemy_shield", "enemy_unit_type")) and row[k] == 0]
    assert {k.split("_bit")[0] for k in hidden if "_1" in k.split("_bit")[0]} == {
        "enemy_health_1", "enemy_shield_1", "enemy_unit_type_1",
    }
    assert row["enemy_shootable_1"] == 1 and row["enemy_health_0"] == 1 and state(b, Settings())["enemy_health_1"] == 1


def test_capabilities():
    """A health level of 0.4 of 45: a marine with 27 shows 1/3 of what it can lose."""
    b = battle("terran_5_vs_5", [unit(health=27) for _ in range(5)], attack_probs=[0.1, 0.2, 0.3, 0.4, 0.5],
               health_levels=[0.4] * 5)
    for observe in (False, True):
        row = observation(b, Settings(observe_attack_probs=observe, observe_health_levels=observe), 0)
        about = [row[k] for k in ("ally_health_1", "ally_attack_prob_1", "ally_health_level_1")]
        assert about == pytest.approx([1 / 3, 0.2, 0.4] if observe else [0, 0, 0])
        own = ["own_health", "own_attack_prob", "own_health_level"]
        assert [row[k] for k in own] == pytest.approx([1 / 3, 0.1, 0.4])
    keys = list(state(b, Settings(conic_fov=True)))[:8]
    assert keys == [f"ally_{k}_0" for k in
                    ("health", "cooldown", "relative_x", "relative_y", "attack_prob", "health_level", "fov_x", "fov_y")]
    b.allies[0].health = 9
    assert state(b, Settings())["ally_health_0"] == pytest.approx(-1 / 3)
    assert killed_next(b) == [0] and available_actions(b, Settings(), 0)[1]  # it is killed in the next step


def test_types_of_teammates_can_be_hidden():
    row = observation(battle("zerg_5_vs_5"), Settings(observe_teammate_types=False), 0)
    assert [row[f"{k}_bit_0"] for k in ("own_unit_type", "ally_unit_type_1", "enemy_unit_type_1")] == [1, 0, 1]


def test_who_holds_an_enemy():
    b = battle("3m", [unit(x=x) for x in (16.0, 17.0, 2.0)], [unit(), unit(x=1.0), unit(health=0)])
    holder, sees = [None] * 3, [[False] * 3 for _ in range(3)]
    look(b, Settings(), holder, sees, 1, draw=lambda: False)
    look(b, Settings(), holder, sees, 0, draw=lambda: True)
    look(b, Settings(), holder, sees, 2, draw=lambda: True)
    assert holder == [1, 2, 1]
    assert sees == [[False, True, False], [True, True, True], [False, True, False]]
    b.sees = sees
    assert [observation(b, Settings(), a)["enemy_health_0"] for a in range(3)] == [0, 1, 0]
    assert observation(b, Settings(fully_observable=True), 0)["enemy_health_0"] == 1
    b.allies[1].health = 0
    forget(b, holder, sees)
    assert holder == [None, 2, None] and sees == [[False, True, False], [False] * 3, [False, True, False]]


def test_an_unseen_enemy_blanks_those_before_it():
    b = battle("3m", sees=[[True, False, True]] * 3)
    seen = lambda s: [observation(b, s, 0)[f"enemy_health_{e}"] for e in range(3)]
    assert seen(Settings()) == [1, 0, 1] and seen(Settings(quirk_enemy_block=True)) == [0, 0, 1]


def test_reward_of_one_step():
    """3m: the largest return is 30 + 200 + 135 = 365. Five points of damage and a kill of 9 are worth 24."""
    allies = [unit(before=45), unit(health=39, before=45), unit(health=0, before=6)]
    enemies = [unit(health=40, before=45), unit(health=0, before=9), unit(health=0, before=None)]
    b = battle("3m", allies, enemies)
    assert max_reward(b, Settings()) == 365
    assert reward(b, Settings(), None) == pytest.approx(24 * 20 / 365)
    assert reward(b, Settings(reward_scale=False), 1) == 224
    assert reward(b, Settings(reward_scale=False, reward_defeat=-50), -1) == -26
    assert reward(b, Settings(reward_scale=False, reward_defeat=-50), 0) == 24
    assert reward(b, Settings(reward_scale=False, reward_only_positive=False), None) == 24 - 0.5 * (12 + 10)
    assert reward(b, Settings(reward_sparse=True), 1) == pytest.approx(20 / 365)
    assert [reward(b, Settings(reward_sparse=True, reward_scale=False), code) for code in (None, 0, -1)] == [0, 0, -1]


def test_regeneration_is_rewarded_in_v1():
    b = battle("3s_vs_3z", enemies=[unit("zealot", shield=20, before=118)] * 3)
    assert reward(b, Settings(reward_scale=False), None) == 6
    assert reward(b, Settings(reward_scale=False, quirk_regeneration_reward=False), None) == 0
    assert reward(b, Settings(reward_scale=False, reward_only_positive=False, reward_negative_scale=0), None) == -6


def test_the_first_episode_scales_all():
    b = battle("protoss_5_vs_5", first_enemies=1000.0)
    assert max_reward(b, Settings()) == 1250 and max_reward(b, Settings(quirk_first_max_reward=False)) == 1050


def test_a_dead_unit_loses_its_shield_too():
    b = battle("3s_vs_3z", enemies=[unit("zealot", health=0, shield=30, before=40), unit("zealot", before=150)] * 2)
    assert reward(b, Settings(reward_scale=False), None) == 100


@pytest.mark.parametrize("name", ["3m", "MMM", "terran_5_vs_5"])
@pytest.mark.parametrize("allies, enemies, plain, v1, v2", [
    ("marine", "marine", None, None, None),
    ("marine", "", 1, 1, 1), ("", "marine", -1, -1, -1), ("", "", 0, -1, -1),
    ("marine", "medivac", None, 1, 1), ("marine", "medivac medivac", None, None, 1),
    ("marine", "medivac marine", None, None, None),
    ("medivac", "marine", None, -1, -1), ("medivac", "", 1, -1, -1), ("medivac", "medivac", None, -1, -1),
])
def test_outcome(name, allies, enemies, plain, v1, v2):
    team = lambda kinds: [unit(health=0), *(unit(kind) for kind in kinds.split())]
    b = battle(name, team(allies), team(enemies))
    assert outcome(b) == {"3m": plain, "MMM": v1, "terran_5_vs_5": v2}[name]
