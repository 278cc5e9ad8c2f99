"""Randomness of forked and spawned workers, and credit on worlds that are rebuilt for each task."""

import multiprocessing

import gymnasium
import numpy as np
import pytest

from marl_nb.curriculum.credit import accounts, check_credit, duplicates, play_log
from marl_nb.curriculum.samplers import Curriculum, DiscreteRandom, ProgressSampler
from marl_nb.curriculum.sides import Side, adapt
from marl_nb.curriculum.tasks import BucketedTasks, SingleTask, Span
from marl_nb.curriculum.wrapper import CurriculumEnv, InterceptedWrapper, SingleLane, Watch

TASKS = BucketedTasks(SingleTask({"max_episode_steps": 5}), {"max_episode_steps": Span(3, 12)})


def answers(worker, results):
    """What a worker draws from the global generator and which tasks it is given."""
    curriculum = Curriculum(TASKS, DiscreteRandom(8), 0, worker)
    results.put((worker, np.random.randint(1, 1000, 3).tolist(), [curriculum.get_task().id for _ in range(4)]))


def draws(method, count):
    """The answers of some workers started in one way."""
    context = multiprocessing.get_context(method)
    results = context.Queue()
    workers = [context.Process(target=answers, args=(w, results)) for w in range(count)]
    for w in workers: w.start()
    told = sorted(results.get(timeout=120) for _ in workers)
    for w in workers: w.join()
    return [t[1] for t in told], [t[2] for t in told]


def test_fork_copies_the_global_generator_and_no_stream():
    forked, tasks = draws("fork", 3)
    assert duplicates(forked) == [(0, 1, 2)] and duplicates(tasks) == []
    spawned, again = draws("spawn", 2)
    assert duplicates(spawned) == [] and again == tasks[:2]


def cartpole(n_envs=1, **options):
    """A Gymnasium environment whose episodes are cut after some steps."""
    return adapt([gymnasium.make("CartPole-v1", **options) for _ in range(n_envs)])


def log(wrapper, episodes=25, worker=0):
    """One worker that plays CartPole with a task's length."""
    watched, curriculum = [], Curriculum(TASKS, ProgressSampler(8), 3, worker)
    env = wrapper(lambda config: watched.append(Watch(SingleLane(cartpole, config))) or watched[-1], curriculum)
    return play_log(env, watched[0], curriculum, episodes, seed=worker)


def test_credit_on_a_gymnasium_environment():
    right = log(CurriculumEnv)
    assert accounts(right)[:4] == (25, (), 0, 0)
    assert len({e.length for e in right.episodes}) > 3
    healthy = Side(cartpole, records={"credit": lambda: [log(CurriculumEnv, worker=w) for w in range(2)]})
    broken = Side(cartpole, records={"credit": lambda: [log(InterceptedWrapper)]})
    assert [f.verdict for f in check_credit(healthy, healthy)] == ["ruled out"]
    assert [(f.difference, f.verdict) for f in check_credit(healthy, broken)] == [("curriculum.credit", "defect")]


@pytest.mark.parametrize("wrapper", [CurriculumEnv, InterceptedWrapper])
def test_bits_pass_through(wrapper):
    """With a single task a wrapper changes no bit of what a Gymnasium environment returns."""
    config = {"max_episode_steps": 9}

    def played(env):
        rng, out = np.random.default_rng(0), []
        for i in range(6):
            out.append(env.reset(7 if i == 0 else None)[0].tobytes())
            while not env.done: out += [x.tobytes() for x in env.step(rng.integers(0, 2, 1))[:4]]
        return out

    bare = played(SingleLane(cartpole, config))
    curriculum = Curriculum(SingleTask(config), DiscreteRandom(3))
    assert len(bare) > 100 and played(wrapper(lambda c: SingleLane(cartpole, c), curriculum)) == bare
