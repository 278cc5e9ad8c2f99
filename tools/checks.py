"""What `make check` and `make test` share: commands that only count if they fail, and pytest with its figures."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = Path(sys.executable).parent
DURATIONS = ROOT / "tests" / "durations.json"
CHECKS: dict[str, tuple[str | Path, ...]] = {
    "generated files": (sys.executable, "tools/gates.py"),
    "ruff": (COMMANDS / "ruff", "check"),
    "ruff, package": (COMMANDS / "ruff", "check", "--config", "ruff_package.toml"),
    "mypy": (COMMANDS / "mypy",),
}
APART = ("test_notebooks.py", "test_exported.py")  # files whose tests need not stay together
Test = tuple[str, float, str]  # its id as pytest takes it, seconds, "passed", "failed" or "skipped"


def run(*command: str | Path) -> int:
    """Run a command in the root and return its exit code."""
    print(f"\n$ {' '.join(Path(c).name if isinstance(c, Path) else c for c in command)}", flush=True)
    return subprocess.run(command, cwd=ROOT).returncode


def checks() -> list[str]:
    """Run gates, ruff and mypy; a line for each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    return [f"{name:16s} {'FAILED' if run(*command) else 'ok'}" for name, command in CHECKS.items()]


def tests_of(report: Path) -> list[Test]:
    """The tests of a JUnit file."""
    found: list[Test] = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        status = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        where = case.get("classname") or case.get("name") or ""  # a file that is skipped as a whole has its name alone
        file, _, inside = where.partition(".")[2].partition(".")
        name = "::".join([f"tests/{file}.py", *filter(None, [inside]), case.get("name") or ""])
        found.append((name, float(case.get("time") or 0), status))
    return found


def pytest(arguments: Sequence[str | Path]) -> tuple[list[Test], bool]:
    """Run pytest on two processes: its tests, and whether it ended as it should."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        code = run(sys.executable, "-m", "pytest", "-q", "-rs", "-n2", "--dist=loadfile", f"--junitxml={report}",
                   *arguments)
        tests = tests_of(report) if report.exists() else []
    return tests, code == 0 or (code == 1 and any(status == "failed" for *_, status in tests))


def unit(test: str) -> str:
    """What runs in one piece: a file, because its tests may share fixtures, or one notebook."""
    file = test.partition("::")[0]
    return test if file.endswith(APART) else file


def is_notebook(test: str) -> bool:
    """Whether a test is the run of a notebook."""
    return test.startswith("tests/test_notebooks.py::test_notebook[")


def slowest(tests: Sequence[Test], count: int = 10) -> list[str]:
    """A line for each of the slowest notebooks, then of the slowest other tests."""
    lines = []
    for title, chosen in (("notebooks", [t for t in tests if is_notebook(t[0])]),
                          ("tests", [t for t in tests if not is_notebook(t[0])])):
        if chosen: lines.append(f"slowest {title}:")
        for name, seconds, _ in sorted(chosen, key=lambda t: -t[1])[:count]:
            shown = name.partition("[")[2].rstrip("]") if is_notebook(name) else name.removeprefix("tests/")
            lines.append(f"{seconds:8.1f} s  {shown}")
    return lines


def counts(tests: Sequence[Test]) -> tuple[int, int, int]:
    """Passed, failed and skipped."""
    passed, failed, skipped = (sum(s == status for *_, s in tests) for status in ("passed", "failed", "skipped"))
    return passed, failed, skipped


def summary(lines: Sequence[str], tests: Sequence[Test], whole: bool, seconds: float) -> int:
    """Print what happened, the counts last, and return the exit code."""
    lines, total = list(lines), list(counts(tests))
    for name, chosen in (("notebooks", [t for t in tests if is_notebook(t[0])]),
                         ("pytest", [t for t in tests if not is_notebook(t[0])])):
        lines.append("{:16s} {} passed, {} failed, {} skipped".format(name, *counts(chosen)))
    if not whole: lines.append("pytest           did not end as it should, see above")
    total[1] += sum(line.endswith("FAILED") for line in lines) + (not whole)
    print("", *slowest(tests), f"\n{seconds:.0f} seconds", *lines, sep="\n")
    print("{} passed, {} failed, {} skipped".format(*total))
    return int(total[1] > 0)


def recorded() -> dict[str, float]:
    """Seconds of every unit in the last recorded run; what is new is missing."""
    return json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}


def record(tests: Sequence[Test]) -> None:
    """Keep the seconds of every unit, for the order of later runs."""
    seconds: dict[str, float] = {}
    for name, duration, _ in sorted(tests): seconds[unit(name)] = seconds.get(unit(name), 0.0) + duration
    DURATIONS.write_text(json.dumps({name: round(s, 1) for name, s in seconds.items()}, indent=1) + "\n")
