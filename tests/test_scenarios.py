"Every map's facts, ways round walls on real and random ground, and custom scenarios that are wrong in every way."

import copy
import dataclasses

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from marl_nb.smac import make, scenarios
from marl_nb.smac.terrain import RIMS, Terrain, in_sight, next_hops, terrain, way
from marl_nb.smac.units import package_data

TABLE = """3m 3 3 60 T/T 0|8m 8 8 120 T/T 0|25m 25 25 150 T/T 0|5m_vs_6m 5 6 70 T/T 0|8m_vs_9m 8 9 120 T/T 0
10m_vs_11m 10 11 150 T/T 0|27m_vs_30m 27 30 180 T/T 0|MMM 10 10 150 T/T 3|MMM2 10 12 180 T/T 3|2s3z 5 5 120 P/P 2
3s5z 8 8 150 P/P 2|3s5z_vs_3s6z 8 9 170 P/P 2|1c3s5z 9 9 180 P/P 3|3s_vs_3z 3 3 150 P/P 0|3s_vs_4z 3 4 200 P/P 0
3s_vs_5z 3 5 250 P/P 0|2m_vs_1z 2 1 150 T/P 0|2s_vs_1sc 2 1 300 P/Z 0|corridor 6 24 400 P/Z 0|6h_vs_8z 6 8 150 Z/P 0
bane_vs_bane 24 24 200 Z/Z 2|so_many_baneling 7 32 100 P/Z 0|2c_vs_64zg 2 64 400 P/Z 0""".replace("\n", "|").split("|")
MAPS = {n: (tuple(t["pathing"]), tuple(t["cliff_level"])) for n, t in package_data()["terrains"].items()}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.split()[0])
def test_table(row):
    name, n, m, limit, races, bits = row.split()
    s = scenarios.get(name)
    assert [s.n_agents, s.n_enemies, s.limit, s.unit_type_bits] == [int(v) for v in (n, m, limit, bits)]
    assert "/".join(s.races) == races
    assert len(s.positions) == len(s.team) == s.n_agents + s.n_enemies
    assert s.type_columns.shape == (2, len(s.kinds)) and s.type_columns.dtype == np.int64
    names = list(dict.fromkeys(u.name for u in s.kinds))              # an enemy's own kind shares its column
    wanted = list(range(len(names))) if s.unit_type_bits else [0]
    assert all(sorted(set(columns.tolist())) == wanted for columns in s.type_columns)
    allies = [(u.name, x, y) for u, x, y in s.placement[: s.n_agents]]
    assert allies == sorted(allies)


@pytest.mark.parametrize("race", ["terran", "protoss", "zerg"])
@pytest.mark.parametrize("sizes", [(5, 5), (10, 10), (10, 11), (20, 20), (20, 23)], ids=str)
def test_generated(race, sizes):
    plain, hidden = (scenarios.get(f"{race}_{sizes[0]}_vs_{sizes[1]}{end}") for end in ("", "_epo"))
    g = plain.generation
    assert (plain.n_agents, plain.n_enemies) == sizes == (g.n_units, g.n_enemies)
    assert (plain.limit, plain.unit_type_bits, plain.map_type) == (200, 3, f"{race}_gen")
    rare = {"terran": "medivac", "protoss": "colossus", "zerg": "baneling"}[race]
    assert {u.name: w for u, w in zip(g.units, g.weights, strict=True)}[rare] == 0.1
    excepted = [u.name for u, e in zip(g.units, g.exceptions, strict=True) if e]
    assert excepted == ([] if race == "protoss" else [rare])
    assert hidden.generation == g
    assert dict(hidden.defaults) == {**plain.defaults, "prob_obs_enemy": 0.0, "action_mask": False}
    for name in ("units", "unit_names", "positions", "radius", "health_max", "shield_max"):
        with pytest.raises(ValueError, match="drawn in every episode"): getattr(plain, name)


def random_ground(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random(rng.integers(3, 13, 2)) > rng.choice([0.05, 0.15, 0.35])


def sight_lengths(walkable: np.ndarray) -> np.ndarray:
    "[C, C] shortest ways by Dijkstra's algorithm on all pairs of cells in sight of each other."
    cells = np.argwhere(walkable)
    seen = np.array([[in_sight(walkable, *a, *b) for b in cells] for a in cells])
    length = np.where(seen, np.linalg.norm(cells[:, None] - cells[None], axis=-1), 0)
    return dijkstra(csr_matrix(length), directed=False)


def hop_lengths(cells: np.ndarray, hops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    "[C, C] lengths of the ways by hops, and the cells where they end."
    n = len(cells)
    at, goal, total = np.repeat(np.arange(n), n).reshape(n, n), np.arange(n)[None].repeat(n, 0), np.zeros((n, n))
    for _ in range(n):
        after = hops[at, goal].astype(int) if len(hops) else goal
        total += np.linalg.norm(cells[after] - cells[at], axis=-1)
        if (after == at).all(): break
        at = after
    return total, at


@pytest.mark.parametrize("seed", range(40))
def test_ways_are_the_shortest(seed):
    walkable = random_ground(seed)
    cells, shortest = np.argwhere(walkable), sight_lengths(walkable)
    total, end = hop_lengths(cells, next_hops(walkable))
    joined, region = np.isfinite(shortest), label(walkable)[0][walkable]
    assert (joined == (region[:, None] == region[None])).all()
    assert (end == np.arange(len(cells)))[joined].all()
    np.testing.assert_allclose(total[joined], shortest[joined], atol=1e-6)
    for a, b in np.argwhere(~joined)[:200]:  # as near as one gets
        mine = cells[region == region[a]]
        assert np.isclose(np.linalg.norm(cells[end[a, b]] - cells[b]), np.linalg.norm(mine - cells[b], axis=-1).min())


@pytest.mark.parametrize("seed", range(20))
def test_sight_is_what_a_sliding_square_meets(seed):
    walkable, rng = random_ground(seed), np.random.default_rng(seed)
    cells = np.argwhere(walkable)
    for a, b in rng.choice(cells, (50, 2)):
        t, corner = np.linspace(0, 1, 401)[:, None, None], np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) * 0.998 + 0.001
        touched = np.unique((a + t * (b - a) + corner).reshape(-1, 2).astype(int), axis=0)
        free = walkable[tuple(touched.T)].all()
        assert in_sight(walkable, *a, *b) == free == in_sight(walkable, *b, *a)


def arrivals(ground: Terrain, walkers: int, step: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    "Walk from random points to random points by hops; the distance walked, the way's length, whether they are there."
    rng, cells = np.random.default_rng(seed), ground.cells
    region = label(ground.walkable)[0][tuple(cells.T)]
    start = rng.integers(len(cells), size=walkers)
    goal = np.array([rng.choice(np.flatnonzero(region == region[s])) for s in start])
    place, target, walked = (cells[start] + rng.random((walkers, 2)), cells[goal] + rng.random((walkers, 2)), 0.0)
    for _ in range(int(150 / step)):
        at = ground.cell_index[tuple(place.astype(int).T)]
        assert (at >= 0).all(), place[at < 0]
        hop = ground.hops[at, goal] if len(ground.hops) else goal
        way = np.where((hop == goal)[:, None], target, cells[hop] + 0.5) - place
        left = np.linalg.norm(way, axis=-1)
        move = np.minimum(left, step)
        place, walked = place + way * (move / np.maximum(left, 1e-12))[:, None], walked + move
        if not move.any(): break
    return walked, hop_lengths(cells, ground.hops)[0][start, goal], np.linalg.norm(place - target, axis=-1) < 1e-9


@pytest.mark.parametrize("rim", RIMS)
@pytest.mark.parametrize("name", MAPS)
def test_walkers_arrive(name, rim):
    walked, length, there = arrivals(terrain(*MAPS[name], rim), 1500, 0.14, 1)
    assert there.all()
    assert (walked <= length * 1.05 + 3).all()  # within the cells of start and goal, and round corners


@pytest.mark.parametrize("seed", range(30))
def test_walkers_arrive_on_random_ground(seed):
    free = random_ground(seed)
    rows = tuple("".join(".#"[not c] for c in row) for row in free.T)
    _, _, there = arrivals(terrain(rows, tuple("1" * len(row) for row in rows)), 300, 0.1, seed)
    assert there.all()


def test_rims():
    strict, wide = (terrain(*MAPS["corridor"], rim) for rim in RIMS)
    choke = [np.flatnonzero(g.walkable[:, 12] & g.walkable[:, 13]).tolist() for g in (strict, wide)]
    assert choke == [[12, 13], [11, 12, 13, 14]]
    assert way(strict, (27, 28), (4, 4))[-1].tolist() == [4, 4]
    for pathing, levels in MAPS.values():
        strict, wide = terrain(pathing, levels), terrain(pathing, levels, "wide")
        assert terrain(pathing, levels) is strict
        if "r" not in "".join(levels): assert (strict.walkable <= wide.walkable).all()
        for g in (strict, wide):
            assert (g.walkable <= g.colossus_walkable).all() and 0 <= g.height.min() <= g.height.max() <= 1
            assert (g.cell_index >= 0).tolist() == g.walkable.tolist()
            assert (g.goal_index[g.walkable] == g.cell_index[g.walkable]).all()
            assert g.hops.dtype == np.int16 and g.hops.shape in ((0, 0), (len(g.cells),) * 2)


GOOD = {
    "name": "hill", "terrain": ["########", "#......#", "#......#", "#..##..#", "#......#", "#......#", "########"],
    "cliff_level": ["00000000", "02222220", "02222220", "02211220", "01111110", "01111110", "00000000"],
    "units": {"brute": {"base": "zealot", "health": 200, "weapon": {"damage": 12}}},
    "allies": [{"unit": "brute", "count": 2, "at": [2, 2]}, {"unit": "medivac", "at": [4, 3.5]}],
    "enemies": [{"unit": "zergling", "positions": [[5.5, 5.5], [6.5, 5.5]]}],
    "enemy_order": {"kind": "attack_ally_group"}, "limit": 80, "rim": "strict",
}
DRAWN = {
    "name": "drawn", "terrain": "open",
    "generation": {"units": {"marine": 0.5, "medivac": 0.5}, "n_units": 3, "n_enemies": 4, "exceptions": ["medivac"]},
}


def test_custom(tmp_path):
    s = scenarios.from_mapping(GOOD)
    assert [u.name for u in s.kinds] == ["brute", "medivac", "zergling"]
    assert (s.races, s.unit_type_bits, s.map_type) == (("P", "Z"), 3, "terran_gen")
    assert (s.kinds[0].health, s.kinds[0].weapon.damage, s.kinds[0].weapon.attacks) == (200, 12, 2)
    assert s.positions[-2:].tolist() == [[5.5, 5.5], [6.5, 5.5]]
    assert not s.walkable[3, 3] and s.colossus_walkable[3, 3]
    for number, facts in enumerate((GOOD, DRAWN)):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(facts))
        assert scenarios.load(file) == scenarios.from_mapping(facts)
    assert scenarios.from_mapping({**GOOD, "enemy_order": None}).enemy_order is None
    assert scenarios.from_mapping(DRAWN).generation.exceptions == (False, True)


@pytest.mark.parametrize(("change", "message"), [
    ({"terrain": []}, r"terrain: expected rows of text, got \[\]"),
    ({"terrain": ["..", 3]}, r"terrain\[1\]: expected a row of text, got 3"),
    ({"terrain": ["." * 65]}, r"terrain: expected at most 64 x 64 cells, got '65 x 1'"),
    ({"terrain": ["###"]}, r"terrain: expected at least one walkable cell"),
    ({"cliff_level": ["01"]}, r"cliff_level: expected the size of the terrain, \(8, 7\), got \(2, 1\)"),
    ({"cliff_level": ["5" * 8] * 7}, r"cliff_level\[0\]: expected only the characters 0 1 2 r"),
    ({"allies": "marine"}, r"scenario.allies: expected tuple, got 'marine'"),
    ({"allies": [{"unit": "marine"}]}, r"allies\[0\]: expected either `at` or `positions`"),
    ({"allies": ["marine"]}, r"allies\[0\]: expected a mapping, got 'marine'"),
    ({"allies": [{"unit": "marine", "at": [2, 2], "hp": 3}]}, r"allies\[0\]: unknown key 'hp'"),
    ({"allies": [{"unit": "marine", "at": [2, "2"]}]}, r"allies\[0\].at: expected \[x, y\]"),
    ({"allies": [{"unit": "marine", "count": 1.5, "at": [2, 2]}]}, r"allies\[0\].count: expected int, got 1.5"),
    ({"allies": [{"unit": "medivac", "at": [2, 2]}]}, r"allies: expected at least one unit with a weapon"),
    ({"enemies": [{"unit": "zealot", "at": [3.5, 3.5]}]}, r"enemies\[0\].at: expected ground on which a"),
    ({"enemies": [{"unit": "zealot", "count": 400, "at": [5, 5]}]}, r"hill: no room for 400 x zealot"),
    ({"enemy_order": {"kind": "attack_move_to_point"}}, r"enemy_order: expected the points \('at',\)"),
    ({"enemy_order": {"kind": "attack_ally_group", "at": [1, 1]}}, r"enemy_order: expected the points \(\)"),
    ({"enemy_order": "charge"}, r"enemy_order: expected a mapping, got 'charge'"),
    ({"units": {"marine": {"base": "marine"}}}, r"units.marine: expected a name that is not in use"),
    ({"units": {"x": {"base": "y"}}}, r"units.x.base: expected one of marine"),
    ({"units": {"x": {"base": "marine", "colour": 3}}}, r"units.x: expected only the keys health, .*, got 'colour'"),
    ({"units": {"x": {"base": "medivac", "weapon": {"damage": 3}}}}, r"units.x.weapon: expected nothing"),
    ({"units": {"x": {"base": "zealot", "weapon": {"attacks": 1.5}}}}, r"units.x.weapon.attacks: expected a whole"),
    ({"limit": "80"}, r"scenario.limit: expected int, got '80'"),
    ({"rim": "broad"}, r"rim: expected one of strict, wide, got 'broad'"),
    ({"sight_range": 0}, r"sight_range: expected a number above 0, got 0"),
    ({"generation": DRAWN["generation"]}, r"generation: expected no `allies` and `enemies` beside it"),
])
def test_custom_errors(change, message):
    with pytest.raises(ValueError, match=message): scenarios.from_mapping({**GOOD, **change})


@pytest.mark.parametrize(("change", "message"), [
    ({"units": {"marine": 0.7, "medivac": 0.7}}, r"generation.weights: expected 2 numbers of 0 to 1 with the sum 1"),
    ({"units": {"probe": 1.0}}, r"generation.units: expected some of marine, .*, got 'probe'"),
    ({"exceptions": ["zealot"]}, r"generation.exceptions: expected some of marine, medivac, got 'zealot'"),
    ({"n_units": 0}, r"generation.n_units: expected 1 or more, got 0"),
    ({"attack": [0.1]}, r"generation.attack: expected two numbers"),
    ({"health": [0.5, 1.0]}, r"generation.health: expected two rising numbers of 0 to 0.99"),
    ({"mask_probability": 2.0}, r"generation.mask_probability: expected 0 to 1, got 2.0"),
    ({"exceptions": ["marine", "medivac"]}, r"generation.exceptions: expected at least one unit"),
])
def test_generation_errors(change, message):
    with pytest.raises(ValueError, match=message):
        scenarios.from_mapping({**DRAWN, "generation": {**DRAWN["generation"], **change}})
    with pytest.raises(ValueError, match="terrain: expected 8 x 8 or more cells, all walkable"):
        scenarios.from_mapping({**DRAWN, "terrain": "corridor"})


@pytest.mark.parametrize("text", ["", "- 1", "name: [", "name: hill", "\xff"])
def test_bad_files(text, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"bad\.yaml: "): scenarios.load(file)


def test_custom_battle():
    wall = ["." * 16] * 2 + ["." * 7 + "##" + "." * 7] * 8 + ["." * 16] * 2
    team = lambda x: [{"unit": "marine", "count": 3, "at": [x, 6]}]
    facts = {"name": "wall", "terrain": wall, "allies": team(3), "enemies": team(13), "limit": 20}
    env = make(scenarios.from_mapping(facts))
    assert (env.n_agents, env.n_enemies, env.episode_limit) == (3, 3, 20)
    for _ in range(20):
        step = env.step(env.time_step.available_actions.argmax(-1))
        if step.truncated[0] or step.terminated[0]: break
    assert step.episode_length[0] == 20 or step.terminated[0]


def places(facts, path=()):
    "Every path into nested facts."
    yield path
    pairs = facts.items() if isinstance(facts, dict) else enumerate(facts) if isinstance(facts, list) else ()
    for key, value in pairs: yield from places(value, (*path, key))


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 70), st.floats(-5, 50), st.text("ab.#12", max_size=9),
    st.lists(st.integers(-2, 9), max_size=3), st.dictionaries(st.sampled_from(["unit", "at", "x"]), st.integers()),
    st.sampled_from([float("nan"), float("inf"), "marine", "medivac", ["marine"], {"marine": 1.0}]),
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_wrong_facts_are_a_value_error(data):
    facts = copy.deepcopy(data.draw(st.sampled_from([GOOD, DRAWN])))
    *parents, key = data.draw(st.sampled_from([p for p in places(facts) if p]))
    parent = facts
    for step in parents: parent = parent[step]
    if data.draw(st.booleans()): parent[key] = data.draw(VALUES)
    else: del parent[key]
    try: made = scenarios.from_mapping(facts)
    except ValueError as e: assert ":" in str(e)
    else: assert dataclasses.is_dataclass(made) and made.n_agents > 0 and made.n_enemies > 0
