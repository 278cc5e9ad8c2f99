"""The main job from start to report: compile, train, draw. Stopped at any time, it goes on where it was.

    .venv/bin/python tools/demo.py [--workers N] [SPEC.yaml]      SPEC.yaml: batches/demo.yaml if not given

There is no time limit: on a slow machine it takes longer. Everything goes to the batch's folder.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARL_NB = Path(sys.executable).with_name("marl-nb")
COMPILE = """
from marl_nb import smac
from marl_nb.core.protocols import RandomPolicy
from marl_nb.mappo import evaluate
from marl_nb.smac.replay import record
for n in 1, 4:
    env = smac.make("3m", n_envs=n)
    evaluate(RandomPolicy(), env, seed=0, greedy=False)
env.restore(env.snapshot())
record(env, RandomPolicy(), lane=0, seed=0)
"""  # one lane and several: what training, evaluation and film will call


def compile_kernels(beat: float = 10.0) -> int:
    """Compile the simulator before any clock starts, and say so; the exit code."""
    print("Compiling the simulator, once for all runs: a few minutes the first time, then seconds.", flush=True)
    start, process = time.monotonic(), subprocess.Popen([sys.executable, "-c", COMPILE], cwd=ROOT)
    while True:
        try:
            code = process.wait(beat)
            break
        except subprocess.TimeoutExpired:
            print(f"  compiling, {time.monotonic() - start:.0f} s", flush=True)
        except BaseException:
            process.kill()
            raise
    print(f"Compiled in {time.monotonic() - start:.0f} s.", flush=True)
    return code


def demo(spec: Path, workers: int) -> int:
    """Every step, each only if the ones before ended well; the exit code."""
    from marl_nb.core.batch import load_spec
    from marl_nb.core.cli import main as marl_nb

    batch, out = [MARL_NB, "batch", spec, "--workers", str(workers)], load_spec(spec).out
    for step in (compile_kernels, lambda: subprocess.run(batch).returncode, lambda: marl_nb(["plot", out]),
                 lambda: marl_nb(["report", out])):
        code = step()
        if code: return code
    print(f"The report: {Path(out).resolve() / 'report.html'}")
    return 0


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tools/demo.py", description="Train, evaluate and report.")
    parser.add_argument("spec", nargs="?", default=ROOT / "batches" / "demo.yaml", type=Path, help="the batch file")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time (2)")
    args = parser.parse_args(argv)
    try: code = demo(args.spec, args.workers)
    except KeyboardInterrupt: code = 130
    if code: print("The demo did not end. What is done is kept: `make demo` again goes on from there.", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
