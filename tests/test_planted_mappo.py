"""Planted faults of `mappo` that no test saw (tools/faults.py), each with a test that sees it."""

import pytest

from marl_nb.mappo import MAPPOConfig, MAPPOPolicy, loggers


@pytest.mark.parametrize("death_mask", [True, False])
def test_the_critic_gets_its_own_options(death_mask):
    """Every option of the critic's input reaches it under its own name."""
    config = MAPPOConfig(state="AS", death_mask=death_mask, frame_stack=3, agent_id=not death_mask)
    view = MAPPOPolicy(config, 2, 4, 6, 5).view
    assert (view.kind, view.n_agents, view.obs_size, view.state_size) == ("AS", 2, 4, 6)
    assert (view.agent_id, view.death_mask, view.frames) == (not death_mask, death_mask, 3)
    assert view.size == 3 * (4 + 6) + 2 * (not death_mask)


def test_logs_are_closed_however_a_training_ends(tmp_path, monkeypatch):
    closed = []

    class Closing(loggers.CSVWriter):
        def close(self):
            super().close()
            closed.append(all(f.closed for f in self._files.values()))

    monkeypatch.setitem(loggers.WRITERS, "csv", Closing)
    rows = {table: [] for table in loggers.TABLES}
    with pytest.raises(KeyError), loggers.Logs(rows, tmp_path): raise KeyError
    assert closed == [True]
