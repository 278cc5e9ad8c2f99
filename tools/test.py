"""Every test of the repository; the last line counts them.

    .venv/bin/python tools/test.py

Generated files, ruff and mypy count only if they fail; every notebook and every pytest test counts as one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from nbdev.doclinks import nbglob

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = Path(sys.executable).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def run(*command: str | Path) -> int:
    """Run a command in the root and return its exit code."""
    print(f"\n$ {' '.join(Path(c).name if isinstance(c, Path) else c for c in command)}", flush=True)
    return subprocess.run(command, cwd=ROOT).returncode


def browser() -> None:
    """Install Chromium where that is possible without asking anybody."""
    if any(map(shutil.which, BROWSERS)): return
    if shutil.which("apt-get") and os.geteuid() == 0:
        run("apt-get", "-qq", "update")
        run("apt-get", "-qq", "install", "-y", "--no-install-recommends", "chromium")
    if not any(map(shutil.which, BROWSERS)):
        print("No Chromium: the browser tests are skipped. Install chromium or google-chrome to run them.")


def notebooks() -> tuple[int, int, int]:
    """Passed, failed and skipped notebooks."""
    files, heading = len(nbglob(ROOT / "nbs")), "nbdev Tests Failed On The Following Notebooks"
    print("\n$ nbdev_test", flush=True)
    with subprocess.Popen([COMMANDS / "nbdev_test"], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        errors = ""
        for line in process.stderr or ():
            print(line, end="", file=sys.stderr)
            errors += line
    if process.returncode == 0:
        return files, 0, 0
    failed = errors.partition(heading)[2].count("\n\t") or files  # without the list, nothing is known to have passed
    return files - failed, failed, 0


def pytest() -> tuple[int, int, int]:
    """Passed, failed and skipped tests of `tests/`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        two = ("-n2", "--dist=loadfile")  # two processes, a file's tests on one of them
        code = run(sys.executable, "-m", "pytest", "-q", "-rs", *two, f"--junitxml={report}", "tests")
        if not report.exists():
            return 0, 1, 0
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    tests, failures, errors, skipped = (sum(int(s.get(k, 0)) for s in suites)
                                        for k in ("tests", "failures", "errors", "skipped"))
    failed = failures + errors or int(code != 0)
    return max(0, tests - failed - skipped), failed, skipped


def main() -> int:
    os.environ["OMP_NUM_THREADS"] = "1"
    start, lines, total = time.monotonic(), [], [0, 0, 0]
    browser()
    for name, command in (("generated files", (sys.executable, "tools/gates.py")),
                          ("ruff", (COMMANDS / "ruff", "check")), ("mypy", (COMMANDS / "mypy",))):
        ok = run(*command) == 0
        lines.append(f"{name:16s} {'ok' if ok else 'FAILED'}")
        total[1] += not ok
    for name, part in (("notebooks", notebooks), ("pytest", pytest)):
        counts = part()
        lines.append("{:16s} {} passed, {} failed, {} skipped".format(name, *counts))
        total = [a + b for a, b in zip(total, counts, strict=True)]
    print(f"\n{time.monotonic() - start:.0f} seconds", *lines, sep="\n")
    print("{} passed, {} failed, {} skipped".format(*total))
    return int(total[1] > 0)


if __name__ == "__main__":
    sys.exit(main())
