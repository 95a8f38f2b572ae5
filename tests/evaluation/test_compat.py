"""What the released script computes, told from what the field means by the same names."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.evaluation.metrics import Accumulator
from jambatalk.evaluation.metrics.base import Unit
from jambatalk.evaluation.metrics.released import columns
from tiny_pairs import REGIONS, VERTICES, measure, pair, random_pair


def test_vertex_indices_pick_columns_of_flattened_frames() -> None:
    numbered = np.arange(2.0 * VERTICES * 3).reshape(2, VERTICES, 3)
    assert columns(numbered, np.array([0, 4, 7])).tolist() == [[0, 4, 7], [27, 31, 34]]


def test_the_script_is_repeated_column_by_column() -> None:
    one = random_pair(2, 6)
    truth, predicted = (
        offsets.reshape(6, -1).astype(float) for offsets in (one.truth, one.predicted)
    )
    lips, upper = REGIONS.lips.tolist(), REGIONS.upper_face.tolist()
    row = measure(one, compat=True)
    largest = [max((truth[t, c] - predicted[t, c]) ** 2 for c in lips) for t in range(6)]
    swings = [np.std(truth[:, c] ** 2) - np.std(predicted[:, c] ** 2) for c in upper]
    assert row["compat:LVE_cm2"] == pytest.approx(sum(largest) / 6)
    assert row["compat:FDD_cm2"] == pytest.approx(sum(swings) / len(swings))
    assert row["compat:MVE_cm"] == pytest.approx(np.abs(truth - predicted).mean())


def test_an_error_of_the_lips_alone_may_escape_it() -> None:
    truth = np.zeros((5, VERTICES, 3), np.float32)
    predicted = truth.copy()
    predicted[:, 4] = 1.0  # a lip vertex; the columns 1 to 4 are those of vertices 0 and 1
    gathered = Accumulator(Unit("metres"), compat=True)
    row = measure(pair(truth, predicted, "metres"), gathered)
    assert row["LVE_m2"] == pytest.approx(3)
    assert row["compat:LVE_m2"] == 0


def test_every_one_of_its_names_says_so_and_they_are_asked_for() -> None:
    plain, both = Accumulator(Unit("metres")), Accumulator(Unit("metres"), compat=True)
    for gathered in (plain, both):
        gathered.add(random_pair(1, 6, "metres"))
    added = set(both.totals()) - set(plain.totals())
    assert len(added) == 3
    assert all(name.startswith("compat:") for name in added)
    assert list(both.totals())[:3] == ["LVE_m2", "LVE_mm", "MVE_mm"]
