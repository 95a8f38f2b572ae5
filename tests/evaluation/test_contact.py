"""Closures and false closures on gaps whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.closure import score_contact, smallest_gap
from jambatalk.text.phones import Timed

FPS = 25.0
SYLLABLES = tuple(
    phone
    for i in range(8)
    for phone in (Timed("b", 0.4 * i, 0.4 * i + 0.1), Timed("ɑ", 0.4 * i + 0.1, 0.4 * (i + 1)))
)


def spoken(shut: float = 0.0, open_: float = 0.01) -> np.ndarray:
    """(80,) metres: ``shut`` in every /b/ and the frames next to it, ``open_`` in the vowels
    between.
    """
    gap = np.full(80, open_, np.float32)
    for frame in range(0, 80, 10):
        gap[max(frame - 1, 0) : frame + 4] = shut
    return gap


def test_a_mouth_that_closes_where_it_should_scores_all_and_errs_nowhere() -> None:
    contact = score_contact([spoken()], [SYLLABLES], FPS)
    assert (contact.bilabials, contact.vowels) == (8, 8)
    assert contact.closures == contact.onset_closures == contact.touches == 1.0
    assert contact.false_closures == contact.false_touches == 0.0
    assert contact.vowel_mm == pytest.approx(10)


def test_a_mouth_that_does_the_opposite_scores_nothing_and_errs_everywhere() -> None:
    contact = score_contact([0.01 - spoken()], [SYLLABLES], FPS)
    assert contact.closures == contact.onset_closures == contact.touches == 0.0
    assert contact.false_closures == contact.false_touches == 1.0


@pytest.mark.parametrize("gap", [0.0, 0.0004])
def test_a_shut_face_closes_rightly_and_wrongly_everywhere(gap: float) -> None:
    contact = score_contact([np.full(80, gap, np.float32)], [SYLLABLES], FPS)
    assert (
        contact.closures
        == contact.touches
        == contact.false_closures
        == contact.false_touches
        == 1.0
    )


def test_lips_that_only_come_nearer_do_not_touch() -> None:
    contact = score_contact([spoken(shut=0.003)], [SYLLABLES], FPS)
    assert contact.closures == 1.0
    assert contact.touches == 0.0
    assert contact.bilabial_mm == pytest.approx(3)


def test_half_of_the_closures() -> None:
    gap = spoken()
    gap[38:] = 0.01
    contact = score_contact([gap], [SYLLABLES], FPS)
    assert contact.closures == contact.touches == 0.5


def test_short_open_vowels_are_left_out() -> None:
    phones = (*SYLLABLES, Timed("æ", 0.0, 0.05))
    assert score_contact([spoken()], [phones], FPS).vowels == 8


def test_the_window_is_the_frames_nearest_to_start_and_end() -> None:
    gap = np.arange(10, dtype=float)
    assert smallest_gap(gap[::-1], 0.09, 0.21, FPS) == 4  # frames 2 to 5
    assert smallest_gap(gap, 0.09, 0.21, FPS) == 2
    assert smallest_gap(gap, 0.4, 0.6, FPS) == 9  # beyond the end: the last frame


def test_phones_without_bilabials_are_an_error() -> None:
    with pytest.raises(InputError, match="0 bilabials and 8 open vowels in 1 clips"):
        score_contact([spoken()], [[phone for phone in SYLLABLES if phone.text != "b"]], FPS)
