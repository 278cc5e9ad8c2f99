"""Execute notebooks in place, so that their outputs are committed, then clean them.

    .venv/bin/python tools/execute.py nbs/core/10_seeding.ipynb [...]
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

os.environ.setdefault("OMP_NUM_THREADS", "1")


def execute(path: Path, timeout: int = 600) -> None:
    """Run every cell of the notebook at `path` in its own folder and write the outputs back."""
    nb = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(nb, timeout=timeout, kernel_name="python3", resources=where).execute()
    nbformat.write(nb, path)


for name in sys.argv[1:]:
    execute(Path(name))
    subprocess.run([Path(sys.executable).with_name("nbdev_clean"), "--fname", name], check=True)
    print("executed", name)
