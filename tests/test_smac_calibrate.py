"""The calibration: a game by the simulator's rules is equal, one with another damage differs in that rule alone."""

import json
import os
import subprocess
import sys

import pytest

from marl_nb.smac import calibrate
from marl_nb.smac.calibrate import EXPERIMENTS, Play, compare, medicine, read_calibration, verdicts, write_calibration
from marl_nb.smac.exact import Controller
from marl_nb.smac.server import install

PLANT = """
import marl_nb.smac.game as game
compile_rules = game.compile_rules
def other_rules(scenario, options):
    rules = compile_rules(scenario, options)
    for k, unit in enumerate(scenario.kinds): rules.damage[k] += 3 * (unit.name == "hydralisk")
    return rules
game.compile_rules = other_rules
"""


def different(calibration):
    """Rules in which the game is not equal."""
    return {rule: v.different for rule, v in verdicts(calibration).items() if v.verdict != "equal"}


def test_the_simulator_equals_itself_with_other_seeds():
    once = [name for name, e in EXPERIMENTS.items() if e.times == 1]  # nothing is drawn
    plays = Play(Controller(), seed=5), Play(Controller(), seed=7_000)
    certain, sampled = (compare(*plays, {}, part) for part in (once, [n for n in EXPERIMENTS if n not in once]))
    assert certain.missing == sampled.missing == different(certain) == {}
    assert len(certain.rules | sampled.rules) == 60
    # Another processor's rounding draws other samples, of which one in ten thousand is called different by chance;
    # it takes along the other quantities of its battles, three a map.
    assert sum(map(len, different(sampled).values())) <= 3, different(sampled)


def test_an_experiment_that_fails_later_leaves_nothing(monkeypatch):
    seen = []

    def fails_later(play):
        seen.append(play)
        if seen.count(play) == 2 and play is game: raise ValueError("gone")
        return {"beam": {"aimed": [9.0]}}

    game = Play(Controller())
    monkeypatch.setitem(EXPERIMENTS, "beam", EXPERIMENTS["beam"]._replace(measure=fails_later))
    found = compare(game, Play(Controller(), seed=9), {}, ["beam", "explosion"])
    assert found.missing == {"beam": "ValueError: gone"} and "beam" not in found.rules and different(found) == {}


def test_a_marine_that_nobody_wounds_is_not_waited_for_forever(monkeypatch):
    def freeze(play, units):
        found, loops = create(play, units), iter(range(2 * calibrate.PATIENCE))
        play.controller.step = lambda count: next(loops)
        return found

    create = calibrate.create
    monkeypatch.setattr(calibrate, "create", freeze)
    with pytest.raises(TimeoutError, match="a wounded marine: not there after 200 game loops"):
        medicine(Play(Controller()))


def test_the_record_of_the_stand_in_is_of_todays_programme(root):
    record = read_calibration(root / "records" / "calibrations" / "standin.json")
    today = compare(Play(Controller()), Play(Controller(), seed=9), {}, ["explosion", "walks", "zealot against zealot"])
    assert all(set(quantities) <= set(record.rules[rule]) for rule, quantities in today.rules.items())
    assert different(record) == {} and record.missing == {}


def test_a_game_that_refuses_something_is_measured_all_the_same(tmp_path):
    class Stubborn(Controller):
        def debug(self, debug_commands):
            if any(c.HasField("create_unit") for c in debug_commands): raise ValueError("cheats are <off>")
            return super().debug(debug_commands)

    about = {"kind": "StarCraft II", "version": "4.10.0", "build": "75689"}
    found = compare(Play(Stubborn()), Play(Controller(), seed=9), about, ["explosion", "alarm"])
    assert found.missing == {"explosion": "ValueError: cheats are .off."} and set(found.rules) == {"alarm"}
    write_calibration(tmp_path / "it.json", found)
    assert read_calibration(tmp_path / "it.json") == found


@pytest.mark.soak
def test_the_whole_programme_finds_a_planted_damage_and_nothing_else(tmp_path):
    sc2 = install(tmp_path / "SC2")
    binary = next(sc2.glob("Versions/*/SC2_x64"))
    binary.write_text(binary.read_text().replace("import sys; from", f"{PLANT.strip()}\nimport sys\nfrom"))
    command = [sys.executable, "-c", "import sys; from marl_nb.core.cli import main; sys.exit(main())"]
    done = subprocess.run([*command, "sc2", "calibrate", "--out", str(tmp_path / "it.json")], text=True,
                          capture_output=True, env={**os.environ, "SC2PATH": str(sc2)})
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(different(read_calibration(tmp_path / "it.json"))) == {"damage: hydralisk"}
    assert "different    damage: hydralisk" in done.stdout
    assert json.loads((tmp_path / "it.json").read_text())["game"]["kind"] == "the stand-in"
