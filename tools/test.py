"""Every test of the repository, in one run; the last line counts them.

    .venv/bin/python tools/test.py [--record]

Generated files, ruff and mypy count only if they fail; every notebook and every pytest test counts as one. Notebooks
and tests share two processes, the longest first by tests/durations.json, which `--record` writes anew. Nothing is
installed: without Chromium the browser tests are skipped, with the command that installs it.
"""

import sys
import time

from checks import checks, pytest, record, summary


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--record"]): sys.exit(f"expected nothing or --record, got {' '.join(arguments)}")
    start, lines = time.monotonic(), checks()
    tests, whole = pytest(["tests"])
    if arguments: record(tests)
    return summary(lines, tests, whole, time.monotonic() - start)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
