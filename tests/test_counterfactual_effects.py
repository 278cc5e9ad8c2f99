"""Error rates of the effects of counterfactual analysis, with enough states to tell 5 % from 6 %."""

import numpy as np
import pytest

from marl_nb.core.seeding import stream
from marl_nb.core.stats import binomial_interval
from marl_nb.counterfactual.effects import return_effects, win_effects

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
LAWS = {
    "normal": lambda r, size: r.normal(0, 3, size),
    "rare_win": lambda r, size: 1.0 * (r.random(size) < 0.02),
    "likely_win": lambda r, size: 1.0 * (r.random(size) < 0.9),
    "damage_and_a_rare_defeat": lambda r, size: r.binomial(9, 0.5, size) + 10.0 * (r.random(size) > 0.02),
    "nearly_constant": lambda r, size: 15 + 1.0 * (r.random(size) < 0.005),
    "skewed": lambda r, size: r.exponential(3, size),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", ["holm", "max_t", "strict", "wins"])
def test_family_wise_error_of_ten_thousand_nulls(law, kind):
    """Six branches that are the same action: at most 6 % of the states may show a finding at a nominal 5 %."""
    found, states = 0, 0
    for block in range(20):
        null = LAWS[law](stream(block, "null", law), (500, 6, 48))
        if kind == "wins": effect = win_effects(null > np.median(null[0]))
        elif kind == "strict": effect = return_effects(null, mode="strict", bounds=(null.min() - 1, null.max() + 1))
        else: effect = return_effects(null, family=kind, seed=block, flips=999)
        found, states = found + int((effect.p_family.min(-1) <= 0.05).sum()), states + 500
    assert states == 10_000
    upper = binomial_interval(found, states).high
    print(f"{law}, {kind}: {found / states:.2%}, upper limit {upper:.2%}")
    assert upper <= 0.06


@pytest.mark.parametrize("n", [16, 48, 128])
def test_strict_coverage(n):
    """Simultaneous strict intervals hold all effects of at least 95 % of the states, for rare events too."""
    wins, random = np.array([0.98, 0.98, 0.9, 1.0, 0.5, 0.96]), stream(n, "coverage")
    won = random.random((2000, 6, n)) < wins[:, None]
    returns = 10.0 * won + random.binomial(9, 0.5, won.shape)
    for effect, unit in ((win_effects(won, mode="strict"), 1),
                         (return_effects(returns, mode="strict", bounds=(0.0, 19.0)), 10)):
        truth = unit * (wins[1:] - wins[0])
        held = int(((effect.low <= truth) & (truth <= effect.high)).all(-1).sum())
        print(f"n={n}: {held / 2000:.2%}")
        assert binomial_interval(held, 2000).low >= 0.94 and held >= 0.95 * 2000
