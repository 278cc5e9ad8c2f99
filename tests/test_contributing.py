"""The worked example of CONTRIBUTING.md is what happens."""

import re
import subprocess
import sys

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell
from notebook_runner import run


def test_a_change_in_ten_minutes(root, repository):
    text = (root / "CONTRIBUTING.md").read_text()
    (prose,), code = re.findall(r"^````markdown\n(.*?)\n````$", text, re.M | re.S), re.findall(
        r"^```python\n(.*?)\n```$", text, re.M | re.S)
    assert len(code) == 3
    path = repository / "nbs" / "core" / "40_stats.ipynb"
    nb = nbformat.read(path, as_version=4)
    nb.cells += [new_markdown_cell(prose), *map(new_code_cell, code)]
    nbformat.write(nb, path)
    gates = [subprocess.run([sys.executable, "tools/gates.py"], cwd=repository, capture_output=True, text=True).stdout
             for _ in range(2)]
    assert gates == [re.search(r"^```text\n(.*?)```$", text, re.M | re.S)[1], "everything generated is up to date\n"]
    assert run(path) == ""
