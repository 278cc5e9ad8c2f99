"""Write README.md from nbs/index.ipynb: the same text and outputs, with paths that start at the repository's root.

    .venv/bin/python tools/readme.py
"""

import posixpath
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)\s]+)")


def readme(notebook: Path) -> str:
    """The text of README.md."""
    nb = nbformat.read(notebook, as_version=4)
    nb.metadata["language_info"] = {"name": "python"}  # for the fences
    nb.cells = [cell for cell in nb.cells if not cell.source.startswith("#| hide")]
    for cell in nb.cells:
        if any("image/png" in o.get("data", {}) for o in cell.get("outputs", [])):
            raise ValueError(f"{notebook}: an output is an image; show a file of figures/ in a text cell instead")
    text, _ = MarkdownExporter().from_notebook_node(nb)
    text = LINK.sub(lambda m: m[1] + posixpath.normpath(posixpath.join("nbs", m[2])), text)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.splitlines())).strip() + "\n"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme(ROOT / "nbs" / "index.ipynb"))
