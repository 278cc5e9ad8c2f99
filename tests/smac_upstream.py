"""Run upstream's environments on the stand-in and compare every step with the embedded simulator; prints a JSON line a map.

    python tests/smac_upstream.py smac random 5 3m 8m     package, random or heuristic, episodes, maps
"""

import importlib
import json
import sys
import time

import numpy as np

from marl_nb.smac import SMACEnv
from marl_nb.smac.exact import exact_door


def difference(a, b) -> float:
    """Largest absolute difference of two arrays of one shape."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape, (a.shape, b.shape)
    return float(np.abs(a - b).max())


def compare(theirs, ours, episodes: int, heuristic: bool) -> dict:
    """Play both; the largest difference of anything that SMAC hands out, and how the episodes ended."""
    rng, worst, steps, upstream = np.random.default_rng(0), dict.fromkeys(("obs", "state", "reward"), 0.0), 0, 0.0
    for _ in range(episodes):
        theirs.reset()
        ours.reset()
        terminated = False
        while not terminated:
            available = theirs.get_avail_actions()
            assert available == ours.get_avail_actions(), steps
            worst["obs"] = max(worst["obs"], difference(theirs.get_obs(), ours.get_obs()))
            worst["state"] = max(worst["state"], difference(theirs.get_state(), ours.get_state()))
            chosen = [0 if heuristic else int(rng.choice(np.flatnonzero(row))) for row in available]
            start = time.process_time()
            reward, terminated, info = theirs.step(list(chosen))
            upstream += time.process_time() - start
            mine = ours.step(list(chosen))
            worst["reward"] = max(worst["reward"], abs(reward - mine[0]))
            assert (terminated, info) == mine[1:], (steps, terminated, info, mine)
            steps += 1
    assert theirs.get_stats() == ours.get_stats()
    return {**worst, "steps": steps, **theirs.get_stats(), "step_us": round(1e6 * upstream / steps)}


if __name__ == "__main__":
    package, player, episodes, *names = sys.argv[1:]
    options = dict(obs_last_action=True, heuristic_ai=player == "heuristic")
    if package == "smac": options |= dict(obs_pathing_grid=True, state_timestep_number=True)
    with exact_door():
        module = importlib.import_module(f"{package}.env")
        for name in names:
            theirs, ours = module.StarCraft2Env(map_name=name, seed=7, **options), SMACEnv(name, seed=7, **options)
            found = compare(theirs, ours, int(episodes), player == "heuristic")
            print(json.dumps({"map": name, **found}), flush=True)
