"""The simulator against a slow, obvious reading of SMAC's definitions, and what must hold in every battle."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import smac_definition as definition
from hypothesis import given, settings
from hypothesis import strategies as st
from smac_definition import Battle, Settings, Unit

from marl_nb.core.protocols import RandomPolicy
from marl_nb.core.seeding import lane_keys
from marl_nb.smac import make, scenarios

VIEWS = {
    "default": {},
    "more": {"obs_last_action": True, "obs_timestep_number": True, "state_timestep_number": True,
             "obs_pathing_grid": True, "obs_terrain_height": True, "reward_only_positive": False},
    "less": {"obs_all_health": False, "obs_own_health": False, "state_last_action": False, "reward_sparse": True,
             "observe_teammate_types": False},
    "own": {"obs_all_health": False, "obs_own_health": True, "obs_own_pos": True, "obs_instead_of_state": True,
            "reward_scale": False},
    "forced": {"obs_own_health": False, "reward_death_value": 7.0, "reward_win": 50.0, "reward_defeat": -30.0,
               "reward_scale_rate": 10.0},
    "ranges": {"use_unit_ranges": True, "min_attack_range": 3.0, "quirk_regeneration_reward": False},
    "cones": {"use_unit_ranges": True, "obs_own_pos": True, "conic_fov": True, "obs_last_action": True},
    "blind": {"conic_fov": True, "num_fov_actions": 8, "action_mask": False, "prob_obs_enemy": 0.3},
    "partial": {"use_unit_ranges": True, "action_mask": False, "prob_obs_enemy": 0.0,
                "quirk_first_max_reward": False},
    "open": {"conic_fov": True, "fully_observable": True, "observe_attack_probs": True,
             "observe_health_levels": True},
}
BATTLES = ("more", "less", "forced", "cones", "partial")  # the views under which battles are played as well


CAPABLE = " with capabilities"  # after the name of a SMACv2 scenario: all that it can draw for an agent is drawn


def names() -> list[str]:
    """All scenarios, and one of each race with capabilities."""
    return [*scenarios.names(), *(f"{race}_5_vs_5{CAPABLE}" for race in ("terran", "protoss", "zerg"))]


def begin(name, lanes, seed, **options):
    """An environment on one thread; upstream's defect of blanked enemies has a test of its own."""
    scenario = scenarios.get(name.removesuffix(CAPABLE))
    if name.endswith(CAPABLE):
        drawn = {"attack": (0.2, 0.9), "health": (0.1, 0.4), "mask_probability": 0.5}
        scenario = replace(scenario, generation=replace(scenario.generation, **drawn))
        options.pop("reward_only_positive", None)  # does not go with health levels
    return make(scenario, lanes, seed=seed, threads=1, **{"quirk_enemy_block": False, **options})


def reading(env) -> Settings:
    """The options of an environment, as the definition knows them."""
    known = {f.name for f in fields(Settings)}
    return Settings(**{f.name: getattr(env.options, f.name) for f in fields(env.options) if f.name in known})


def who_sees(env, lane):
    """[agent][enemy] as drawn, None where every agent sees what is in its view."""
    return env._state.found[lane].tolist() if env.options.prob_obs_enemy < 1 else None


def finders(env, lane) -> np.ndarray:
    """[M] the agent that found each enemy first, -1: nobody."""
    return env._state.finder[lane, -env.n_enemies :].copy()


def first_enemies(env, lane) -> float:
    """Health and shield of a lane's enemies at full strength."""
    return sum(u.health_max + u.shield_max for u in from_env(env, lane).enemies)


def from_env(env, lane=0, first_enemies=None) -> Battle:
    """A lane of the simulator, as StarCraft II would report it."""
    scenario, draws, s, n = env.scenario, env.scenario.generation, reading(env), env.n_agents
    u, agents, hidden = env.units(lane), env.agents(lane), env._state.hidden[lane]
    units = [
        Unit(scenario.kinds[kind].name, *(float(u[k][i]) for k in ("x", "y", "health", "health_max", "shield",
             "shield_max", "energy")), cooldown=max(float(u["cooldown"][i]), 0.0))
        for i, kind in enumerate(u["kind"])
    ]
    listed = definition.Facts(n, env.n_enemies, scenario.limit, "".join(scenario.races), scenario.unit_type_bits,
                              scenario.map_type)
    facts = definition.MAPS.get(scenario.name.removesuffix("_epo"), listed)
    return Battle(
        units[:n], units[n:], facts.limit, facts.races, facts.type_bits, facts.map_type, scenario.size,
        scenario.walkable.tolist(), scenario.height.tolist(), int(env._state.steps[lane].item()),
        [None if a < 0 else int(a) for a in agents["last_action"]],
        [definition.look_direction(int(i), s) for i in agents["fov"]] if s.conic_fov else [],
        agents["attack_prob"].tolist() if draws and draws.attack else None,
        agents["health_level"].tolist() if draws and draws.health else None,
        hidden.tolist() if hidden.size else None, who_sees(env, lane), first_enemies,
    )


def after_step(env, lane, before: Battle, actions) -> Battle:
    """The moment after a step, knowing the one before: the last one of an episode if it ended."""
    ended = bool(env.time_step.done[lane])
    u = env.final_units(lane) if ended else env.units(lane)
    s, n = reading(env), env.n_agents
    units = [
        replace(old, **{k: float(u[k][i]) for k in ("x", "y", "health", "shield", "energy")},
                cooldown=max(float(u["cooldown"][i]), 0.0), before=old.health + old.shield if old.alive else None)
        for i, old in enumerate(before.allies + before.enemies)
    ]
    turned = lambda a: s.conic_fov and 6 <= actions[a] < definition.first_attack(s)
    looks = [definition.look_direction(actions[a] - 6, s) if turned(a) else before.looks[a] for a in range(n)]
    return replace(
        before, allies=units[:n], enemies=units[n:], steps=before.steps + 1, last_actions=actions.tolist(),
        looks=looks, sees=who_sees(env, lane),
    )


def on_an_edge(b: Battle, s: Settings, a: int) -> bool:
    """Whether the last bit of a distance or an angle decides what an agent sees or can do."""
    me, edge = b.allies[a], False
    for other in b.allies + b.enemies:
        gap, slanting = definition.distance(me, other), other.x != me.x and other.y != me.y
        reaches = definition.sight_range(me, s), definition.shoot_range(me, s)
        edge |= slanting and any(abs(gap - reach) < 1e-9 for reach in reaches)
        if s.conic_fov and other is not me:
            dx, dy, (look_x, look_y) = other.x - me.x, other.y - me.y, b.looks[a]
            angle = math.atan2(dy, dx) - math.atan2(look_y, look_x)
            turns = angle / (math.pi / s.num_fov_actions)
            edge |= abs(turns - round(turns)) < 1e-9 and round(turns) % 2 == 1
    return edge


def compare(b: Battle, s: Settings, obs, state, available, alive) -> int:
    """Everything agents are told, against the definition; returns how many agents could be compared."""
    sure = [a for a in range(len(b.allies)) if not on_an_edge(b, s, a)]
    for a in sure:
        if available is not None:
            np.testing.assert_array_equal(available[a], np.array(definition.available_actions(b, s, a), bool))
            assert alive[a] == b.allies[a].alive
        check_row(obs[a], definition.observation(b, s, a), f"agent {a}")
    if len(sure) == len(b.allies) or not s.obs_instead_of_state: check_row(state, definition.state(b, s), "state")
    return len(sure)


def check_row(got, expected: dict[str, float], what: str):
    """A row of the simulator's, to 1e-6; a difference names its columns."""
    values = np.array(list(expected.values()))
    assert got.shape == values.shape, what
    wrong = np.flatnonzero(~(abs(got - values) <= 1e-6))
    assert not len(wrong), f"{what}: " + ", ".join(f"{list(expected)[i]} {got[i]} not {values[i]}" for i in wrong[:5])


def fierce(env, rng) -> np.ndarray:
    """Random available actions, mostly attacks where there are any, else steps towards the enemy: battles move on."""
    available = env.time_step.available_actions
    weight = np.ones(available.shape)
    weight[..., env.n_actions - targets(env) :] = 40 / targets(env)
    n = env.n_agents
    for lane in range(env.n_envs):
        u = env.units(lane)
        alive = u["health"] > 0
        middle = lambda k, side, u=u, alive=alive: np.average(u[k][side], weights=alive[side] + 1e-9)
        north, east = (middle(k, slice(n, None)) - middle(k, slice(n)) for k in "yx")
        weight[lane, :, 2:6] += 8 * np.maximum([north, -north, east, -east], 0) / (abs(north) + abs(east) + 1e-9)
    return (np.log(weight) + rng.gumbel(size=weight.shape) + np.where(available, 0, -np.inf)).argmax(-1)


def targets(env) -> int:
    """How many actions name a target."""
    return env.n_actions - definition.first_attack(reading(env))


def lanes_for(name) -> int:
    """Fewer of the larger battles."""
    return 1 if scenarios.get(name.removesuffix(CAPABLE)).n_agents > 5 else 2


def cases(views, count) -> list:
    """Every scenario by default and under some views in turn; `make soak` takes all views."""
    views, found = [v for v in views if v != "default"], []
    for i, name in enumerate(names()):
        found.append((name, "default"))
        for k, view in enumerate(views):
            soak = (k - count * i) % len(views) >= count or name.endswith("_epo")
            found.append(pytest.param(name, view, marks=[pytest.mark.soak] if soak else []))
    return found


@pytest.mark.parametrize("name, view", cases(VIEWS, 2))
def test_any_moment_equals_the_definition(name, view):
    """Units put anywhere, hurt, dead, looking anywhere: what agents are told is what the definition says."""
    rng, lanes = np.random.default_rng(sum(map(ord, name + view))), lanes_for(name)
    env = begin(name, lanes, 3, **VIEWS[view])
    s, scenario, now, sure = reading(env), env.scenario, env._state, 0
    shape, spread = now.x.shape, rng.choice([4, 10, 32])
    for place, size in zip((now.x, now.y), scenario.size, strict=True):
        middle = rng.uniform(4, size - 4, (lanes, 1))
        place[:] = (middle + rng.uniform(-spread, spread, shape)) % size
    full = {k: np.array([env.units(e)[k] for e in range(lanes)]) for k in ("health_max", "shield_max")}
    now.health[:] = full["health_max"] * rng.uniform(0.01, 1, shape) * (rng.random(shape) < 0.8)
    now.shield[:] = full["shield_max"] * rng.uniform(0, 1, shape) * (now.health > 0)
    now.energy[:] = rng.uniform(0, 200, shape) * (now.energy > 0)
    now.cooldown[:] = rng.uniform(-0.9, 20, shape)
    now.last_action[:, : env.n_agents] = rng.integers(-1, env.n_actions, (lanes, env.n_agents))
    now.steps[:] = rng.integers(0, scenario.limit)
    if s.conic_fov: now.fov[:] = rng.integers(0, s.num_fov_actions, shape)
    ts = env.restore(env.snapshot())  # what agents are told is computed anew
    for e in range(lanes):
        sure += compare(from_env(env, e), s, ts.obs[e], ts.state[e], ts.available_actions[e], ts.alive[e])
    assert sure >= 0.9 * lanes * env.n_agents


@pytest.mark.parametrize("name, view", cases(BATTLES, 1))
def test_battles_equal_the_definition(name, view):
    """Every reward and ending of a battle, and at some moments, the last among them, all that agents are told."""
    rng, lanes = np.random.default_rng(sum(map(ord, name + view))), lanes_for(name)
    env = begin(name, lanes, 11, **VIEWS[view])
    s, looked, sure = reading(env), 0, 0
    now = [from_env(env, e, first_enemies(env, e)) for e in range(lanes)]
    for _ in range(60):
        actions = fierce(env, rng)
        ts = env.step(actions)
        for e in range(lanes):
            b = after_step(env, e, now[e], actions[e])
            code = definition.outcome(b)
            assert not any(b.allies[a].alive for a in definition.killed_next(now[e]))
            assert ts.reward[e] == pytest.approx(definition.reward(b, s, code), rel=1e-6, abs=1e-6)
            assert ts.terminated[e] == (code is not None)
            assert ts.truncated[e] == (code is None and b.steps >= b.limit)
            if ts.done[e]:
                assert ts.won[e] == (code == 1) and ts.episode_length[e] == b.steps
                assert ts.dead_allies[e] == sum(not u.alive for u in b.allies)
                assert ts.dead_enemies[e] == sum(not u.alive for u in b.enemies)
                if env.options.prob_obs_enemy == 1:  # who saw whom is not kept
                    sure += compare(b, s, ts.final_obs[e], ts.final_state[e], None, None)
                    looked += len(b.allies)
            elif rng.random() < 0.9:
                now[e] = b
                continue
            now[e] = from_env(env, e, b.first_enemies)
            if ts.done[e]:
                assert now[e].steps == 0 and set(now[e].last_actions) == {None} and set(now[e].looks) == {(1.0, 0.0)}
                fresh = now[e].allies + now[e].enemies
                assert all(u.health == u.health_max and u.shield == u.shield_max for u in fresh)
            else:
                assert (now[e].steps, now[e].last_actions, now[e].looks) == (b.steps, b.last_actions, b.looks)
                for old, new in zip(b.allies + b.enemies, now[e].allies + now[e].enemies, strict=True):
                    assert replace(old, before=None) == new
            sure += compare(now[e], s, ts.obs[e], ts.state[e], ts.available_actions[e], ts.alive[e])
            looked += len(b.allies)
    assert looked > 0 and sure >= 0.5 * looked  # in a crowd, cones often end exactly at a neighbour


def aggressive(env, keys):
    """Random actions, but attack where possible and walk east else, so that battles get somewhere."""
    ts = env.time_step
    random = RandomPolicy().act(ts, None, keys).actions
    attack = ts.available_actions[..., 6:]
    go = np.where(attack.any(-1), 6 + attack.argmax(-1), np.where(ts.available_actions[..., 4], 4, random))
    return np.where((keys[:, None] >> np.uint64(40)) % np.uint64(2) == 0, random, go)


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.999999])
def test_who_sees_an_enemy(probability):
    """An enemy in view is held by one who has it in view; others see it by a draw that lasts while both live."""
    env, rng, drawn = begin("protoss_5_vs_5", 16, 4, prob_obs_enemy=probability), np.random.default_rng(5), []
    s, held = reading(env), [None] * 16
    for _ in range(60):
        ts = env.step(fierce(env, rng))
        for e in range(env.n_envs):
            b, holder, sees = from_env(env, e), finders(env, e), env._state.found[e].copy()
            for k, enemy in enumerate(b.enemies):
                if not enemy.alive: continue
                viewers = [a for a, ally in enumerate(b.allies) if ally.alive and definition.in_view(b, s, a, enemy)]
                if holder[k] < 0:
                    assert not viewers and not sees[:, k].any()
                    continue
                assert b.allies[holder[k]].alive and sees[holder[k], k]
                old = None if ts.done[e] else held[e]
                living = [a.alive for a in b.allies]
                if old is not None and old[0][k] == holder[k]: assert (old[1][living, k] == sees[living, k]).all()
                else:
                    assert holder[k] in viewers
                    drawn += np.delete(sees[:, k], holder[k]).tolist()
            held[e] = holder, sees
    assert len(drawn) > 200 and abs(np.mean(drawn) - probability) < (0.1 if probability == 0.3 else 1e-3)


def test_an_unseen_enemy_blanks_those_before_it():
    """SMACv2's defect: what comes before an enemy that nobody had seen when the agent looked is zero."""
    env, rng, blanks = begin("zerg_5_vs_5", 8, 6, quirk_enemy_block=True), np.random.default_rng(7), 0
    s = replace(reading(env), quirk_enemy_block=False)
    for _ in range(40):
        ts = env.step(fierce(env, rng))
        for e in range(env.n_envs):
            b, blanked = from_env(env, e), env._state.blanked[e]
            for a in (a for a, ally in enumerate(b.allies) if ally.alive):
                unseen = np.flatnonzero(~env._state.found[e, a])
                assert blanked[a] > unseen.max(initial=-1)
                last = blanked[a] - 1  # nobody has seen this one, or another agent has, later in the same step
                assert last < 0 or last in unseen or finders(env, e)[last] != a
                expected = definition.observation(b, s, a)
                enemies = [k for k in expected if k.startswith("enemy_")]
                zero = enemies[: blanked[a] * len(enemies) // env.n_enemies]
                blanks += any(expected[k] for k in zero)
                check_row(ts.obs[e, a], expected | dict.fromkeys(zero, 0.0), f"agent {a}")
    assert blanks > 10


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), when=st.integers(0, 40), lanes=st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_restored_lanes_continue_to_the_bit(seed, when, lanes):
    """Lanes saved at any moment go on equally wherever they are put back."""
    env = make("3m", 6, seed=seed)
    for t in range(when): env.step(aggressive(env, lane_keys(seed, t, 6)))
    copy = make("3m", len(lanes), seed=seed + 1)
    copy.restore(env.snapshot(lanes))
    for t in range(25):
        actions = aggressive(env, lane_keys(seed, when + t, 6))
        a, b = env.step(actions), copy.step(actions[lanes])
        for field in ("obs", "state", "reward", "available_actions", "terminated", "truncated", "episode_return"):
            np.testing.assert_array_equal(getattr(a, field)[lanes], getattr(b, field))
        assert [env.fingerprint()[i] for i in lanes] == copy.fingerprint()


def continue_restored(name, lanes, steps):
    """Random battles saved at random moments and put back elsewhere: every array goes on equally."""
    env, copy = (begin(name, lanes, seed) for seed in (3, 4))
    policy = RandomPolicy()
    for t in range(7 + len(name)): env.step(policy.act(env.time_step, None, lane_keys(0, t, lanes)).actions)
    order = np.random.default_rng(0).permutation(lanes)
    copy.restore(env.snapshot(order))
    for t in range(steps):
        actions = policy.act(env.time_step, None, lane_keys(1, t, lanes)).actions
        a, b = env.step(actions), copy.step(actions[order])
        ended = a.done[order]
        for field, one in vars(a).items():
            one, two = one[order], getattr(b, field)
            if field.startswith("final"): one, two = one[ended], two[ended]
            np.testing.assert_array_equal(one, two, f"{name} {field}")
    assert [env.fingerprint()[i] for i in order] == copy.fingerprint()


@pytest.mark.parametrize("name", names())
def test_restored_battles_continue(name):
    continue_restored(name, 2, 20)


@pytest.mark.soak
@pytest.mark.parametrize("name", names())
def test_thousands_of_restored_battles_continue(name):
    """200 battles on each of 56 settings: more than 10,000."""
    continue_restored(name, 200, 60)


def test_threads_and_lanes_do_not_matter():
    """1, 2 and 3 threads, 1 to 256 lanes: lane i is the same battle."""
    def rewards(lanes, threads):
        env = make("8m", lanes, seed=9, threads=threads)
        return np.stack([env.step(aggressive(env, lane_keys(2, t, lanes))).reward.copy() for t in range(80)])

    reference = rewards(256, 1)
    assert reference.any()
    for lanes, threads in ((256, 2), (256, 3), (64, 1), (7, 2)):
        np.testing.assert_array_equal(rewards(lanes, threads), reference[:, :lanes])
    np.testing.assert_array_equal(rewards(1, 1), reference[:, :1])


def test_masks_are_the_allies_own():
    """With two sides of agents, what is hidden from the allies is not hidden from the enemies."""
    scenario = scenarios.get("zerg_10_vs_11")
    scenario = replace(scenario, generation=replace(scenario.generation, n_units=3, n_enemies=9, mask_probability=0.0))
    one, three = (make(scenario, lanes, seed=2, control="both", fully_observable=True) for lanes in (1, 3))
    np.testing.assert_array_equal(one.rival.obs[0], three.rival.obs[0])
    health = [i for i, name in enumerate(one.obs_feature_names) if name.startswith("enemy_health")]
    assert not one.time_step.obs[0][:, health].any()
    first = 4 + 4  # the first enemy's health, as its own enemies see it
    assert (one.rival.obs[0][:, first] == 1).all()
