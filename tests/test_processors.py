"""The same numbers on other processors: `make soak`.

torch, its linear algebra and numba choose code by what the processor can do, and round differently. Whatever a chapter
compares to the bit must be computed in one way on one machine; everything else has a tolerance with a reason.
"""

import os
import subprocess
import sys

import pytest

ROOMS = ("core", "smac", "mappo", "amal", "counterfactual", "curriculum", "app")
SETTINGS = {
    "torch without vectors": {"ATEN_CPU_CAPABILITY": "default"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "generic kernels": {"NUMBA_CPU_NAME": "generic"},
}


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("name", SETTINGS)
def test_chapters_hold_on_another_processor(root, tmp_path, name):
    setting, chapters = dict(SETTINGS[name]), " or ".join(f"{room}/" for room in ROOMS)
    if "NUMBA_CPU_NAME" in setting: setting["NUMBA_CACHE_DIR"] = str(tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "tests/test_notebooks.py", "-k", chapters]
    done = subprocess.run(command, cwd=root, env=os.environ | setting, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
