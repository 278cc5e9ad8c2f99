"""The installed command: exit codes and error lines."""

import os
import subprocess
import sys
from pathlib import Path

MARL_NB = Path(sys.executable).with_name("marl-nb")


def run(*args, **env):
    return subprocess.run([MARL_NB, *args], capture_output=True, text=True, env=os.environ | env, timeout=300)


def test_help_lists_the_commands_and_imports_no_heavy_library():
    done = run("--help")
    assert done.returncode == 0 and all(name in done.stdout for name in ("batch", "plot", "report", "bench"))
    code = "import sys, marl_nb.core.cli; print({'numpy', 'torch', 'distributed', 'papermill'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_wrong_use_is_one_line_and_status_2(tmp_path):
    (tmp_path / "bad.yaml").write_text("notebook: absent.ipynb\nworkers: 3")
    (tmp_path / "gone.yaml").write_text("notebook: absent.ipynb")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for args, message in [
        (["batch", "absent.yaml"], "No such file or directory: 'absent.yaml'"),
        (["batch", tmp_path / "bad.yaml"], "unknown key 'workers'; known keys: notebook, out"),
        (["batch", tmp_path / "gone.yaml"], "notebook: no such file: absent.ipynb"),
        (["batch", tmp_path / "binary.yaml"], "binary.yaml: "),
        (["report", tmp_path], "no batch.json"),
        (["plot", tmp_path], "no batch.json"),
        (["bench", "nothing"], "nothing: expected a group or a row"),
    ]:
        done = run(*args)
        assert done.returncode == 2, args
        assert done.stderr.startswith("marl-nb: error: ") and done.stderr.count("\n") == 1, done.stderr
        assert message in done.stderr
    for args in [], ["fly"], ["batch"], ["batch", "x.yaml", "--only", "ok"]:
        done = run(*args)
        assert done.returncode == 2 and "usage:" in done.stderr


def test_traceback_on_demand():
    done = run("batch", "absent.yaml", MARL_NB_TRACEBACK="1")
    assert done.returncode == 1 and "Traceback" in done.stderr
