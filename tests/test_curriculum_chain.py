"""Chains and converters on the real engine: random recipes step by step, golden times on random maps."""

from dataclasses import replace

import numpy as np
import pytest

from marl_nb.core.seeding import stream
from marl_nb.curriculum.arena import Arena
from marl_nb.curriculum.chain import Chain, act_out, critical_path, evenly, golden
from marl_nb.curriculum.config import PART, RESOURCES, TIMINGS, Recipe, recipes, small_arena
from marl_nb.curriculum.converter import Converter
from marl_nb.curriculum.engine import GET, NOOP, PUT
from marl_nb.curriculum.scripted import actions_of, crew, first_taken, journey, solo

PHASES = ("idle", "converting", "cooling")


def random_recipe(random) -> Recipe:
    """Two inputs and two outputs with short times, zeros and limits included."""
    pick = lambda *values: values[random.integers(len(values))]
    return Recipe({"ore_red": pick(0.5, 1, 2), "ore_blue": pick(0.25, 1)}, {"battery_red": pick(1, 2), "armor": 1},
                  conversion_ticks=pick(0, 1, 2), cooldown=pick(0, 1, 3), max_output=pick(1, 2, 5),
                  max_conversions=pick(-1, -1, 2), initial_resource_count=pick(0, 1))


@pytest.mark.parametrize("timing", TIMINGS)
def test_the_engine_is_the_automaton(timing):
    """An agent between a mine and a machine with a random recipe: after each step it is what the automaton says."""
    random = stream(3, timing)
    for _ in range(12):
        recipe = random_recipe(random)
        makes = {"mine": Recipe({}, {"ore_red": 2, "ore_blue": 1}, 0, 1), "generator": recipe}
        arena = Arena(small_arena("###\n#m#\n#^#\n#g#\n###", recipes=makes, timing=timing, max_steps=10**6), threads=1)
        converter, kind = Converter(recipe, timing), list(arena.scene().converter_kind).index(1)
        state, facing = converter.create(), 0
        for _ in range(60):
            held = dict(zip(RESOURCES, arena.scene().inventory[0, 0].tolist(), strict=True))
            action = (GET, PUT, NOOP, 5)[random.integers(4)]
            argument = int(random.integers(2)) if action == 5 else 0
            arena.step(np.array([[(action, argument)]]))
            state = converter.wait(state)
            if action == 5: facing = argument
            if facing == 1 and action == PUT: state, _ = converter.put(state, [held[r] for r in recipe.inputs])
            if facing == 1 and action == GET: state, _ = converter.get(state, 50 - max(held[r] for r in recipe.outputs))
            s = arena.scene()
            stock = {name: s.stock[0, kind, i] for i, name in enumerate(RESOURCES)}
            assert [stock[r] * PART for r in recipe.inputs] == list(state.inputs), recipe
            assert [stock[r] for r in recipe.outputs] == list(state.outputs), recipe
            assert (PHASES[s.phase[0, kind]], s.left[0, kind]) == (state.phase, state.left), recipe


def random_map(random) -> str:
    """A room of 4 x 5 cells with walls, machines and one agent at random places."""
    signs = list("^gamm" + "g" * random.integers(2) + "#" * random.integers(4))
    cells = np.full(20, ".", "U1")
    cells[random.permutation(20)[:len(signs)]] = signs
    rows = ["".join(row) for row in cells.reshape(4, 5)]
    return "\n".join(["#######", *(f"#{row}#" for row in rows), "#######"])


def test_golden_times_are_kept_on_random_maps():
    """Bound <= exact search = what the actions of the plan do in the arena; no policy at hand is faster."""
    random, solved = stream(0, "maps"), 0
    while solved < 12:
        layout, cost, timing = random_map(random), (0.5, 1, 2)[random.integers(3)], TIMINGS[random.integers(2)]
        arena = Arena(small_arena(layout, recipes=recipes(cost), timing=timing), threads=1)
        try: trip = journey(arena)
        except ValueError: continue  # walled off
        plan = golden(trip.chain)
        heart = RESOURCES.index("heart")
        actions = actions_of(trip, plan)
        assert len(actions) == plan.step and critical_path(trip.chain) <= plan.step
        assert first_taken(arena, solo(actions), plan.step)[0, 0, heart] == plan.step, layout
        assert first_taken(arena, solo(actions[:-1]), plan.step)[0, 0, heart] == 0
        assert first_taken(arena, crew, plan.step - 1)[0, 0, heart] == 0
        solved += 1


def test_more_machines_never_hurt():
    """A machine more, or a shorter way, is never a later heart."""
    for d in (1, 4):
        for timing in TIMINGS:
            step = lambda mines, generators, d=d, timing=timing: golden(
                Chain(evenly({"mine": mines, "generator": generators, "altar": 1}, d), recipes(2), timing=timing)).step
            assert step(1, 1) >= step(2, 1) >= step(2, 2)
            assert step(1, 1) <= step(1, 1, d=d + 1)


def test_a_chain_of_other_things():
    """A laser takes an ore for a battery and two ores: the search handles two inputs; the plan can be acted out."""
    chain = Chain(evenly({"mine": 1, "generator": 1, "lasery": 1}), goal="laser")
    plan = golden(chain)
    assert act_out(chain, plan.visits)["laser"] == 1
    assert critical_path(chain) <= plan.step
    arena = Arena(replace(small_arena("#####\n#.m.#\n#l^g#\n#...#\n#####")), threads=1)
    trip = journey(arena, "laser")
    at = golden(trip.chain)
    assert at.step == plan.step
    assert first_taken(arena, solo(actions_of(trip, at)), at.step)[0, 0, RESOURCES.index("laser")] == at.step
