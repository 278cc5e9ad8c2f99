"""The arena's kernels against curriculum_definition.py, to the bit, over random configurations and random play."""

import sys
from pathlib import Path

import numpy as np
import pytest

from marl_nb.core.config import from_mapping
from marl_nb.core.seeding import child_seed, lane_keys
from marl_nb.curriculum.arena import Arena
from marl_nb.curriculum.config import (
    CONVERTERS,
    FEATURES,
    KINDS,
    RESOURCES,
    TIMINGS,
    ArenaConfig,
    new_arena,
    old_arena,
)
from marl_nb.curriculum.engine import ACTIONS, ARGUMENTS, COUNTERS

sys.path.insert(0, str(Path(__file__).parent))
import curriculum_definition as definition  # noqa: E402


def random_recipe(rng):
    """A recipe with few resources, also fractions, and also no time at all."""
    some = lambda names: rng.choice(names, rng.integers(0, 3), replace=False).tolist()
    few = lambda names, amounts: {r: float(rng.choice(amounts)) for r in some(names)}
    number = lambda low, high: int(rng.integers(low, high))
    return dict(inputs=few(["ore_red", "armor", "laser"], [0.5, 1, 2, 0.3]), outputs=few(RESOURCES, [1, 2]),
                conversion_ticks=number(0, 4), cooldown=number(0, 6), max_output=number(1, 7),
                max_conversions=int(rng.choice([-1, -1, 2])), initial_resource_count=number(0, 3))


def random_config(rng):
    """A crowded little arena with every rule that there is."""
    some = lambda values: {r: values[rng.integers(len(values))] for r in RESOURCES}
    recipes = {kind: random_recipe(rng) for kind in CONVERTERS}
    recipes["mine"]["outputs"]["ore_red"] = 1
    recipes["lasery"] = {"inputs": {}, "outputs": {"laser": 1}, "cooldown": 2}  # so that there are fights
    recipes["armory"] = {"inputs": {}, "outputs": {"armor": 1, "ore_red": 1}, "cooldown": 3, "max_output": 2}
    layout = "" if rng.random() < 0.6 else str(rng.choice(["m>l.\nr^sv\ng#<l", "rl.\n^^.\n.>r", "l>.<r"]))
    changes = dict(
        rooms=int(rng.integers(1, 4)), room_size=int(rng.integers(5, 7)), border=int(rng.integers(0, 3)),
        agents_per_room=int(rng.integers(2, 6)), objects={kind: int(rng.integers(0, 4)) for kind in KINDS[1:]},
        recipes=recipes, timing=str(rng.choice(TIMINGS)), rewards=some([0.0, 0.1, 0.8, -0.3]),
        reward_caps=some([None, 0.25, 1.0]), limits=some([1, 3, 50]),
        laser_cost=int(rng.integers(0, 3)), freeze_steps=int(rng.integers(0, 4)), swap=bool(rng.integers(2)),
        resource_loss=float(rng.choice([0, 0, 0.05])), max_steps=int(rng.choice([7, 25, 1000])),
        truncates=bool(rng.integers(2)), map_seed=[None, 5][rng.integers(2)], window=int(rng.choice([3, 5, 11])),
        max_tokens=int(rng.choice([20, 200])), legacy_last_reward=bool(rng.integers(2)),
        features=tuple(rng.permutation(FEATURES).tolist()), layout=layout,
    )
    return from_mapping(ArenaConfig, changes)


def random_actions(rng, world):
    """One action of every agent: what suits the cell ahead, or now and then anything."""
    chosen = []
    for a in world.agents:
        to, names = a.cell(1), ["rotate", "rotate", "move"]
        if world.converter_at(to): names = ["get_items", "put_items", "put_items", "rotate"]
        elif world.agent_at(to): names = ["attack", "rotate"]
        elif to in world.blocks and world.config.swap: names = ["swap", "rotate"]
        elif world.free(to): names = ["move", "move", "move", "rotate"]
        name = str(rng.choice(names if rng.random() < 0.85 else ACTIONS[: world.config.action_sizes[0]]))
        arguments = 9 if rng.random() < 0.05 else ARGUMENTS[ACTIONS.index(name)]
        chosen.append((ACTIONS.index(name), int(rng.integers(arguments))))
    return chosen


def compare(config, steps, seed, lanes=2):
    """Play both; what happened, by name of the counters."""
    rng, arena = np.random.default_rng(seed), Arena(config, lanes, threads=1)
    played = arena.reset(seed)
    worlds = [definition.World(config, key) for key in lane_keys(child_seed(seed, "environment"), 0, lanes)]
    happened = np.zeros(len(COUNTERS), int)
    see = lambda world: [world.observation(a) for a in world.agents]
    assert played.obs.tolist() == [see(world) for world in worlds]
    for _ in range(steps):
        actions = np.array([random_actions(rng, world) for world in worlds])
        played = arena.step(actions)
        for e, world in enumerate(worlds):
            rewards, success, ended = world.step(actions[e].tolist())
            assert played.reward[e].tolist() == np.float32(rewards).tolist()
            assert arena.success[e].tolist() == success
            assert played.terminated[e] == (ended and not config.truncates)
            assert played.truncated[e] == (ended and config.truncates)
            counters = arena.final_counters() if ended else arena.counters()
            if ended:
                assert arena.final_obs[e].tolist() == see(world)
                assert arena.episode_return[e].tolist() == [a.total for a in world.agents]
            else: assert played.obs[e].tolist() == see(world)
            for k, name in enumerate(COUNTERS):
                counted = [a.count.get(name, 0) for a in world.agents]
                assert counters[name][e].tolist() == counted, name
                happened[k] += sum(counted) if ended else 0
            if ended:
                world.begin()
                assert played.obs[e].tolist() == see(world)
    for e, world in enumerate(worlds):
        happened += np.array([sum(a.count.get(name, 0) for a in world.agents) for name in COUNTERS])
        assert arena._state.lane["draws"][e, 0] == world.stream.drawn
    return happened


@pytest.mark.parametrize("part", range(2))
def test_random_arenas(part):
    """Everything that can happen happens, and both say the same."""
    happened = np.zeros(len(COUNTERS), int)
    for seed in range(part * 100, part * 100 + 12):
        happened += compare(random_config(np.random.default_rng(seed)), 80, seed)
    for k, name in enumerate(COUNTERS):
        if name.split(".")[0] in ("action", "attack", "frozen", "tokens"): assert happened[k] > 0, name
    for how in ("get", "put", "robbed", "lost"):
        assert sum(happened[k] for k, name in enumerate(COUNTERS) if name.endswith(f".{how}")) > 0, how


@pytest.mark.parametrize("config", [old_arena(), new_arena()], ids=["old", "new"])
def test_arenas_of_the_incident(config):
    """The full size, for a few steps."""
    compare(config, 4, 1, lanes=1)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_many_random_arenas(part):
    """Longer games, and many more configurations."""
    for seed in range(1000 + part * 20, 1020 + part * 20):
        compare(random_config(np.random.default_rng(seed)), 300, seed)
