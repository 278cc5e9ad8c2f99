"""Plant one-line faults in a copy of the repository and see whether the tests notice.

    .venv/bin/python tools/faults.py --sample 8                                       a few; nothing is written
    .venv/bin/python tools/faults.py --seed 1 --count 100 --out records/faults/NAME.json   goes on where it stopped
    .venv/bin/python tools/faults.py --again OLD.json --out NEW.json                  the survivors of a file once more

A fault (tools/sites.py) is drawn from all rooms but `app`, from each by its share of the lines (seeds 1 and 2: from
the four that there were), and planted in the chapter and in the module. Then run, each in a fork of this process, the
nearest first: the module's chapter, tests that import it, chapters that import it, and whatever imports those, until
one is red. That counts if the same is green without the fault. A run that is ended by a limit of time is red, if it
needs less than a third without the fault. A fault survives if all are green that fit into `--seconds` of processor
time, or into four times that on the clock; the chapter always fits. What changes nothing that can be seen is in
records/faults/equivalent.json, with the reason, and is passed over.
"""

import argparse
import importlib
import itertools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import psutil
from check import used
from checks import ROOT, recorded
from sites import changed, draw, is_fault

ROOMS = ("core", "smac", "mappo", "induction", "amal", "counterfactual", "curriculum")
EQUIVALENT = "records/faults/equivalent.json"
WALL, MEMORY = 600, 12 << 30  # seconds and bytes that a unit may take
HEAVY = ["torch", "scipy.stats", "seaborn", "matplotlib.pyplot", "pyarrow.parquet", "papermill", "nbclient", "pytest",
         "hypothesis", "fastcore.test", "execnb.shell", "nbdev.process", "dask.distributed", "numba", "gymnasium",
         "pettingzoo", "safetensors.torch", "tqdm.auto", "PIL.Image", "xdist", "pytest_timeout"]  # imported once


class Fault(NamedTuple):
    """One changed line of a module."""

    room: str
    file: str
    line: int
    function: str
    operator: str
    before: str
    after: str

    @property
    def key(self) -> str:
        """Its name in the list of equivalent ones: it stays the same when lines move."""
        return f"{self.file} {self.function}: {self.before.strip()} -> {self.after.strip()}"


def rooms(seed: int) -> tuple[str, ...]:
    """The rooms that a seed draws from: the first two seeds were drawn when there were four."""
    return ROOMS[:4] if seed in (1, 2) else ROOMS


def of_room(root: Path, room: str, seed: int) -> Iterator[Fault]:
    """The faults of a room in random order, one a line."""
    random, found = Random(f"{seed} {room}"), []
    for path in sorted(root.glob(f"marl_nb/{room}/*.py")):
        text, file = path.read_text(), path.relative_to(root).as_posix()
        found += [(file, text, site) for site in draw(text, random)]
    for file, text, site in random.sample(found, len(found)):
        if is_fault(text, site):
            before, after = (t.split("\n")[site.line - 1] for t in (text, changed(text, site)))
            yield Fault(room, file, site.line, site.function, site.operator, before, after)


def sequence(root: Path, seed: int) -> Iterator[Fault]:
    """Faults without end, any beginning of it stratified by the lines of the rooms; equivalent ones are passed over."""
    known = json.loads((root / EQUIVALENT).read_text()) if (root / EQUIVALENT).exists() else {}
    lines = {r: sum(p.read_text().count("\n") for p in root.glob(f"marl_nb/{r}/*.py")) for r in rooms(seed)}
    left, drawn = {r: of_room(root, r, seed) for r in lines if lines[r]}, dict.fromkeys(lines, 0)
    while left:
        total = sum(drawn.values()) + 1
        room = max(left, key=lambda r: lines[r] / sum(lines.values()) * total - drawn[r])
        fault = next((f for f in left[room] if f.key not in known), None)
        if fault is None: left.pop(room)
        else:
            drawn[room] += 1
            yield fault


def planted(root: Path, fault: Fault) -> dict[Path, str]:
    """The texts of module and notebook with the fault."""
    path = root / fault.file
    lines = path.read_text().split("\n")
    same = [n for n, text in enumerate(lines, 1) if text == fault.before]
    if not same: raise LookupError(f"{fault.file}: no line {fault.before.strip()!r}")
    at = min(same, key=lambda n: abs(n - fault.line))
    start = max(n for n in range(at) if lines[n].startswith("# %% "))
    source, cell_id = re.fullmatch(r"# %% (\S+) #(\w+)", lines[start]).groups()  # type: ignore[union-attr]
    notebook = (path.parent / source).resolve()
    book = json.loads(notebook.read_text())
    cell = next(c for c in book["cells"] if c["id"] == cell_id)
    text = "".join(cell["source"]).split("\n")
    place = [n for n, line in enumerate(text) if line == fault.before][lines[start:at].count(fault.before) - 1]
    text[place] = lines[at - 1] = fault.after
    cell["source"] = [line + "\n" for line in text[:-1]] + [text[-1]]
    return {path: "\n".join(lines), notebook: json.dumps(book, indent=1, ensure_ascii=False) + "\n"}


def texts(root: Path) -> dict[str, Path]:
    """What can be run: test files, and chapters as the Python text of their cells."""
    found = {f"tests/{p.name}": p for p in sorted(root.glob("tests/test_*.py"))}
    (root / ".cells").mkdir(exist_ok=True)
    for book in sorted(root.glob("nbs/*/*.ipynb")):
        if book.parent.name in ("experiments", "reports"): continue
        cells = ["".join(c["source"]) for c in json.loads(book.read_text())["cells"] if c["cell_type"] == "code"]
        text = root / ".cells" / f"{book.parent.name}_{book.stem}.py"
        text.write_text("\n\n".join(re.sub(r"^[%!]", "# ", c, flags=re.M) for c in cells))
        found[book.relative_to(root).as_posix()] = text
    return found


class Tests:
    """The tests of a copy of the repository: which ones see a module, and what they say."""

    def __init__(self, root: Path, limit: int = 300):
        self.root, self.limit, self.seconds = root, limit, recorded()
        self.green: dict[str, float] = {}  # seconds without a fault
        self.broken, files = set[str](), texts(root)  # broken: red without a fault
        self.modules = {u: {m for m in used(f, root) if not m.endswith("__init__")} for u, f in files.items()}
        for unit, file in files.items():
            if "marl-nb" in file.read_text() and unit.endswith(".py"): self.modules[unit].add("core.cli")  # its command
        exports = {u: re.search(r"default_exp (\S+)", f.read_text()) for u, f in files.items() if u.endswith(".ipynb")}
        self.home = {m[1]: u for u, m in exports.items() if m}
        self.needs: dict[str, set[str]] = {}
        for path in root.glob("marl_nb/*/*.py"):
            name = path.relative_to(root / "marl_nb").with_suffix("").as_posix().replace("/", ".")
            self.needs[name] = {m.removeprefix("marl_nb.") for m in used(path, root, f"marl_nb.{name.split('.')[0]}")}

    def nearest(self, module: str) -> list[str]:
        """The units that import a module, directly or not: its chapter, then by the number of imports in between."""
        distance, todo = {module: 1}, [module]
        for found in todo:
            for other in sorted(m for m, needs in self.needs.items() if found in needs and m not in distance):
                distance[other] = distance[found] + 1
                todo.append(other)
        near = {unit: min(distance[m] for m in modules & distance.keys())
                for unit, modules in self.modules.items() if modules & distance.keys()}
        if module in self.home: near[self.home[module]] = 0
        room, name = module.split(".")
        return sorted(near, key=lambda u: (near[u], name not in u, room not in u, self.cost(u), u))

    def cost(self, unit: str) -> float:
        """Seconds that a unit took, or 10 if nobody knows."""
        return self.seconds.get(unit, self.seconds.get(f"tests/test_notebooks.py::test_notebook[{unit[4:-6]}]", 10.0))

    def run(self, unit: str, clock: float = WALL) -> tuple[str, float]:
        """Run a unit in a fork of this process: what is red ("" if nothing), and processor seconds."""
        log = self.root / "log.txt"
        limit = min(max(60, 5 * int(self.green.get(unit, self.limit))), self.limit)
        end = time.monotonic() + clock
        pid = os.fork()
        if not pid: self.inside(unit, log)
        process, late = psutil.Process(pid), False
        while True:
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done: break
            if not late and (late := time.monotonic() > end or sum(process.cpu_times()) > limit): process.kill()
            time.sleep(0.05)
        try: os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError: pass
        seconds, text = usage.ru_utime + usage.ru_stime, log.read_text(errors="replace")
        self.seconds[unit] = max(self.seconds.get(unit, 0.0), seconds)
        if not status: return "", seconds
        if late: return "time limit", seconds
        red = re.search(r"^(?:FAILED|ERROR) (\S+)(?: - (.*))?", text, re.M)
        last = text.strip().splitlines()[-1:] or [f"exit status {status}"]
        return (f"{red[1]}: {red[2] or ''}" if red else f"{unit}: {last[0]}")[:200].strip(), seconds

    def inside(self, unit: str, log: Path) -> None:
        """The forked process."""
        code = 3
        try:
            os.setsid()
            out = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            for descriptor in (1, 2): os.dup2(out, descriptor)
            sys.stdout = sys.__stdout__ = os.fdopen(1, "w", buffering=1)
            sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            os.chdir(self.root)
            os.environ |= {"PYTHONPATH": str(self.root), "NUMBA_CACHE_DIR": str(self.root / ".kernels")}
            for name in ("check", "checks", "sites"): sys.modules.pop(name)
            here = (str(ROOT), str(ROOT / "tools"))
            sys.path[:] = [str(self.root), str(self.root / "tests"), *(p for p in sys.path if p not in here)]
            if unit.endswith(".py"):
                import pytest
                code = pytest.main(["-x", "-q", "--tb=line", "-p", "no:cacheprovider", unit])
                code = 0 if code == 5 else int(code)
            else:
                error = importlib.import_module("notebook_runner").run_here(self.root / unit, None)
                print(re.sub(r"\x1b\[[0-9;]*m", "", error))
                code = int(bool(error))
        finally:
            sys.stdout.flush()
            os._exit(code)

    def verdict(self, fault: Fault, number: int, budget: float) -> dict:
        """What the tests say of a fault."""
        try: new = planted(self.root, fault)
        except LookupError as e: return {"verdict": "not runnable", "by": str(e), "seconds": 0.0}
        old = {path: (path.read_text(), path.stat().st_mtime) for path in new}
        spent, greens, end = 0.0, 0, time.monotonic() + 4 * budget
        for unit in self.nearest(fault.file[8:-3].replace("/", ".")):
            if unit in self.broken or (greens and spent + self.cost(unit) > budget): continue
            for path, text in new.items():  # a time of its own, for the caches of Python and numba
                path.write_text(text)
                os.utime(path, (old[path][1] + 100 * number,) * 2)
            clock = max(end - time.monotonic(), 1.0) if greens else WALL
            try: red, seconds = self.run(unit, clock)
            finally:
                for path, (text, mtime) in old.items():
                    path.write_text(text)
                    os.utime(path, (mtime, mtime))
            spent += seconds
            if red == "time limit" and time.monotonic() > end and greens: break  # of the fault, not of the unit
            if red and unit not in self.green:
                wrong, self.green[unit] = self.run(unit)
                if wrong:
                    print(f"  red without a fault, left out: {wrong}", flush=True)
                    self.broken.add(unit)
                    continue
            if red and (red != "time limit" or 3 * self.green[unit] < seconds):
                by = f"{unit}: {red}" if red == "time limit" else red
                return {"verdict": "caught", "by": by, "seconds": round(spent, 1)}
            greens += 1
        return {"verdict": "survived", "by": f"{greens} units green", "seconds": round(spent, 1)}


def copy(root: Path, to: Path) -> Path:
    """A copy of what git knows of, or would: nothing that is ignored."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in filter(lambda name: (root / name).is_file(), names):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes((root / name).read_bytes())
        os.utime(to / name, (root / name).stat()[7:9])
    return to


def restored(record: dict) -> Fault:
    """The fault of a verdict in a file."""
    return Fault(*(record[name] for name in Fault._fields))


def verdicts(drawn: list[Fault], keep: dict[str, dict], seed: int) -> list[dict]:
    """Those there are, in the order in which the faults were drawn."""
    return [{"seed": seed, "number": n} | keep[f.key] for n, f in enumerate(drawn, 1) if f.key in keep]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--count", "--sample", type=int, default=8, help="how many faults")
    parser.add_argument("--again", type=Path, help="file whose survivors are planted once more")
    parser.add_argument("--out", type=Path, help="JSON file of the verdicts; those in it are kept")
    parser.add_argument("--seconds", type=float, default=60.0, help="of processor time, after which it has survived")
    parser.add_argument("--limit", type=int, default=300, help="seconds of processor time that a unit may take")
    parser.add_argument("--copy", type=Path, help="folder of the copy; it is kept, with what was compiled")
    parser.add_argument("--only", default="", help="pattern of modules: the others are left for later")
    parser.add_argument("--without", default="^$", help="pattern of test files and chapters that do not count")
    args = parser.parse_args(arguments)
    known = json.loads(args.out.read_text()) if args.out and args.out.exists() else []
    old = json.loads(args.again.read_text()) if args.again else []
    drawn = list(map(restored, old)) if old else list(itertools.islice(sequence(ROOT, args.seed), args.count))
    keep = {restored(f).key: f for f in [*(f for f in old if f["verdict"] == "caught"), *known]}
    for name in HEAVY: importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        tests = Tests(copy(ROOT, (args.copy or Path(folder)).resolve() / "copy"), args.limit)
        tests.broken |= {unit for unit in tests.modules if re.search(args.without, unit)}
        for number, fault in enumerate(drawn, 1):
            if fault.key in keep or not re.search(args.only, fault.file): continue
            keep[fault.key] = v = fault._asdict() | tests.verdict(fault, number, args.seconds)
            print(f"{number:4d} {v['verdict']:9s} {v['seconds']:6.1f} s  {fault.key}\n       {v['by']}", flush=True)
            if args.out: args.out.write_text(json.dumps(verdicts(drawn, keep, args.seed), indent=1) + "\n")
    found = verdicts(drawn, keep, args.seed)
    print(f"{sum(v['verdict'] == 'caught' for v in found)} of {len(found)} faults caught")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
