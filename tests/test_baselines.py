"""The batch of players that do not learn covers every map, and its committed table is what the code still does."""

import pytest
from papermill import inspect_notebook

from marl_nb.core.batch import BatchSpec, load_spec, plan, run_batch
from marl_nb.core.files import read_table
from marl_nb.core.stats import binomial_interval
from marl_nb.smac import scenarios

NOTEBOOK = "nbs/experiments/smac_baselines.ipynb"


@pytest.fixture
def table(root):
    """The committed results."""
    return read_table(root / "records" / "smac_baselines" / "table.parquet")


def test_every_map_and_player(root, table, monkeypatch):
    monkeypatch.chdir(root)
    runs = {(r.params["scenario"], r.params["policy"]) for r in plan(load_spec("batches/smac_baselines.yaml"))}
    maps = {n for n in scenarios.names() if not n.endswith("_epo")}
    assert runs == {(m, p) for m in maps for p in ("random", "heuristic", "heuristic_rest")}
    assert len(table) == len(runs) and set(zip(table.scenario, table.policy, strict=True)) == runs
    assert set(table.status) == {"ok"} and set(table["final.episodes"]) == {64 * 4}


def test_table_is_not_stale(root, table, monkeypatch, tmp_path):
    """New episodes of other seeds: intervals of a confidence of 1 - 1e-6 overlap. If not, run the batch again."""
    monkeypatch.chdir(root)
    grid = {"scenario": ["3m", "corridor", "so_many_baneling"], "policy": ["random", "heuristic"]}
    base = {"lanes": 64, "episodes_per_lane": 2}
    spec = BatchSpec(NOTEBOOK, str(tmp_path / "runs"), base=base, grid=grid, seeds=(1,))
    for new in run_batch(spec, workers=2, show=lambda _: None).to_dict("records"):
        old = table[(table.scenario == new["scenario"]) & (table.policy == new["policy"])].iloc[0]
        (a, b), (c, d) = (binomial_interval(r["final.wins"], r["final.episodes"], 1 - 1e-6) for r in (old, new))
        assert max(a, c) <= min(b, d), (new["name"], new["final.wins"], old["final.wins"])
        assert new["final.episode_return"] == pytest.approx(old["final.episode_return"], rel=0.25, abs=1)


def test_wrong_player(root, monkeypatch, tmp_path):
    monkeypatch.chdir(root)
    assert inspect_notebook(NOTEBOOK)["policy"]["default"] == '"heuristic"'
    failed = run_batch(BatchSpec(NOTEBOOK, str(tmp_path), base={"policy": "greedy"}, retries=0), show=lambda _: None)
    assert list(failed.status) == ["failed"]
    (record,) = tmp_path.glob("??????????.json")
    assert "policy: expected one of random, heuristic, heuristic_rest, got 'greedy'" in record.read_text()
