"""The tools behind `make check` and `make test`: what they choose and run, in which order, and their last lines."""

import subprocess
import sys

import book
import check
import checks
import pytest
from conftest import longest_first
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, writes
from notebook_runner import run


def test_order_is_longest_first_and_keeps_files_together():
    book = "tests/test_notebooks.py::test_notebook[core/a]"
    tests = ["tests/test_x.py::b", "tests/test_x.py::a", book, book.replace("/a", "/b"), "tests/test_new.py::c"]
    seconds = {"tests/test_x.py": 5.0, book: 90.0, book.replace("/a", "/b"): 1.0}
    assert longest_first(tests, seconds) == [tests[2], tests[4], tests[0], tests[1], tests[3]]


def test_the_report_of_pytest_becomes_ids_counts_and_the_last_line(tmp_path, capsys):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_notebooks.py").write_text(
        "import pytest, time\n@pytest.mark.parametrize('name', ['core/a', 'core/b'])\n"
        "def test_notebook(name): time.sleep(0.3 * name.endswith('b'))\n")
    (tmp_path / "tests" / "test_b.py").write_text(
        "import pytest\n@pytest.fixture\ndef broken(): raise KeyError\ndef test_error(broken): pass\n"
        "def test_fails(): assert 0\ndef test_skips(): pytest.skip('no')\nclass TestA:\n    def test_in(self): pass\n")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "--junitxml=r.xml", "tests"], cwd=tmp_path,
                          capture_output=True, text=True)
    tests = checks.tests_of(tmp_path / "r.xml")
    collected = subprocess.run([sys.executable, "-m", "pytest", "-q", "--collect-only", "tests"], cwd=tmp_path,
                               capture_output=True, text=True).stdout.split("\n\n")[0].splitlines()
    assert sorted(name for name, *_ in tests) == sorted(collected), done.stdout
    assert checks.counts(tests) == (3, 2, 1)
    assert checks.summary(["mypy ok", "ruff FAILED"], tests, True, 12.3) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "3 passed, 3 failed, 1 skipped"
    assert lines[lines.index("slowest notebooks:") + 1].endswith("core/b")
    assert "notebooks        2 passed, 0 failed, 0 skipped" in lines
    assert checks.summary([], [], False, 1.0) == 1 and checks.summary([], [], True, 1.0) == 0


def test_a_file_that_skips_itself_is_named(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_c.py").write_text("import pytest\npytest.skip('no', allow_module_level=True)\n")
    command = [sys.executable, "-m", "pytest", "-q", "--junitxml=r.xml", "tests"]
    subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert [checks.unit(name) for name, *_ in checks.tests_of(tmp_path / "r.xml")] == ["tests/test_c.py"]


@pytest.fixture
def tree(tmp_path):
    """A small repository with one commit."""
    files = {"nbs/core/10_a.ipynb": '"#| default_exp core.a\\n"', "nbs/core/20_b.ipynb": '"#| default_exp core.b\\n"',
             "marl_nb/__init__.py": "", "marl_nb/core/__init__.py": "from .b import thing\n", "marl_nb/core/a.py": "",
             "marl_nb/core/b.py": "", "tests/test_a.py": "from marl_nb.core.a import x\n",
             "tests/test_b.py": "def test():\n    from marl_nb.core import thing\n",
             "tests/test_c.py": "from marl_nb.core import a\n", "tests/test_d.py": "import helper\n",
             "tests/test_e.py": "import os\n", "tests/helper.py": "", "batches/demo.yaml": ""}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize("touched, first, more", [
    ([], [], []),
    (["nbs/core/10_a.ipynb"], ["tests/test_notebooks.py::test_notebook[core/10_a]"], ["test_a.py", "test_c.py"]),
    (["marl_nb/core/b.py"], [], ["test_b.py"]),
    (["tests/helper.py", "tests/test_e.py"], ["tests/test_e.py"], ["test_d.py"]),
    (["nbs/core/30_new.ipynb"], ["tests/test_notebooks.py::test_notebook[core/30_new]"], []),
])
def test_a_change_chooses_its_tests(tree, touched, first, more):
    for name in touched:
        with open(tree / name, "a") as f: f.write(" ")
    assert check.changed(tree) == sorted(touched)
    assert check.chosen(tree, check.changed(tree)) == (first, [f"tests/{name}" for name in more])


def test_what_does_not_fit_into_a_minute_is_left_out():
    seconds = {"tests/test_long.py": 300.0, "tests/test_short.py": 2.0}
    assert check.affordable([*seconds, "tests/test_new.py"], seconds) == ["tests/test_new.py", "tests/test_short.py"]


def test_without_git_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(SystemExit, match="what changed is not known .*git repository.*: try make test"):
        check.changed(tmp_path)


def result(tmp_path, *cells, module=None) -> str:
    """What running a notebook with these cells ends with."""
    path = tmp_path / "made_up.ipynb"
    path.write_text(writes(new_notebook(cells=[new_code_cell(cell) for cell in cells])))
    return run(path, module)


def test_what_a_run_finds(tmp_path):
    assert result(tmp_path, "import os\nassert os.environ['IN_TEST'] and os.environ['OMP_NUM_THREADS'] == '1'",
                  f"assert os.getcwd() == {str(tmp_path)!r}", "#| slow\nraise KeyError", "#| eval: false\n1 / 0") == ""
    assert "ZeroDivisionError" in result(tmp_path, "x = 0", "1 / x", "raise KeyError")
    assert "SystemExit" in result(tmp_path, "import sys", "sys.exit(0)")
    assert "made_up.ipynb: its process ended with exit code 3" in result(tmp_path, "import os", "os._exit(3)")


def test_a_run_of_the_exported_module_leaves_exports_out(tmp_path):
    cells = "#| default_exp core.seeding", "#| export\nraise KeyError", "assert stream(0, 'a').random() >= 0"
    assert result(tmp_path, *cells, module="core.seeding") == ""
    assert "KeyError" in result(tmp_path, *cells)


def test_figures_of_the_book(tmp_path, capsys):
    cells = [new_markdown_cell("# T\n\nabc"), new_code_cell("#| export\ndef f():\n\n    return 1"),
             new_code_cell("#| export\nX = 1"), new_code_cell("\n".join(["y = 1"] * 16)), new_code_cell("")]
    (tmp_path / "a.ipynb").write_text(writes(new_notebook(cells=cells)))
    f = book.figures(tmp_path / "a.ipynb")
    assert (f.exported, f.code, f.prose) == ([4], [4, 2, 16], 8)
    assert f.characters == 8 + sum(len(c.source) for c in cells[1:])
    assert book.together([f, f]).exported == [4, 4] and book.together([f, f]).prose == 16
    (tmp_path / "b.ipynb").write_text(writes(new_notebook(cells=[new_code_cell("#| export\nclass A:" + "\n" * 98)])))
    assert book.main([str(tmp_path)]) == 0
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last[:5] == ["together", "2", "52", "50%", "100"]
    assert last[5] == "50%"  # 2 of 4 code cells are above 15 lines
