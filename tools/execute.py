"""Execute notebooks in place, so that their outputs are committed, clean them, and file their claims.

    .venv/bin/python tools/execute.py nbs/core/10_seeding.ipynb [...]
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from marl_nb.core.files import read_json

ROOT = Path(__file__).resolve().parent.parent
CLAIMS = ROOT / "records" / "claims"
os.environ.setdefault("OMP_NUM_THREADS", "1")


def execute(path: Path, timeout: int = 600) -> None:
    """Run every cell of the notebook at `path` in its own folder and write the outputs back."""
    nb = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(nb, timeout=timeout, kernel_name="python3", resources=where).execute()
    nbformat.write(nb, path)


def file_claims(path: Path, new: str) -> None:
    """Replace the ledger's rows of the notebook at `path` by those it left in the folder `new`."""
    here = path.resolve().relative_to(ROOT).as_posix()
    found = {row: read_json(row)["notebook"] for row in Path(new).glob("*.json")}
    for row, named in found.items():
        if named != here: raise SystemExit(f"{here}: a claim names the notebook {named}: {row.stem}")
    CLAIMS.mkdir(exist_ok=True)
    for row in CLAIMS.glob("*.json"):
        if read_json(row)["notebook"] == here: row.unlink()
    for row in found: shutil.move(row, CLAIMS)


for name in sys.argv[1:]:
    with tempfile.TemporaryDirectory() as claims:
        os.environ["MARL_NB_CLAIMS"] = claims
        execute(Path(name))
        file_claims(Path(name), claims)
    subprocess.run([Path(sys.executable).with_name("nbdev_clean"), "--fname", name], check=True)
    print("executed", name)
