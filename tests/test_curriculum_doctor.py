"""The doctor on files, in the browser, and the sizes of its tests with many repeats."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from marl_nb.app.doctor import arena
from marl_nb.curriculum.bisection import adjusted, effects, sign_p
from marl_nb.curriculum.configurations import fingerprint_of, purity
from marl_nb.curriculum.doctor import CHECKS, check_throughput, diagnose, write_diagnosis
from marl_nb.curriculum.reward import Passage, log_rank_test
from marl_nb.curriculum.sides import Side, load_side

FILES = Path(__file__).parent / "doctor"


def test_two_files_from_the_shell(tmp_path):
    """The command names the reward that is gone; its page loads nothing."""
    command = [Path(sys.executable).with_name("marl-nb"), "doctor", FILES / "old.yaml", FILES / "new.yaml",
               "--out", "page.html", "--seconds", "20", "--horizon", "150"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert "cause" in lines[0] and "rewards.ore_red" in lines[0]
    assert not [x for x in lines[1:] if re.match(r" *\d+ +(cause|contributor|defect)", x)]
    assert not re.search(r"(src|href)=.?https?:", (tmp_path / "page.html").read_text())


def test_a_wrong_file_is_one_line(tmp_path):
    (tmp_path / "a.yaml").write_text("factory: nowhere:f\n")
    command = [Path(sys.executable).with_name("marl-nb"), "doctor", "a.yaml", "a.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and "a.yaml: nowhere:f: cannot import 'nowhere'" in done.stderr


def test_the_page_in_a_browser(tmp_path, tab):
    """Every section is there, nothing runs out of the page, and no message reaches the console."""
    sides = [Side("gymnasium:make", {"id": "CartPole-v1", "max_episode_steps": n}) for n in (200, 12)]
    page = write_diagnosis(diagnose(*sides, seconds=10, checks=[c for c in CHECKS if c is not check_throughput]),
                           tmp_path / "page.html")
    said = []
    tab.on("console", lambda m: said.append(m.text))
    tab.goto(page.as_uri())
    titles = tab.locator("section h2").all_inner_texts()
    width = tab.evaluate("document.documentElement.scrollWidth")
    assert titles[:3] == ["Verdict", "Differences, ranked", "Measured effects"] and width <= 1300 and said == []
    assert "max_episode_steps" in tab.locator("section").first.inner_text()


def test_fresh_process():
    """A factory of the package is the same in a process of its own, and a file names it."""
    side = load_side(FILES / "old.yaml")
    assert purity(side, fresh=True, seconds=2) == {}
    assert fingerprint_of(side) == fingerprint_of(side)


@pytest.mark.soak
def test_sizes_of_the_bisection():
    """One test and a family of ten questions over three looks, 4,000 repeats: at most nominal + 2 points."""
    rng, runs, one, family, covered = np.random.default_rng(0), 4000, 0, 0, 0
    for r in range(runs):
        d = np.diff(rng.beta(0.3, 0.7, (10, 96, 2)), axis=-1)[..., 0]
        first = effects(d[:1, :32], r, 499)[0]
        one, covered = one + (first.p <= 0.05), covered + (first.low <= 0 <= first.high)
        family += any((adjusted(sign_p(d[:, : 32 * k], 1999, r)) <= 0.05 / 3).any() for k in (1, 2, 3))
    print(f"size {one / runs:.4f}, family {family / runs:.4f}, coverage {covered / runs:.4f}")
    assert one / runs <= 0.07 and family / runs <= 0.07 and covered / runs >= 0.93


@pytest.mark.soak
def test_size_of_the_log_rank_test():
    """Agents of an episode share its fate; 1,000 pairs of sides that are alike."""
    rng = np.random.default_rng(1)

    def side():
        rate = 0.004 * rng.gamma(4, 1 / 4, (24, 1))
        t, end = rng.geometric(np.minimum(rate, 1), (24, 6)), rng.integers(1, 401, (24, 1))
        return Passage(np.minimum(t, end), t <= end)

    size = np.mean([log_rank_test(side(), side(), 199) <= 0.05 for _ in range(1000)])
    print(f"size {size:.3f}")
    assert size <= 0.07


class Salted:
    """An arena whose randomness depends on an option that decides nothing: another salt, other maps and episodes."""

    def __init__(self, n_envs=1, salt=0, label="", **options):
        self.world, self.salt = arena(n_envs, **options), salt
        self.n_envs, self.n_agents, self.action_sizes = n_envs, self.world.n_agents, self.world.action_sizes
        self.step, self.effective_config = self.world.step, self.world.effective_config

    def reset(self, seed=None):
        return self.world.reset(None if seed is None else seed + 1000 * self.salt)


@pytest.mark.soak
def test_false_accusations_of_the_doctor():
    """Sixty pairs that differ in chance and in options without effect: at most one is accused."""
    checks = [c for c in CHECKS if c is not check_throughput]
    base = {"preset": "old", "rooms": 1, "room_size": 11, "max_steps": 100}
    accused = []
    for seed in range(60):
        sides = [Side(Salted, {**base, "limits": {"blueprint": n}, "salt": salt, "label": str(n)})
                 for n, salt in ((50, 2 * seed), (40 - seed % 7, 2 * seed + 1))]
        first = diagnose(*sides, seconds=20, seed=seed, horizon=100, checks=checks).first
        accused += [] if first is None else [first]
    print(f"{len(accused)} of 60 accused")
    assert len(accused) <= 1, accused
