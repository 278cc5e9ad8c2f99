"""Batches with real kernels, workers and signals: what a notebook cannot test about itself."""

import errno
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import marl_nb.core.batch as batch
from marl_nb.core.batch import BatchSpec, execute, load_spec, plan, read_batch, run_batch, run_id
from marl_nb.core.cli import main
from marl_nb.core.results import RunRecord

MARL_NB = Path(sys.executable).with_name("marl-nb")
EMIT = 'from marl_nb.core.results import emit\nemit({"double": 2 * seed, "text": str(seed)});'
PYTHON = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}


def experiment(path, parameters, *cells):
    """Write an experiment notebook."""
    first = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(metadata=PYTHON, cells=[first, *map(new_code_cell, cells)]), path)
    return path


def wait_for(condition, seconds=60):
    """Wait until `condition()` is true and return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return value


def marked(marker):
    """Living processes that inherited the marker in their environment."""
    found = []
    for p in psutil.process_iter():
        try:
            if p.environ().get("MARL_NB_TEST") == marker and p.status() != psutil.STATUS_ZOMBIE:
                found.append(p)
        except psutil.Error:
            pass
    return found


class Waiting:
    """A batch of three runs in a process of its own; seed 0 ends at once, the others wait for a file `go`."""

    def __init__(self, tmp_path, workers):
        self.folder, self.marker, self.out = tmp_path, uuid.uuid4().hex, tmp_path / "runs"
        experiment(
            tmp_path / "wait.ipynb",
            f"seed: int = 0\nhere: str = {str(tmp_path)!r}",
            "import time\nfrom pathlib import Path\nPath(here, f'started{seed}').touch()\n"
            "while seed and not Path(here, 'go').exists(): time.sleep(0.05)",
            EMIT,
        )
        self.spec = tmp_path / "wait.yaml"
        self.spec.write_text(f"notebook: {tmp_path}/wait.ipynb\nout: {self.out}\nseeds: 3\nretries: 0")
        self.command = [MARL_NB, "batch", self.spec, "--workers", str(workers)]
        self.driver = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | {"MARL_NB_TEST": self.marker},
        )
        wait_for(lambda: len(list(self.out.glob("*.json"))) > 1 and self.started(1))

    def started(self, seed):
        return (self.folder / f"started{seed}").exists()

    def records(self):
        return read_batch(self.out)[1]

    def kernel(self):
        """The process of a kernel that runs for this batch."""
        return next(p for p in marked(self.marker) if "ipykernel_launcher" in " ".join(p.cmdline()))

    def finish(self):
        """Run the batch again to its end; its progress lines."""
        (self.folder / "go").touch()
        lines = []
        run_batch(load_spec(self.spec), workers=0, show=lines.append)
        return lines


def test_no_dead_run_is_taken_for_a_finished_one(tmp_path, capfd):
    experiment(
        tmp_path / "fault.ipynb",
        f"how: str = 'good'\nseed: int = 4\nhere: str = {str(tmp_path)!r}\nout: str = ''",
        "import os, sys, time\nfrom pathlib import Path",
        EMIT,  # emitted before the trouble: a result alone does not make a run ok
        "if how == 'raise': raise RuntimeError('bad luck')\n"
        "if how == 'sys.exit': sys.exit(0)\n"
        "if how == 'os._exit': os._exit(0)\n"
        "if how == 'timeout': time.sleep(100)\n"
        "if how == 'once' and not Path(here, 'once').exists(): Path(here, 'once').touch(); os._exit(1)",
        "Path(out, 'mine.txt').write_text(how);",
    )
    experiment(tmp_path / "silent.ipynb", "seed: int = 0", "1 + 1")
    spec = tmp_path / "fault.yaml"
    spec.write_text(
        f"notebook: {tmp_path}/fault.ipynb\nout: {tmp_path}/runs\ntimeout: 15\nname: '{{how}}'\n"
        "grid: {how: [good, raise, sys.exit, os._exit, timeout, once]}"
    )
    assert main(["batch", str(spec), "--workers", "2"]) == 1
    out = capfd.readouterr().out
    assert "2 ok, 4 failed" in out and "s left)" in out and "[6/6]" in out
    records = {r.params["how"]: r for r in read_batch(tmp_path / "runs")[1]}
    assert {how: (r.status, r.attempts) for how, r in records.items()} == {
        "good": ("ok", 1),
        "once": ("ok", 2),
        "raise": ("failed", 1),
        "sys.exit": ("failed", 1),
        "os._exit": ("failed", 2),
        "timeout": ("failed", 1),
    }
    for how, text in {
        "raise": "RuntimeError: bad luck",
        "sys.exit": "SystemExit",
        "os._exit": "DeadKernelError",
        "timeout": "timeout: the run took longer than 15",
    }.items():
        assert text in records[how].error and records[how].result is None
        assert (tmp_path / "runs" / f"{records[how].name}.failed.ipynb").exists()
    for how in "good", "once":
        assert records[how].result == {"double": 8, "text": "4"} and records[how].error is None
        assert (tmp_path / "runs" / f"{records[how].name}.ipynb").exists()
        assert (tmp_path / "runs" / records[how].name / "mine.txt").read_text() == how
    assert not list((tmp_path / "runs").glob("*.running.ipynb"))
    # only what failed is planned again, and a run that never ran is not "failed"
    (tmp_path / "runs" / f"{records['raise'].id}.json").unlink()
    assert main(["batch", str(spec), "--only", "failed", "--dry-run"]) == 0
    out = capfd.readouterr().out
    assert "6 runs: 2 already done, 3 failed before, 3 to run" in out and records["raise"].id not in out
    # a notebook without a result did not do its job
    table = run_batch(BatchSpec(f"{tmp_path}/silent.ipynb", f"{tmp_path}/silent"), workers=0)
    assert list(table.status) == ["failed"]


def test_driver_killed_then_run_again(tmp_path):
    b = Waiting(tmp_path, workers=2)
    wait_for(lambda: b.started(2))
    os.kill(b.driver.pid, signal.SIGKILL)
    b.driver.wait()
    wait_for(lambda: not marked(b.marker), 60)
    (first,) = b.records()
    assert first.status == "ok" and first.params == {"seed": 0}
    stamp = (b.out / f"{first.id}.json").stat().st_mtime_ns
    assert "3 runs: 1 already done, 0 failed before, 2 to run" in b.finish()
    assert [(r.status, r.result["double"]) for r in b.records()] == [("ok", 0), ("ok", 2), ("ok", 4)]
    assert (b.out / f"{first.id}.json").stat().st_mtime_ns == stamp
    assert not list(b.out.glob("*.running.ipynb"))


@pytest.mark.parametrize(
    "workers, sent, status", [(1, signal.SIGINT, 130), (1, signal.SIGTERM, 143), (0, signal.SIGTERM, 143)]
)
def test_stopped_by_a_signal(tmp_path, workers, sent, status):
    b = Waiting(tmp_path, workers)
    if sent == signal.SIGINT:
        os.killpg(b.driver.pid, sent)  # Ctrl-C reaches the whole foreground group
    else:
        os.kill(b.driver.pid, sent)
    out = b.driver.communicate(timeout=60)[0]
    assert b.driver.returncode == status, out
    assert "Traceback" not in out
    wait_for(lambda: not marked(b.marker), 60)
    assert [(r.params["seed"], r.status) for r in b.records()] == [(0, "ok")]


def test_killed_worker_and_a_second_batch(tmp_path, capfd):
    b = Waiting(tmp_path, workers=1)
    assert main(["batch", str(b.spec)]) == 2
    err = capfd.readouterr().err
    assert f"another batch is running in {b.out} (process {b.driver.pid})" in err and err.count("\n") == 1
    kernel = b.kernel()
    worker = kernel.parent()
    assert worker.pid != b.driver.pid
    worker.kill()
    wait_for(lambda: not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE, 20)
    (tmp_path / "go").touch()
    out = b.driver.communicate(timeout=60)[0]
    assert b.driver.returncode == 0, out
    assert [(r.status, r.result["double"]) for r in b.records()] == [("ok", 0), ("ok", 2), ("ok", 4)]
    assert not marked(b.marker)


def test_workers_and_scheduler_equal_serial_and_damaged_records_run_again(tmp_path):
    from dask.distributed import LocalCluster

    experiment(
        tmp_path / "walk.ipynb",
        "seed: int = 0\nsteps: int = 3",
        "import os, numpy as np\nx = np.random.default_rng(seed).normal(size=steps).cumsum()",
        "from marl_nb.core.results import emit\n"
        "emit({'x': x, 'threads': os.environ['OMP_NUM_THREADS'], 'folder': os.path.basename(os.getcwd())});",
    )

    def spec(name):
        return BatchSpec(str(tmp_path / "walk.ipynb"), str(tmp_path / name), base={"steps": 5}, seeds=(0, 1))

    def results(name):
        return [(r.id, r.status, r.result) for r in read_batch(tmp_path / name)[1]]

    run_batch(spec("serial"), workers=0)
    run_batch(spec("workers"), workers=2)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        run_batch(spec("scheduler"), scheduler=cluster.scheduler_address)
    assert results("serial") == results("workers") == results("scheduler")
    assert [s for _, s, _ in results("serial")] == ["ok"] * 2 and results("serial")[0][2]["folder"] == tmp_path.name

    lines = []
    damaged = tmp_path / "serial" / f"{results('serial')[1][0]}.json"
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(ValueError, match=damaged.name):
        read_batch(tmp_path / "serial")
    run_batch(spec("serial"), workers=0, show=lines.append)
    assert damaged.name in lines[0] and "counts as missing" in lines[0]
    assert lines[1] == "2 runs: 1 already done, 0 failed before, 1 to run"
    assert results("serial") == results("workers")


def test_a_worker_without_the_folders_returns_everything_by_value(tmp_path):
    nb = nbformat.read(experiment(tmp_path / "x.ipynb", "seed: int = 0", EMIT), as_version=4)
    done = execute(nbformat.writes(nb), {"seed": 21}, "/absent/nbs", "/absent/runs/x.running.ipynb", None, 0, "test")
    assert (done["status"], done["result"]) == ("ok", {"double": 42, "text": "21"})
    assert [c.execution_count for c in nbformat.reads(done["notebook"], as_version=4).cells] == [1, 2, 3]


def test_id_does_not_change_by_executing_and_cleaning(tmp_path):
    from nbclient import NotebookClient

    path = experiment(tmp_path / "x.ipynb", "seed: int = 0", EMIT)
    before = run_id(nbformat.read(path, as_version=4), {"seed": 1})
    nb = nbformat.read(path, as_version=4)
    NotebookClient(nb).execute()
    nbformat.write(nb, path)
    assert run_id(nb, {"seed": 1}) == before
    subprocess.run([Path(sys.executable).with_name("nbdev_clean"), "--fname", path], check=True)
    assert run_id(nbformat.read(path, as_version=4), {"seed": 1}) == before
    nb.cells[1].source += "\n# other code"
    assert run_id(nb, {"seed": 1}) != before


def test_a_full_disk_is_one_line_and_finished_runs_stay(tmp_path, monkeypatch, capfd):
    experiment(tmp_path / "x.ipynb", "seed: int = 0", EMIT)
    spec = tmp_path / "x.yaml"
    spec.write_text(f"notebook: {tmp_path}/x.ipynb\nout: {tmp_path}/runs\nseeds: 2")
    real, written = batch.write_bytes, []

    def full(path, data):
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        written.append(path)
        real(path, data)

    monkeypatch.setattr(batch, "write_bytes", full)
    assert main(["batch", str(spec), "--workers", "0"]) == 2
    err = capfd.readouterr().err
    assert "No space left on device" in err and err.count("\n") == 1
    assert [r.status for r in read_batch(tmp_path / "runs")[1]] == ["ok"]
    spec.write_text(f"notebook: {tmp_path}/x.ipynb\nout: {tmp_path}/x.ipynb/runs")
    assert main(["batch", str(spec), "--workers", "0"]) == 2
    assert "marl-nb: error:" in capfd.readouterr().err


def test_nothing_runs_with_an_unknown_parameter(tmp_path):
    experiment(tmp_path / "x.ipynb", "seed: int = 0", EMIT)
    (tmp_path / "x.yaml").write_text(f"notebook: {tmp_path}/x.ipynb\nout: {tmp_path}/runs\nbase: {{sed: 1}}")
    with pytest.raises(ValueError, match="sed: unknown parameter; parameters of the notebook: seed"):
        run_batch(load_spec(tmp_path / "x.yaml"))
    assert not (tmp_path / "runs").exists()


def test_the_repositorys_own_batches_can_be_planned():
    for path in Path("batches").glob("*.yaml"):
        assert plan(load_spec(path)), path


def test_record_of_another_schema_is_named(tmp_path):
    (tmp_path / "r.json").write_text('{"schema": 0}')
    with pytest.raises(ValueError, match="r.json: not a run record"):
        RunRecord.read(tmp_path / "r.json")
