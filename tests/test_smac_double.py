"""`SMACEnv` has every public method, keyword and attribute of upstream's environments, under the same names."""

import ast
import importlib.util
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from marl_nb.smac import SMACEnv
from marl_nb.smac.env import IllegalAction
from marl_nb.smac.sc2 import INSTALL

RECORD = json.loads((Path(__file__).parent / "smac_surface.json").read_text())
CLASSES = [name for name in RECORD if name != "about"]
WHERE = {"smac.StarCraft2Env": "smac.env.starcraft2.starcraft2",
         "smacv2.StarCraft2Env": "smacv2.env.starcraft2.starcraft2",
         "smacv2.StarCraftCapabilityEnvWrapper": "smacv2.env.starcraft2.wrapper"}
LEFT_OUT = {  # attributes that no client was seen to read
    "a connection to StarCraft II": {"_controller", "_obs", "_run_config", "_sc2_proc", "game", "version", "renderer"},
    "parts of a step under way": {"previous_ally_units", "previous_enemy_units", "new_unit_positions", "obs_enemies",
                                  "enemy_tags", "heuristic_targets"},
    "of an episode's configuration, which the seed decides": {
        "episode_config", "ally_start_positions", "enemy_start_positions", "enemy_mask", "init_positions",
        "distribution_config", "env_key_to_distribution_map"},
}
CONFIG = {
    "n_units": 5, "n_enemies": 5,
    "team_gen": {"dist_type": "weighted_teams", "unit_types": ["marine", "marauder", "medivac"],
                 "weights": [0.45, 0.45, 0.1], "exception_unit_types": ["medivac"], "observe": True},
    "start_positions": {"dist_type": "surrounded_and_reflect", "p": 0.5, "map_x": 32, "map_y": 32},
}


def surface(source: str, name: str) -> dict:
    """Public methods with their parameters and attributes set, of a class in a source text."""
    methods, attributes = {}, set()
    found = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == name)
    for f in (node for node in found.body if isinstance(node, ast.FunctionDef)):
        parameters = [a.arg for a in f.args.args if a.arg != "self"] + ["**" + f.args.kwarg.arg] * bool(f.args.kwarg)
        if not f.name.startswith("_") or f.name == "__init__": methods[f.name] = parameters
        for node in ast.walk(f):
            mine = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
            if mine and isinstance(node.ctx, ast.Store): attributes.add(node.attr)
    return {"methods": methods, "attributes": sorted(attributes)}


@pytest.mark.parametrize("name", CLASSES)
def test_record_is_upstreams(name):
    package = WHERE[name].split(".")[0]
    if importlib.util.find_spec(package) is None or importlib.util.find_spec(f"{package}.env") is None:
        pytest.skip(f"needs {package}: {INSTALL}")
    source = Path(importlib.util.find_spec(package).submodule_search_locations[0], *WHERE[name].split(".")[1:])
    assert surface(source.with_suffix(".py").read_text(), name.split(".")[1]) == RECORD[name]


@pytest.mark.parametrize("name", CLASSES)
def test_methods(name):
    for method, parameters in RECORD[name]["methods"].items():
        if method == "__init__": continue
        ours = [p for p in inspect.signature(getattr(SMACEnv, method)).parameters if p not in ("self", "env", "battle")]
        assert ours[: len(parameters)] == parameters, method


@pytest.mark.parametrize("name", CLASSES)
def test_attributes(name):
    drawn = {"map_name": "10gen_terran", "capability_config": CONFIG} if "v2" in name else {"map_name": "MMM"}
    env = SMACEnv(seed=0, **drawn)
    env.reset()
    left_out = set().union(*LEFT_OUT.values())
    wanted = set(RECORD[name]["attributes"]) - left_out
    assert [a for a in sorted(wanted) if not hasattr(env, a)] == []
    assert [a for a in sorted(left_out) if hasattr(env, a)] == []


@pytest.mark.parametrize("name", [n for n in CLASSES if "Wrapper" not in n])
def test_keywords(name):
    """Each keyword is accepted with its upstream default, and kept under its name where upstream keeps it."""
    defaults = {"map_name": "3m", "step_mul": 8, "move_amount": 2, "difficulty": "7", "game_version": None, "seed": 1,
                "replay_dir": "", "replay_prefix": "", "window_size_x": 1920, "window_size_y": 1200, "debug": False,
                "capability_config": {}, "num_fov_actions": 12, "obs_starcraft": True, "kill_unit_step_mul": 2}
    for keyword in RECORD[name]["methods"]["__init__"]:
        value = defaults.get(keyword, getattr(SMACEnv("3m", seed=0), keyword, None))
        assert value is not None or keyword == "game_version", keyword
        SMACEnv(**{"map_name": "3m", "seed": 1, keyword: value})
    assert SMACEnv("3m", 8, 2, "7", None, 5, True).seed() == 5  # upstream's order
    assert SMACEnv(seed=0).map_name == "8m"


def test_seeds_and_restarts():
    env = SMACEnv("3m", seed=3)
    first = [env.reset()[1], *(env.step([4, 4, 4])[0] for _ in range(8)), env.get_state()]
    assert env.seed(3) == 3
    again = [env.reset()[1], *(env.step([4, 4, 4])[0] for _ in range(8)), env.get_state()]
    np.testing.assert_array_equal(first[-1], again[-1])
    env.reset(seed=3)
    for _ in range(8): env.step(np.full((3, 1), 4))
    np.testing.assert_array_equal(first[-1], env.get_state())
    env.full_restart()
    assert env.get_stats()["restarts"] == 1 and env._episode_steps == 0 and env.step([1, 1, 1])[1] is False
    with pytest.raises(AssertionError): env.step([1, 1, 6])
    with pytest.raises(IllegalAction, match="agent 2: expected one of"): env.step([1, 1, 6])


def test_counters_and_largest_return():
    env, rng = SMACEnv("terran_5_vs_5", seed=2), np.random.default_rng(0)
    for episode in range(3):
        env.reset()
        assert (env._episode_count, env._episode_steps) == (episode, 0) and not (env.win_counted or env.defeat_counted)
        terminated = False
        while not terminated:
            _, terminated, info = env.step([rng.choice(np.flatnonzero(row)) for row in env.get_avail_actions()])
            assert env.max_reward == pytest.approx(env.battle._state.battle["max_reward"][0, 0])
        assert env.win_counted == info["battle_won"] and env.update_units() in (1, -1, 0, None)
        assert env.defeat_counted == (env.update_units() == -1)
    assert env._total_steps > env._episode_steps > 0
