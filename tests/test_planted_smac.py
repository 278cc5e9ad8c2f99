"""Planted faults of `smac` that no test saw (tools/faults.py), each with a test that sees it."""

import numpy as np

from marl_nb.smac import make


def test_a_reset_clears_the_outputs_of_both_sides():
    """What an episode left behind, such as its length, is gone on the side of the enemies too."""
    env = make("3m", control="both", episode_limit=2, autoreset=False, seed=0)
    for _ in range(2): env.step(env.time_step.available_actions.argmax(-1), env.rival.available_actions.argmax(-1))
    assert env.time_step.truncated.all() and env.rival.truncated.all() and (env.rival.episode_length == 2).all()
    env.reset()
    for side in (env.time_step, env.rival):
        for name in ("truncated", "terminated", "won", "reward", "episode_return", "episode_length", "dead_enemies"):
            assert not np.any(getattr(side, name)), name
