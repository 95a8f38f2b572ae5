"""Statistics against scipy, closed forms and published examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jambatalk.statistics import holm
from jambatalk.study import statistics as st

scipy_stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize(("wins", "losses"), [(7, 3), (0, 5), (50, 50), (130, 96)])
def test_preference_is_the_exact_binomial_test_and_wilsons_interval(wins: int, losses: int) -> None:
    found = st.preference(wins, losses, ties=4)
    n, z = wins + losses, scipy_stats.norm.ppf(0.975)
    # Two-sided and symmetric: twice the smaller tail, no more than 1.
    tail = sum(math.comb(n, k) for k in range(min(wins, losses) + 1)) / 2**n
    assert found.p == pytest.approx(min(1, 2 * tail))
    share = wins / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    assert found.wilson == pytest.approx((centre - half, centre + half))
    assert (found.share, found.ties) == (share, 4)


def test_no_answers_prefer_nobody() -> None:
    assert st.preference(0, 0, 3) == st.Preference(0, 0, 3, None, None, 1.0)


def test_holm_by_hand() -> None:
    # 0.01 x 4, 0.02 x 3, 0.03 x 2 (not less than the one before), 0.6 x 1
    assert holm([0.6, 0.01, 0.03, 0.02]) == pytest.approx([0.6, 0.04, 0.06, 0.06])
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_bradley_terry_of_two_is_the_log_odds() -> None:
    strength = st.bradley_terry(np.array([[0, 30], [10, 0]]))
    assert strength[0] - strength[1] == pytest.approx(math.log(3), abs=1e-6)
    assert strength.sum() == pytest.approx(0, abs=1e-9)


def test_bradley_terry_maximises_the_likelihood() -> None:
    from scipy.optimize import minimize

    wins = np.array([[0, 20, 31, 9], [14, 0, 22, 12], [8, 13, 0, 5], [15, 11, 19, 0]], float)

    def loss(free: np.ndarray) -> float:
        s = np.append(free, -free.sum())
        return float((wins * np.logaddexp(0, s[None, :] - s[:, None])).sum())

    best = minimize(loss, np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(st.bradley_terry(wins), np.append(best, -best.sum()), atol=1e-4)


def test_bradley_terry_where_strengths_would_be_infinite_or_unknown() -> None:
    always = st.bradley_terry(np.array([[0, 9, 9], [0, 0, 9], [0, 0, 0]]))
    assert np.isfinite(always).all()
    assert always[0] > always[1] > always[2]
    apart = np.zeros((4, 4))
    apart[0, 1] = apart[1, 0] = apart[2, 3] = apart[3, 2] = 5
    assert np.isnan(st.bradley_terry(apart)).all()


KRIPPENDORFF = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
"""The example of Krippendorff (2011), "Computing Krippendorff's alpha-reliability", part C: four
observers, twelve units.
"""


def test_krippendorffs_alpha_on_his_own_example() -> None:
    units = [
        {row: int(marks[i]) for row, marks in enumerate(KRIPPENDORFF) if marks[i] != "."}
        for i in range(12)
    ]
    assert st.krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert st.krippendorff_alpha(units, ordered=True) == pytest.approx(0.849, abs=5e-4)


def test_alpha_at_its_ends() -> None:
    assert st.krippendorff_alpha([{1: "A", 2: "A"}, {1: "B", 2: "B"}]) == 1
    assert st.krippendorff_alpha([{1: "A", 2: "A"}]) is None
    assert st.krippendorff_alpha([{1: "A"}, {2: "B"}]) is None
    rng = np.random.default_rng(0)
    noise = st.krippendorff_alpha([dict(enumerate(rng.choice(["A", "B"], 10))) for _ in range(500)])
    assert noise == pytest.approx(0, abs=0.03)


def test_mean_over_raters_is_students_interval() -> None:
    values = [3.5, 4.0, 2.5, 4.5, 3.0]
    mean, interval = st.mean_over_raters(values)
    wanted = scipy_stats.t.interval(0.95, 4, np.mean(values), scipy_stats.sem(values))
    assert mean == pytest.approx(3.5)
    assert interval == pytest.approx(wanted)
    assert st.mean_over_raters([2.0]) == (2.0, None)


def test_paired_p_is_wilcoxons() -> None:
    values = [0.5, 0.25, -0.1, 0.75, 1.0, 0.3]
    assert st.paired_p(values) == pytest.approx(scipy_stats.wilcoxon(values).pvalue)
    assert st.paired_p([0.0, 0.0]) == 1.0


def test_bootstrap_draws_as_many_raters_as_there_are() -> None:
    drawn = st.resampled(7, 500)
    assert drawn.shape == (500, 7)
    assert (drawn.sum(1) == 7).all()
    assert st.percentiles(np.arange(101.0)) == pytest.approx((2.5, 97.5))
    assert st.percentiles(np.array([np.nan])) is None
