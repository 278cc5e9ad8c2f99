"""Every notebook's tests, run against the exported package instead of the notebook's own export cells.

`nbdev_test` runs the definitions in the notebooks; what people install are the modules in `marl_nb/`. A notebook of
module `core.x` is run here in the names of `marl_nb.core.x`, without the cells that are exported.
"""

import importlib
import os
from pathlib import Path

import pytest
from execnb.nbio import read_nb
from execnb.shell import CaptureShell
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.process import NBProcessor

ROOT = Path(__file__).resolve().parent.parent

EXPORTS = {"export", "exporti", "exports", "default_exp"}


def exported(notebook: Path) -> str | None:
    """The module a notebook exports to, such as "core.seeding"; None if it exports nothing."""
    lines = (line for cell in read_nb(notebook).cells for line in cell.source.splitlines())
    return next((line.split()[-1] for line in lines if line.startswith("#| default_exp ")), None)


MODULES = {module: path for path in map(Path, sorted(nbglob(ROOT / "nbs"))) if (module := exported(path))}


@pytest.mark.parametrize("module", MODULES)
def test_exported(module, monkeypatch):
    notebook = MODULES[module].resolve()
    config = get_config(path=ROOT)
    skip = set(config.tst_flags.split())

    def left_out(cell) -> bool:
        directives = getattr(cell, "directives_", {})
        return (cell.cell_type != "code" or bool((EXPORTS | skip) & directives.keys()) or "nbdev_export(" in cell.source
                or directives.get("eval:", [""])[0].lower() == "false")

    monkeypatch.chdir(notebook.parent)
    monkeypatch.setenv("IN_TEST", "1")
    monkeypatch.syspath_prepend(os.fspath(ROOT))
    package = importlib.import_module(f"marl_nb.{module}".removesuffix(".__init__"))
    shell = CaptureShell(notebook)
    shell.user_ns.update({k: v for k, v in vars(package).items() if not k.startswith("__")})
    try:
        shell.run_all(NBProcessor(notebook, process=True).nb, exc_stop=True, preproc=left_out)
    except Exception:
        pytest.fail(shell.prettytb(fname=notebook), pytrace=False)


def test_every_module_has_a_notebook():
    """The other way round: nothing in the package is left untested."""
    written = {p.relative_to(ROOT / "marl_nb").with_suffix("").as_posix().replace("/", ".")
               for p in (ROOT / "marl_nb").rglob("*.py") if p.name != "_modidx.py" and p.stat().st_size > 100}
    assert written == set(MODULES)
