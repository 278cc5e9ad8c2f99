"""How the book reads, in figures: how long its exported cells are, and how much of it is prose.

    .venv/bin/python tools/book.py [FOLDER or NOTEBOOK ...]      nbs if nothing is given

Lines are those of code cells with `#| export` and a def or a class, blank ones counted; the aim is a median of 20, 90 %
below 50 and none above 100. Prose is the share of characters that stand in text cells.
"""

import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nbformat

ROOT = Path(__file__).resolve().parent.parent


class Figures(NamedTuple):
    """Of one notebook, or of several together."""

    exported: list[int]  # lines of every exported cell with a def or a class
    code: list[int]  # lines of every code cell
    prose: int  # characters in text cells
    characters: int  # in all cells


def figures(notebook: Path) -> Figures:
    """Read one notebook."""
    cells = nbformat.read(notebook, as_version=4).cells
    code = [c.source for c in cells if c.cell_type == "code" and c.source.strip()]
    exported = [s for s in code if re.search(r"^#\| *exports?i?\b", s, re.M)
                and re.search(r"^(async def|def|class) ", s, re.M)]
    prose = sum(len(c.source) for c in cells if c.cell_type == "markdown")
    return Figures([s.count("\n") + 1 for s in exported], [s.count("\n") + 1 for s in code], prose,
                   prose + sum(map(len, code)))


def together(parts: Sequence[Figures]) -> Figures:
    """Several notebooks as one."""
    return Figures(sum((p.exported for p in parts), []), sum((p.code for p in parts), []),
                   sum(p.prose for p in parts), sum(p.characters for p in parts))


def row(name: str, f: Figures) -> str:
    """A line of the table."""
    lines = f.exported or [0]
    below = sum(n < 50 for n in lines) / len(lines)
    long = sum(n > 15 for n in f.code) / max(len(f.code), 1)
    return (f"{name:36s} {len(f.exported):6d} {statistics.median(lines):7.0f} {below:9.0%} {max(lines):8d} "
            f"{long:14.0%} {f.prose / max(f.characters, 1):6.0%}")


def main(names: Sequence[str]) -> int:
    paths = [Path(name) for name in names] or [ROOT / "nbs"]
    if missing := [str(p) for p in paths if not p.exists()]: sys.exit(f"no such file or folder: {', '.join(missing)}")
    found = [file for p in paths for file in (sorted(p.rglob("*.ipynb")) if p.is_dir() else [p])]
    found = [file for file in found if ".ipynb_checkpoints" not in file.parts]
    parts = {file: figures(file) for file in found}
    print(f"{'':36s}  cells  median  below 50  longest  code above 15  prose")
    for folder in dict.fromkeys(file.parent for file in found):
        inside = {file: f for file, f in parts.items() if file.parent == folder}
        if names:
            for file, f in inside.items(): print(row(f"  {file.stem}", f))
        print(row(folder.name, together(list(inside.values()))))
    print(row("together", together(list(parts.values()))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
