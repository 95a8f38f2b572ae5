"""Correlation of opening curves, against numpy and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.mouth import (
    correlation,
    fit_curve,
    mean_correlation,
    pooled_correlation,
)
from jambatalk.evaluation.metrics.mouth import mean_opening_error as opening_error

RNG = np.random.default_rng(1)
A, B = RNG.standard_normal(50), RNG.standard_normal(50)


def test_correlation_equals_numpy() -> None:
    assert correlation(A, B) == pytest.approx(np.corrcoef(A, B)[0, 1])
    assert correlation(A, 3 * A + 7) == pytest.approx(1)
    assert correlation(A, -A) == pytest.approx(-1)


def test_scale_in_metres_does_not_matter() -> None:
    assert correlation((A * 0.003).astype(np.float32), B * 0.004) == pytest.approx(
        np.corrcoef(A, B)[0, 1], abs=1e-5
    )


def test_a_static_face_follows_nothing() -> None:
    assert correlation(np.zeros(50), B) == 0
    assert correlation(np.full(50, 0.0067, np.float32), B) == 0


def test_mean_and_pooled_differ_when_sizes_do() -> None:
    truth = [np.array([0.0, 1, 2]), np.array([0.0, 10, 20])]
    same_size = [np.array([0.0, 1, 2]), np.array([0.0, 1, 2])]
    assert mean_correlation(same_size, truth) == pytest.approx(1)
    pooled = np.corrcoef(np.concatenate(same_size), np.concatenate(truth))[0, 1]
    assert pooled_correlation(same_size, truth) == pytest.approx(pooled)
    assert pooled < 0.9


def test_opening_error_is_a_mean_over_frames() -> None:
    assert opening_error(
        [np.zeros(3), np.ones(1)], [np.array([1.0, 1, 1]), np.array([2.0])]
    ) == pytest.approx(1.0)
    assert opening_error(
        [np.zeros(3), np.ones(1)], [np.array([2.0, 2, 2]), np.array([1.0])]
    ) == pytest.approx(1.5)


def test_curves_are_fitted_to_a_length() -> None:
    np.testing.assert_array_equal(fit_curve(np.arange(5), 3), [0, 1, 2])
    np.testing.assert_array_equal(fit_curve(np.arange(2), 4), [0, 1, 1, 1])
    with pytest.raises(InputError, match="empty"):
        fit_curve(np.zeros(0), 3)


def test_different_lengths_are_named() -> None:
    with pytest.raises(InputError, match=r"\(50,\) and \(49,\)"):
        correlation(A, B[:49])
