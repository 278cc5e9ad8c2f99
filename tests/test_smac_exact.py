"""Unmodified smac and smacv2 over the stand-in equal the embedded simulator; skipped where they are not installed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from marl_nb.smac.sc2 import INSTALL

HERE = Path(__file__).parent


def installed(package: str) -> bool:
    """Whether the package is SMAC's; an unrelated one is called smac, too."""
    found = importlib.util.find_spec(package)
    return bool(found and found.submodule_search_locations
                and any(Path(place, "env", "starcraft2").is_dir() for place in found.submodule_search_locations))


@pytest.mark.parametrize(("package", "player", "names"), [
    ("smac", "random", ("3m", "2s3z", "MMM2")), ("smac", "heuristic", ("3m", "3s5z")),
    ("smacv2", "random", ("terran_5_vs_6", "zerg_5_vs_5_fov", "protoss_10_vs_11")),
])
def test_every_step_is_equal(package, player, names):
    if not installed(package): pytest.skip(f"needs {package}: {INSTALL}")
    program = [sys.executable, str(HERE / "smac_upstream.py"), package, player, "2", *names]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for line in done.stdout.splitlines():
        found = json.loads(line)
        assert max(found["obs"], found["state"], found["reward"]) < 1e-5 and found["battles_game"] == 2, found


DRAW = """
from marl_nb.smac.exact import exact_door
with exact_door():
    from smac.env import StarCraft2Env
    env = StarCraft2Env(map_name="3m")
    env.reset()
    picture = env.render(mode="rgb_array")
assert picture.shape == (900, 900, 3) and picture.std() > 1, picture.shape
"""


def test_upstream_draws_what_it_sees():
    if not installed("smac"): pytest.skip(f"needs smac: {INSTALL}")
    pytest.importorskip("pygame")
    done = subprocess.run([sys.executable, "-c", DRAW], env={**os.environ, "SDL_VIDEODRIVER": "dummy"},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
