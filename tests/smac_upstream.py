"""Run upstream's environments on the stand-in, compare each step with the embedded simulator; prints a JSON line a map.

    python tests/smac_upstream.py smac random 5 3m 8m             package; random or heuristic; episodes; maps
    python tests/smac_upstream.py smacv2 random 5 terran_5_vs_6_fov       SMACv2's maps by race, sizes and "fov"
    SC2PATH=DIR python tests/smac_upstream.py --server smac random 5 3m   the stand-in as a program, or the game
    SC2PATH=DIR python tests/smac_upstream.py --soak RECORD.json          all of it, 20 episodes; goes on with RECORD
"""

import contextlib
import copy
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from marl_nb.core.files import read_json, write_json
from marl_nb.smac import SMACEnv, scenarios
from marl_nb.smac.exact import exact_door
from marl_nb.smac.upstream import sow


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


RACES = {"terran": ("marine", "marauder", "medivac"), "protoss": ("stalker", "zealot", "colossus"),
         "zerg": ("zergling", "hydralisk", "baneling")}


class Drawn:
    """SMACv2's wrapper beside a `SMACEnv` that is given each battle as the wrapper has drawn it.

    Upstream blanks the rows of enemies up to the last one that nobody has found (smacv2#50), in an order that depends
    on unseeded draws; asked a second time, it depends on what was found alone, and `get_obs` below does the same.
    """

    def __init__(self, module, name: str, heuristic: bool):
        race, n, _, m, *extra = name.split("_")
        config = {"n_units": int(n), "n_enemies": int(m), "team_gen": {
            "dist_type": "weighted_teams", "unit_types": list(RACES[race]), "weights": [0.45, 0.45, 0.1],
            "observe": True, "exception_unit_types": [RACES[race][2]] if race != "protoss" else []},
            "start_positions": {"dist_type": "surrounded_and_reflect", "p": 0.5, "map_x": 32, "map_y": 32}}
        options = {"map_name": f"10gen_{race}", "use_unit_ranges": True, "obs_own_pos": True,
                   "conic_fov": "fov" in extra, "heuristic_ai": heuristic, "state_last_action": not heuristic}
        self.theirs = module.StarCraftCapabilityEnvWrapper(capability_config=copy.deepcopy(config), seed=7, **options)
        self.ours = SMACEnv(capability_config=config, seed=7, quirk_enemy_block=False, **options)
        sow(self.theirs, 7)

    def __getattr__(self, name): return getattr(self.theirs, name)

    def reset(self): self.theirs.reset()

    def hand_over(self):
        """Give the embedded simulator the battle that was drawn."""
        game, battle = self.theirs.env._controller.session.game, self.ours.battle
        saved = battle.snapshot()
        for name in ("x", "y", "health", "radius", "separation"): saved.arrays[name] = getattr(game._state, name).copy()
        unit, record = game._state.unit.copy(), battle._state.battle.copy()
        for name in ("key", "draws"): record[name] = game._state.battle[name]
        record["max_reward"] = self.theirs.env.max_reward
        for name, array in (("unit", unit), ("battle", record)):
            saved.arrays[name] = array.view(np.uint8).reshape(*array.shape, array.dtype.itemsize)
        battle.restore(saved)
        self.ours.max_reward = self.theirs.env.max_reward

    def get_obs(self):
        """Upstream's second look, which its first has made independent of chance."""
        self.theirs.get_obs()
        return self.theirs.get_obs()


class Blanked:
    """The embedded simulator's side of `Drawn`."""

    def __init__(self, drawn: Drawn): self.drawn = drawn

    def __getattr__(self, name): return getattr(self.drawn.ours, name)

    def reset(self):
        self.drawn.ours.reset()
        self.drawn.hand_over()

    def get_obs(self):
        """Without the enemies that upstream blanks."""
        m, width = self.drawn.ours.get_obs_enemy_feats_size()
        obs = self.drawn.ours.get_obs()
        for a, row in enumerate(obs):
            unseen = np.flatnonzero(self.drawn.theirs.env.obs_enemies[:, a] == 0)
            row[4 : 4 + width * (unseen.max() + 1 if len(unseen) else 0)] = 0
        return obs


def watch(theirs, episodes: int, heuristic: bool) -> dict:
    """Play upstream alone; whatever it hands out must be consistent with its own count of battles."""
    rng, steps, spent, seen = np.random.default_rng(0), 0, 0.0, dict.fromkeys(("won", "timeouts", "games"), 0)
    info_of, sizes = theirs.get_env_info(), []
    for _ in range(episodes):
        theirs.reset()
        terminated, length = False, 0
        while not terminated:
            available = np.array(theirs.get_avail_actions())
            obs, state = np.array(theirs.get_obs()), np.array(theirs.get_state())
            sizes.append((available.shape[1], obs.shape[1], len(state)))
            assert np.isfinite(obs).all() and np.isfinite(state).all() and available.any(1).all()
            assert not obs[available[:, 0] == 1].any(), "a dead agent sees something"
            chosen = [0 if heuristic else int(rng.choice(np.flatnonzero(row))) for row in available]
            start = time.process_time()
            reward, terminated, info = theirs.step(chosen)
            spent += time.process_time() - start
            assert np.isfinite(reward) and set(info) == {"battle_won", "dead_allies", "dead_enemies"}, info
            steps, length = steps + 1, length + 1
        assert length <= info_of["episode_limit"]
        dead = info["dead_allies"] == info_of["n_agents"], info["dead_enemies"] == theirs.n_enemies
        assert not info["battle_won"] or not dead[0], info
        seen["games"], seen["won"] = seen["games"] + 1, seen["won"] + info["battle_won"]
        seen["timeouts"] += length == info_of["episode_limit"] and not any(dead) and not info["battle_won"]
    stats, expected = theirs.get_stats(), (info_of["n_actions"], info_of["obs_shape"], info_of["state_shape"])
    assert (stats["battles_game"], stats["battles_won"], stats["restarts"]) == (seen["games"], seen["won"], 0), stats
    assert stats["timeouts"] >= seen["timeouts"] and set(sizes) == {expected}, (stats, seen, set(sizes), expected)
    return {"steps": steps, **stats, "step_us": round(1e6 * spent / steps)}


def run(package: str, player: str, episodes: int, names: list[str], server: bool) -> None:
    """Play maps, a JSON line each."""
    heuristic = player == "heuristic"
    options = dict(obs_last_action=not heuristic, state_last_action=not heuristic, heuristic_ai=heuristic)
    if package == "smac": options |= dict(obs_pathing_grid=True, state_timestep_number=True)
    with contextlib.nullcontext() if server else exact_door():
        module = importlib.import_module(f"{package}.env")
        for name in names:
            drawn = "_vs_" in name and name.split("_")[0] in RACES
            if drawn: ours = Blanked(theirs := Drawn(module, name, heuristic))
            else:
                theirs = module.StarCraft2Env(map_name=name, seed=7, **options)
                ours = SMACEnv(name, seed=7, **options)
            if (server and drawn) or (package == "smacv2" and not drawn): found = watch(theirs, episodes, heuristic)
            else: found = compare(theirs, ours, episodes, heuristic)
            theirs.close()
            print(json.dumps({"map": name, **found}), flush=True)


def soak(path: Path, episodes: int = 20) -> None:
    """Everything through both stand-ins, map by map in processes of their own; what the record has is not run again."""
    record = read_json(path) if path.exists() else {"episodes": episodes, "rows": {}}
    fixed = [name for name in scenarios.names() if scenarios.get(name).generation is None]
    drawn = [f"{race}_{size}" for size in ("5_vs_5", "10_vs_10", "10_vs_11", "20_vs_20", "20_vs_23") for race in RACES]
    drawn += [f"{race}_5_vs_5_fov" for race in RACES]
    jobs = [(door, package, player, name) for player in ("random", "heuristic") for door in ("exact", "server")
            for package, names in (("smac", fixed), ("smacv2", drawn)) for name in names]
    jobs += [("exact", "smacv2", "random", name) for name in fixed]     # upstream stops on some of them
    for job in jobs:
        key, (door, package, player, name) = " ".join(job), job
        if key in record["rows"]: continue
        options = ["--server"] if door == "server" else []
        done = subprocess.run([sys.executable, __file__, *options, package, player, str(episodes), name],
                              capture_output=True, text=True)
        error = (done.stderr.strip().splitlines() or ["?"])[-1]
        record["rows"][key] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"error": error}
        write_json(path, record)
        print(key, record["rows"][key], flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--soak": soak(Path(sys.argv[2]))
    else:
        package, player, episodes, *names = [a for a in sys.argv[1:] if a != "--server"]
        run(package, player, int(episodes), names, "--server" in sys.argv)
