"""What an import costs: `marl_nb.smac` needs neither torch nor pandas nor a notebook, nor StarCraft II."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HEAVY = ["torch", "pandas", "matplotlib", "seaborn", "scipy.stats", "papermill", "nbformat", "IPython", "distributed",
         "pysc2", "s2clientprotocol", "google.protobuf"]


def loaded(statement: str) -> set[str]:
    """The heavy packages in a fresh interpreter after `statement`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("statement", [
    "import marl_nb.smac",
    "import marl_nb.smac; marl_nb.smac.make('3m').step([[1, 1, 1]])",
    "import marl_nb.core.seeding, marl_nb.core.protocols, marl_nb.core.results",
    "import marl_nb.core.cli",
])
def test_import_is_light(statement):
    assert loaded(statement) == set()



# A series and the series that it may import, besides itself: DESIGN's arrows. Nobody imports `app`.
ARROWS = {"core": set(), "smac": {"core"}, "mappo": {"core"}, "amal": {"core", "mappo"}, "counterfactual": {"core"},
          "induction": {"core"}, "curriculum": {"core"},
          "app": {"core", "smac", "mappo", "amal", "counterfactual", "induction", "curriculum"}}


def module_name(file: Path, package: Path) -> str:
    """The dotted name of a source file of the package."""
    parts = file.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path, package: Path) -> Iterator[tuple[str, str]]:
    """Modules of the package that a file imports, wherever in it, with the name taken ("" for the whole module)."""
    base = file.relative_to(package.parent).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == package.name)
        if isinstance(node, ast.ImportFrom):
            above = base[:len(base) - node.level + 1] if node.level else ()
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names if source.split(".")[0] == package.name else []:
                path = package.parent.joinpath(*source.split("."), alias.name)
                whole = path.is_dir() or path.with_suffix(".py").exists()
                yield (f"{source}.{alias.name}", "") if whole else (source, alias.name)


def graph(package: Path) -> dict[str, list[tuple[str, str]]]:
    """What every module of the package imports."""
    return {module_name(f, package): list(imports(f, package)) for f in sorted(package.rglob("*.py"))
            if f.name != "_modidx.py"}


def wrong_arrows(package: Path) -> list[tuple[str, str]]:
    """Imports from one series into another that is not one of `ARROWS`."""
    series = lambda module: (module.split(".") + [""])[1]
    return [(module, target) for module, targets in graph(package).items() for target, _ in targets
            if series(module) and series(target) not in {"", series(module), *ARROWS[series(module)]}]


def circles(package: Path) -> list[str]:
    """Modules that can be reached from themselves."""
    edges = {m: {t for t, _ in targets} for m, targets in graph(package).items()}
    found = []
    for start in edges:
        seen, todo = set(), list(edges[start])
        while todo:
            module = todo.pop()
            if module in seen: continue
            seen.add(module)
            todo += edges.get(module, ())
        if start in seen: found.append(start)
    return found


def test_arrows(root):
    """Also inside functions, every import goes the way of the design."""
    assert wrong_arrows(root / "marl_nb") == []


def test_no_circle(root):
    """Also through imports inside functions."""
    assert circles(root / "marl_nb") == []


def test_star_imports_and_private_names(root):
    """No module imports everything from another one, or a name that begins with an underscore."""
    found = [(m, t, name) for m, targets in graph(root / "marl_nb").items() for t, name in targets
             if name == "*" or (name.startswith("_") and name != "__version__")]
    assert found == []


def test_planted_imports_are_seen(tmp_path):
    """An import inside a function, relative or absolute, of a module or of a name."""
    package = tmp_path / "marl_nb"
    sources = {"core/a.py": "def f():\n    from ..app import b", "app/b.py": "import marl_nb.core.c",
               "core/c.py": "def f():\n    from marl_nb.core import a", "mappo/d.py": "from ..smac.e import x",
               "smac/e.py": "from ..core.c import y", "__init__.py": ""}
    for name, source in sources.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(source)
    assert wrong_arrows(package) == [("marl_nb.core.a", "marl_nb.app.b"), ("marl_nb.mappo.d", "marl_nb.smac.e")]
    assert circles(package) == ["marl_nb.app.b", "marl_nb.core.a", "marl_nb.core.c"]


def test_every_module_can_be_the_first(root):
    """In whichever order modules are imported, none needs another one to have come before."""
    modules = [m for m in graph(root / "marl_nb") if m != "marl_nb"]
    code = """if True:
        import importlib, sys
        for first in sys.argv[1:]:
            for name in [m for m in sys.modules if m.startswith("marl_nb")]: del sys.modules[name]
            importlib.import_module(first)"""
    subprocess.run([sys.executable, "-c", code, *modules], check=True)
