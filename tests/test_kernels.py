"""Kernels of the package with an empty cache and with a full one."""

import os
import subprocess
import sys

CHILD = """
import sys
import numpy as np
import marl_nb.core.kernels as kernels
kernels.PATIENCE = float(sys.argv[1])
from marl_nb.core.crew import wait_for_lanes
from marl_nb.smac.lanes import first_illegal
first_illegal(np.zeros((1, 1), np.int64), np.ones((1, 1, 1), bool))
wait_for_lanes(np.zeros(8, np.int64), 0)
print(sum(first_illegal.stats.cache_hits.values()))
"""


def run(patience, cache):
    """Hits of the cache, and what was said on stderr."""
    done = subprocess.run([sys.executable, "-c", CHILD, str(patience)], capture_output=True, text=True,
                          env=os.environ | {"NUMBA_CACHE_DIR": str(cache)})
    assert done.returncode == 0, done.stderr
    return int(done.stdout), done.stderr


def test_a_wait_is_told_once_and_a_warm_start_says_nothing(tmp_path):
    hits, said = run(0, tmp_path)
    assert hits == 0 and said.startswith("marl_nb: compiling") and said.count("\n") == 1
    assert run(3, tmp_path) == (1, "")
