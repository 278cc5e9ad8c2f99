"""`make demo` never fails for being slow, goes on where it was stopped, and says what to do when something fails."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import uuid

import demo
import nbformat
import pytest
from test_batch import EMIT, experiment, marked, wait_for

from marl_nb.core.batch import load_spec


def lines_of(*arguments, **options):
    """Exit code and output lines of the demo."""
    done = subprocess.run([sys.executable, "tools/demo.py", *arguments], capture_output=True, text=True, **options)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def test_no_run_has_a_time_limit(root):
    assert load_spec(root / "batches" / "demo.yaml").timeout is None


def test_a_long_compilation_is_heard(monkeypatch, capsys):
    monkeypatch.setattr(demo, "COMPILE", "import time; time.sleep(1); raise SystemExit(3)")
    assert demo.compile_kernels(beat=0.3) == 3
    out = capsys.readouterr().out
    assert out.startswith("Compiling the simulator, once") and out.count("  compiling, ") >= 2


@pytest.mark.timeout(1800)
def test_killed_and_started_again(root, tmp_path):
    """SIGKILL in the middle of the training; the second call goes on from the checkpoint and ends with the report."""
    spec = tmp_path / "small.yaml"
    spec.write_text(f"notebook: {root}/nbs/experiments/train.ipynb\nout: {tmp_path}/runs\nname: small\n"
                    "base: {total_steps: 65_536, n_envs: 16, eval_interval: 2_048, eval_episodes: 4,"
                    " final_episodes: 4, stop_win_rate: 1.0, epochs: 1}\nseeds: 1")
    marker = uuid.uuid4().hex
    first = subprocess.Popen([sys.executable, "tools/demo.py", spec, "--workers", "1"], cwd=root, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                             env=os.environ | {"MARL_NB_TEST": marker})
    wait_for(lambda: first.poll() is not None or list((tmp_path / "runs").glob("small-*/checkpoint.safetensors")), 900)
    assert first.poll() is None, first.communicate()[0]
    os.killpg(first.pid, signal.SIGKILL)
    assert "Compiled in" in first.communicate()[0]
    wait_for(lambda: not marked(marker))  # the kernel ends when it notices
    code, lines = lines_of(spec, "--workers", "1", cwd=root)
    assert code == 0, lines
    assert lines[-1] == f"The report: {tmp_path}/runs/report.html" and (tmp_path / "runs" / "report.html").exists()
    executed = nbformat.read(next((tmp_path / "runs").glob("small-*.ipynb")), as_version=4)
    bars = re.findall(r"MAPPO: +(\d+)%", json.dumps(executed))
    assert int(bars[0]) > 0 and bars[-1] == "100", bars
    with open(next((tmp_path / "runs").glob("small-*/progress.csv"))) as f:
        steps = [int(row["env_steps"]) for row in csv.DictReader(f)]
    assert steps == sorted(set(steps)) and steps[-1] == 65_536


def test_what_to_do_is_the_last_line(root, tmp_path):
    experiment(tmp_path / "x.ipynb", f"seed: int = 0\nhere: str = {str(tmp_path)!r}", "import pathlib",
               "if not pathlib.Path(here, 'mended').exists(): raise OSError('no luck')", EMIT)
    spec = tmp_path / "x.yaml"
    spec.write_text(f"notebook: {tmp_path}/x.ipynb\nout: {tmp_path}/runs\nseeds: 1")
    code, lines = lines_of(spec, "--workers", "1", cwd=root)
    assert code == 1 and lines[-1].startswith("The demo did not end.") and "`make demo` again" in lines[-1]
    assert any(line.startswith(f"see {tmp_path}/runs/*.failed.ipynb") for line in lines)
    (tmp_path / "mended").touch()
    code, lines = lines_of(spec, "--workers", "1", cwd=root)
    assert code == 0 and lines[-1] == f"The report: {tmp_path}/runs/report.html"
