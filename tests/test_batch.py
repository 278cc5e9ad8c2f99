"""Batches with real kernels, workers and signals: what a notebook cannot test about itself."""

import errno
import json
import os
import re
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

from marl_nb.core.batch import BatchSpec, execute, load_spec, plan, read_batch, run_batch, run_id
from marl_nb.core.cli import main
from marl_nb.core.report import report
from marl_nb.core.results import RunRecord

MARL_NB = Path(sys.executable).with_name("marl-nb")
EMIT = 'from marl_nb.core.results import emit\nemit({"double": 2 * seed, "text": str(seed)});'
PYTHON = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}


def experiment(path, parameters, *cells):
    """Write an experiment notebook."""
    first = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(metadata=PYTHON, cells=[first, *map(new_code_cell, cells)]), path)
    return path


def wait_for(condition, seconds=300):
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


def assert_quiet(out):
    """A batch's own lines only: nothing from the machinery below, whatever happened to it."""
    for noise in "Traceback", "Task was destroyed", "nanny", "distributed.", "Warning", "WARNING", "Error":
        assert noise not in out, out


class Waiting:
    """A batch of three runs in a process of its own; seed 0 ends at once, the others wait for a file `go`."""

    def __init__(self, tmp_path, workers):
        self.folder, self.marker, self.out = tmp_path, uuid.uuid4().hex, tmp_path / "runs"
        experiment(
            tmp_path / "wait.ipynb",
            f"seed: int = 0\nhere: str = {str(tmp_path)!r}",
            "import time\nfrom pathlib import Path\nPath(here, f'started{seed}').open('a').write('x')\n"
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
        f"notebook: {tmp_path}/fault.ipynb\nout: {tmp_path}/runs\ntimeout: 30\nname: '{{how}}'\n"
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
        "timeout": "timeout: the run took longer than 30",
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
    wait_for(lambda: not marked(b.marker))
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
    out = b.driver.communicate(timeout=300)[0]
    assert b.driver.returncode == status, out
    assert_quiet(out)
    wait_for(lambda: not marked(b.marker))
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
    wait_for(lambda: not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE)
    (tmp_path / "go").touch()
    out = b.driver.communicate(timeout=300)[0]
    assert b.driver.returncode == 0, out
    assert [(r.status, r.result["double"]) for r in b.records()] == [("ok", 0), ("ok", 2), ("ok", 4)]
    assert not marked(b.marker)
    assert (tmp_path / "started0").read_text() == "x"  # what is stored is not run again with the rest
    assert not list(b.out.glob("*.running.*"))
    assert_quiet(out)


def test_workers_and_scheduler_equal_serial_and_damaged_records_run_again(tmp_path):
    from dask.distributed import LocalCluster

    experiment(
        tmp_path / "walk.ipynb",
        "seed: int = 0\nsteps: int = 3",
        "import os, numpy as np\nx = np.random.default_rng(seed).normal(size=steps).cumsum()",
        "from marl_nb.core.results import emit\n"
        "emit({'x': x, 'threads': os.environ['OMP_NUM_THREADS'], 'folder': os.path.basename(os.getcwd()),\n"
        "      'malloc': [name for name in os.environ if name.startswith('MALLOC')]});",
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
    real, written = os.fsync, []

    def full(descriptor):
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        if written and "runs" not in name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # the system does not say which file
        if re.fullmatch(r"\.[0-9a-f]{10}\.json\..*", name): written.append(name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert main(["batch", str(spec), "--workers", "0"]) == 2
    err = capfd.readouterr().err
    assert re.search(rf"No space left on device: '{tmp_path}/runs/\w{{10}}.ipynb'", err) and err.count("\n") == 1
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


def test_a_script_without_a_main_guard(tmp_path):
    experiment(tmp_path / "x.ipynb", "seed: int = 0", EMIT)
    (tmp_path / "script.py").write_text(
        "from marl_nb.core.batch import BatchSpec, run_batch\nprint('begins')\n"
        f"spec = BatchSpec({str(tmp_path / 'x.ipynb')!r}, {str(tmp_path / 'runs')!r}, seeds=(0, 1))\n"
        "t = run_batch(spec, workers=2)\n"
        "print(list(t.status), __file__ and __name__)\n")
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("begins") == 1 and "['ok', 'ok'] __main__" in done.stdout
    assert_quiet(done.stdout + done.stderr)


def test_the_machinerys_own_time_out_is_not_the_runs(tmp_path, monkeypatch):
    import papermill
    from nbclient.exceptions import CellTimeoutError

    real, calls = papermill.execute_notebook, []

    def slow_once(*args, **options):
        calls.append(options["iopub_timeout"])
        if len(calls) == 1:
            cell = new_code_cell("1 + 1")
            raise CellTimeoutError.error_from_timeout_and_cell("Timeout waiting for IOPub output", 4, cell)
        return real(*args, **options)

    monkeypatch.setattr(papermill, "execute_notebook", slow_once)
    experiment(tmp_path / "x.ipynb", "seed: int = 0", EMIT)
    table = run_batch(BatchSpec(f"{tmp_path}/x.ipynb", f"{tmp_path}/runs"), workers=0)
    assert (list(table.status), list(table.attempts), calls) == (["ok"], [2], [60, 60])
    calls.clear()
    table = run_batch(BatchSpec(f"{tmp_path}/x.ipynb", f"{tmp_path}/none", retries=0), workers=0)
    (record,) = read_batch(tmp_path / "none")[1]
    assert "Timeout waiting for IOPub output" in record.error and "None s" not in record.error


def test_running_runs_are_heard_before_the_first_one_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("marl_nb.core.batch.BEAT", 1.0)
    experiment(tmp_path / "x.ipynb", "seed: int = 0",
               "import time\nfrom tqdm import tqdm\n"
               "for _ in tqdm(range(30), desc='steps', postfix={'win_rate': 0.5}): time.sleep(0.15)", EMIT)
    lines = []
    run_batch(BatchSpec(f"{tmp_path}/x.ipynb", f"{tmp_path}/runs"), workers=1, show=lines.append)
    ended = next(i for i, line in enumerate(lines) if line.startswith("[1/1] ok"))
    assert lines[1] == "[0/1] started, 1 at a time"
    bars = [line for line in lines[2:ended] if re.search(r"  \d+ s  steps: +\d+%.*/30 .*win_rate=0.5", line)]
    assert len(bars) >= 2 and len(set(bars)) == len(bars), lines
    assert not list((tmp_path / "runs").glob("*.running.*"))


def test_nothing_is_written_for_a_batch_that_cannot_run(tmp_path):
    experiment(tmp_path / "x.ipynb", "seed: int = 0\nword: str = ''", EMIT)
    spec = BatchSpec(f"{tmp_path}/x.ipynb", f"{tmp_path}/runs", base={"word": "w" * 400}, name="{word}")
    with pytest.raises(ValueError, match="name: expected at most 200 characters, got 400"):
        run_batch(spec)
    (tmp_path / "a.yaml").write_text(f"notebook: {tmp_path}/x.ipynb\nbase: &a\n  word: *a")
    (tmp_path / "b.yaml").write_text(f"notebook: {tmp_path}/x.ipynb\nseeds: 1-100000000000")
    for name, message in ("a", "an anchor contains itself"), ("b", "seeds: expected at most 100,000"):
        with pytest.raises(ValueError, match=f"{name}.yaml: {message}"):
            load_spec(tmp_path / f"{name}.yaml")
    assert not (tmp_path / "runs").exists()


def test_ten_thousand_runs_are_planned_at_once(tmp_path):
    experiment(tmp_path / "x.ipynb", "seed: int = 0\nword: str = ''", "x = 1\n" * 20_000, EMIT)
    spec = BatchSpec(f"{tmp_path}/x.ipynb", f"{tmp_path}/runs", grid={"word": ["a", "b"]}, seeds=tuple(range(5_000)))
    start = time.process_time()
    runs = plan(spec)
    assert len(runs) == 10_000 and time.process_time() - start < 5  # hashing the code for each: half a minute
    assert runs[7].id == run_id(nbformat.read(tmp_path / "x.ipynb", as_version=4), {"word": "a", "seed": 7})


@pytest.mark.parametrize("change, message", [
    ({"params": [1]}, "params: expected dict, got"), ({"result": 5}, "result: expected dict"),
    ({"name": "../../../etc/passwd"}, "name: expected a plain file name"),
], ids=["params", "result", "name"])
def test_a_record_that_is_none_is_named_and_runs_again(tmp_path, change, message):
    experiment(tmp_path / "x.ipynb", "seed: int = 0", EMIT)
    spec = BatchSpec(f"{tmp_path}/x.ipynb", f"{tmp_path}/runs")
    run_batch(spec, workers=0)
    (record,) = (tmp_path / "runs").glob("??????????.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | change))
    lines = []
    for read in read_batch, report:
        with pytest.raises(ValueError, match=f"{record.name}: not a run record .{message}"):
            read(tmp_path / "runs")
    assert list(run_batch(spec, workers=0, show=lines.append).status) == ["ok"]
    assert message in lines[0] and "the run counts as missing" in lines[0]


def test_a_title_cannot_take_the_place_of_a_section(tmp_path):
    experiment(tmp_path / "x.ipynb", "seed: int = 0", EMIT)
    run_batch(BatchSpec(f"{tmp_path}/x.ipynb", f"{tmp_path}/runs", title="All @sections@ @chips@"), workers=0)
    text = report(tmp_path / "runs").read_text()
    assert text.count("<h2>Runs</h2>") == 1 and text.count("All @sections@ @chips@") == 2


def test_the_printed_table_fits_a_terminal(tmp_path, monkeypatch, capfd):
    experiment(tmp_path / "x.ipynb", "seed: int = 0",
               "from marl_nb.core.results import emit\nemit({f'a_result_{i}': i / 7 for i in range(40)});")
    spec = tmp_path / "x.yaml"
    spec.write_text(f"notebook: {tmp_path}/x.ipynb\nout: {tmp_path}/runs\nseeds: 2\ntitle: t")
    monkeypatch.setenv("COLUMNS", "70")
    assert main(["batch", str(spec), "--workers", "0"]) == 0
    lines = capfd.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if "status" in line and "seed" in line)
    assert all(len(line) <= 70 for line in lines[start:start + 3]) and "a_result_0" in lines[start]
    assert "all columns in" in lines[-1]
