"""Rest and tremble of motions whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.mouth import Stillness, joined, stillness
from jambatalk.face.face import Face


def face() -> Face:
    """Four lip vertices; the only shape lowers all but vertex 0 by 20 mm, and so opens the gap
    between 0 and 1.
    """
    basis = np.zeros((1, 4, 3), np.float32)
    basis[0, 1:, 1] = -0.02
    return Face(
        np.zeros((4, 3), np.float32),
        np.zeros((0, 3), np.int32),
        {"lips": np.arange(4)},
        ("jawOpen",),
        basis,
        gap_vertices=(0, 1),
    )


def test_rest() -> None:
    assert stillness(np.zeros((25, 1), np.float32), face()) == Stillness(0.0, 0.0, 0.0, 0.0)


def test_tremble() -> None:
    weights = np.tile([[0.0], [0.1]], (10, 1)).astype(np.float32)  # the gap is 0 or 2 mm in turn
    found = stillness(weights, face())
    assert found.mean == pytest.approx(1.0, rel=1e-5)
    assert found.largest == pytest.approx(2.0, rel=1e-5)
    assert found.tremble == pytest.approx(2.0, rel=1e-5)
    assert found.lip_tremble == pytest.approx(1.5, rel=1e-5)  # three of four vertices move


def test_an_open_mouth_that_does_not_move_is_no_tremble() -> None:
    found = stillness(np.full((5, 1), 0.5, np.float32), face())
    assert found.mean == pytest.approx(10.0, rel=1e-5)
    assert found.tremble == found.lip_tremble == 0.0


def test_joined_keeps_the_largest() -> None:
    both = joined([Stillness(1.0, 2.0, 0.0, 0.2), Stillness(3.0, 8.0, 0.5, 0.4)])
    assert both.largest == 8.0
    assert (both.mean, both.tremble, both.lip_tremble) == pytest.approx((2.0, 0.25, 0.3))


def test_one_frame_is_an_error() -> None:
    with pytest.raises(InputError, match="1 frames found, expected at least 2"):
        stillness(np.zeros((1, 1), np.float32), face())
