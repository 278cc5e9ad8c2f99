"""A notebook works for a human: opened in JupyterLab in a browser, run from top to bottom."""

import os
import shutil
import subprocess
import sys
import urllib.request

import pytest


@pytest.fixture
def lab(root, tmp_path, port):
    """JupyterLab on a folder with a copy of one notebook: its address."""
    shutil.copy(root / "nbs" / "core" / "40_stats.ipynb", tmp_path)
    environment = os.environ | {f"JUPYTER_{k}_DIR": str(tmp_path / k) for k in ("CONFIG", "DATA", "RUNTIME")}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
                    "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root",
               "--IdentityProvider.token=", "--expose-app-in-browser", f"--ServerApp.root_dir={tmp_path}"]
    with open(tmp_path / "lab.log", "w") as log, subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log) as server:
        try:
            answer(f"http://127.0.0.1:{port}/api", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def answer(url: str, server: subprocess.Popen) -> None:
    """Wait until the server answers; fail if it ends before."""
    import time

    deadline = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not answer (exit code {server.poll()})")


@pytest.mark.timeout(300)
def test_run_all_cells(tab, lab):
    tab.set_default_timeout(120_000)
    tab.goto(f"{lab}/lab/tree/40_stats.ipynb")
    tab.locator(".jp-Notebook .jp-Cell").first.wait_for()
    tab.wait_for_function("""() => {
        const panel = window.jupyterapp?.shell.currentWidget;
        return panel?.sessionContext?.session?.kernel?.status === 'idle';
    }""")
    tab.evaluate("""async () => {
        const app = window.jupyterapp, panel = app.shell.currentWidget;
        await app.commands.execute('editmenu:clear-all');
        if ([...panel.content.model.cells].some(c => c.outputs?.length)) throw Error('outputs were not cleared');
        await app.commands.execute('notebook:run-all-cells');
    }""")
    outputs = tab.evaluate("""() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
        .filter(c => c.type === 'code').map(c => ({count: c.executionCount, outputs: c.sharedModel.getOutputs()}))""")
    assert [c["count"] for c in outputs] == list(range(1, len(outputs) + 1))
    kinds = [o["output_type"] for c in outputs for o in c["outputs"]]
    assert "error" not in kinds and "display_data" in kinds and "stream" in kinds
