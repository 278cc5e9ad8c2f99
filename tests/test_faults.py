"""The tool that plants faults: what it can plant, in which order, that one line changes, and what it says of a toy."""

import difflib
import itertools
import json
import shutil
import subprocess
import sys
from collections import Counter
from random import Random

import faults
import pytest
from nbformat.v4 import new_code_cell, new_notebook, writes
from sites import Finder, changed, draw, is_fault

TEXT = '''
N = 1 + 1  # not in a function
def f(x: "int < 1", n=3) -> bool:
    """1 + 1."""
    if x < n and not x: raise ValueError(f"{1 + 1}", 1 + 1)
    print(1 + 1)
    x.y = "a" + "b"
    return min(x, 1) == x.sum(axis=-1)
class A:
    z = 1
    def plot(self, ax): ax.set(lw=1)
    def g(self, x):
        self.h(x, (True))
        x += 1 - -self.z
'''


def test_what_can_be_planted():
    found = [(s.function, s.operator, changed(TEXT, s).split("\n")[s.line - 1].strip()) for s in Finder(TEXT).found]
    head, end = 'if x < n and not x: raise ValueError(f"{1 + 1}", 1 + 1)', "return min(x, 1) == x.sum(axis=-1)"
    assert sorted(found) == sorted([
        ("f", "comparison", head.replace("<", "<=")), ("f", "and/or", head.replace("and", "or")),
        ("f", "not", head.replace("not", "")), ("f", "statement", "pass"),
        ("f", "return", "return not (min(x, 1) == x.sum(axis=-1))"), ("f", "comparison", end.replace("==", "!=")),
        ("f", "min/max", end.replace("min", "max")), ("f", "constant", end.replace("1)", "2)", 1)),
        ("f", "axis", end.replace("-1", "0")),
        ("A.g", "statement", "pass"), ("A.g", "arguments", "self.h(True, (x))"),
        ("A.g", "True/False", "self.h(x, (False))"),
        ("A.g", "arithmetic", "x -= 1 - -self.z"), ("A.g", "arithmetic", "x += 1 + -self.z"),
        ("A.g", "sign", "x += 1 - +self.z"), ("A.g", "constant", "x += 2 - -self.z")])
    assert all(is_fault(TEXT, s) for s in Finder(TEXT).found)
    drawn = draw(TEXT, Random(0))
    assert [s.line for s in drawn] == [5, 7, 8, 13, 14] and drawn == draw(TEXT, Random(0))
    same = "def f(x): return g(x, x)"
    assert [s.operator for s in Finder(same).found if not is_fault(same, s)] == ["arguments"]


def test_the_order_is_drawn_once_and_for_all(root):
    first, again = (list(itertools.islice(faults.sequence(root, 1), 40)) for _ in range(2))
    assert first == again and len({(f.file, f.line) for f in first}) == 40
    assert first != list(itertools.islice(faults.sequence(root, 2), 40))
    for seed in (1, 3):
        rooms, drawn = faults.rooms(seed), list(itertools.islice(faults.sequence(root, seed), 40))
        lines = {r: sum(p.read_text().count("\n") for p in root.glob(f"marl_nb/{r}/*.py")) for r in rooms}
        for n in (10, 40):
            count = Counter(f.room for f in drawn[:n])
            assert all(abs(count[r] - n * lines[r] / sum(lines.values())) < 1 for r in rooms)
        assert set(count) == set(rooms) and ("curriculum" in rooms) == (seed == 3)


def test_one_line_changes_in_module_and_notebook(root):
    for fault in itertools.islice(faults.sequence(root, 5), 20):
        for path, text in faults.planted(root, fault).items():
            old = path.read_text()
            lines = [line for line in difflib.ndiff(old.split("\n"), text.split("\n")) if line[0] in "+-"]
            book = path.suffix == ".ipynb"
            expected = [json.dumps(t, ensure_ascii=False)[1:-1] if book else t for t in (fault.before, fault.after)]
            assert [line[0] for line in lines] == ["-", "+"], lines
            assert all(t in line for t, line in zip(expected, lines, strict=True)), (expected, lines)
    with pytest.raises(LookupError, match="seeding.py: no line 'gone'"):
        faults.planted(root, fault._replace(file="marl_nb/core/seeding.py", before="gone"))


MODULE = '''def double(x):
    return x * 2


def half(x):
    return x / 2


def once(x):
    while x < 9: x = x + 9
    return


def unseen(x):
    x = x + 7


def same(x):
    return abs(x - 3)
'''


def test_a_toy(root, tmp_path):
    """A fault that the chapter sees, one that a test sees, an endless loop, one that nobody sees, an equivalent one."""
    for name in ("tools", "marl_nb/core", "nbs/core", "tests", "records/faults"): (tmp_path / name).mkdir(parents=True)
    for name in ("tools/faults.py", "tools/sites.py", "tools/check.py", "tools/checks.py", "tests/notebook_runner.py",
                 "tests/patience.py",
                 "settings.ini"): shutil.copy(root / name, tmp_path / name)
    cells = [new_code_cell("#| default_exp core.toy"), new_code_cell("#| export\n" + MODULE.strip("\n"), id="abcd"),
             new_code_cell("assert double(3) == 6 and same(5) == 2\nonce(1), unseen(1)")]
    (tmp_path / "nbs/core/10_toy.ipynb").write_text(writes(new_notebook(cells=cells)) + "\n")
    (tmp_path / "marl_nb/core/toy.py").write_text("# %% ../../nbs/core/10_toy.ipynb #abcd\n" + MODULE)
    for name in ("marl_nb/__init__.py", "marl_nb/core/__init__.py"): (tmp_path / name).write_text("")
    test = "from marl_nb.core.toy import half\ndef test_half(): assert half(3) == 1.5\n"
    (tmp_path / "tests/test_toy.py").write_text(test)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    fault = faults.Fault("core", "marl_nb/core/toy.py", 0, "", "", "", "")
    planted = [fault._replace(before=b, after=a) for b, a in (
        ("    return x * 2", "    return x + 2"), ("    return x / 2", "    return x * 2"),
        ("    while x < 9: x = x + 9", "    while x < 9: x = x - 9"), ("    x = x + 7", "    x = x - 7"))]
    (tmp_path / "old.json").write_text(json.dumps([f._asdict() | {"verdict": "survived"} for f in planted]))

    def run(*arguments):
        done = subprocess.run([sys.executable, "tools/faults.py", *arguments, "--out", "new.json", "--limit", "8"],
                              cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads((tmp_path / "new.json").read_text()), done.stdout

    found, output = run("--again", "old.json")
    assert [f["verdict"] for f in found] == ["caught", "caught", "caught", "survived"]
    assert [f["by"].split(":")[0] for f in found[:2]] == ["nbs/core/10_toy.ipynb", "tests/test_toy.py"]
    assert (found[2]["by"], found[3]["by"]) == ("nbs/core/10_toy.ipynb: time limit", "2 units green")
    assert output.endswith("3 of 4 faults caught\n")
    assert (tmp_path / "marl_nb/core/toy.py").read_text().endswith(MODULE)  # planted in a copy
    drawn = list(itertools.islice(faults.sequence(tmp_path, 1), 9))
    (tmp_path / faults.EQUIVALENT).write_text(json.dumps({drawn[0].key: "said so"}))
    assert list(faults.sequence(tmp_path, 1)) == drawn[1:]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_sample_of_the_repository(root):
    """Eight faults, other ones than those that tests were written for; most are caught."""
    command = [sys.executable, "tools/faults.py", "--sample", "8"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    last = done.stdout.splitlines()[-1].split()
    assert done.returncode == 0 and last[1:] == "of 8 faults caught".split() and int(last[0]) >= 6, done.stdout
