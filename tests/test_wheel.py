"""The wheel, installed into an empty environment with its needs alone, fights a battle outside the checkout."""

import re
import subprocess
import sys
from zipfile import ZipFile

import pytest

NEEDED = ("numpy", "numba", "llvmlite", "PyYAML")  # of `marl_nb.smac`; the rest is for training and notebooks
BATTLE = """
import sys
from importlib.metadata import version

import numpy as np
from marl_nb.core.protocols import RandomPolicy
from marl_nb.core.seeding import lane_keys
from marl_nb.smac import make

env, policy, t = make("3m", seed=1), RandomPolicy(), 0
step = env.time_step
while not step.done[0]:
    step, t = env.step(policy.act(step, None, lane_keys(1, t, 1)).actions), t + 1
assert np.isfinite(step.final_obs).all() and step.episode_length[0] == t
assert "torch" not in sys.modules and version("marl_nb")
print("fought", sys.modules["marl_nb"].__file__)
"""


@pytest.fixture(scope="module")
def wheel(copy_repository, tmp_path_factory):
    """The wheel, built in a copy: a build folder left in the checkout would bring old modules back."""
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_repository(folder / "repository")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source], check=True)
    return next(folder.glob("marl_nb-*.whl"))


def test_contents(wheel, root):
    names = ZipFile(wheel).namelist()
    kinds = (".py", ".json", ".html", ".css", ".js", ".yaml", ".safetensors")
    package = {p.relative_to(root).as_posix() for p in (root / "marl_nb").rglob("*") if p.suffix in kinds}
    assert {n for n in names if not n.split("/")[0].endswith(".dist-info")} == package
    metadata = ZipFile(wheel).read(next(n for n in names if n.endswith("/METADATA"))).decode()
    assert "Requires-Python: >=3.11" in metadata and "# marl_nb" in metadata


def test_battle_in_an_empty_environment(wheel, root, tmp_path):
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (root / "constraints.txt").read_text(), re.M))
    python = tmp_path / "empty" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "empty"], check=True)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*install, wheel, *(f"{name}=={pins[name]}" for name in NEEDED)], check=True)
    done = subprocess.run([python, "-c", BATTLE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"fought {tmp_path}")
    listed = subprocess.run([python.with_name("marl-nb"), "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert listed.returncode == 0 and "batch" in listed.stdout, listed.stderr
