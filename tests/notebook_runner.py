"""Run a notebook's tests in a process of its own, which is forked from one that has the heavy imports done.

Two ways: as it stands, or (`module`) in the names of the exported module, without the cells that are exported.
"""

import importlib
import multiprocessing
import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything numerical is imported

import patience  # noqa: F401
from execnb.nbio import read_nb
from execnb.shell import CaptureShell
from nbdev.config import get_config
from nbdev.process import NBProcessor

ROOT = Path(__file__).resolve().parent.parent
EXPORTS = {"export", "exporti", "exports", "default_exp"}
IMPORTS = ["torch", "pandas", "seaborn", "scipy.stats", "matplotlib.pyplot", "papermill", "nbclient", "pytest",
           "fastcore.test", "notebook_runner", "marl_nb.smac", "marl_nb.mappo"]  # done once; errors are ignored


def exported(notebook: Path) -> str | None:
    """The module a notebook exports to, such as "core.seeding"; None if it exports nothing."""
    lines = (line for cell in read_nb(notebook).cells for line in cell.source.splitlines())
    return next((line.split()[-1] for line in lines if line.startswith("#| default_exp ")), None)


def run_here(notebook: Path, module: str | None) -> str:
    """Run the cells in this process; the traceback of the first one that fails, "" if none does."""
    os.chdir(ROOT)
    os.environ["IN_TEST"] = "1"
    sys.path.insert(0, str(ROOT))
    skip = set(get_config(path=ROOT).tst_flags.split()) | (EXPORTS if module else set())

    def left_out(cell) -> bool:
        directives = getattr(cell, "directives_", {})
        return (cell.cell_type != "code" or bool(skip & directives.keys()) or "nbdev_export(" in cell.source
                or directives.get("eval:", [""])[0].lower() == "false")

    nb, shell = NBProcessor(notebook, process=True).nb, CaptureShell(notebook)
    if module:
        package = importlib.import_module(f"marl_nb.{module}".removesuffix(".__init__"))
        shell.user_ns.update({k: v for k, v in vars(package).items() if not k.startswith("__")})
    os.chdir(notebook.parent)
    try: shell.run_all(nb, exc_stop=True, preproc=left_out)
    except BaseException: return shell.prettytb(fname=notebook)  # SystemExit too
    return ""


def report(send: Connection, notebook: Path, module: str | None) -> None:
    """What the new process does."""
    send.send(run_here(notebook, module))


def run(notebook: Path, module: str | None = None) -> str:
    """Run a notebook in a new process; what went wrong, "" if nothing did."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTS)
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=report, args=(send, notebook.resolve(), module))
    process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        process.join(10)
        return f"{notebook}: its process ended with exit code {process.exitcode}"
    finally:
        process.join(10)
        if process.is_alive():
            process.kill()
