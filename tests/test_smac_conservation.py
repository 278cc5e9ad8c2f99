"""What must hold in every battle: nothing comes from nothing, nobody stands in a wall, the dead stay dead."""

from dataclasses import dataclass

import numpy as np
import pytest
from test_smac_reference import fierce

from marl_nb.smac import make, scenarios
from marl_nb.smac.units import LOOPS_PER_SECOND, LOOPS_PER_STEP, Unit

OVERLAP = 1e-6  # cells by which two living ground units may overlap
STEP = LOOPS_PER_STEP / LOOPS_PER_SECOND  # seconds
SHIELDS = 2.0  # points a second
HEALING, HEALING_COST = 9.0, 0.33  # a Medivac's points a second, energy a point


@dataclass
class Moment:
    """The units of one lane."""

    kinds: list[Unit]
    x: np.ndarray
    y: np.ndarray
    health: np.ndarray
    shield: np.ndarray
    energy: np.ndarray
    kept: dict[str, np.ndarray]  # the ledger of the episode so far; empty at its end

    @property
    def alive(self):
        return self.health > 0

    def each(self, value):
        """An array of one value a unit."""
        return np.array([value(k) for k in self.kinds])


def moment(env, lane, final=None):
    """A lane now, or, with the units `final`, at the end of its last episode."""
    u = env.final_units(lane) if final else env.units(lane)
    kinds = final or [env.scenario.kinds[k] for k in u["kind"]]
    kept = {} if final else {k: getattr(env._state, k)[lane].copy() for k in ("dealt", "overkill", "restored")}
    return Moment(kinds, u["x"], u["y"], u["health"], u["shield"], u["energy"], kept)


def check_moment(scenario, m):
    """Numbers are finite and within bounds, units stand where they can, and not in each other."""
    assert all(np.isfinite(v).all() for v in (m.x, m.y, m.health, m.shield, m.energy))
    assert (m.health >= 0).all() and (m.health <= m.each(lambda k: k.health) + 1e-9).all()
    assert (m.shield >= 0).all() and (m.shield <= m.each(lambda k: k.shield) + 1e-9).all()
    assert (m.energy >= 0).all() and (m.energy <= m.each(lambda k: k.energy[1] if k.energy else 0) + 1e-9).all()
    width, height = scenario.size
    plane = m.each(lambda k: k.plane)
    living = m.alive
    assert (m.x[living] >= 0).all() and (m.x[living] <= width).all()
    assert (m.y[living] >= 0).all() and (m.y[living] <= height).all()
    for where, name in (("ground", "walkable"), ("both", "colossus_walkable")):
        stands = living & (plane == where)
        if stands.any(): assert getattr(scenario, name)[m.x[stands].astype(int), m.y[stands].astype(int)].all(), where
    ground = living & (plane == "ground")
    x, y, room = m.x[ground], m.y[ground], m.each(lambda k: k.separation)[ground]
    gaps = np.hypot(x[:, None] - x, y[:, None] - y) - room[:, None] - room + 99 * np.eye(len(x))
    assert len(x) < 2 or gaps.min() >= -OVERLAP, f"{gaps.min()}"


def check_step(before, after, n_agents):
    """From one moment of an episode to the next: the dead stay dead, healing has its source."""
    assert not after.alive[~before.alive].any(), "a dead unit came back"
    medivac = before.each(lambda k: k.name == "medivac") & before.alive
    gained = np.maximum(after.health - before.health, 0)
    by_itself = before.each(lambda k: k.health_regeneration) * STEP
    biological = before.each(lambda k: "biological" in k.attributes)
    healed = np.where(gained > by_itself + 1e-9, gained, 0)
    assert biological[healed > 0].all(), "only biological units are healed"
    for team in (slice(n_agents), slice(n_agents, None)):
        assert healed[team].sum() <= medivac[team].sum() * HEALING * STEP + 1e-6
        if not medivac[team].any() or not after.alive[team][medivac[team]].all(): continue
        earned = sum(k.energy[2] for k in np.array(before.kinds, object)[team][medivac[team]]) * STEP
        spent = (before.energy - after.energy)[team][medivac[team]].sum() + earned
        assert healed[team].sum() * HEALING_COST <= spent + 1e-6
    assert (after.shield - before.shield <= SHIELDS * STEP + 1e-9).all()
    if after.kept: check_ledger(before, after, n_agents)


def check_ledger(before, after, n_agents):
    """Damage dealt by one team = health and shields lost by the other + overkill + what was restored meanwhile."""
    dealt, overkill, restored = (after.kept[k] - before.kept[k] for k in ("dealt", "overkill", "restored"))
    lost = before.health + before.shield - after.health - after.shield
    assert (dealt >= 0).all() and (overkill >= 0).all() and (overkill[after.alive] == 0).all()
    for team, others in ((slice(n_agents), slice(n_agents, None)), (slice(n_agents, None), slice(n_agents))):
        expected = lost[team].sum() + overkill[team].sum() + restored[team].sum()
        assert dealt[others].sum() == pytest.approx(expected, abs=1e-6)


def check_whole_shots(before, after):
    """Marines lose health in sixes, but for their last shot."""
    lost = (before.health - after.health)[after.alive]
    assert np.allclose(lost, 6 * np.round(lost / 6)) and (lost >= 0).all()


def check_battles(name, battles, lanes, seed=5):
    """Play battles on a map and check every moment of them."""
    env, rng, ended, harm = make(name, lanes, seed=seed), np.random.default_rng(seed), 0, 0.0
    marines = [k.name for k in env.scenario.kinds] == ["marine"]
    now = [moment(env, e) for e in range(lanes)]
    for e in range(lanes): check_moment(env.scenario, now[e])
    while ended < battles:
        ts = env.step(fierce(env, rng))
        for e in range(lanes):
            after = moment(env, e, now[e].kinds if ts.done[e] else None)
            check_moment(env.scenario, after)
            check_step(now[e], after, env.n_agents)
            if marines: check_whole_shots(now[e], after)
            harm += np.maximum(now[e].health - after.health, 0).sum()
            now[e] = moment(env, e) if ts.done[e] else after
        ended += ts.done.sum()
    assert harm > 0


@pytest.mark.parametrize("name", scenarios.names())
def test_a_few_battles(name):
    check_battles(name, battles=2, lanes=2)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", scenarios.names())
def test_a_thousand_battles(name):
    check_battles(name, battles=1000, lanes=32)
