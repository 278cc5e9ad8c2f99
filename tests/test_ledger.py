"""The ledger says what the committed notebooks say: the same claims, verdicts and numbers."""

import nbformat
import pytest

from marl_nb.core.claims import Claim, ledger


@pytest.fixture
def rows(root):
    """The claims filed in `records/claims`."""
    return [Claim(**row) for row in ledger(root / "records" / "claims").to_dict("records")]


def shown(root):
    """Claims in the outputs of the notebooks, as pairs of notebook and HTML."""
    for path in sorted((root / "nbs").rglob("*.ipynb")):
        if path.name == "45_claims.ipynb" or "checkpoint" in path.name: continue
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", ()):
                text = output.get("data", {}).get("text/html", "")
                if ">verdict</th><td " in text: yield path.relative_to(root).as_posix(), text


def test_ledger_is_what_the_notebooks_show(root, rows):
    assert len(rows) > 50
    assert sorted((row.notebook, row._repr_html_()) for row in rows) == sorted(shown(root))


def test_records_behind_numbers_exist(root, rows):
    assert [row.record for row in rows if row.record and not (root / row.record).exists()] == []
