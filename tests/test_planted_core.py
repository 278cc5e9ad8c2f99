"""Planted faults of `core` that no test saw (tools/faults.py), each with a test that sees it."""


import resource
import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from marl_nb.core import cli
from marl_nb.core.batch import parse_seeds, short
from marl_nb.core.peers import Peer
from marl_nb.core.report import svg
from marl_nb.core.resources import limits


def test_an_interrupted_command_ends_with_130(monkeypatch, capsys):
    def interrupted(arguments): raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load", lambda command: interrupted)
    assert cli.main(["bench"]) == 130  # 128 and the number of SIGINT, as shells have it
    assert capsys.readouterr().err == "marl-nb: interrupted; what was finished is kept\n"


def test_a_column_that_just_fits_is_shown():
    columns = {"name": "a", "status": "ok", "seconds": 1.5, "return": 2.0, "final.win_rate": 0.25}
    result = pd.DataFrame([columns])
    spec = SimpleNamespace(grid={}, seeds=[], base={})
    whole = short(result, spec, 1000)
    width = len(whole.splitlines()[0])
    assert whole.split()[:5] == ["name", "status", "seconds", "final.win_rate", "return"]
    assert short(result, spec, width) == whole and short(result, spec, width - 1).split()[:5][-1] != "return"


def test_a_peer_that_was_too_slow_is_closed():
    with Peer(sys.executable, "import time\ndef measure(request): time.sleep(request)") as peer:
        peer.timeout = 0.2
        with pytest.raises(TimeoutError, match="no answer within 0.2 s"): peer.ask(60)
        with pytest.raises(RuntimeError, match="peer: the process has ended$"): peer.ask(0)  # nothing is sent


def test_a_range_of_large_seeds_is_as_long_as_it_is():
    assert parse_seeds("100000-100002") == (100_000, 100_001, 100_002)


def test_the_overview_has_its_texts_in_one_column(capsys):
    with pytest.raises(SystemExit): cli.main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len({next(line for line in lines if line.startswith(f"  {name} ")).index(c.help)
                for name, c in cli.COMMANDS.items()}) == 1


def test_a_legend_on_a_page_hides_nothing():
    """Its background is transparent: a white one would cover curves, and be a lamp on a dark page."""
    def draw(label):
        figure, ax = plt.subplots()
        ax.plot([0, 1], label=label)
        ax.legend()
        return figure

    frame = svg(draw, "a curve").split('id="legend_1"')[1].split("</g>")[0]
    assert "opacity: 0" in frame and "opacity: 0." not in frame


def test_the_limit_in_force_counts_not_the_one_it_may_be_raised_to(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (2**50, 2**51))
    assert next(x for x in limits() if x.name == "RLIMIT_AS").total == 2**50
