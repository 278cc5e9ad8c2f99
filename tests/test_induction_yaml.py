"""Every mistake in a world's file is one line with file, line, column, key, value and what is allowed."""

import re

import pytest

from marl_nb.induction.multigrid import load, loads, names

HEAD = "max_steps: 5\nmap: Ay .. Ae\n"
MISTAKES = {
    HEAD + "actions: 5": "line 3, column 10: actions: expected a list of still, .*minimal, full, got '5'",
    HEAD + "actions:": "line 3, column 9: actions: expected a list of .* got ''",
    HEAD + "actions: null": "line 3, column 10: actions: expected a list of .* got 'null'",
    HEAD + "actions: [[still]]": r"line 3, column 10: actions: expected a list of .* got \[\['still'\]\]",
    HEAD + "actions: [still, 5]": "line 3, column 10: actions: expected a list of .* got",
    HEAD + "actions: []": r"line 3, column 10: actions: expected a list of .* got \[\]",
    HEAD + "actions: fly": "line 3, column 10: actions: expected a list of .* got 'fly'",
    HEAD + "actions: [fly]": "line 3, column 10: actions: expected different names of still",
    HEAD + "actions: [still, still]": "line 3, column 10: actions: expected different names of still",
    HEAD + "orientations: 5": "line 3, column 15: orientations: expected a list of numbers of 0 to 3, .* got '5'",
    HEAD + "orientations: []": r"line 3, column 15: orientations: expected a list .* got \[\]",
    HEAD + "orientations: [0]": r"line 3, column 15: orientations: expected 2 numbers of 0 to 3, got \[0\]",
    HEAD + "orientations: [0, 1.5]": "line 3, column 15: orientations: expected a list .* got",
    HEAD + "orientations: [true, 0]": "line 3, column 15: orientations: expected a list .* got",
    HEAD + "can_push_rocks: true": "line 3, column 17: can_push_rocks: expected a text of colours of .* got 'true'",
    HEAD + "can_push_rocks:": "line 3, column 16: can_push_rocks: expected a text of colours of .* got ''",
    HEAD + "can_push_rocks: [e]": r"line 3, column 17: can_push_rocks: expected a text .* got \[",
    HEAD + "can_push_rocks: x": "line 3, column 17: can_push_rocks: expected colours of rgbpye, got 'x'",
    HEAD + "description: [a]": "line 3, column 14: description: expected a text, got",
    HEAD + "possible_goals: []": r"line 3, column 17: possible_goals: expected 'all' or a list .* got \[\]",
    HEAD + "possible_goals: some": "line 3, column 17: possible_goals: expected 'all' or a list .* got 'some'",
    HEAD + "possible_goals:": "line 3, column 16: possible_goals: expected 'all' or a list .* got ''",
    HEAD + "possible_goals: [5]": "line 3, column 17: possible_goals: expected 'all' or a list",
    HEAD + "possible_goals: [[1, 0]]": "line 3, column 17: possible_goals: expected 'all' or a list",
    HEAD + "possible_goals:\n  - \u00b2,0": "line 4, column 5: possible_goals: expected 'x,y' or .* got '\u00b2,0'",
    HEAD + "possible_goals: ['1,0', '0,0,0']": "line 3, column 25: possible_goals: expected 'x,y' or .* got '0,0,0'",
    HEAD + "possible_goals: ['9,9']": "line 3, column 18: possible_goals: '9,9' has no floor cell",
    HEAD + "possible_goals: ['1,0', '1, 0']": "line 3, column 25: possible_goals: expected different ones, got '1, 0'",
    HEAD + "possible_goals: ['1,0', '1,0,1,0']": "line 3, column 25: possible_goals: expected different ones, got",
    HEAD + "max_steps: 6": "line 3, column 1: max_steps: expected once, got it a second time",
    HEAD + "speed: 6": "line 3, column 1: unknown key 'speed'; known keys: description, map",
    HEAD + "? [a]\n: 1": "line 3, column 3: found unhashable key",
    HEAD + "description: \x01": "line 3, column 14: expected printable characters, got",
    HEAD + "description: !own 3": "line 3, column 14: could not determine a constructor",
    HEAD + "description: 'open": "line 3, column 19: found unexpected end of stream",
    "max_steps: 5\nmap: [Ay, '..']": r"line 2, column 6: map: expected rows of cells, got \['Ay', '..'\]",
    "max_steps: 5\nmap: 5": "line 2, column 6: map: expected rows of cells, got '5'",
    "max_steps: 5\nmap: ''": "line 2, column 6: map: expected at least one agent",
    "max_steps: 5\nmap: |": "line 3, column 1: map: expected at least one agent",
    "max_steps: 5\nmap: >\n  Ay ..\n  .. XX": "line 2, column 6: map: unknown cell 'XX'; expected '..'",
    "max_steps: 5\nmap: 'Ay XX'": "line 2, column 6: map: unknown cell 'XX'",
    "max_steps: 5\nmap: |\n  Ay\t..\n  ..\tXX": "line 4, column 6: map: unknown cell 'XX'",
    "max_steps: 5\nmap: |\n  Ay ..\n  ..": "line 4, column 3: map: expected 2 cells, got 1",
    "max_steps: 5\nmap: |\n\n  Ay ..": "line 3, column 1: map: expected some cells, got 0",
    "max_steps: 5\nmap: |\n  .. ..": "line 3, column 3: map: expected at least one agent",
    "max_steps: 5\nmap: |\n  Ae ..": "line 3, column 3: map: expected at least one human, .* got robots alone",
    "max_steps: 5\nmap: |\n  Ay Dg\n  Sg Sr": "line 4, column 6: map: button 'Sr' expected a door .* Or, Dr, Lr,",
    "max_steps: five\nmap: Ay ..": "line 1, column 12: max_steps: expected a whole number, got 'five'",
    "max_steps: 0\nmap: Ay ..": "line 1, column 12: max_steps: expected 1 or more, got 0",
    "max_steps: 5": "line 1, column 1: map is missing",
    "map: Ay ..": "line 1, column 1: max_steps is missing",
    "": "line 1, column 1: expected description, map",
    "- map": "line 1, column 1: expected description, map",
    "map: [": "line 1, column 7",
}


@pytest.mark.parametrize("text", MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_has_its_place(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(f"{path}: ") + MISTAKES[text]) as e: load(path)
    assert "\n" not in str(e.value)


def test_other_bytes_than_text_are_refused(tmp_path):
    (tmp_path / "own.yaml").write_bytes(b"map: \xff")
    with pytest.raises(ValueError, match="own.yaml: .*utf-8"): load(tmp_path / "own.yaml")


def test_what_is_right_is_read():
    for name in names(): assert load(name).max_steps
    world = loads("max_steps: 5\nmap: |\n  Ay\t..  Sg\n  Dg .. Ae\npossible_goals: ['1,0', '0, 0, 2, 1']"
                  "\nactions: full")
    assert (world.grid.width, world.grid.height, world.n_actions) == (3, 2, 8)
    assert [g.name for g in world.possible_goals] == ["1,0", "0,0,2,1"]
    assert loads("max_steps: 1\nmap: Ay Sg\ncan_push_rocks: ''").grid.buttons == ((1, "g"),)  # text is not strict
