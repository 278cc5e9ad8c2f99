"""The interfaces of other packages: SMAC's own, PettingZoo's, and the names of all columns."""

import json
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import smac_definition as definition
from hypothesis import given, settings
from hypothesis import strategies as st
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test
from pettingzoo.utils.conversions import parallel_to_aec

from marl_nb.core.config import from_mapping
from marl_nb.smac import ParallelEnv, SMACEnv, make, scenarios
from marl_nb.smac.actions import n_actions
from marl_nb.smac.features import obs_feature_names, state_feature_names
from marl_nb.smac.options import Options

# n_actions, obs, state, as the unmodified SMAC and SMACv2 say
SIZES = {
    "3m": (9, 30, 48), "8m": (14, 80, 168), "25m": (31, 250, 950), "5m_vs_6m": (12, 55, 98), "8m_vs_9m": (15, 85, 179),
    "10m_vs_11m": (17, 105, 243), "27m_vs_30m": (36, 285, 1170), "MMM": (16, 160, 290), "MMM2": (18, 176, 322),
    "2s3z": (11, 80, 120), "3s5z": (14, 128, 216), "3s5z_vs_3s6z": (15, 136, 230), "1c3s5z": (15, 162, 270),
    "3s_vs_3z": (9, 36, 54), "3s_vs_4z": (10, 42, 61), "3s_vs_5z": (11, 48, 68), "2m_vs_1z": (7, 16, 26),
    "2s_vs_1sc": (7, 17, 27), "corridor": (30, 156, 282), "6h_vs_8z": (14, 78, 140), "bane_vs_bane": (30, 336, 984),
    "so_many_baneling": (38, 202, 397), "2c_vs_64zg": (70, 332, 342),
} | {
    f"{race}_{teams}": sizes for race in ("terran", "zerg") for teams, sizes in {
        "5_vs_5": (11, 82, 120), "10_vs_10": (16, 162, 290), "10_vs_11": (17, 170, 306), "20_vs_20": (26, 322, 780),
        "20_vs_23": (29, 346, 858)}.items()
} | {
    "protoss_5_vs_5": (11, 92, 130), "protoss_10_vs_10": (16, 182, 310), "protoss_10_vs_11": (17, 191, 327),
    "protoss_20_vs_20": (26, 362, 820), "protoss_20_vs_23": (29, 389, 901),
}
FEW = ["3m", "2s3z", "MMM2", "2c_vs_64zg", "terran_5_vs_5", "protoss_10_vs_11_epo"]
CAPABILITIES = {"attack": (0.2, 0.9), "health": (0.1, 0.4), "mask_probability": 0.5}


def terran(**changes):
    """SMACv2's configuration of its Terran map."""
    return {
        "n_units": 5, "n_enemies": 5,
        "team_gen": {"dist_type": "weighted_teams", "unit_types": ["marine", "marauder", "medivac"],
                     "weights": [0.45, 0.45, 0.1], "exception_unit_types": ["medivac"], "observe": True},
        "start_positions": {"dist_type": "surrounded_and_reflect", "p": 0.5, "map_x": 32, "map_y": 32}, **changes,
    }


def choose(rng, available):
    """One available action for every agent."""
    return [int(rng.choice(np.flatnonzero(row))) for row in available]


def played(env, seed=0):
    """The last step of an episode of random play: reward, info, number of steps."""
    rng, terminated, steps = np.random.default_rng(seed), False, 0
    env.reset()
    while not terminated:
        reward, terminated, info = env.step(choose(rng, env.get_avail_actions()))
        steps += 1
    return reward, info, steps


# SMAC's own interface


@pytest.mark.parametrize("name", scenarios.names())
def test_sizes_and_types(name):
    env = SMACEnv(name, seed=0)
    info, scenario = env.get_env_info(), scenarios.get(name)
    sizes = (info["n_actions"], info["obs_shape"], info["state_shape"])
    assert sizes == SIZES.get(name.removesuffix("_epo"), sizes)
    assert info["n_agents"] == env.n_agents == scenario.n_agents and info["episode_limit"] == scenario.limit
    assert ("cap_shape" in info) == (scenario.generation is not None)
    obs, state = env.reset()
    rng, terminated = np.random.default_rng(0), False
    for _ in range(12):
        assert [type(o) for o in obs] == [np.ndarray] * env.n_agents
        assert {(o.shape, o.dtype.name) for o in obs} == {((info["obs_shape"],), "float32")}
        assert (state.shape, state.dtype.name) == ((info["state_shape"],), "float32")
        available = env.get_avail_actions()
        assert [len(row) for row in available] == [info["n_actions"]] * env.n_agents
        assert {type(a) for row in available for a in row} == {int} and all(map(any, available))
        if terminated: break
        reward, terminated, step_info = env.step(choose(rng, available))
        assert type(reward) is float and type(terminated) is bool and np.isfinite(reward)
        types = {k: type(v) for k, v in step_info.items()}
        assert types == {"battle_won": bool, "dead_allies": int, "dead_enemies": int}
        obs, state = env.get_obs(), env.get_state()
    assert len(env.get_obs_feature_names()) == info["obs_shape"]
    assert len(env.get_state_feature_names()) == info["state_shape"]
    assert len(env.get_capabilities()) == env.n_agents * env.get_cap_size()
    blocks = [env.get_obs_enemy_feats_size(), env.get_obs_ally_feats_size()]
    parts = env.get_obs_move_feats_size() + sum(n * k for n, k in blocks) + env.get_obs_own_feats_size()
    assert parts == info["obs_shape"]
    assert env.get_ally_num_attributes() == len(info["agent_features"])
    assert env.get_enemy_num_attributes() == len(info["enemy_features"])


@pytest.mark.parametrize("name", FEW)
def test_equals_the_batched_environment(name):
    """Three episodes are those of a `BattleEnv` with the same seed and actions."""
    one, many = SMACEnv(name, seed=7), make(name, 1, seed=7, threads=1)
    one.reset()
    rng, left = np.random.default_rng(0), 3
    while left:
        actions = choose(rng, one.get_avail_actions())
        reward, terminated, info = one.step(actions)
        ts = many.step([actions])
        ended = bool(ts.done[0])
        assert (reward, terminated) == (ts.reward[0], ended)
        assert [*info.values()] == [ts.won[0], ts.dead_allies[0], ts.dead_enemies[0]]
        np.testing.assert_array_equal(one.get_obs(), (ts.final_obs if ended else ts.obs)[0])
        np.testing.assert_array_equal(one.get_state(), (ts.final_state if ended else ts.state)[0])
        if terminated:
            left -= 1
            one.reset()
        np.testing.assert_array_equal(one.get_avail_actions(), ts.available_actions[0])
        np.testing.assert_array_equal(one.get_state(), ts.state[0])


def test_what_it_returns_is_kept():
    env = SMACEnv("3m", seed=0)
    obs, state = env.reset()
    kept = [o.copy() for o in obs], state.copy(), env.get_obs_agent(1)
    for _ in range(5): env.step([4, 4, 4])
    np.testing.assert_array_equal(obs, kept[0])
    np.testing.assert_array_equal(state, kept[1])
    np.testing.assert_array_equal(obs[1], kept[2])
    assert not np.array_equal(env.get_obs_agent(1), kept[2])


def test_statistics_and_endings():
    env, won, timeouts = SMACEnv("3m", seed=1), 0, 0
    assert env.get_stats() == dict.fromkeys(
        ("battles_won", "battles_game", "battles_draw", "win_rate", "timeouts", "restarts"), 0)
    for episode in range(30):
        _, info, steps = played(env, episode)
        won, timeouts = won + info["battle_won"], timeouts + (steps == 60 and 0 < info["dead_allies"] < 3)
        assert info["battle_won"] == (info["dead_enemies"] == 3 and info["dead_allies"] < 3) and steps <= 60
    expected = {"battles_won": won, "battles_game": 30, "win_rate": won / 30, "restarts": 0}
    stats = env.get_stats()
    assert {k: stats[k] for k in expected} == expected and stats["battles_draw"] == stats["timeouts"] >= timeouts


@pytest.mark.parametrize("continuing", [False, True])
def test_time_out_is_terminal(continuing):
    env = SMACEnv("2s_vs_1sc", seed=0, continuing_episode=continuing)  # the spine crawler never comes
    env.reset()
    for step in range(1, 301):
        _, terminated, info = env.step([1, 1])
        assert terminated == (step == 300)
    assert info.get("episode_limit", "absent") == (True if continuing else "absent")
    assert not info["battle_won"] and env.get_stats()["timeouts"] == 1
    last = env.get_state()
    with pytest.raises(RuntimeError, match="call reset"): env.step([1, 1])
    np.testing.assert_array_equal(env.get_state(), last)
    assert env.reset()[1].shape == last.shape and env.step([1, 1])[1] is False


def test_seeds():
    trace = lambda env: [played(env, e)[0] for e in range(4)] + env.get_state().tolist()
    assert trace(SMACEnv("3m", seed=3)) == trace(SMACEnv("3m", seed=3))
    assert trace(SMACEnv("3m", seed=3)) != trace(SMACEnv("3m", seed=4))
    unseeded = SMACEnv("terran_5_vs_5")
    assert trace(unseeded) == trace(SMACEnv("terran_5_vs_5", seed=unseeded.seed()))
    assert unseeded.seed() != SMACEnv("3m").seed()


def test_units_and_sight():
    env = SMACEnv("MMM2", seed=0)
    played(env)
    env.reset()
    for _ in range(8): env.step([4 if row[4] else row[1] for row in env.get_avail_actions()])
    u = env.battle.units()
    for a, unit in [*env.agents.items(), *((env.n_agents + e, unit) for e, unit in env.enemies.items())]:
        assert unit == env.get_unit_by_id(a)
        assert (unit.pos.x, unit.pos.y, unit.health, unit.tag) == (u["x"][a], u["y"][a], u["health"][a], a)
        assert unit.owner == (1 if a < env.n_agents else 2)
    types = [unit.name for unit in env.agents.values()]
    assert types == ["marauder"] * 2 + ["marine"] * 7 + ["medivac"]
    seen, names = env.get_visibility_matrix(), env.get_obs_feature_names()
    for a, obs in enumerate(env.get_obs()):
        row = dict(zip(obs_feature_names(scenarios.get("MMM2"), Options(), a), obs, strict=True))
        assert [row[f"enemy_distance_{e}"] > 0 for e in range(env.n_enemies)] == seen[a, env.n_agents :].tolist()
        allies = [i for i in range(env.n_agents) if i != a]
        assert [row[f"ally_visible_{i}"] == 1 for i in allies] == seen[a, allies].tolist()
    assert names == obs_feature_names(scenarios.get("MMM2"), Options()) and not seen[:, : env.n_agents].diagonal().any()
    assert (env.unit_shoot_range(0), env.unit_sight_range(0)) == (6, 9)


def test_replay_goes_back_and_returns(tmp_path):
    env = SMACEnv("2s3z", seed=0, replay_dir=str(tmp_path / "replays"), replay_prefix="mine")
    rng = np.random.default_rng(0)
    env.reset()
    for _ in range(10): env.step(choose(rng, env.get_avail_actions()))
    half, mark = env.replay(), env.battle.fingerprint()
    assert len(half) == 11 and half.outcome == "unfinished"
    assert env.battle.fingerprint() == mark and env.step(choose(rng, env.get_avail_actions()))[1] is False
    terminated = False
    while not terminated: _, terminated, info = env.step(choose(rng, env.get_avail_actions()))
    state, available = env.get_state(), env.get_avail_actions()
    whole = env.replay()
    assert whole.outcome != "unfinished" and (whole.outcome == "won") == info["battle_won"]
    np.testing.assert_array_equal(whole.health[:11], half.health)
    np.testing.assert_array_equal(env.get_state(), state)
    assert env.get_avail_actions() == available
    path = env.save_replay()
    assert path == tmp_path / "replays" / "mine_1.html" and path.read_text().startswith("<!doctype html>")


# SMACv2's configurations


def test_configuration_is_the_scenario():
    """With the options of `terran_5_vs_5`, SMACv2's dictionary plays the same battles."""
    chosen = dict(scenarios.get("terran_5_vs_5").defaults)
    ours = SMACEnv("terran_5_vs_5", seed=2)
    theirs = SMACEnv("10gen_terran", seed=2, capability_config=terran(), **chosen)
    for episode in range(3):
        assert played(ours, episode) == played(theirs, episode)
        np.testing.assert_array_equal(ours.get_state(), theirs.get_state())


def test_configuration_keeps_upstream_defaults():
    env = SMACEnv("10gen_terran", capability_config=terran(n_enemies=9), seed=0)
    options = env.battle.options
    assert not (options.use_unit_ranges or options.obs_own_pos or options.conic_fov) and options.action_mask
    assert not options.quirk_regeneration_reward  # SMACv2's reward has no absolute value
    assert (env.n_agents, env.n_enemies, env.n_actions) == (5, 9, 15)
    epo = SMACEnv("10gen_terran", capability_config=terran(), prob_obs_enemy=0.0, action_mask=False)
    assert (epo.battle.options.prob_obs_enemy, epo.battle.options.action_mask) == (0.0, False)


@pytest.mark.parametrize("observe", [False, True])
def test_configuration_with_capabilities(observe):
    uniform = {"dist_type": "per_agent_uniform", "lower_bound": [0.1], "upper_bound": [0.4], "observe": observe}
    config = terran(attack=uniform, health=uniform, enemy_mask={"dist_type": "mask", "mask_probability": 0.5})
    env = SMACEnv("10gen_terran", capability_config=config, seed=0)
    env.reset()
    capabilities = env.get_capabilities().reshape(5, env.get_cap_size())
    assert env.get_cap_size() == 5 and (0.1 <= capabilities[:, :2]).all() and (capabilities[:, :2] <= 0.4).all()
    assert (capabilities[:, 2:].sum(1) == 1).all() and env.battle.scenario.generation.mask_probability == 0.5
    row = dict(zip(env.get_obs_feature_names(), env.get_obs_agent(0), strict=True))
    assert row["own_attack_prob"] == capabilities[0, 0] and row["own_health_level"] == capabilities[0, 1]
    others = [i for i in range(1, 5) if row[f"ally_visible_{i}"]]
    assert others and all((row[f"ally_attack_prob_{i}"] == capabilities[i, 0]) == observe for i in others)
    reached = [env.get_capabilities_agent(i) for i in range(5)]
    np.testing.assert_array_equal(np.concatenate(reached), env.get_capabilities())


@pytest.mark.parametrize(("changes", "message"), [
    ({"n_units": None}, "capability_config: n_units is missing"),
    ({"start_positions": {"dist_type": "circle"}}, "start_positions.dist_type: expected surrounded.* got 'circle'"),
    ({"start_positions": {"dist_type": "surrounded", "map_x": 64}}, r"map_x, map_y = \(32, 32\), got \(64, 32\)"),
    ({"enemy_mask": {"dist_type": "mask"}}, "capability_config.enemy_mask: mask_probability is missing"),
    ({"health": {"dist_type": "per_agent_uniform", "low": 0}}, "capability_config.health: expected .* got 'low'"),
    ({"luck": {}}, "capability_config: expected n_units, .* got 'luck'"),
    ({"n_enemies": 0}, "n_enemies: expected 1 or more, got 0"),
])
def test_wrong_configurations(changes, message):
    config = {k: v for k, v in terran(**changes).items() if v is not None}
    with pytest.raises(ValueError, match=message): SMACEnv("10gen_terran", capability_config=config)


def test_heuristic_plays():
    """With `heuristic_ai` the actions given do not matter, and it beats random play."""
    env = SMACEnv("3m", seed=0, heuristic_ai=True)
    for _ in range(20):
        env.reset()
        terminated = False
        while not terminated: _, terminated, _ = env.step([0, 0, 0])
    assert env.get_stats()["battles_won"] > 2


def test_wrong_keywords():
    for keywords, message in [
        ({"map_name": "10gen_terran"}, "scenario: expected one of"),
        ({"map_name": "3m", "capability_config": terran()}, "map_name: expected 10gen_terran"),
        ({"obs_all_heath": True}, "obs_all_heath: unknown keyword; known: .*game_version.*obs_all_health"),
        ({"step_mul": 4}, "step_mul: expected 8 or None, got 4"),
        ({"move_amount": 3}, "move_amount: expected 2, got 3"),
        ({"difficulty": "A"}, "difficulty: expected '7', got 'A'"),
        ({"obs_starcraft": False}, "obs_starcraft: expected True, got False"),
        ({"seed": 1.5}, "seed: expected an integer"),
        ({"rim": "broad"}, "rim: expected"),
    ]:
        with pytest.raises(ValueError, match=message): SMACEnv(**keywords)
    env = SMACEnv("3m")
    with pytest.raises(RuntimeError, match="call reset"): env.step([1, 1, 1])
    env.reset()
    with pytest.raises(ValueError, match="agent 2: expected one of .* got 6"): env.step([1, 1, 6])
    with pytest.raises(ValueError, match="actions: expected 3 whole numbers"): env.step([1])
    with pytest.raises(ValueError, match="episode_config: expected none"): env.reset(episode_config={"attack": {}})
    assert env.reset(episode_config={})[1].shape == (48,)


# Names of columns


def reading(scenario, options):
    """A battle of such teams, for the independent reading of SMAC's definition."""
    facts, g = definition.MAPS[scenario.name.removesuffix("_epo")], scenario.generation
    units = lambda n: [definition.Unit(scenario.kinds[0].name, 8, 8, 9, 9) for _ in range(n)]
    n, known = facts.n_agents, vars(definition.Settings())
    return definition.Battle(
        units(n), units(facts.n_enemies), facts.limit, facts.races, facts.type_bits, facts.map_type,
        attack_probs=[0.5] * n if g and g.attack else None, health_levels=[0.5] * n if g and g.health else None,
    ), definition.Settings(**{k: v for k, v in vars(options).items() if k in known})


FLAGS = [k for k, v in vars(Options()).items() if isinstance(v, bool) and not k.startswith(("reward", "quirk", "heur"))]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(scenarios.names()), st.sets(st.sampled_from(FLAGS)), st.integers(1, 16), st.booleans())
def test_names_are_the_definition(name, on, looks, capable):
    """Column by column the names of an independent reading of SMAC and SMACv2, for any options."""
    scenario = scenarios.get(name)
    if capable and scenario.generation:
        scenario = replace(scenario, generation=replace(scenario.generation, **CAPABILITIES))
    options = from_mapping(Options, {**{flag: flag in on for flag in FLAGS}, "num_fov_actions": looks})
    battle, chosen = reading(scenario, options)
    for agent in (0, scenario.n_agents - 1):
        names = obs_feature_names(scenario, options, agent)
        assert names == list(definition.observation(battle, chosen, agent)) and len(set(names)) == len(names)
    names = state_feature_names(scenario, options)
    assert names == list(definition.state(battle, chosen)) and len(set(names)) == len(names)
    assert n_actions(scenario, options) == definition.n_actions(battle, chosen)


@pytest.mark.parametrize("name", scenarios.names())
@pytest.mark.parametrize("control", ["allies", "both"])
def test_as_many_names_as_columns(name, control):
    rng = np.random.default_rng(0)
    chosen = {flag: bool(on) for flag, on in zip(FLAGS, rng.integers(2, size=len(FLAGS)), strict=True)}
    env = make(name, control=control, **(chosen | {"prob_obs_enemy": 1.0}))
    for team, time_step in enumerate([env.time_step, *([env.rival] if env.rival else [])]):
        names = obs_feature_names(env.scenario, env.options, 0, team)
        assert len(names) == time_step.obs.shape[-1]
        assert len(state_feature_names(env.scenario, env.options, team)) == time_step.state.shape[-1]
        assert n_actions(env.scenario, env.options, team) == time_step.available_actions.shape[-1]


# PettingZoo


def test_petting_zoo_contracts():
    for name in ("3m", "2s3z", "terran_5_vs_5"):
        for mask in ("observation", "info"):
            parallel_seed_test(lambda name=name, mask=mask: ParallelEnv(name, mask=mask), num_cycles=50)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                env = ParallelEnv(name, mask=mask)
                parallel_api_test(env, num_cycles=100)
    api_test(parallel_to_aec(ParallelEnv("3m")), num_cycles=100)


@pytest.mark.parametrize("name", scenarios.names())
def test_spaces_and_agents(name):
    """What comes is in its space; all agents are there in every step; time-outs are truncations."""
    env = ParallelEnv(name, seed=0)
    observations, infos = env.reset()
    keys = {agent: set(info) for agent, info in infos.items()}
    for k, agent in enumerate(env.possible_agents): env.action_space(agent).seed(k)
    for _ in range(25):
        assert list(observations) == list(infos) == env.possible_agents
        assert all(env.observation_space(agent).contains(observations[agent]) for agent in observations)
        assert env.state_space.contains(env.state())
        assert {agent: set(info) for agent, info in infos.items()} == keys
        if not env.agents: break
        assert env.agents == env.possible_agents
        actions = {a: env.action_space(a).sample(observations[a]["action_mask"]) for a in env.agents}
        observations, rewards, terminations, truncations, infos = env.step(actions)
        assert len(set(rewards.values())) == len(set(terminations.values())) == len(set(truncations.values())) == 1
        assert not any(info["illegal_action"] for info in infos.values())
        assert bool(env.agents) != (terminations["ally_0"] or truncations["ally_0"])
        dead = [not observations[a]["observation"].any() for a in env.possible_agents]
        assert sum(dead) >= infos["ally_0"]["dead_allies"]


def test_both_sides():
    """The enemies' rewards, masks and infos are their own; the battle ends for all at once."""
    env = ParallelEnv("5m_vs_6m", seed=0, control="both", mask="info")
    observations, infos = env.reset()
    battle = make("5m_vs_6m", 1, seed=0, threads=1, control="both", autoreset=False)
    assert env.possible_agents == [f"ally_{a}" for a in range(5)] + [f"enemy_{e}" for e in range(6)]
    rng = np.random.default_rng(0)
    while env.agents:
        for agent, obs in observations.items(): assert env.observation_space(agent).contains(obs)
        actions = choose(rng, [infos[agent]["action_mask"] for agent in env.agents])
        observations, rewards, terminations, truncations, infos = env.step(dict(zip(env.agents, actions, strict=True)))
        battle.step([actions[:5]], [actions[5:]])
        assert rewards["ally_4"] == battle.time_step.reward[0] and rewards["enemy_5"] == battle.rival.reward[0]
        np.testing.assert_array_equal(observations["enemy_2"], battle.rival.obs[0, 2])
    assert len({*terminations.values()}) == 1 and infos["ally_0"]["dead_allies"] == infos["enemy_0"]["dead_enemies"]
    env.reset()
    assert len(env.agents) == 11


def test_time_out_is_a_truncation():
    env = ParallelEnv("2s_vs_1sc", seed=0)
    env.reset()
    for _ in range(300): _, _, terminations, truncations, _ = env.step(dict.fromkeys(env.agents, 1))
    assert not any(terminations.values()) and all(truncations.values()) and not env.agents
    with pytest.raises(RuntimeError, match="call reset"): env.step({})


def ready(name):
    """An environment at the beginning of a battle."""
    env = ParallelEnv(name, seed=3)
    env.reset()
    return env


def test_illegal_actions_stop():
    one, two = ready("2s3z"), ready("2s3z")
    while one.agents:
        alive = [observation["observation"].any() for observation in one._observations().values()]
        _, _, _, _, infos = one.step(dict.fromkeys(one.agents, 0))  # the living cannot do nothing
        two.step({agent: int(a) for agent, a in zip(two.agents, alive, strict=True)})
        np.testing.assert_array_equal(one.state(), two.state())
        assert [info["illegal_action"] for info in infos.values()] == alive
    assert not two.agents
    with pytest.raises(ValueError, match="expected a number from 0 to 10 for ally_0, got None"): ready("2s3z").step({})
    with pytest.raises(ValueError, match="for ally_1, got 11"): ready("2s3z").step({"ally_0": 1, "ally_1": 11})
    with pytest.raises(ValueError, match=r"expected the agents ally_0, .* got \['enemy_0'\]"):
        ready("2s3z").step({"enemy_0": 1})


def test_reset_seed_repeats():
    def trace(env, seed):
        observations, _ = env.reset(seed=seed)
        return [observations["ally_0"]["observation"].tolist(), env.state().tolist()]

    env = ParallelEnv("zerg_5_vs_5", seed=0)
    assert trace(env, 5) == trace(env, 5) == trace(ParallelEnv("zerg_5_vs_5"), 5)
    assert trace(env, 5) != trace(env, None)
    assert trace(ParallelEnv("zerg_5_vs_5", seed=5), None) == trace(env, 5)


@pytest.mark.parametrize("mask", ["observation", "info"])
@pytest.mark.parametrize("name", ["3m", "MMM", "zerg_5_vs_5"])
def test_torchrl(name, mask):
    wrapper = pytest.importorskip("torchrl.envs.libs.pettingzoo", reason="torchrl is not installed")
    from torchrl.envs.utils import check_env_specs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PettingZoo is newer than the one it was tested with
        env = wrapper.PettingZooWrapper(ParallelEnv(name, seed=0, mask=mask), return_state=True)
    check_env_specs(env)
    rollout = env.rollout(500)
    assert env.group_map == {"ally": ParallelEnv(name).possible_agents}
    assert rollout["next", "done"].sum() == 1 and len(rollout) > 5  # it goes on when an agent dies
    assert not rollout["next", "ally", "info", "illegal_action"].any()


# What an import costs


@pytest.mark.parametrize(("statement", "expected"), [
    ("import marl_nb.smac", []),
    ("from marl_nb.smac import SMACEnv; SMACEnv('3m').reset()", []),
    ("from marl_nb.smac import ParallelEnv", ["gymnasium", "pettingzoo"]),
])
def test_imports_are_lazy(statement, expected):
    heavy = ["gymnasium", "matplotlib", "pettingzoo", "torch"]
    code = f"import json, sys\n{statement}\nprint(json.dumps([m for m in {heavy} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == expected


def test_render_with_cones():
    """The picture shows where agents look."""
    env = SMACEnv("terran_5_vs_5", seed=1, conic_fov=True)
    env.reset()
    before = env.render()
    assert before.dtype == np.uint8 and before.shape[2] == 3
    env.step([6 + 3 * a for a in range(5 - 1)] + [1])
    assert (env.render() != before).any()
