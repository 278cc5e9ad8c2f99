"""Every notebook runs from top to bottom, each in a process of its own; `make soak` also runs the exported modules."""

from pathlib import Path

import pytest
from nbdev.doclinks import nbglob
from notebook_runner import ROOT, run

NOTEBOOKS = {p.relative_to(ROOT / "nbs").with_suffix("").as_posix(): p
             for p in sorted(Path(p).resolve() for p in nbglob(ROOT / "nbs"))}


@pytest.mark.timeout(3600)  # with nothing compiled, on a slow machine
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook(name):
    if error := run(NOTEBOOKS[name]):
        pytest.fail(error, pytrace=False)
