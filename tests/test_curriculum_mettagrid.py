"""The optional engine: never needed to import anything, declared as an extra, and the same world twice."""

import configparser
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from packaging.requirements import Requirement

from marl_nb.curriculum.mettagrid import MettaWorld


def test_nothing_imports_it():
    """Importing the adapter and the doctor loads no mettagrid, and leaves the root logger alone."""
    code = ("import logging, sys; import marl_nb.curriculum.mettagrid, marl_nb.curriculum.doctor; "
            "print('mettagrid' in sys.modules, logging.getLogger().level)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "30"]


def test_the_extra(root):
    """The extra is one requirement that Python 3.13 leaves out."""
    settings = configparser.ConfigParser(delimiters=["="])
    settings.read(root / "settings.ini")
    (wanted,) = [Requirement(r) for r in settings["DEFAULT"]["mettagrid_requirements"].split()]
    assert (wanted.name, "0.26.22" in wanted.specifier, "0.27.0" in wanted.specifier) == ("mettagrid", True, False)
    assert [wanted.marker.evaluate({"python_version": v}) for v in ("3.11", "3.12", "3.13")] == [True, True, False]


@pytest.mark.skipif(find_spec("mettagrid") is None, reason="pip install '.[mettagrid]'")
@pytest.mark.parametrize("truncates", [False, True])
def test_episodes(truncates):
    """Lanes end after max_steps as configured and go on with other maps; the same seed brings all of it back."""
    def play(world):
        now = world.reset(4)
        rng, seen, ends = np.random.default_rng(0), [now.obs.copy()], []
        for _ in range(25):
            now = world.step(rng.integers(0, 5, (2, 6, 1)))
            seen.append(now.obs.copy())
            ends.append((now.terminated.all(), now.truncated.all()))
        return np.array(seen), ends

    world = MettaWorld(2, max_steps=10, truncates=truncates)
    seen, ends = play(world)
    assert [t + 1 for t, e in enumerate(ends) if any(e)] == [10, 20]
    assert ends[9] == (not truncates, truncates)
    assert (seen[0] != seen[10]).any() and (seen[0][0] != seen[0][1]).any()
    again, ends_again = play(world)
    assert np.array_equal(seen, again) and ends == ends_again
