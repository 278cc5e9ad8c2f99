"""The README: nothing in it leads nowhere, and what it says about paths is right."""

import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, writes


@pytest.fixture(scope="module")
def tool():
    """The module tools/readme.py."""
    import readme

    return readme


def test_readme_is_up_to_date(root, tool):
    assert (root / "README.md").read_text() == tool.readme(root / "nbs" / "index.ipynb")


def test_links_lead_somewhere(root):
    targets = re.findall(r"\]\((?![a-z]+:|#)([^)\s]+)\)", (root / "README.md").read_text())
    assert len(targets) > 30
    assert [t for t in targets if not (root / t).exists()] == []


def test_every_series_is_on_the_map(root):
    text = (root / "README.md").read_text()
    assert [p.name for p in (root / "nbs").iterdir() if any(p.glob("*.ipynb")) and f"| **{p.name}**" not in text] == []


def test_paths_and_directives(tmp_path, tool):
    cells = [new_markdown_cell("# T\n[a](core/x.ipynb#part) ![b](../figures/b.png) [c](https://a.org/d.ipynb) [d](#e)"),
             new_code_cell("1 + 1", outputs=[new_output("execute_result", {"text/plain": "2"})]),
             new_code_cell("#| hide\nassert secret")]
    (tmp_path / "i.ipynb").write_text(writes(new_notebook(cells=cells)))
    text = tool.readme(tmp_path / "i.ipynb")
    assert "[a](nbs/core/x.ipynb#part) ![b](figures/b.png) [c](https://a.org/d.ipynb) [d](#e)" in text
    assert "```python\n1 + 1\n```" in text and "    2\n" in text and "secret" not in text
    cells[1].outputs = [new_output("display_data", {"image/png": "AAAA"})]
    (tmp_path / "i.ipynb").write_text(writes(new_notebook(cells=cells)))
    with pytest.raises(ValueError, match="i.ipynb: an output is an image"):
        tool.readme(tmp_path / "i.ipynb")


def test_upstream_is_installed_by_the_line_of_the_messages(root):
    from marl_nb.smac.sc2 import INSTALL

    assert INSTALL in (root / "README.md").read_text()


def test_every_chapter_is_named_by_its_series(root):
    """In the first chapter of the series, or, without one, in the README."""
    missing = []
    for series in (p for p in (root / "nbs").iterdir() if any(p.glob("*.ipynb"))):
        first = next(series.glob("00_*.ipynb"), root / "nbs" / "index.ipynb")
        text = first.read_text()
        missing += [str(p.relative_to(root)) for p in series.glob("*.ipynb") if p != first and f"{p.name})" not in text]
    assert missing == []
