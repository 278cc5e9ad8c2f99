"""The throughput gate beside a busy loop, and the stack checks on other people's wrappers."""

import os
import subprocess
import sys
from contextlib import contextmanager

import gymnasium
import numpy as np
import pytest

from marl_nb.curriculum.layers import check_layers, compare_speed, missed_lookups, stack_of, unreached_overrides
from marl_nb.curriculum.sides import Side


@contextmanager
def busy_core(core):
    """A process that does nothing but use one core."""
    code = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code])
    try: yield
    finally:
        process.kill()
        process.wait()


def units(count):
    """A step of `count` equal pieces of work, about 15 microseconds each."""
    x = np.arange(200.0)

    def step():
        for _ in range(count): sum((x * x).tolist())

    return step


@pytest.mark.soak
def test_gate_beside_a_busy_loop():
    """A planted slow-down of 10 % is found and equal code accepted, 20 of 20 times each."""
    core = sorted(os.sched_getaffinity(0))[0]
    with busy_core(core):
        slow = [compare_speed(units(10), units(11)) for _ in range(20)]
        equal = [compare_speed(units(10), units(10)) for _ in range(20)]
    for name, ratios in (("10 % more work", slow), ("equal", equal)):
        print(name, "speed", [round(r.value, 3) for r in ratios], "upper end", max(round(r.high, 3) for r in ratios))
    assert [r.high < 0.95 for r in slow] == [True] * 20
    assert [r.high < 0.95 for r in equal] == [False] * 20


class Deaf(gymnasium.Wrapper):
    """A Gymnasium wrapper whose reset is not reached, and which looks for an option nobody has."""

    def reset(self, **kwargs): return self.env.reset(**kwargs)

    def step(self, action):
        if getattr(self.env.unwrapped, "early_reset", False): raise RuntimeError
        return self.env.step(action)

    def __getattribute__(self, name):
        if name == "reset": return object.__getattribute__(self, "env").reset
        return object.__getattribute__(self, name)


def test_gymnasium_wrappers():
    healthy = gymnasium.make("CartPole-v1")
    assert len(stack_of(healthy)) >= 3 and unreached_overrides(healthy) == []

    def drive():
        healthy.reset(seed=0)
        for _ in range(5): healthy.step(1)

    assert missed_lookups(healthy, drive, 5).vain == {}
    side = Side(lambda: gymnasium.make("CartPole-v1"))
    found = check_layers(side, Side(side.factory, layers=[Deaf]), rounds=4, calls=5)
    assert {f.difference for f in found if f.verdict == "defect"} == {"Deaf.reset", "CartPoleEnv.early_reset"}
    same = check_layers(side, side, rounds=4, calls=5)
    assert [f.difference for f in same] == ["layers"] and same[0].verdict in ("ruled out", "untested")
