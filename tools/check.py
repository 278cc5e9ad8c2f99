"""What a change can have broken, in under a minute: gates, ruff, mypy, the changed chapters and their tests.

    .venv/bin/python tools/check.py

Changed is what differs from HEAD, new files included. The tests of a chapter are the files of `tests/` that import what
it exports. Files that take longer than the rest of a minute are named and left to `make test`.
"""

import ast
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from checks import APART, ROOT, checks, pytest, recorded, summary

SECONDS = 40.0  # of processor time for tests that did not change themselves; two processes share them


def changed(root: Path) -> list[str]:
    """Files that differ from HEAD or are new, and are there."""
    found: set[str] = set()
    for command in (["git", "diff", "--name-only", "HEAD"], ["git", "ls-files", "--others", "--exclude-standard"]):
        done = subprocess.run(command, cwd=root, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"what changed is not known ({done.stderr.splitlines()[0]}): try make test")
        found |= set(done.stdout.splitlines())
    return sorted(name for name in found if (root / name).exists())


def imports(file: Path, package: str = "") -> Iterator[tuple[str, str]]:
    """(module, name) of every import in a file, "" as the name of a module that is imported whole."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[:len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def used(file: Path, root: Path, package: str = "") -> set[str]:
    """The package's modules, such as "core.stats", that a file imports, also by way of a series' own names."""
    found = set()
    for module, name in imports(file, package):
        if module.split(".")[0] != "marl_nb": continue
        folder = root / module.replace(".", "/")
        if (folder / f"{name}.py").exists(): module = f"{module}.{name}"
        elif (folder / "__init__.py").exists():
            found.add(f"{module}.__init__".removeprefix("marl_nb."))
            homes = [m for m, n in imports(folder / "__init__.py", module) if n == name]
            module = homes[0] if homes else module
        found.add(module.removeprefix("marl_nb."))
    return found


def mentions(file: Path, names: list[str]) -> bool:
    """Whether a test file names one of some files, or imports it as a helper."""
    text, helpers = file.read_text(), {module for module, _ in imports(file)}
    return any(re.search(rf"\b{re.escape(n)}\b", text) or Path(n).stem in helpers for n in names)


def chosen(root: Path, names: list[str]) -> tuple[list[str], list[str]]:
    """What runs in any case: changed chapters and tests; and the test files that belong to something changed."""
    chapters = [n for n in names if re.fullmatch(r"nbs/.+\.ipynb", n)]
    first = [f"tests/test_notebooks.py::test_notebook[{n[4:-6]}]" for n in chapters]
    first += [n for n in names if re.fullmatch(r"tests/test_\w+\.py", n) and not n.endswith(APART)]  # not all notebooks
    homes = {re.search(r'default_exp (\S+?)(?:\\n)?"', (root / n).read_text()) for n in chapters}
    modules = {m[1] for m in homes if m}
    modules |= {n[8:-3].replace("/", ".") for n in names if re.fullmatch(r"marl_nb/.+\.py", n)} - {"_modidx"}
    others = [n for n in names if re.fullmatch(r"(tools|batches)/.+|tests/(?!test_)\w+\.py", n)]
    more = [f"tests/{file.name}" for file in sorted((root / "tests").glob("test_*.py"))
            if file.name not in APART and (used(file, root) & modules or mentions(file, others))]
    return first, [file for file in more if file not in first]


def affordable(files: list[str], seconds: dict[str, float]) -> list[str]:
    """The files that fit into a minute, short ones first; a file without a record counts as short."""
    fit, total = [], 0.0
    for file in sorted(files, key=lambda f: seconds.get(f, 0.0)):
        total += seconds.get(file, 0.0)
        if total <= SECONDS: fit.append(file)
    return fit


def main() -> int:
    start, lines = time.monotonic(), checks()
    first, more = chosen(ROOT, changed(ROOT))
    fit, tests, whole = affordable(more, recorded()), [], True
    if first or fit: tests, whole = pytest([*first, *fit])
    if left := [file for file in more if file not in fit]: lines.append(f"left to `make test`: {', '.join(left)}")
    return summary(lines, tests, whole, time.monotonic() - start)


if __name__ == "__main__":
    sys.exit(main())
