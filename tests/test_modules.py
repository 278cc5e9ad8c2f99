"""The exported modules are whole: each can be imported, and no name in them is one that only the notebook has."""

import importlib
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbdev.doclinks import nbglob
from nbformat.v4 import new_code_cell
from notebook_runner import ROOT, exported

MODULES = {module: path for path in map(Path, sorted(nbglob(ROOT / "nbs"))) if (module := exported(path))}
COMMANDS = Path(sys.executable).parent


@pytest.mark.parametrize("module", MODULES)
def test_import(module):
    package = importlib.import_module(f"marl_nb.{module}".removesuffix(".__init__"))
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


def test_every_module_has_a_notebook():
    """The other way round: nothing in the package is left untested."""
    written = {p.relative_to(ROOT / "marl_nb").with_suffix("").as_posix().replace("/", ".")
               for p in (ROOT / "marl_nb").rglob("*.py") if p.name != "_modidx.py" and p.stat().st_size > 100}
    assert written == set(MODULES)


def test_a_name_imported_only_in_a_test_cell_is_found(repository):
    """The notebook runs, the module imports, and yet calling the function fails: the checks of the package see it."""
    path = repository / "nbs" / "core" / "10_seeding.ipynb"
    nb = nbformat.read(path, as_version=4)
    nb.cells += [new_code_cell("#| hide\nimport colorsys"),
                 new_code_cell('#| export\ndef colour(\n    share: float,  # of red\n) -> tuple: # HSV\n'
                               '    "A colour."\n    return colorsys.rgb_to_hsv(share, 0, 0)')]
    nbformat.write(nb, path)
    subprocess.run([COMMANDS / "nbdev_export"], cwd=repository, check=True)
    planted = [sys.executable, "-c", "from marl_nb.core.seeding import colour\ncolour(1)"]
    done = subprocess.run(planted, cwd=repository, capture_output=True, text=True)
    assert "NameError: name 'colorsys' is not defined" in done.stderr
    found = [subprocess.run(check, cwd=repository, capture_output=True, text=True) for check in (
        [COMMANDS / "ruff", "check", "nbs/core/10_seeding.ipynb", "--select=F"],
        [COMMANDS / "ruff", "check", "--config", "ruff_package.toml"],
        [COMMANDS / "mypy", "--follow-imports=silent", "-p", "marl_nb.core.seeding"])]
    assert found[0].returncode == 0, "ruff sees it in the notebook already: then nothing was planted"
    assert found[1].returncode == 1 and "marl_nb/core/seeding.py" in found[1].stdout and "`colorsys`" in found[1].stdout
    assert found[2].returncode == 1 and 'Name "colorsys" is not defined' in found[2].stdout, found[2].stdout
