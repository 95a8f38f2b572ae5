"""Phones: symbols of several makers become one set; features over time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from jambatalk.text.phones import (
    ARPABET,
    BILABIALS,
    DIPHTHONGS,
    FEATURES,
    PHONES,
    SILENCE,
    Timed,
    feature_track,
    features_of,
    ipa,
    tidy,
)

INDEX = {name: i for i, name in enumerate(FEATURES)}


def test_every_symbol_of_the_dictionary_and_of_synthesisers_is_known() -> None:
    assert all(ipa(symbol) in PHONES for symbol in ARPABET)
    assert [ipa(s) for s in ("AH0", "EY1", "A", "T", "g", "iː", "tʃ")] == [
        "ʌ",
        "eɪ",
        "eɪ",
        "ɾ",
        "ɡ",
        "i",
        "ʧ",
    ]
    assert ipa("¿") is None


def test_phones_that_look_alike_share_their_lips() -> None:
    for phone in PHONES:
        first, last = features_of(phone)
        assert (first[INDEX["bilabial"]] == 1) == (phone in BILABIALS)
        assert first.max() == 1
        assert first.min() >= 0
        assert (phone in DIPHTHONGS) == (not np.array_equal(first, last))
    # The pairs of voiced and voiceless consonants differ in voice alone.
    for a, b in (("p", "b"), ("f", "v"), ("s", "z"), ("ʃ", "ʒ")):
        differing = np.flatnonzero(features_of(a)[0] != features_of(b)[0])
        assert differing.tolist() == [INDEX["voiced"]]


def test_tidy_gives_stress_to_the_phone_after_it_and_short_gaps_to_the_neighbours() -> None:
    marks = [
        ["^", 0, 0.25],
        ["b", 0.25, 0.3],
        ["ˈ", 0.3, 0.36],
        ["ɜ", 0.36, 0.4],
        [" ", 0.4, 0.45],
        ["k", 0.45, 0.5],
        ["ə", 0.5, 0.55],
        [",", 0.55, 0.6],
        [" ", 0.6, 0.75],
        ["n", 0.75, 0.8],
        ["$", 0.8, 0.9],
    ]
    found = tidy(marks)
    assert [phone for phone, _, _ in found] == [SILENCE, "b", "ɝ", "k", "ə", SILENCE, "n", SILENCE]
    assert found[2].start == 0.3  # the stress mark's time
    assert found[2].end == found[3].start == pytest.approx(0.425)  # a space of 50 ms is halved
    assert (found[5].start, found[5].end) == (0.55, 0.75)  # a comma and a space are one pause
    assert all(a.end == pytest.approx(b.start) for a, b in itertools.pairwise(found))


def test_feature_track_is_the_mean_over_each_frame() -> None:
    track = feature_track([Timed("p", 0.1, 0.16), Timed("ɑ", 0.16, 0.4)], frames=10, rate=25.0)
    # Frame 4 lies at 0.16 s and spans 0.14..0.18: half of it is the /p/.
    assert track[4, INDEX["bilabial"]] == pytest.approx(0.5)
    assert track[6, INDEX["open"]] == pytest.approx(1.0)
    assert track[0, INDEX["silence"]] == 1
    diphthong = feature_track([Timed("aɪ", 0.0, 0.4)], frames=10, rate=25.0)[:, INDEX["open"]]
    assert diphthong[1] > 0.95
    assert diphthong[9] < 0.25
    assert (np.diff(diphthong[1:]) <= 1e-6).all()
