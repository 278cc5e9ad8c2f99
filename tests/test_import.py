"""What an import costs: `marl_nb.smac` needs neither torch nor pandas nor a notebook, nor StarCraft II."""

import json
import subprocess
import sys

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


def test_no_circle(root):
    """Every module can be the first one imported; nothing imports experiments or reports."""
    modules = ["marl_nb." + p.relative_to(root / "marl_nb").with_suffix("").as_posix().replace("/", ".")
               for p in (root / "marl_nb").rglob("*.py") if p.name[0] != "_"]
    code = """if True:
        import importlib, sys
        for first in sys.argv[1:]:
            for name in [m for m in sys.modules if m.startswith("marl_nb")]: del sys.modules[name]
            importlib.import_module(first)"""
    subprocess.run([sys.executable, "-c", code, *modules], check=True)
    series = ("core", "smac", "mappo", "amal", "counterfactual", "induction", "curriculum")
    allowed = {s: {"core", s} for s in series} | {"amal": {"core", "mappo", "amal"}}
    found = []
    for name in modules:
        for line in (root / (name.replace(".", "/") + ".py")).read_text().splitlines():
            if line.startswith(("from ..", "from marl_nb.", "import marl_nb.")):
                target = line.split()[1].lstrip(".").removeprefix("marl_nb.").split(".")[0]
                if target not in allowed[name.split(".")[1]]:
                    found.append((name, line))
    assert found == []
