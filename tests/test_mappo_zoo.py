"""Policies as files of a world: refused on other rules, packed into a zoo, played again by the tests."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from marl_nb import smac
from marl_nb.app import commands
from marl_nb.app.zoo import LARGEST_ZOO
from marl_nb.core.cli import main
from marl_nb.core.files import read_tensors
from marl_nb.mappo import MAPPOConfig, MAPPOPolicy, evaluate, pretrained, train
from marl_nb.mappo import zoo as mappo_zoo
from marl_nb.mappo.zoo import LARGEST, make_record, outcomes, put, zoo_files

PACKAGED = list(zoo_files())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A policy that wins some of its battles on 3m."""
    out = tmp_path_factory.mktemp("trained")
    config = MAPPOConfig(total_steps=40_960, rollout_steps=32, epochs=5)
    train(config, smac.make("3m", 64, threads=1), out=out, progress=False)
    return out / "policy.safetensors"


@pytest.fixture(scope="module")
def zoo(trained, tmp_path_factory) -> Path:
    """A zoo with one policy."""
    folder = tmp_path_factory.mktemp("zoo")
    policy = MAPPOPolicy.load(trained)
    put(policy, make_record(policy, smac.make("3m", 64, threads=1), {"env_steps": 40_960, "seed": 0}), "3m", folder)
    return folder


def differing(name: str, folder: Path) -> int:
    """Of the battles that the record has one by one, how many end otherwise today."""
    about = read_tensors(zoo_files(folder)[name], "policy")[1]
    identity, record = about["identity"], about["record"]
    env = smac.make(identity["scenario"], 64, threads=1, **identity["options"])
    assert env.identity == identity, "the rules have changed since: train the zoo again (marl-nb zoo)"
    return sum(a != b for a, b in zip(outcomes(pretrained(name, folder), env), record["checked"], strict=True))


def test_played_again_on_this_machine(zoo):
    """The same machine, the same numbers: every outcome is the one written down."""
    assert differing("3m", zoo) == 0


@pytest.mark.parametrize("name", PACKAGED or [pytest.param("", marks=pytest.mark.skip(reason="the zoo is empty"))])
def test_packaged(name):
    """Each plays 64 battles of fixed seeds as its record says.

    On another processor two actions may be equally good to the last bit; of some ten thousand decisions in 64 battles a
    few fall otherwise, and change the rest of their battle. Four battles may therefore end otherwise.
    """
    assert differing(name, mappo_zoo.ZOO) <= 4
    file = zoo_files()[name]
    arrays, about = read_tensors(file, "policy")
    record = about["record"]
    assert file.stat().st_size <= LARGEST and record["battles"] == 512 and len(record["checked"]) == 64
    assert all(a.dtype == np.float32 for k, a in arrays.items() if not k.startswith("value_norm"))
    assert record["low"] <= record["win_rate"] <= record["high"] and record["win_rate"] >= 0.5


def test_the_packaged_zoo_is_small():
    assert sum(file.stat().st_size for file in zoo_files().values()) <= LARGEST_ZOO
    assert list(pretrained().index) == PACKAGED


def test_training_writes_what_it_was_trained_on(trained):
    about = read_tensors(trained, "policy")[1]
    assert about["identity"] == smac.make("3m").identity and about["version"]


def changed(unit: str, **numbers) -> smac.BattleEnv:
    """3m with other numbers of a unit."""
    scenario = smac.scenarios.get("3m")
    teams = [tuple(dataclasses.replace(g, unit=dataclasses.replace(g.unit, **numbers)) for g in team)
             for team in (scenario.allies, scenario.enemies)]
    return smac.make(dataclasses.replace(scenario, allies=teams[0], enemies=teams[1]), 4, threads=1)


@pytest.mark.parametrize(("env", "message"), [
    (lambda: changed("marine", health=46), "the rules of 3m have changed since it was trained"),
    (lambda: smac.make("3m", 4, use_unit_ranges=True), "these differ: use_unit_ranges"),
    (lambda: smac.make("protoss_5_vs_5", 4), "it was trained on 3m, this is protoss_5_vs_5"),
])
def test_another_world_is_refused(trained, env, message):
    with pytest.raises(ValueError, match=message):
        evaluate(MAPPOPolicy.load(trained), env())


def test_races_of_equal_sizes_are_told_apart():
    """The arrays of two races fit each other's policies; the digests do not."""
    a, b = (smac.make(f"{race}_5_vs_5", 2, threads=1) for race in ("terran", "protoss"))
    policy = MAPPOPolicy.for_step(MAPPOConfig(), a.reset(0), a)
    assert a.identity["rules"] != b.identity["rules"]
    with pytest.raises(ValueError, match="it was trained on terran_5_vs_5, this is protoss_5_vs_5"):
        evaluate(policy, b)


def test_other_rewards_are_the_same_world(trained):
    """What it was paid for does not matter to a player; nor how many lanes, threads or sides there are."""
    policy = MAPPOPolicy.load(trained)
    assert evaluate(policy, smac.make("3m", 4, threads=1, reward_sparse=True)).episodes == 4
    assert smac.make("3m", control="both").identity == smac.make("3m", 5, autoreset=False).identity


def test_unknown_names(zoo):
    with pytest.raises(ValueError, match="name: expected one of 3m, got '8m'"):
        pretrained("8m", zoo)


def test_eval_by_name(zoo, tmp_path, monkeypatch, capsys):
    """A name of the zoo is enough; a file of that name comes first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "zoo_files", lambda: zoo_files(zoo))
    monkeypatch.setattr(commands, "pretrained", lambda name: pretrained(name, zoo))
    assert main(["eval", "3m", "--episodes", "64"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("3m, 64 battles, greedy") and "\n3m: " in text
    assert main(["eval", "8m"]) == 2
    assert "8m: no such policy file; policies by name: 3m" in capsys.readouterr().err
    Path("3m").write_text("a file")
    assert main(["eval", "3m"]) == 2
    assert "3m: not a readable policy file" in capsys.readouterr().err
