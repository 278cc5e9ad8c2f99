"""Backward induction: worlds, states and both phases against tests/induction_definition.py, properties, failing cases."""

import itertools
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl_nb.induction.human import HumanModel, compute_human_policy_prior, human_blocks, make_game, solve_humans
from marl_nb.induction.multigrid import ACTIONS, load, loads
from marl_nb.induction.robot import compute_robot_policy, robot_blocks, RobotModel, validate_coverage
from marl_nb.induction.states import search
from marl_nb.induction.worlds import Goal, TableWorld, profile, random_world

sys.path.insert(0, str(Path(__file__).parent))
import induction_definition as definition  # noqa: E402

PRESET_WORDS = {
    "paper": {},
    "empo": dict(first_action=True, goal_weights="mean", humans_mean=True, reward_factor=True),
    "empo_2026_01": dict(first_action=True, goal_weights="mean", humans_mean=True, discount_hit=True),
}


def random_map(seed):
    """A small random map: (rows, action set, number of agents)."""
    rng = np.random.default_rng(seed)
    width, height = int(rng.integers(3, 5)), int(rng.integers(1, 3))
    humans, robots = int(rng.integers(1, 4)), int(rng.integers(0, 2))
    if width * height < humans + robots + 3: width += 2
    things = [f"A{c}" for c in rng.choice(list("yrb"), humans)] + ["Ae"] * robots
    things += list(rng.choice(["Ro", "Bl", "Dy", "Oy", "Sy", "Ly", "Wg", "Ky"], int(rng.integers(1, 4))))
    cells = (things + [".."] * (width * height))[: width * height]
    rng.shuffle(cells)
    rows = [" ".join(cells[y * width : (y + 1) * width]) for y in range(height)]
    actions = ("still", "left", "right", "forward", "pickup", "drop", "toggle")
    if humans + robots > 2: chosen = ["forward", "right"] + (["toggle"] if rng.random() < 0.3 and humans + robots == 3 else [])
    else: chosen = [str(a) for a in rng.permutation(actions)[: int(rng.integers(3, 6))]]
    if "forward" not in chosen: chosen[0] = "forward"
    facing = rng.integers(4, size=humans + robots).tolist()
    return rows, chosen, facing


def grid_of(seed, max_steps=2):
    """(a world, the same in the definition's form)"""
    rows, actions, facing = random_map(seed)
    body = "".join(f"  {row}\n" for row in rows)
    world = loads(f"max_steps: {max_steps}\nactions: {actions}\norientations: {facing}\nmap: |\n{body}")
    return world, definition.Grid("\n".join(rows), actions, orientations=facing)


def plain(state): return tuple(tuple(map(tuple, part)) for part in state[1:])


def compare(prior, solution, expected, of_state, tolerance):
    """Both phases, every level, every state."""
    game = prior.game
    world = game.space.world
    keys = [(h, i) for h, own in zip(game.humans, game.goals, strict=True) for i in range(len(own))]
    for t in range(game.space.max_steps):
        states = [of_state(s) for s in game.space.decode(t)]
        assert {s for u, s in expected if u == t} == set(states)
        want = [expected[t, s] for s in states]
        table = lambda name, columns: np.array([[w[name][k] for k in columns] for w in want])
        profiles = [p[::-1] for p in itertools.product(range(world.n_actions), repeat=len(game.robots))]
        close = lambda got, want, **k: np.testing.assert_allclose(got, want, atol=tolerance, **k)
        close(prior.values(t), table("v", keys), rtol=tolerance)
        close(np.moveaxis(prior.policies(t), 1, 2), table("pi", keys), rtol=0)
        close(solution.human_values(t), table("ve", keys), rtol=tolerance)
        close(solution.policy(t), table("pr", profiles), rtol=0)
        relative = dict(rtol=max(10 * tolerance, 1e-11))
        np.testing.assert_allclose(solution.power(t), table("x", game.humans), **relative)
        np.testing.assert_allclose(solution.reward(t), [w["ur"] for w in want], **relative)
        np.testing.assert_allclose(solution.value(t), [w["vr"] for w in want], **relative)


def table_definition(world, **options):
    """The definition's answer for a `TableWorld`."""
    def step(t, s, actions):
        row = (t if world.timed else 0, s, profile(actions, world.n_actions))
        out = {}
        for n, p in zip(world.outcomes[row], world.prob[row], strict=True):
            if p: out[int(n)] = out.get(int(n), 0.0) + p
        return out

    humans = world.human_agent_indices
    return definition.solve([int(s) for s in world.initial()[:, 0]], step, lambda g, s, h: s in g.what, world.n_agents,
                            world.n_actions, humans, {h: world.possible_goals for h in humans}, world.max_steps,
                            idle=world.idle_action, **options)


@pytest.mark.parametrize("preset", PRESET_WORDS)
def test_random_tables_equal_the_definition(preset):
    for seed in range(120):
        rng = np.random.default_rng(1000 + seed)
        humans = int(rng.integers(1, 4))
        robots = int(rng.integers(1, 3)) if humans < 3 else 1
        world = random_world(seed, humans, robots, n_actions=2 if humans + robots > 2 else 3, n_states=5, max_steps=3,
                             chance=float(rng.random()), timed=bool(rng.random() < 0.3))
        options = dict(beta_h=float(rng.choice([0, 1, 10, 30])), gamma_h=float(rng.choice([1, 0.99, 0.8])),
                       nu_h=float(rng.choice([0, 0.1])), robot=str(rng.choice(["worst", "best", "uniform"])))
        of_robot = dict(beta_r=float(rng.choice([1, 5, 20])), zeta=float(rng.choice([1, 2])), gamma_r=float(rng.choice([1, 0.99])))
        expected = table_definition(world, **options, **of_robot, **PRESET_WORDS[preset])
        for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-6)):
            prior = compute_human_policy_prior(world, conventions=preset, dtype=dtype, use_float16=False, **options)
            compare(prior, compute_robot_policy(prior, **of_robot), expected, lambda s: s.state, tolerance)


@pytest.mark.parametrize("preset", PRESET_WORDS)
def test_random_grids_equal_the_definition(preset):
    conflicts = 0
    for seed in range(100):
        world, rules = grid_of(seed)
        step = lambda t, s, p, rules=rules: rules.outcomes(s, tuple(rules.actions[a] for a in p))
        humans = world.human_agent_indices
        holds = lambda g, s, h: s[0][h][:2] in g.what
        expected = definition.solve([rules.start], step, holds, world.n_agents, world.n_actions, humans,
                                    {h: world.possible_goals for h in humans}, 2, idle=world.idle_action, **PRESET_WORDS[preset])
        for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-6)):
            prior = compute_human_policy_prior(world, conventions=preset, dtype=dtype)
            compare(prior, compute_robot_policy(prior), expected, plain, tolerance)
        conflicts += prior.game.space.chance_rows() > 0
    assert conflicts > 10


def check_dynamics(world, rules, steps, limit):
    """Every row of some levels, state by state."""
    space = search(world, steps)
    states = space.states(steps - 1)
    rng = np.random.default_rng(0)
    if len(states) > limit: states = states[np.sort(rng.choice(len(states), limit, replace=False))]
    moves = world.successors(states, 0)
    chance = {}
    decoded_next = [plain(s) for s in world.decode(moves.next, 0)] if len(moves.next) else []
    for row, s, p in zip(moves.row.tolist(), decoded_next, moves.prob, strict=True): chance.setdefault(row, {})[s] = p
    certain = [plain(s) for s in world.decode(moves.states.reshape(-1, world.words), 0)]
    profiles = world.n_actions**world.n_agents
    for i, s in enumerate(world.decode(states, 0)):
        for p in range(profiles):
            actions = tuple(world.action_names[p // world.n_actions**a % world.n_actions] for a in range(world.n_agents))
            want = rules.outcomes(plain(s), actions)
            got = chance.get(i * profiles + p, {certain[i * profiles + p]: 1.0})
            assert got.keys() == want.keys(), (plain(s), actions)
            for k in got: assert abs(got[k] - float(want[k])) < 1e-12
    return len(chance)


def test_grid_rules_equal_the_definition():
    chance = 0
    for seed in range(100, 220):
        world, rules = grid_of(seed)
        chance += check_dynamics(world, rules, 3, 60)
    assert chance > 200
    world = load("asymmetric_freeing")
    rows = "We We We We We We We We We We We\nWe We Ay We We .. We We Ay We We\nWe .. Ro .. Ae .. .. .. Ro .. We\n"
    rows += "We We We We We We We .. .. .. We\n" * 2 + "We We We We We We We We We We We"
    check_dynamics(world, definition.Grid(rows), 14, 150)
