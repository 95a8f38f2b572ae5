"""Phones: one set of symbols (IPA), and what the mouth does for each of them.

Every phone is a point, or for a diphthong a way between two points, in a space of articulatory
features after the IPA chart. A model that goes from features to motion moves the mouth for phones
that its training speech lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Timed(NamedTuple):
    """A word or a phone with its time in the clip."""

    text: str
    start: float  # seconds
    end: float  # seconds


Array = NDArray[Any]

SILENCE = "sil"

FEATURES = (
    "silence",
    "vowel",
    "open",
    "front",
    "round",
    "bilabial",
    "labiodental",
    "dental",
    "alveolar",
    "postalveolar",
    "velar",
    "glottal",
    "stop",
    "fricative",
    "sibilant",
    "nasal",
    "lateral",
    "rhotic",
    "glide",
    "voiced",
)
"""Names of the features, each 0..1. open: height of the tongue and jaw, 1 for the lowest vowel."""


def _vowel(open: float, front: float, round: float, rhotic: float = 0.0) -> dict[str, float]:
    return {"vowel": 1, "open": open, "front": front, "round": round, "rhotic": rhotic, "voiced": 1}


def _consonant(*features: str, **values: float) -> dict[str, float]:
    return dict.fromkeys(features, 1.0) | values


_VOWELS = {
    "i": _vowel(0.0, 1.0, 0.0),
    "ɪ": _vowel(0.2, 0.8, 0.0),
    "e": _vowel(0.35, 1.0, 0.0),
    "ɛ": _vowel(0.6, 0.85, 0.0),
    "æ": _vowel(0.85, 0.8, 0.0),
    "a": _vowel(1.0, 0.55, 0.0),
    "ɑ": _vowel(1.0, 0.1, 0.0),
    "ʌ": _vowel(0.7, 0.35, 0.0),
    "ə": _vowel(0.4, 0.5, 0.0),
    "ɨ": _vowel(0.2, 0.6, 0.0),
    "ɔ": _vowel(0.7, 0.1, 0.7),
    "o": _vowel(0.4, 0.1, 0.9),
    "ʊ": _vowel(0.2, 0.2, 0.8),
    "u": _vowel(0.0, 0.15, 1.0),
    "ɝ": _vowel(0.45, 0.45, 0.3, 1.0),
}
_CONSONANTS = {
    "p": _consonant("bilabial", "stop"),
    "b": _consonant("bilabial", "stop", "voiced"),
    "m": _consonant("bilabial", "nasal", "voiced"),
    "f": _consonant("labiodental", "fricative"),
    "v": _consonant("labiodental", "fricative", "voiced"),
    "θ": _consonant("dental", "fricative"),
    "ð": _consonant("dental", "fricative", "voiced"),
    "t": _consonant("alveolar", "stop"),
    "d": _consonant("alveolar", "stop", "voiced"),
    "ɾ": _consonant("alveolar", "voiced", stop=0.5),
    "s": _consonant("alveolar", "fricative", "sibilant"),
    "z": _consonant("alveolar", "fricative", "sibilant", "voiced"),
    "n": _consonant("alveolar", "nasal", "voiced"),
    "l": _consonant("alveolar", "lateral", "voiced"),
    "ʃ": _consonant("postalveolar", "fricative", "sibilant", round=0.5),
    "ʒ": _consonant("postalveolar", "fricative", "sibilant", "voiced", round=0.5),
    "ʧ": _consonant("postalveolar", "stop", "sibilant", round=0.5),
    "ʤ": _consonant("postalveolar", "stop", "sibilant", "voiced", round=0.5),
    "ɹ": _consonant("rhotic", "voiced", round=0.4, alveolar=0.5),
    "j": _consonant("glide", "voiced", front=1.0),
    "w": _consonant("glide", "voiced", round=1.0, velar=0.5),
    "k": _consonant("velar", "stop"),
    "ɡ": _consonant("velar", "stop", "voiced"),
    "ŋ": _consonant("velar", "nasal", "voiced"),
    "h": _consonant("glottal", "fricative"),
}
_POINTS = {SILENCE: {"silence": 1.0}, **_VOWELS, **_CONSONANTS}

DIPHTHONGS = {
    "eɪ": ("e", "ɪ"),
    "aɪ": ("a", "ɪ"),
    "ɔɪ": ("ɔ", "ɪ"),
    "aʊ": ("a", "ʊ"),
    "oʊ": ("o", "ʊ"),
}
"""Each with the vowels that it goes from and to."""

PHONES = (*_POINTS, *DIPHTHONGS)
"""Every phone known here."""

VOWELS = (*_VOWELS, *DIPHTHONGS)
BILABIALS = ("p", "b", "m")
"""Phones for which the lips meet."""
LABIODENTALS = ("f", "v")
"""Phones for which the lower lip meets the upper teeth."""
OPEN_VOWELS = ("æ", "a", "ɑ", "aɪ", "aʊ")
"""Vowels for which the mouth must not be shut."""

ARPABET = {
    "AA": "ɑ",
    "AE": "æ",
    "AH": "ʌ",
    "AO": "ɔ",
    "AW": "aʊ",
    "AY": "aɪ",
    "B": "b",
    "CH": "ʧ",
    "D": "d",
    "DH": "ð",
    "EH": "ɛ",
    "ER": "ɝ",
    "EY": "eɪ",
    "F": "f",
    "G": "ɡ",
    "HH": "h",
    "IH": "ɪ",
    "IY": "i",
    "JH": "ʤ",
    "K": "k",
    "L": "l",
    "M": "m",
    "N": "n",
    "NG": "ŋ",
    "OW": "oʊ",
    "OY": "ɔɪ",
    "P": "p",
    "R": "ɹ",
    "S": "s",
    "SH": "ʃ",
    "T": "t",
    "TH": "θ",
    "UH": "ʊ",
    "UW": "u",
    "V": "v",
    "W": "w",
    "Y": "j",
    "Z": "z",
    "ZH": "ʒ",
}
"""The CMU dictionary's symbols (without stress digits) in IPA."""

# What synthesisers write instead: shorthand for diphthongs, the flap, weak vowels, rhotic and long
# ones, the Latin g.
_OTHER_SPELLINGS = {
    "A": "eɪ",
    "I": "aɪ",
    "O": "oʊ",
    "W": "aʊ",
    "Y": "ɔɪ",
    "T": "ɾ",
    "ɐ": "ə",
    "ᵊ": "ə",
    "ᵻ": "ɨ",
    "ɜ": "ɝ",
    "ɚ": "ɝ",
    "g": "ɡ",
    "r": "ɹ",
    "ɒ": "ɑ",
    "tʃ": "ʧ",
    "dʒ": "ʤ",
    "əʊ": "oʊ",
}
_STRESS = ("ˈ", "ˌ")
_PAUSES = ("^", "$", ".", ",", ";", ":", "!", "?", "—", "…")

SHORTEST_PAUSE = 0.12
"""Seconds; a shorter gap between phones is not a pause: its halves go to the neighbours."""


def ipa(symbol: str) -> str | None:
    """The phone that ``symbol`` stands for: IPA, a synthesiser's shorthand, or ARPAbet with or
    without stress; None for none.

    Shorthand comes first: its T, W and Y are other phones than ARPAbet's, whose own table is
    ARPABET.
    """
    bare = symbol.strip("ːˑ")
    if bare in _OTHER_SPELLINGS:
        return _OTHER_SPELLINGS[bare]
    if bare in PHONES:
        return bare
    return ARPABET.get(bare.rstrip("012"))


def tidy(marks: Iterable[Sequence[Any]]) -> tuple[Timed, ...]:
    """Timed symbols of an aligner or a synthesiser -> phones without gaps between them, in IPA,
    pauses as ``sil``.

    marks: (symbol, start s, end s) in order of time. A stress mark's time goes to the phone after
    it; punctuation and spaces are pauses when they last SHORTEST_PAUSE, else their halves go to the
    neighbours. Unknown symbols count as a gap.
    """
    phones: list[list[Any]] = []
    stressed: float | None = None
    for symbol, start, end in marks:
        if symbol in _STRESS:
            stressed = float(start) if stressed is None else stressed
            continue
        phone = None if symbol in _PAUSES or symbol == " " else ipa(symbol)
        begin = float(start) if stressed is None else stressed
        stressed = None
        name = phone or SILENCE
        if phones and name == SILENCE == phones[-1][0]:
            phones[-1][2] = float(end)
        else:
            phones.append([name, begin, float(end)])
    kept: list[list[Any]] = []
    for i, (name, start, end) in enumerate(phones):
        inside = 0 < i < len(phones) - 1
        if name == SILENCE and inside and end - start < SHORTEST_PAUSE:
            middle = (start + end) / 2
            kept[-1][2] = middle
            phones[i + 1][1] = middle
        else:
            kept.append([name, start, end])
    return tuple(Timed(name, start, end) for name, start, end in kept)


def features_of(phone: str) -> tuple[Array, Array]:
    """The features (F,) at a phone's beginning and at its end. KeyError for an unknown phone."""
    first, last = DIPHTHONGS.get(phone, (phone, phone))
    return _point(first), _point(last)


def _point(phone: str) -> Array:
    return np.array([_POINTS[phone].get(name, 0.0) for name in FEATURES], np.float32)


def feature_track(phones: Sequence[Timed], frames: int, rate: float) -> Array:
    """(frames, F) float32 features; row t is the mean over the 1 / rate seconds around t / rate.
    Silence where no phone is.
    """
    fine = 8  # sub-steps of a frame
    times = (np.arange(frames * fine) + 0.5) / (rate * fine) - 0.5 / rate
    values = np.tile(_point(SILENCE), (len(times), 1))
    for phone, start, end in phones:
        inside = slice(int(np.searchsorted(times, start)), int(np.searchsorted(times, end)))
        first, last = features_of(phone)
        share = ((times[inside] - start) / max(end - start, 1e-6))[:, None]
        # A diphthong rests on its first vowel for a third of its time and has reached the second
        # after two thirds.
        share = np.clip(3 * share - 1, 0, 1).astype(np.float32)
        values[inside] = (1 - share) * first + share * last
    return values.reshape(frames, fine, -1).mean(1)


PHONE_INDEX = {phone: i for i, phone in enumerate(PHONES)}
