"""The statistics of comparisons against rliable (Agarwal et al. 2021), installed in an environment of its own."""

import numpy as np
import pytest

from marl_nb.core.comparing import iqm_difference, optimality_gap, performance_profile
from marl_nb.core.peers import Peer, peer_python
from marl_nb.core.seeding import stream
from marl_nb.core.stats import iqm, probability_of_improvement, stratified_bootstrap

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

# A fresh installation takes pandas 3, with which arch 7 cannot be imported and rliable fails under arch 8.
PINS = ("rliable==1.2.0", "arch==7.2.0", "pandas==2.3.3", "numpy==2.4.6", "scipy==1.17.1")
REPS = 2_000
SCRIPT = """
import numpy as np
from rliable import library, metrics

statistics = {"iqm": metrics.aggregate_iqm, "mean": metrics.aggregate_mean, "gap": metrics.aggregate_optimality_gap}

def measure(request):
    a, b, reps = np.array(request["a"]), np.array(request["b"]), request["reps"]
    taus = np.array(request["thresholds"])
    out = {}
    for name, f in statistics.items():
        point, ends = library.get_interval_estimates({"a": a}, f, reps=reps)
        out[name] = [float(point["a"]), *map(float, np.ravel(ends["a"]))]
    improve = library.get_interval_estimates({"a,b": (a, b)}, metrics.probability_of_improvement, reps=reps)
    out["improvement"] = [float(improve[0]["a,b"]), *map(float, np.ravel(improve[1]["a,b"]))]
    profile, bands = library.create_performance_profile({"a": a}, taus, reps=reps)
    out["profile"] = [list(map(float, profile["a"])), *[list(map(float, end)) for end in bands["a"]]]
    return out
"""


def scores(kind, runs, tasks):
    """Win rates of two algorithms: one law without ties, one with many of them."""
    random = stream(0, "rliable", kind, runs, tasks)
    a, b = random.beta(6, 2, (runs, tasks)), random.beta(5, 2, (runs, tasks))
    return (np.round(a * 8) / 8, np.round(b * 8) / 8) if kind == "coarse" else (a, b)


@pytest.fixture(scope="module")
def rliable():
    """A process in which rliable answers."""
    with Peer(peer_python("rliable", PINS), SCRIPT) as peer:
        yield peer


def monte_carlo_error(interval, seeds=8):
    """Spread of both ends of an interval over seeds of the resampling."""
    return np.std([interval(seed)[-2:] for seed in range(1, seeds + 1)], axis=0, ddof=1)


@pytest.mark.parametrize("kind", ["fine", "coarse"])
@pytest.mark.parametrize("runs, tasks", [(5, 1), (10, 3), (10, 6)])
def test_rliable_agrees(rliable, kind, runs, tasks):
    """Point estimates to 1e-6, ends of intervals within their Monte Carlo error, or one step of a discrete law."""
    a, b = scores(kind, runs, tasks)
    step = 1 / (4 * runs * tasks)  # of the coarse scores' means, and of the probability of improvement with ties
    taus = np.linspace(0.05, 0.95, 10)  # off the values of the coarse scores, where > and >= differ
    theirs = rliable.ask({"a": a.tolist(), "b": b.tolist(), "reps": REPS, "thresholds": taus.tolist()})
    bootstrap = {"iqm": iqm, "mean": np.mean, "gap": optimality_gap}
    ours = {name: lambda seed, f=f: (f(a), *stratified_bootstrap(a, f, REPS, seed=seed))
            for name, f in bootstrap.items()}
    ours["improvement"] = lambda seed: tuple(probability_of_improvement(a, b, REPS, seed=seed))
    for name, interval in ours.items():
        mine, error = interval(0), monte_carlo_error(interval)
        assert abs(mine[0] - theirs[name][0]) < 1e-6, name
        gap = np.abs(np.subtract(mine[1:], theirs[name][1:]))
        print(f"{name:12s} {mine[0]:.6f}  ends differ by {gap.round(5)}, Monte Carlo error {error.round(5)}")
        assert (gap <= np.maximum(5 * np.sqrt(2) * error, step)).all(), (name, gap, error)
    mine = performance_profile(a, taus, REPS)
    np.testing.assert_allclose(mine.share, theirs["profile"][0], atol=1e-6)
    np.testing.assert_allclose([mine.low, mine.high], theirs["profile"][1:], atol=1 / (runs * tasks) + 0.01)


def test_difference_of_an_algorithm_and_itself_shifted(rliable):
    """The interval of a difference is as wide as two independent intervals together."""
    a, b = scores("fine", 10, 6)
    d = iqm_difference(a, b, REPS)
    widths = [rliable.ask({"a": x.tolist(), "b": b.tolist(), "reps": REPS, "thresholds": [0.5]})["iqm"] for x in (a, b)]
    assert abs(d.value - (widths[0][0] - widths[1][0])) < 1e-6
    together = np.hypot(*(high - low for _, low, high in widths))
    assert abs((d.high - d.low) / together - 1) < 0.1
