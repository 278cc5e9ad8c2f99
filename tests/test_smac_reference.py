"""The simulator against a slow, obvious reading of SMAC's definitions, and what must hold in every battle."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl_nb.core.protocols import RandomPolicy
from marl_nb.core.seeding import lane_keys
from marl_nb.smac import make, scenarios


def distance(a, b):
    return math.hypot(a["x"] - b["x"], a["y"] - b["y"])


def unit_list(env, lane):
    u = env.units(lane)
    return [{k: float(v[i]) for k, v in u.items()} for i in range(env.n_agents + env.n_enemies)]


def available_actions(scenario, units, a):
    """SMAC: get_avail_agent_actions."""
    me, n = units[a], scenario.n_agents
    if me["health"] <= 0: return [1] + [0] * (5 + scenario.n_enemies)

    def can_move(dx, dy):
        x, y = int(me["x"] + dx), int(me["y"] + dy)
        return 0 <= x < scenario.size[0] and 0 <= y < scenario.size[1] and scenario.pathing[y][x] == "."

    moves = [can_move(0, 1), can_move(0, -1), can_move(1, 0), can_move(-1, 0)]
    attacks = [e["health"] > 0 and distance(me, e) <= 6 for e in units[n:]]
    return [0, 1, *map(int, moves), *map(int, attacks)]


def observation(scenario, units, a, last_actions, share, options):
    """SMAC: get_obs_agent, for marines (45 health, no shield, no type bits)."""
    me, n = units[a], scenario.n_agents
    n_actions = 6 + scenario.n_enemies
    available = available_actions(scenario, units, a)

    def block(j, flag):
        other, ally = units[j], j < n
        health = [other["health"] / 45] if options.get("obs_all_health", True) else []
        show_last = ally and options.get("obs_last_action")
        last = [float(last_actions[j] == k) for k in range(n_actions)] if show_last else []
        d = distance(me, other)
        row = [flag, d / 9, (other["x"] - me["x"]) / 9, (other["y"] - me["y"]) / 9, *health, *last]
        return row if d < 9 and other["health"] > 0 else [0.0] * len(row)

    row = [float(v) for v in available[2:6]]
    for k in range(scenario.n_enemies): row += block(n + k, float(available[6 + k]))
    for j in range(n):
        if j != a: row += block(j, 1.0)
    if options.get("obs_own_health", True): row.append(me["health"] / 45)
    if me["health"] <= 0: row = [0.0] * len(row)
    return row + ([share] if options.get("obs_timestep_number") else [])


def state(scenario, units, last_actions, share, options):
    """SMAC: get_state, for marines."""
    n, row = scenario.n_agents, []
    for j, u in enumerate(units):
        position = [(u["x"] - 16) / 32, (u["y"] - 16) / 32]
        values = [u["health"] / 45, *([max(u["cooldown"], 0) / 15] if j < n else []), *position]
        row += values if u["health"] > 0 else [0.0] * len(values)
    if options.get("state_last_action", True):
        for a in range(n): row += [float(last_actions[a] == k) for k in range(6 + scenario.n_enemies)]
    return row + ([share] if options.get("state_timestep_number") else [])


def reward(scenario, before, after, won, options):
    """SMAC: reward_battle and the bonus for winning."""
    n, death, scale = scenario.n_agents, 10, 0.5
    lost = lambda j: before[j]["health"] - after[j]["health"]
    died = lambda j: before[j]["health"] > 0 and after[j]["health"] <= 0
    enemies, allies = range(n, n + scenario.n_enemies), range(n)
    total = sum(lost(j) + death * died(j) for j in enemies)
    if not options.get("reward_only_positive", True):
        total -= sum(scale * lost(j) + scale * death * died(j) for j in allies)
    total += 200 * won
    return total * 20 / (scenario.n_enemies * (death + 45) + 200)


OPTIONS = [
    {},
    dict(obs_last_action=True, obs_timestep_number=True, state_timestep_number=True, reward_only_positive=False),
    {"obs_all_health": False, "obs_own_health": False, "state_last_action": False},
]


def aggressive(env, keys):
    """Random actions, but attack where possible and walk east else, so that battles get somewhere."""
    ts = env.time_step
    random = RandomPolicy().act(ts, None, keys).actions
    attack = ts.available_actions[..., 6:]
    go = np.where(attack.any(-1), 6 + attack.argmax(-1), np.where(ts.available_actions[..., 4], 4, random))
    return np.where((keys[:, None] >> np.uint64(40)) % np.uint64(2) == 0, random, go)


@pytest.mark.parametrize("options", OPTIONS, ids=["default", "more", "less"])
@pytest.mark.parametrize("name", scenarios.names())
def test_outputs_equal_the_reference(name, options):
    lanes, scenario = (4 if name in ("3m", "8m", "5m_vs_6m") else 1), scenarios.get(name)
    env = make(name, lanes, seed=11, **options)
    last = np.full((lanes, env.n_agents), -1)
    checked = 0
    for t in range(60):
        before = [unit_list(env, e) for e in range(lanes)]
        actions = aggressive(env, lane_keys(3, t, lanes))
        ts = env.step(actions)
        for e in range(lanes):
            after = unit_list(env, e)
            if ts.done[e]:
                final = env.final_units(e)
                ended = [{k: float(v[i]) for k, v in final.items()} for i in range(len(after))]
                expected = reward(scenario, before[e], ended, bool(ts.won[e]), options)
                assert ts.reward[e] == pytest.approx(expected, abs=1e-5)
                share = float(ts.episode_length[e] / scenario.limit)
                expected = [observation(scenario, ended, a, actions[e], share, options) for a in range(env.n_agents)]
                np.testing.assert_allclose(ts.final_obs[e], expected, atol=1e-6)
                np.testing.assert_allclose(
                    ts.final_state[e], state(scenario, ended, actions[e], share, options), atol=1e-6
                )
                last[e] = -1
                share = 0.0
            else:
                assert ts.reward[e] == pytest.approx(reward(scenario, before[e], after, False, options), abs=1e-5)
                last[e] = actions[e]
                share = float(env._state.steps[e] / scenario.limit)
            expected = [observation(scenario, after, a, last[e], share, options) for a in range(env.n_agents)]
            np.testing.assert_allclose(ts.obs[e], expected, atol=1e-6)
            np.testing.assert_allclose(ts.state[e], state(scenario, after, last[e], share, options), atol=1e-6)
            legal = [available_actions(scenario, after, a) for a in range(env.n_agents)]
            np.testing.assert_array_equal(ts.available_actions[e], np.array(legal, bool))
            np.testing.assert_array_equal(ts.alive[e], [u["health"] > 0 for u in after[: env.n_agents]])
            checked += 1
    assert checked == 60 * lanes


@pytest.mark.parametrize("name", scenarios.names())
def test_every_battle_is_sane(name):
    """Nobody overlaps, leaves the walkable ground, heals or rises from the dead; health is lost in whole shots."""
    env = make(name, 8, seed=5)
    walkable, shots = scenarios.get(name).walkable, 0
    health = env._state.health.copy()
    for t in range(120):
        ts = env.step(aggressive(env, lane_keys(1, t, 8)))
        for e in range(8):
            u = env.final_units(e) if ts.done[e] else env.units(e)
            assert all(np.isfinite(v).all() for v in u.values())
            lost = health[e] - u["health"]
            assert (lost >= 0).all() and (u["health"] >= 0).all()
            whole = np.isclose(lost % 6, 0) | np.isclose(lost % 6, 6) | (u["health"] == 0)  # the last shot may overkill
            assert whole.all(), lost
            shots += (lost > 0).sum()
            x, y = u["x"][u["health"] > 0], u["y"][u["health"] > 0]
            assert walkable[x.astype(int), y.astype(int)].all()
            gaps = np.hypot(x[:, None] - x, y[:, None] - y) + 9 * np.eye(len(x))
            assert len(x) < 2 or gaps.min() >= 0.75 - 1e-6
        health = env._state.health.copy()
    assert shots > 50


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
