"""The gates catch what they are there for, in a damaged copy of the repository."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbdev.config import get_config
from papermill import inspect_notebook


def gates(repository):
    """Exit code and output of tools/gates.py."""
    done = subprocess.run([sys.executable, "tools/gates.py"], cwd=repository, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_nothing_is_out_of_date(repository):
    assert gates(repository) == (0, "everything generated is up to date\n")


def test_hand_edited_module(repository):
    module = repository / "marl_nb" / "core" / "seeding.py"
    text = module.read_text()
    module.write_text(text.replace("z >> np.uint64(30)", "z >> np.uint64(31)"))
    assert gates(repository) == (1, "marl_nb/core/seeding.py: out of date; it is regenerated now, commit it\n")
    assert module.read_text() == text


def test_edited_notebook_and_readme(repository):
    path = repository / "nbs" / "core" / "10_seeding.ipynb"
    nb = nbformat.read(path, as_version=4)
    nb.cells[2].source += "\nX = 1"
    nb.cells[2].metadata["editor"] = "left behind by an editor"
    nbformat.write(nb, path)
    (repository / "README.md").write_text("old")
    code, output = gates(repository)
    named = re.findall(r"^(\S+): out of date", output, re.M)
    assert code == 1 and {"README.md", "marl_nb/core/seeding.py", "nbs/core/10_seeding.ipynb"} <= set(named)
    assert gates(repository)[0] == 0  # the second time everything is in order


def test_module_without_notebook(repository):
    (repository / "nbs" / "core" / "50_plots.ipynb").unlink()
    code, output = gates(repository)
    assert code == 1 and "marl_nb/core/plots.py: no notebook exports it; delete it" in output


def test_parameters_without_a_comment(repository):
    path = repository / "nbs" / "induction" / "10_worlds.ipynb"
    text = path.read_text()
    path.write_text(text.replace("    n: int,  # how many exist", "    n: int,"))
    code, output = gates(repository)
    assert code == 1 and "marl_nb/induction/worlds.py: no comment says what n of check_numbers is" in output


def test_beginnings(repository):
    """A first cell left behind by a converter, which the site would take for the title, and half a sentence."""
    core = repository / "nbs" / "core"
    for name, change in (("40_stats", lambda cells: cells.insert(0, nbformat.v4.new_raw_cell("---\njupyter:\n---"))),
                         ("10_seeding", lambda cells: cells[0].update(source="# Seeds\n\n> One seed and\n> all.")),
                         ("20_protocols", lambda cells: cells[0].update(source="# Protocols\n\n> What a simulator"))):
        nb = nbformat.read(core / f"{name}.ipynb", as_version=4)
        change(nb.cells)
        nbformat.write(nb, core / f"{name}.ipynb")
    output = gates(repository)[1]
    for name, message in (("40_stats", "begins with a raw cell '---\\njupyter"),
                          ("10_seeding", "expected one line '> ...' below the heading that ends its sentence"),
                          ("20_protocols", "got ['> What a simulator']")):
        assert re.search(rf"^nbs/core/{name}.ipynb: .*{re.escape(message)}", output, re.M), output
    assert len(re.findall(r"^nbs/\S+: (?:begins|expected)", output, re.M)) == 3, output


def test_parameters_survive_cleaning(repository):
    """`nbdev_clean` strips tags unless told otherwise, and papermill would then ignore every parameter."""
    for path in sorted(repository.glob("nbs/experiments/*.ipynb")):
        before = inspect_notebook(str(path))
        nb = nbformat.read(path, as_version=4)
        nb.cells[0].metadata["editor"] = "left behind by an editor"
        nbformat.write(nb, path)
        subprocess.run([Path(sys.executable).with_name("nbdev_clean"), "--fname", path], cwd=repository, check=True)
        assert "left behind" not in path.read_text()
        assert before and inspect_notebook(str(path)) == before


def directives(root):
    """(notebook, directive) of every code cell of the repository."""
    for path in sorted(root.glob("nbs/**/*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for name in re.findall(r"^#\|\s*([a-z_]+)(?::\s*(\S+))?", cell.source, re.M):
                if cell.cell_type == "code":
                    yield path.relative_to(root).as_posix(), " ".join(name).strip()


def test_every_skip_is_declared(root):
    """Nothing is kept from running except by the four flags of settings.ini."""
    flags = set(get_config(path=root).tst_flags.split())
    assert flags == {"notest", "slow", "sc2", "gpu"}
    known = flags | {"export", "exporti", "exports", "default_exp", "hide"}
    assert [d for d in directives(root) if d[1].split()[0] not in known] == []
    assert [p.name for p in root.glob("nbs/**/.notest")] == []
    assert [p.name for p in root.glob("nbs/**/_*.ipynb")] == []


@pytest.mark.parametrize("folder", ["nbs", "marl_nb"])
def test_nothing_names_this_machine(root, folder):
    """Outputs and code hold no absolute paths of the machine they were made on."""
    machine = re.compile(r"/(home|root|Users|work|tmp)/\w+|site-packages")
    files = [p for p in (root / folder).rglob("*") if p.suffix in (".ipynb", ".py") and ".ipynb_" not in str(p)]
    assert [(p.name, m[0]) for p in files for m in machine.finditer(p.read_text())] == []
