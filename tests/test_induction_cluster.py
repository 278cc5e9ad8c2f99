"""Levels spread over processes: equal to one process, whatever the parts, and after a worker died."""

from pathlib import Path

import numpy as np
import pytest

from marl_nb.induction.cluster import (
    ROBOT_ARRAYS,
    ClusterSolution,
    find_states,
    make_plan,
    part_of,
    solve_human_part,
    solve_on_cluster,
    solve_robot_part,
)
from marl_nb.induction.human import HumanModel, make_game, solve_humans
from marl_nb.induction.multigrid import load
from marl_nb.induction.robot import RobotModel, compute_robot_policy
from marl_nb.induction.worlds import random_world

NAMES = ("values", "policies", *ROBOT_ARRAYS)


def one_after_the_other(plan):
    """The tasks of a run in this process."""
    steps, parts = plan.game.space.max_steps, range(plan.parts)
    sizes = [[find_states(plan, t, k, []) for k in parts] for t in range(steps + 1)]
    for t in reversed(range(steps)):
        for k in parts:
            for b in range(len(plan.columns)): solve_human_part(plan, t, k, b)
        for k in parts: solve_robot_part(plan, t, k)
    return ClusterSolution(plan, np.array(sizes))


def check_equal(solution, model, tolerance=0.0):
    """Equal to the single process, state by state."""
    plan = solution.plan
    game = make_game(plan.game.space.world, plan.game.humans, plan.game.goals, solution.max_steps,
                     prob_dtype=plan.prob_dtype)
    prior = solve_humans(game, model, quiet=True)
    robot = compute_robot_policy(prior, quiet=True)
    np.testing.assert_array_equal(solution.sizes.sum(1), game.space.sizes)
    for t in range(solution.max_steps):
        order = game.space.find(t, solution.level("states", t))
        assert len(set(order.tolist())) == game.space.sizes[t]
        for name in NAMES:
            expected = getattr(robot if name in ROBOT_ARRAYS else prior, name)(t)[order]
            np.testing.assert_allclose(solution.level(name, t), expected, rtol=0, atol=tolerance, err_msg=f"{name} {t}")


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("name, steps", [("asymmetric_freeing", 5), ("three_way", 3), ("button", 4), ("corridor", 4)])
def test_parts_of_the_states_change_no_bit(tmp_path, name, steps, parts):
    model = HumanModel(robot="best" if parts == 2 else "worst")
    solution = one_after_the_other(make_plan(load(name), max_steps=steps, human=model, parts=parts, folder=tmp_path))
    check_equal(solution, model)
    for t in range(steps + 1):
        for k in range(parts): assert (part_of(solution.part("states", t, k), parts) == k).all()


@pytest.mark.parametrize("seed", range(12))
def test_random_worlds_and_parts_of_the_columns(tmp_path, seed):
    world = random_world(seed, n_humans=1 + seed % 3, timed=seed % 2 == 1, chance=0.5)
    model = HumanModel(dtype="float64", nu_h=0.2, beta_h=np.linspace(1, 20, len(world.human_agent_indices)))
    goal_parts = 1 + seed % (3 * len(world.human_agent_indices))
    options = dict(parts=1 + seed % 4, goal_parts=goal_parts, prob_dtype=np.float64)
    plan = make_plan(world, human=model, folder=tmp_path, **options)
    check_equal(one_after_the_other(plan), model, 1e-12)


def test_processes_and_a_worker_that_dies(tmp_path):
    world, marker = load("asymmetric_freeing", max_steps=5), str(tmp_path / "died")

    def deadly(step, states, human):
        import os
        import pathlib
        import signal

        if step == 2 and not pathlib.Path(marker).exists():
            pathlib.Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full((1, 1), 10.0)

    folder = tmp_path / "run"
    solution = solve_on_cluster(world, workers=2, human=HumanModel(beta_h=deadly), folder=folder)
    assert Path(marker).exists() and solution.plan.parts == 2 and Path(solution.plan.folder) == folder
    check_equal(solution, HumanModel())


def test_scheduler_by_address_and_errors_of_workers(tmp_path):
    from dask.distributed import LocalCluster

    options = dict(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0")
    with LocalCluster(**options) as cluster:
        address, world = cluster.scheduler_address, load("three_way", max_steps=3)
        check_equal(solve_on_cluster(world, scheduler=address, goal_parts=2, human=HumanModel(dtype="float64")),
                    HumanModel(dtype="float64"), 1e-12)
        nowhere = [g for g in world.possible_goals if not g.name == world.possible_goals[0].name][:1]
        with pytest.raises(ValueError, match="has no power in some state"):
            solve_on_cluster(world, possible_goals=nowhere, scheduler=address)


def test_a_finished_task_computes_nothing_and_damage_is_named(tmp_path):
    plan = make_plan(load("three_way"), max_steps=2, folder=tmp_path)
    solution = one_after_the_other(plan)
    kept = {f.name: f.stat().st_mtime_ns for f in tmp_path.iterdir()}
    assert (one_after_the_other(plan).sizes == solution.sizes).all()
    assert kept == {f.name: f.stat().st_mtime_ns for f in tmp_path.iterdir()}
    path = plan.path("values0", 1, 0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="values0-0001-000.npy: not a readable array"): solution.level("values", 1)


def test_bad_arguments(tmp_path):
    world, timed = load("three_way"), random_world(1, timed=True)
    by_function = HumanModel(nu_h=lambda *a: np.zeros((1, 1)))
    for words, match in (
        (dict(max_steps=0), "max_steps: expected 1 or more, got 0"),
        (dict(parts=0), "parts: expected 1 or more, got 0"),
        (dict(goal_parts=0), "goal_parts: expected 1 to"),
        (dict(goal_parts=2, human=by_function), "goal_parts: expected 1 with a function"),
        (dict(human_agent_indices=[9]), "human_agent_indices"),
        (dict(human=HumanModel(beta_h=[1, 2, 3, 4, 5])), "beta_h"),
        (dict(world=timed, max_steps=timed.max_steps + 1), "max_steps: expected at most"),
    ):
        with pytest.raises(ValueError, match=match): make_plan(**({"world": world, "folder": tmp_path / "x"} | words))
    make_plan(world, robot=RobotModel(), folder=tmp_path / "y")
    (tmp_path / "y" / "file").touch()
    with pytest.raises(ValueError, match="folder: expected an empty one"): make_plan(world, folder=tmp_path / "y")


@pytest.mark.soak
def test_t12_with_four_parts(tmp_path):
    model = HumanModel()
    solution = solve_on_cluster(load("asymmetric_freeing"), max_steps=12, workers=2, parts=4, goal_parts=3, human=model)
    check_equal(solution, model, 1e-6)


@pytest.mark.soak
def test_a_task_that_always_kills_its_worker_is_given_up(tmp_path):
    from dask.distributed import KilledWorker

    def deadly(step, states, human):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(KilledWorker):
        solve_on_cluster(load("three_way", max_steps=2), human=HumanModel(beta_h=deadly), folder=tmp_path)
    assert any(tmp_path.glob("found-*"))
