"""Backward induction: worlds, states and both phases against induction_definition.py, properties, failing cases."""

import itertools
import pickle
import sys
import tracemalloc
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm import tqdm

from marl_nb.induction import multigrid, states
from marl_nb.induction import sweep as sweeping
from marl_nb.induction.backup import HumanPhase, RobotPhase
from marl_nb.induction.game import Conventions, HumanModel, RobotModel, make_game, validate_coverage
from marl_nb.induction.multigrid import load, loads
from marl_nb.induction.solve import compute_human_policy_prior, compute_robot_policy, solve_humans
from marl_nb.induction.states import search
from marl_nb.induction.store import MemoryStore
from marl_nb.induction.sweep import Levels, sweep
from marl_nb.induction.worlds import Goal, TableWorld, actions_of, profile, random_world

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
    if humans + robots > 2: chosen = ["forward", "right", *["toggle"] * (rng.random() < 0.3 and humans + robots == 3)]
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
        table = lambda name, columns, want=want: np.array([[w[name][k] for k in columns] for w in want])
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
        of_robot = dict(beta_r=float(rng.choice([1, 5, 20])), zeta=float(rng.choice([1, 2])))
        of_robot["gamma_r"] = float(rng.choice([1, 0.99]))
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
        goals = {h: world.possible_goals for h in humans}
        expected = definition.solve([rules.start], step, holds, world.n_agents, world.n_actions, humans, goals, 2,
                                    idle=world.idle_action, **PRESET_WORDS[preset])
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
            actions = tuple(world.action_names[a] for a in actions_of(p, world.n_actions, world.n_agents))
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


@pytest.mark.parametrize("name", ["button", "corridor", "crates", "locked_in", "shared_door", "three_way"])
def test_shipped_worlds_equal_the_definition(name):
    world = load(name)
    text = (Path(multigrid.__file__).parents[1] / f"data/induction/{name}.yaml").read_text()
    rows = text.split("map: |\n")[1].split("possible_goals")[0]
    rules = definition.Grid(rows, world.action_names, orientations=world.orientations)
    check_dynamics(world, rules, 5, 40)


# one step, by hand: facing directions are 0 east, 1 south, 2 west, 3 north
MICRO = {  # map, directions, agents' cells after everybody walks, things' cells: {outcome: probability}
    "swap": ("Ay Ab", [0, 2], {((0, 0), (1, 0)): 1.0}),
    "chain": ("Ay Ab ..", [0, 0], {((0, 0), (2, 0)): 1.0}),
    "shared target": ("Ay .. Ab", [0, 2], {((1, 0), (2, 0)): 0.5, ((0, 0), (1, 0)): 0.5}),
    "pusher and walker for one landing cell": (
        "Ae Ro .. Ay", [0, 2], {((1, 0), (3, 0), "rock", (2, 0)): 0.5, ((0, 0), (2, 0), "rock", (1, 0)): 0.5}),
    "two pushers for one landing cell": (
        "Ae Ro .. Ro Ae", [0, 2], {((1, 0), (4, 0), "rock", (2, 0), "rock", (3, 0)): 0.5,
                                   ((0, 0), (3, 0), "rock", (1, 0), "rock", (2, 0)): 0.5}),
    "pusher against a human": ("Ae Ro Ay", [0, 3], {((0, 0), (2, 0), "rock", (1, 0)): 1.0}),
    "pusher into a cell that is being left": (
        "Ae Ro Ay ..", [0, 0], {((0, 0), (3, 0), "rock", (1, 0)): 1.0}),
    "human at a rock": ("Ay Ro ..", [0], {((0, 0), "rock", (1, 0)): 1.0}),
    "row of rocks": ("Ae Ro Ro ..", [0], {((1, 0), "rock", (2, 0), "rock", (3, 0)): 1.0}),
    "two pairs": ("Ay .. Ab\nAr .. Ag", [0, 2, 0, 2], {
        (*up, *down): 0.25
        for up in (((1, 0), (2, 0)), ((0, 0), (1, 0))) for down in (((1, 1), (2, 1)), ((0, 1), (1, 1)))}),
    "wall in common": ("Ay We Ab", [0, 2], {((0, 0), (2, 0)): 1.0}),
}


@pytest.mark.parametrize("case", MICRO)
def test_micro_worlds(case):
    rows, facing, expected = MICRO[case]
    body = "".join(f"  {row}\n" for row in rows.splitlines())
    world = loads(f"max_steps: 1\norientations: {facing}\nmap: |\n{body}")
    moves, walk_all = world.successors(world.initial()), profile([3] * world.n_agents, 4)
    row = moves.row == walk_all
    flat = lambda s: tuple(a[:2] for a in s.agents) + tuple(x for o in s.mobile_objects for x in (o[0], o[1:]))
    if row.any(): got = {flat(s): p for s, p in zip(world.decode(moves.next[row], 1), moves.prob[row], strict=True)}
    else: got = {flat(world.decode(moves.states[:, walk_all], 1)[0]): 1.0}
    assert got == expected


def test_permuted_and_repeated_queries_are_equal_to_the_bit():
    for name in ("asymmetric_freeing", "three_way"):
        world = load(name)
        states = search(world, 6).states(6)[:2000]
        first, rng = world.successors(states, 0), np.random.default_rng(0)
        for _ in range(3):
            order = rng.permutation(len(states))[: int(rng.integers(1, len(states)))]
            again = world.successors(states[order], 0)
            assert (again.states == first.states[order]).all()
            profiles = again.states.shape[1]
            where = {old: new for new, old in enumerate(order.tolist())}
            mine = [i for i, r in enumerate(first.row.tolist()) if r // profiles in where]
            mine.sort(key=lambda i: where[first.row[i] // profiles])
            assert (first.next[mine] == again.next).all() and (first.prob[mine] == again.prob).all()


def test_facing_the_goal_with_one_step_left():
    world = loads('max_steps: 1\nmap: Ay ..\npossible_goals: ["1,0"]')
    for beta in (1.0, 10.0):
        prior = compute_human_policy_prior(world, beta_h=beta, dtype="float64")
        expected = np.exp(beta) / (np.exp(beta) + 3)
        assert abs(prior.policy(0, 0)[0, 0, 3] - expected) < 1e-15 and abs(prior.values(0)[0, 0] - expected) < 1e-15


def solved(world, **options):
    prior = compute_human_policy_prior(world, dtype="float64", use_float16=False, **options)
    return prior, compute_robot_policy(prior)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 2), st.sampled_from(["worst", "best", "uniform"]),
       st.sampled_from([0.0, 1.0, 10.0, 100.0]), st.sampled_from([0.0, 0.3, 1.0]))
def test_values_and_policies_are_what_their_names_say(seed, humans, robots, robot, beta, nu):
    world = random_world(seed, humans, robots, 2, 5, 3)
    prior, solution = solved(world, robot=robot, beta_h=beta, nu_h=nu)
    for t in range(3):
        v, pi, ve = prior.values(t), prior.policies(t), solution.human_values(t)
        assert v.min() >= 0 and v.max() <= 1 + 1e-12 and ve.min() >= 0 and ve.max() <= 1 + 1e-12
        assert abs(pi.sum(1) - 1).max() < 1e-12 and abs(solution.policy(t).sum(1) - 1).max() < 1e-12
        assert solution.value(t).max() < 0 and solution.reward(t).max() < 0
        assert (solution.value(t) <= solution.reward(t)).all()
        if nu == 1:
            held = prior.game.attained(t)
            assert abs(np.moveaxis(pi, 1, 2)[~held] - 0.5).max(initial=0) < 1e-12
    last = solution.policy(2)
    assert abs(last - 1 / last.shape[1]).max() < 1e-12  # all terminal states are worth the same


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_order_of_goals_and_scale_do_not_matter(seed):
    world = random_world(seed, 2, 1, 2, 5, 3)
    prior, solution = solved(world)
    best, worst = (solved(world, robot=r, nu_h=1.0)[0] for r in ("best", "worst"))
    turned, t_solution = solved(world, possible_goals=world.possible_goals[::-1])
    sums = Conventions(terminal_robot_value=-1e-300)
    m_solution = solved(world, conventions=replace(sums, goal_weights="mean", humans="mean"))[1]
    s_solution = solved(world, conventions=sums)[1]
    order = [2, 1, 0, 5, 4, 3]
    for t in range(3):
        assert (best.values(t) >= worst.values(t) - 1e-12).all()  # for one and the same behaviour
        np.testing.assert_allclose(turned.values(t), prior.values(t)[:, order], rtol=0, atol=1e-15)
        np.testing.assert_allclose(t_solution.policy(t), solution.policy(t), rtol=0, atol=1e-12)
        np.testing.assert_allclose(m_solution.policy(t), s_solution.policy(t), rtol=0, atol=1e-12)


def test_gamma_on_the_hit_is_a_factor():
    """Q with gamma on the hit is gamma Q of the paper, if beta is scaled so that the policies are the same."""
    world = random_world(3, 2, 1, 3, 6, 4)
    paper, _ = solved(world, gamma_h=0.8, beta_h=8.0)
    hit, _ = solved(world, gamma_h=0.8, beta_h=10.0, conventions=Conventions(discount_hit=True))
    for t in range(4):
        np.testing.assert_allclose(hit.values(t), 0.8 * paper.values(t), rtol=1e-12)
        np.testing.assert_allclose(hit.policies(t), paper.policies(t), rtol=0, atol=1e-12)


def test_infinite_beta_shares_ties_within_the_tolerance():
    world = loads("max_steps: 6\nmap: |\n  Ay .. ..\n  .. .. ..\n")
    single, double = (compute_human_policy_prior(world, beta_h=np.inf, dtype=d) for d in ("float32", "float64"))
    for t in range(6): np.testing.assert_allclose(single.policies(t), double.policies(t), atol=1e-6)
    assert (single.policies(5) * 4 % 1 < 1e-6).all()  # one step left: one action, or all four
    expected = table_definition(random_world(5), beta_h=np.inf)
    prior = compute_human_policy_prior(random_world(5), beta_h=np.inf, dtype="float64", use_float16=False)
    compare(prior, compute_robot_policy(prior), expected, lambda s: s.state, 1e-12)


def test_parameters_by_human_and_by_function():
    world = random_world(11, 2, 1, 2, 6, 3)
    first, second = world.human_agent_indices
    plain_prior, _ = solved(world, beta_h=[3.0, 20.0], nu_h=[0.0, 0.5], pi0=[[0.9, 0.1], [0.2, 0.8]],
                            believed_others=[[0.7, 0.3], [0.4, 0.6]])
    pick = lambda a, b: lambda step, states, human: np.asarray(a if human == first else b)
    believed = pick([[[0.4], [0.6]]], [[[0.7], [0.3]]])
    by_function, _ = solved(world, beta_h=pick(3.0, [[20.0] * 3]), nu_h=pick(0.0, 0.5), believed_others=believed,
                            pi0=pick([[[0.9], [0.1]]], [[[0.2], [0.8]]]))
    beliefs = {first: [0.7, 0.3], second: [0.4, 0.6]}
    expected = table_definition(world, beta_h=3.0, nu_h=0.0, pi0=[0.9, 0.1], beliefs=beliefs)
    for t in range(3):
        np.testing.assert_allclose(by_function.values(t), plain_prior.values(t), rtol=1e-14)
        decoded = plain_prior.game.space.decode(t)
        want = np.array([[expected[t, s.state]["v"][first, i] for i in range(3)] for s in decoded])
        np.testing.assert_allclose(plain_prior.values(t)[:, :3], want, atol=1e-12)


def test_stopping_and_going_on_changes_nothing():
    game, model = make_game(load("asymmetric_freeing", 10)), HumanModel()
    prior, rest, both = solve_humans(game, model), MemoryStore(), MemoryStore()
    sweep(Levels(game, [HumanPhase(game, model)], from_step=6, carried={"values": prior.values(6)}), rest, 6)
    for t in range(6):
        for name in ("values", "policies"): assert (rest.read(name, t) == prior.store.read(name, t)).all()
    sweep(Levels(game, [HumanPhase(game, model), RobotPhase(game, model, RobotModel())]), both, 10)
    solution = compute_robot_policy(prior)
    for t in range(10):
        assert (both.read("policy", t) == solution.policy(t)).all()
        assert (both.read("values", t) == prior.values(t)).all()

    class Half(MemoryStore):
        """A store that forgets all levels before one."""

        def keep(self, step): self._levels = {t: v for t, v in self._levels.items() if t >= step}; return self

    store = Half()
    solve_humans(game, model, store)
    again = solve_humans(game, model, store.keep(7))
    for t in range(10): assert (again.policies(t) == prior.policies(t)).all()
    store = Half()
    compute_robot_policy(prior, store=store)
    again = compute_robot_policy(prior, store=store.keep(5))
    for t in range(10): assert (again.value(t) == solution.value(t)).all()


def test_results_do_not_depend_on_the_chunks(monkeypatch):
    world = load("asymmetric_freeing", 12)
    one = compute_robot_policy(compute_human_policy_prior(world))
    monkeypatch.setattr(sweeping, "BLOCK", 333)
    two = compute_robot_policy(compute_human_policy_prior(world))
    monkeypatch.setattr(states, "CHUNK", 50)
    sizes = search(world).sizes
    assert (sizes == one.prior.game.space.sizes).all()
    for t in range(12):
        np.testing.assert_allclose(one.value(t), two.value(t), rtol=1e-6)
        np.testing.assert_allclose(one.prior.policies(t), two.prior.policies(t), atol=1e-6)


def test_many_words():
    """A state that needs several integers: the same results as with a map that needs one."""
    cells = ["We"] * 11
    rows = [" ".join(cells), "We Ay .. .. Ae .. .. Ro .. .. We", " ".join(cells)]
    rocks = [" ".join(["We", *["Ro"] * 9, "We"])] * 2
    small = loads("max_steps: 6\nmap: |\n" + "".join(f"  {r}\n" for r in rows))
    large = loads("max_steps: 6\nmap: |\n" + "".join(f"  {r}\n" for r in [*rows, *rocks, rows[0]]))
    assert (small.words, large.words) == (1, 3)
    goals = [g for g in large.possible_goals if g.what[0][1] == 1]
    a = compute_robot_policy(compute_human_policy_prior(small, dtype="float64"))
    b = compute_robot_policy(compute_human_policy_prior(large, possible_goals=goals, dtype="float64"))
    assert (a.prior.game.space.sizes == b.prior.game.space.sizes).all()
    for t in range(6):
        key = lambda s: s.agents + tuple(o for o in s.mobile_objects if o[2] == 1)
        mine = {key(s): i for i, s in enumerate(a.prior.game.space.decode(t))}
        order = [mine[key(s)] for s in b.prior.game.space.decode(t)]
        np.testing.assert_allclose(b.value(t), a.value(t)[order], rtol=1e-12)
        np.testing.assert_allclose(b.human_values(t), a.human_values(t)[order], atol=1e-14)


def test_worlds_travel_to_other_processes():
    game = pickle.loads(pickle.dumps(make_game(load("locked_in", 4))))
    assert (game.space.sizes == search(load("locked_in", 4)).sizes).all()


def test_golden_counts_of_twenty_steps():
    space = search(load("asymmetric_freeing", 20))
    assert space.n_states == 365_724
    assert space.sizes[16:].tolist() == [22927, 33254, 51010, 76550, 111650]
    thirds = np.isclose(space.table.weights(), 1 / 3)
    assert thirds.sum() == 3 * 8  # 8 rows with three outcomes


@pytest.mark.parametrize("wrong", [lambda s: 0, lambda s: s[0] // 2, lambda s: -s[0], lambda s: 2 * s[0]])
def test_wrong_level_functions_are_refused(wrong):
    with pytest.raises(ValueError, match="level_fct: expected a level that rises by 1 along every edge"):
        compute_human_policy_prior(load("asymmetric_freeing", 4), level_fct=wrong)
    with pytest.raises(ValueError, match="level_fct: expected a level"):
        search(random_world(0, timed=True), level_fct=wrong)
    compute_human_policy_prior(load("asymmetric_freeing", 4), level_fct=lambda s: s[0])


def test_a_human_without_power_is_reported_before_solving():
    world = loads('max_steps: 3\nmap: Ay .. .. Ae\npossible_goals: ["2,0"]')
    prior = compute_human_policy_prior(world)
    with pytest.raises(ValueError, match=r"human 0 can hit no goal from \d+ of \d+ states of step 2, for instance"):
        compute_robot_policy(prior)
    table = TableWorld(*line_tables(), 1, [[2]], 2)
    with pytest.raises(ValueError, match="can hit no goal from 1 of 2 states of step 1"):
        validate_coverage(make_game(table))
    covered = loads("max_steps: 3\nmap: Ay .. .. Ae")
    validate_coverage(make_game(covered))
    with pytest.raises(ValueError, match="human 0 can hit no goal"):  # staying does not count, and it must turn first
        validate_coverage(make_game(loads("max_steps: 1\norientations: [1]\nmap: Ay ..")), skip_achieved=True)


def line_tables():
    """Three states in a row; action 0 stays, action 1 goes on."""
    return np.array([[[s], [min(s + 1, 2)]] for s in range(3)]), np.ones((3, 2, 1))


@pytest.mark.parametrize(("options", "message"), [
    ({"beta_h": -1}, "beta_h: expected 0 or more"), ({"beta_h": [1, 2, 3]}, "beta_h: expected a number or 2"),
    ({"gamma_h": 0}, "gamma_h: expected above 0"), ({"nu_h": 1.5}, "nu_h: expected 0 to 1"),
    ({"pi0": [0.5, 0.5]}, "pi0: expected shape"), ({"pi0": [1, 1, 0, 0]}, "pi0: expected probabilities"),
    ({"believed_others": [[0.25] * 4]}, "believed_others: expected shape"), ({"robot": "kind"}, "robot: expected"),
    ({"dtype": "float16"}, "dtype: expected float32 or"), ({"human_agent_indices": [0, 3]}, "human_agent_indices: exp"),
    ({"human_agent_indices": []}, "human_agent_indices: exp"), ({"possible_goals": []}, "possible_goals: expected at"),
    ({"possible_goals": [[Goal("x", ((5, 1),))]]}, "possible_goals: expected a list for each of 2 humans, got 1"),
    ({"possible_goals": [Goal("x", 3)]}, "goal: expected cells"), ({"max_steps": 0}, "max_steps: expected 1 or more"),
    ({"conventions": "mine"}, "conventions: expected one of"), ({"env": "x"}, "world: expected either world or env"),
])
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message): compute_human_policy_prior(load("asymmetric_freeing", 2), **options)


def test_the_names_of_the_document_work():
    world = load("asymmetric_freeing", 4)
    a = compute_human_policy_prior(world, [0, 1], world.possible_goals)
    b = compute_human_policy_prior(
        env=world, human_agent_indices=[0, 1], possible_goal_generator=lambda w, h: w.possible_goals,
        level_fct=lambda state: state[0], use_float16=True, quiet=True)
    for t in range(4): assert (a.policies(t) == b.policies(t)).all()


def test_distance_agrees_with_networkx():
    """With the best robot and perfect rationality V is gamma to the power of the steps before the hit."""
    world = loads("max_steps: 8\ncan_push_rocks: y\nmap: |\n  Ay .. Ro ..\n  .. Ro .. ..\n  Bl .. .. We\n")
    prior = compute_human_policy_prior(world, beta_h=np.inf, gamma_h=0.9, dtype="float64")
    edges, n = prior.game.space.edges(7), int(prior.game.space.sizes[8])
    assert not len(edges.row)
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from({(b, a) for a, row in enumerate(edges.succ) for b in set(row.tolist())})  # backwards
    held, reached = prior.game.attained(8), 0
    for c in range(prior.game.n_columns):
        goal = set(np.flatnonzero(held[:, c]).tolist())
        steps = networkx.multi_source_dijkstra_path_length(graph, goal) if goal else {}
        for t in (0, 5):
            worth = lambda s, left=8 - t, steps=steps: 0.9 ** (steps[s] - 1) if 0 < steps.get(s, 99) <= left else 0.0
            want = np.array([worth(s) for s in range(int(prior.game.space.sizes[t]))])
            np.testing.assert_allclose(prior.values(t)[:, c], want, atol=1e-12)
            reached += int((want > 0).sum())
    assert reached > 100


def test_humans_have_to_ascend():
    """Lists with one entry a human follow the order of the humans, so another order would swap them."""
    world = load("asymmetric_freeing", 2)
    for wrong in ([1, 0], [0, 0]):
        with pytest.raises(ValueError, match=r"human_agent_indices: expected different numbers of 0 to 2, ascending"):
            compute_human_policy_prior(world, wrong, beta_h=[1.0, 30.0])
    assert make_game(world, np.array([0, 1])).humans == (0, 1)


class Allows:
    """A monitor that always allows some bytes."""

    def __init__(self, allowed): self.allowed, self.asked = allowed, 0

    def budget(self):
        self.asked += 1
        return self.allowed


@pytest.mark.parametrize(("name", "steps", "timed"), [
    ("asymmetric_freeing", 18, False), ("hall", 4, False), ("asymmetric_freeing", 12, True)])
def test_the_search_estimates_the_next_level(name, steps, timed, monkeypatch):
    """A level never takes more than was estimated: with what it took allowed, the search would not have begun it."""
    world, needed, held, tight = load(name, steps), [], [], Allows(-1)
    monkeypatch.setattr(world, "timed", timed, raising=False)

    class Watches:
        """Notes what is held before each level."""

        def budget(self):
            now, peak = tracemalloc.get_traced_memory()
            held.append((now, peak))
            tracemalloc.reset_peak()
            return 10**12

    tracemalloc.start()
    try: search(world, monitor=Watches())
    finally: tracemalloc.stop()
    assert len(held) == steps
    with pytest.raises(MemoryError, match="level 0 has 1 states, 1 times the level before; level 1 needs about"):
        search(world, monitor=tight)
    assert tight.asked == 1
    for t in range(1, steps):
        allowed = held[t][1] - held[t - 1][0]  # what level t took at its peak
        if allowed < 500_000: continue
        with pytest.raises(MemoryError, match=r"level \d+ has [0-9,]+ states, .* MB are allowed; fewer steps, or netw"):
            search(world, monitor=Allows(allowed))
        needed.append(allowed)
    assert needed


def test_a_progress_line_of_the_search(capfd, monkeypatch):
    monkeypatch.setattr(states, "progress_bar", lambda *a: tqdm(total=a[1], desc=a[0], unit=a[2], mininterval=0))
    search(load("asymmetric_freeing", 6), quiet=False)
    assert "search: 100%" in (line := capfd.readouterr().err) and "6/6" in line and "states=592" in line


@pytest.mark.parametrize(("options", "message"), [
    ({"nu_h": lambda *_: 2}, "nu_h: expected a function that at step 1 for human 0 returns 0 to 1, got 2 to 2"),
    ({"beta_h": lambda *_: -5}, "beta_h: .* returns 0 or more, got -5"),
    ({"beta_h": lambda *_: np.nan}, "beta_h: .* returns 0 or more, got nan"),
    ({"beta_h": lambda t, s, h: np.ones((len(s), 7))}, r"beta_h: .* shape \[36 or 1, 18 or 1\], got \(36, 7\)"),
    ({"believed_others": lambda *_: np.full((1, 4, 1), 0.3)}, "believed_others: .* sum 1 over axis 1, got sums of 1.2"),
    ({"believed_others": lambda *_: np.ones((1, 2, 1))}, r"believed_others: .* shape \[36 or 1, 4, 18 or 1\], got"),
    ({"nu_h": 0.5, "pi0": lambda *_: np.full((1, 4, 1), 0.2)}, "pi0: .* sum 1 over axis 1, got sums of 0.8"),
    ({"nu_h": 0.5, "pi0": lambda *_: np.array([2.0, -1, 0, 0])[None, :, None]}, "pi0: .* the smallest entry -1"),
    ({"nu_h": 0.5, "pi0": lambda *_: [0.25] * 4}, r"pi0: .* shape \[36 or 1, 4, 18 or 1\], got \(4,\)"),
    ({"pi0": [np.nan] * 4}, "pi0: expected probabilities with the sum 1"),
])
def test_what_functions_return_is_checked(options, message):
    with pytest.raises(ValueError, match=message): compute_human_policy_prior(load("asymmetric_freeing", 2), **options)


def test_a_level_function_of_a_world_with_another_name_for_the_step():
    class Clocked(TableWorld):
        """A world whose states begin with `time`."""

        def decode(self, states, step): return [Clock(step, int(s)) for s in states[:, 0]]

    Clock = namedtuple("Clock", "time place")
    world = Clocked(*line_tables(), 1, [[2]], 4)
    assert search(world, level_fct=lambda s: s.time).nested
    with pytest.raises(ValueError, match="level_fct: expected a level that rises by 1"):
        search(world, level_fct=lambda s: s.place)


def test_rare_outcomes_are_not_lost():
    """Rows that 16 bits would change by more than a thousandth are kept as they are, whatever the other rows."""
    outcomes = np.array([[[0, 1]], [[1, 2]], [[2, 3]], [[3, 0]]])
    prob = np.array([[[1 - 1e-8, 1e-8]], [[1 - 4e-5, 4e-5]], [[2 / 3, 1 / 3]], [[0.25, 0.75]]])
    space = search(TableWorld(outcomes, prob, 1, [[3]], 4, start=[0, 1, 2, 3]))
    edges = space.edges(3)
    assert edges.prob.dtype == np.float64 and (edges.prob > 0).all()
    got = {int(n): p for n, p in zip(edges.row, edges.weights().reshape(-1, 2), strict=True)}
    np.testing.assert_array_equal(got[0], prob[0, 0])
    np.testing.assert_allclose([got[1], got[2]], prob[1:3, 0], rtol=1e-3)
    assert edges.prob[5] == np.float16(1 / 3) and (got[3] == prob[3, 0, ::-1]).all()
    prior = compute_human_policy_prior(TableWorld(outcomes, prob, 1, [[3]], 4), beta_h=0.0, dtype="float64")
    exact = compute_human_policy_prior(
        TableWorld(outcomes, prob, 1, [[3]], 4), beta_h=0.0, dtype="float64", use_float16=False)
    assert 0 < exact.values(0)[0, 0] < 1e-12
    np.testing.assert_allclose(prior.values(0)[0, 0], exact.values(0)[0, 0], rtol=1e-2)


def test_files_have_to_be_asked_for():
    world = load("asymmetric_freeing", 2)
    with pytest.raises(ValueError, match="disk_cache_dir: expected None without use_disk_slicing=True, got 'there'"):
        compute_human_policy_prior(world, disk_cache_dir="there")
    prior = compute_human_policy_prior(world)
    for use in (None, False):
        with pytest.raises(ValueError, match="disk_cache_dir: expected None without"):
            compute_robot_policy(prior, disk_cache_dir="there", use_disk_slicing=use)


def test_tables_name_actions():
    """The robot with the lowest number comes first."""
    one = compute_robot_policy(compute_human_policy_prior(load("asymmetric_freeing", 2))).table(0)
    assert list(one.columns)[-4:] == ["still", "left", "right", "forward"]
    solution = compute_robot_policy(compute_human_policy_prior(random_world(0, 1, 2)))
    table = solution.table(0)
    assert list(table.columns)[-4:] == [f"action {a} action {b}" for b in (0, 1) for a in (0, 1)]
    np.testing.assert_array_equal(table.iloc[:, -4:], solution.policy(0))
