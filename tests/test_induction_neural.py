"""Networks in place of tables: what is exact, what is close, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from marl_nb.induction.game import PRESETS, HumanModel, RobotModel, make_game
from marl_nb.induction.multigrid import load, loads
from marl_nb.induction.neural import (
    Features,
    NeuralConfig,
    compare_with_exact,
    features_of,
    load_neural,
    sample_states,
    save_neural,
    solve_neural,
    training_seconds,
)
from marl_nb.induction.solve import compute_robot_policy, solve_humans
from marl_nb.induction.states import keys, search
from marl_nb.induction.worlds import random_world

SMALL = NeuralConfig(states=40, updates=3, width=16)


def exactly(world, model=None, **words):
    prior = solve_humans(make_game(world, prob_dtype=np.float64, **words), model or HumanModel(), quiet=True)
    return compute_robot_policy(prior, quiet=True)


@pytest.mark.parametrize("world", [random_world(1), random_world(2, timed=True), load("three_way"), load("button")],
                         ids=["table", "timed", "three_way", "button"])
def test_last_step_is_exact_and_sampled_states_can_occur(world):
    steps = min(world.max_steps, 4)
    if world.timed: steps = world.max_steps
    exact = exactly(world, max_steps=steps)
    solution = solve_neural(world, max_steps=steps, config=SMALL, quiet=True)
    space = exact.prior.game.space
    ahead = solution.look_ahead(steps - 1, space.states(steps - 1))
    for name in ("policy", "value", "human_values", "power", "reward"):
        np.testing.assert_allclose(ahead[name], getattr(exact, name)(steps - 1), rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(ahead["policies"], exact.prior.policies(steps - 1), atol=1e-6)
    for t, met in enumerate(solution.met): space.find(t, met)  # an unknown state is an error
    for t in range(steps):
        states = space.states(t)
        assert (solution.value(t, states) < 0).all()
        assert ((0 <= solution.values(t, states)) & (solution.values(t, states) <= 1)).all()
        np.testing.assert_allclose(solution.policies(t, states).sum(1), 1, atol=1e-5)
        np.testing.assert_allclose(solution.policy(t, states).sum(1), 1, atol=1e-5)


def test_same_seed_same_networks_whatever_the_global_generator():
    def weights(seed, noise):
        torch.manual_seed(noise); np.random.seed(noise)  # noqa: NPY002
        s = solve_neural(load("three_way"), max_steps=3, config=NeuralConfig(states=40, updates=3, width=16, rounds=2),
                         seed=seed, quiet=True)
        return torch.cat([p.reshape(-1) for n in s.networks for p in n.parameters()])

    assert torch.equal(weights(1, 0), weights(1, 9)) and not torch.equal(weights(1, 0), weights(2, 0))


def test_sampling_covers_rare_states_and_follows_chance():
    world = load("asymmetric_freeing", max_steps=6)
    sizes = search(world).sizes
    met = sample_states(world, 2000, 6, np.random.default_rng(0))
    assert [len(m) for m in met[:4]] == sizes[:4].tolist()
    followed = []

    def still(step, states, rng):
        followed.append((step, len(states)))
        return np.zeros(len(states), int)

    sample_states(world, 10, 2, np.random.default_rng(0), still)
    assert followed == [(0, 5), (1, 5)]


def test_distances_of_pairs_on_a_small_map():
    world = loads("max_steps: 3\nmap: |\n  We We We We We\n  We Ay .. .. We\n  We We We We We\n")
    seen = features_of(world)
    pairs = seen.pairs(world.initial(), [(0, g) for g in world.possible_goals])[0]
    assert pairs[:, 3].tolist() == [0, 1 / 8, 2 / 8]  # the human faces east
    assert pairs[1, :3].tolist() == [0, 1, 1] and pairs[0, :3].tolist() == [1, 0, 0]
    forward = 5 + world.action_names.index("forward")
    assert pairs[1, forward] == pairs[2, forward] == 1 and pairs[2, 5:].sum() == 1


def test_values_are_learned():
    world = load("corridor", max_steps=4)
    exact = exactly(world)
    solution = solve_neural(world, config=NeuralConfig(states=1000, updates=200), quiet=True)
    table = compare_with_exact(solution, exact)
    assert table[["V_m", "V_e", "V_r"]].min().min() > 0.7
    assert len(keys(exact.prior.game.space.states(3))) == table.states[3]


def test_files(tmp_path):
    world, path = load("three_way", max_steps=3), tmp_path / "n.safetensors"
    solution = solve_neural(world, config=SMALL, quiet=True)
    save_neural(path, solution)
    back, states = load_neural(path, world), search(world).states(2)
    for name in ("values", "policies", "human_values", "value", "policy"):
        np.testing.assert_array_equal(getattr(back, name)(2, states), getattr(solution, name)(2, states))
    good = path.read_bytes()
    with pytest.raises(ValueError, match="n.safetensors: made for world three_way, got button"):
        load_neural(path, load("button"))
    with pytest.raises(ValueError, match="n.safetensors: made for goals"):
        load_neural(path, world, possible_goals=world.possible_goals[:2])
    for option in ("actions: [forward, still, left, right]", "can_push_rocks: y"):
        with pytest.raises(ValueError, match="n.safetensors: made for digest of the world"):
            load_neural(path, loads(f"{world.source}\n{option}", world.name, 3))
    for damaged in (good[:-100], good[:-1] + bytes([good[-1] ^ 1]), b"", b"foreign"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="n.safetensors: "): load_neural(path, world)
    with pytest.raises(FileNotFoundError, match="none.safetensors"): load_neural(tmp_path / "none.safetensors", world)


def test_a_file_brings_its_models_and_refuses_others(tmp_path):
    world, path = load("three_way", max_steps=2), tmp_path / "n.safetensors"
    human = HumanModel(beta_h=1.0, robot="best", nu_h=0.1, conventions=PRESETS["empo"])
    solution = solve_neural(world, human=human, robot=RobotModel(beta_r=50.0), config=SMALL, quiet=True)
    save_neural(path, solution)
    back = load_neural(path, world)
    assert back.human == human and back.robot == RobotModel(beta_r=50.0)
    a, b = (s.look_ahead(0, world.initial()) for s in (solution, back))
    for name in a: np.testing.assert_array_equal(a[name], b[name])
    load_neural(path, world, human=human, robot=solution.robot)
    for words, match in ((dict(human=HumanModel()), "human.beta_h 1.0, got 10.0"),
                         (dict(human=replace(human, robot="worst")), "human.robot best, got worst"),
                         (dict(human=replace(human, conventions=PRESETS["paper"])), "human.conventions"),
                         (dict(robot=RobotModel()), "robot.beta_r 50.0, got 5.0")):
        with pytest.raises(ValueError, match=f"n.safetensors: made for {match}"): load_neural(path, world, **words)
    by_function = HumanModel(beta_h=lambda step, states, human: np.full((1, 1), 2.0))
    save_neural(path, solve_neural(world, human=by_function, config=SMALL, quiet=True))
    with pytest.raises(ValueError, match="n.safetensors: beta_h was the function"): load_neural(path, world)
    assert load_neural(path, world, human=by_function).human is by_function


def test_estimate_of_the_training():
    world = load("three_way", max_steps=3)
    assert 0 < training_seconds(world, config=SMALL) < training_seconds(world, config=replace(SMALL, states=40_000))


def test_bad_arguments():
    world = load("three_way", max_steps=3)
    for words, match in ((dict(seed=-1), "seed"), (dict(max_steps=0), "max_steps: expected 1 or more"),
                         (dict(human_agent_indices=[7]), "human_agent_indices"),
                         (dict(human=HumanModel(beta_h=[1.0] * 5)), "beta_h")):
        with pytest.raises(ValueError, match=match): solve_neural(world, config=SMALL, **words)
    for words, match in ((dict(states=1), "states: expected 2 or more"), (dict(width=5), "width: expected an even"),
                         (dict(updates=0), "updates: expected above 0"), (dict(learning_rate=0), "learning_rate")):
        with pytest.raises(ValueError, match=match): NeuralConfig(**words)
    chess = type("Chess", (), {"n_agents": 2})()
    with pytest.raises(ValueError, match="features: expected Features"): features_of(chess)
    solution = solve_neural(world, config=SMALL, quiet=True)
    with pytest.raises(ValueError, match="step: expected 0 to 2, got 3"): solution.values(3, world.initial())
    with pytest.raises(ValueError, match="has no power in some state"):
        solve_neural(world, possible_goals=world.possible_goals[:1], config=SMALL, quiet=True)


def test_own_features():
    world = random_world(1)
    base = features_of(world)
    own = Features(lambda s: base.states(s) * 2, base.goal, base.pairs)
    solution = solve_neural(world, config=SMALL, features=own, robot=RobotModel(beta_r=1.0), quiet=True)
    assert solution.features is own and solution.robot.beta_r == 1.0


@pytest.mark.soak
def test_freeing_is_learned():
    world, model = load("asymmetric_freeing", max_steps=12), HumanModel(robot="best")
    table = compare_with_exact(solve_neural(world, human=model, config=NeuralConfig(states=4000), quiet=True),
                               exactly(world, model))
    assert table.V_m.dropna().min() > 0.6 and table.V_r.dropna().min() > 0.9
