"""Maps of solutions, the dictionaries of the document, and the experiment's parameters and records."""

from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from papermill import inspect_notebook

from marl_nb.core.batch import load_spec
from marl_nb.core.files import read_table
from marl_nb.core.results import RunRecord
from marl_nb.induction.dictionaries import list_level, list_states, solve_in_dictionaries, weigh_dictionaries
from marl_nb.induction.game import PRESETS, HumanModel, make_game
from marl_nb.induction.multigrid import load
from marl_nb.induction.reading import by_position, cell_map, goal_numbers, robot_choice, storyboard
from marl_nb.induction.solve import act_out, compute_human_policy_prior, compute_robot_policy, solve_humans
from marl_nb.induction.states import search

matplotlib.use("Agg")
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("preset", ["paper", "empo_2026_01"])
@pytest.mark.parametrize(("name", "steps"), [("asymmetric_freeing", 3), ("three_way", 1), ("shared_door", 3)])
@pytest.mark.parametrize("robot", ["worst", "best", "uniform"])
def test_dictionaries_equal_arrays(name, steps, preset, robot):
    """Values and policies, also where chance decides, with the cache and without it."""
    game = make_game(load(name, steps), prob_dtype=np.float64)
    model = HumanModel(robot=robot, conventions=PRESETS[preset], dtype="float64")
    listed = list_states(game.space)
    for cache in ([{} for _ in listed], None):
        values, policies = solve_in_dictionaries(game, model, listed, lambda t: list_level(game.space, t), cache)
        prior = solve_humans(game, model, quiet=True)
        for t in range(steps):
            first = int(game.space.sizes[:t].sum())
            for i, (v, pi) in enumerate(zip(prior.values(t), prior.policies(t), strict=True), first):
                own = policies[listed[i]]
                np.testing.assert_allclose([values[i][h][c] for h in own for c in own[h]], v, atol=1e-12)
                np.testing.assert_allclose(np.array([own[h][c] for h in own for c in own[h]]).T, pi, atol=1e-12)


def test_lists_have_all_edges():
    """Chance included, successors of a level lie in the next one and probabilities sum to 1."""
    space = search(load("three_way", 2))
    ends = space.sizes.cumsum()
    chance = 0
    for t in range(2):
        for row in (r for state in list_level(space, t, np.float16) for r in state):
            assert all(ends[t] <= j < ends[t + 1] for j in row[2]) and len(row[1]) == len(row[2])
            assert abs(sum(map(float, row[1])) - 1) < 1e-3
            chance += len(row[2]) > 1
    assert chance == space.chance_rows() > 0


def test_slices_hold_the_same_transitions():
    """The results weigh the same whether transitions are in memory or in files."""
    here, files = (weigh_dictionaries(2, sliced=s) for s in (False, True))
    assert (here["states"], here["entries"]) == (files["states"], files["entries"]) == (165, 80512)
    assert files["files_mb"] > 0


def test_places_of_an_agent():
    """Every state of a level belongs to one place, and agrees with the given one apart from the agent."""
    space = search(load("button", 4))
    states = space.decode(3)
    for row in (0, len(states) // 2):
        places = by_position(space, 3, states[row], 0)
        assert row in places[states[row].agents[0][:2]]
        for cell, rows in places.items():
            for r in rows:
                assert states[r].agents[0][:2] == cell
                assert states[r]._replace(agents=states[row].agents) == states[row]


def test_pictures_show_the_numbers():
    """Colours rise with the numbers; the text is the number; axes come back."""
    import matplotlib.pyplot as plt

    world = load("button", 6)
    ax = plt.figure().add_subplot()
    assert cell_map(world, {(1, 1): 0.0, (2, 1): 0.5, (4, 1): 1.0}, ax=ax) is ax
    shades = [sum(ax.patches[x + world.grid.width].get_facecolor()[:3]) for x in (1, 2, 4)]
    assert shades[0] > shades[1] > shades[2]
    assert {"0", "0.50", "1"} <= {t.get_text() for t in ax.texts}
    solution = compute_robot_policy(compute_human_policy_prior(world, quiet=True), quiet=True)
    walk = act_out(solution, {0: 0})
    bars = robot_choice(solution, walk, plt.figure().add_subplot()).patches
    assert len(bars) == 6 * world.n_actions
    np.testing.assert_allclose(sum(b.get_height() for b in bars), 6, atol=1e-4)
    film = [world.decode(s[None], t)[0] for t, s in enumerate(walk)]
    axes = storyboard(world, film[:2], plt.figure().subplots(1, 3))
    assert [a.get_title() for a in axes] == ["step 0", "step 1", ""]
    assert goal_numbers([replace(world.possible_goals[0], what=((1, 1), (2, 1)))], [1.0]) == {}
    plt.close("all")


def test_experiment_and_records():
    """The batch names parameters that the notebook has, and the records are those of the batch."""
    spec = load_spec(ROOT / "batches/induction.yaml")
    known = inspect_notebook(str(ROOT / spec.notebook))
    assert {*spec.base, *spec.grid} <= set(known)
    table = read_table(ROOT / "records/induction/table.parquet")
    assert sorted(table.steps) == spec.grid["steps"] and set(table.status) == {"ok"}
    levels = RunRecord.read(ROOT / "records/induction/levels.json").result["level_sizes"]
    for row in table.itertuples(): assert row.states == sum(levels[: row.steps + 1])
