"""Forced alignment on the bundled recording, whose text is known."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

pytest.importorskip(
    "pocketsphinx", reason="aligning phones needs pocketsphinx: pip install 'jambatalk[align]'"
)

import itertools

from jambatalk.audio import Speech
from jambatalk.datasets.align import Aligner, with_phones
from jambatalk.datasets.clip import Clip
from jambatalk.errors import InputError
from jambatalk.motion import Motion
from jambatalk.text.phones import PHONES, Timed

TEXT = (
    "Had he married a more amiable woman, he might have been made still more respectable than he "
    "was: "
    "he might even have been made amiable himself."
)


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return Speech.load((files("jambatalk") / "assets" / "demo.flac").read_bytes()).samples


def test_phones_follow_each_other_through_the_recording(samples: np.ndarray) -> None:
    phones, words = Aligner().align(samples, TEXT)
    assert all(phone in PHONES and end > start for phone, start, end in phones)
    assert all(before.end <= after.start + 1e-9 for before, after in itertools.pairwise(phones))
    assert [word for word, _, _ in words][:4] == ["had", "he", "married", "a"]
    assert phones[0].start >= 0
    assert phones[-1].end <= len(samples) / 16000

    # Vowels are louder than pauses: the times belong to the sound.
    def level(names: set[str]) -> float:
        pieces = [samples[int(a * 16000) : int(b * 16000)] for p, a, b in phones if p in names]
        return float(np.sqrt(np.mean(np.concatenate(pieces) ** 2)))

    assert level({"æ", "eɪ", "ɑ", "aɪ"}) > 10 * level({"sil"})


def test_the_same_sound_gives_the_same_times_later_in_a_session(samples: np.ndarray) -> None:
    aligner = Aligner()
    assert aligner.align(samples, TEXT)[1] == Aligner().align(samples, TEXT)[1]


def test_the_dictionarys_letters_are_not_the_synthesisers(samples: np.ndarray) -> None:
    """T, W and Y stand for other phones in a synthesiser's shorthand."""
    phones, _ = Aligner().align(samples, TEXT)
    names = [phone for phone, _, _ in phones]
    assert "t" in names
    assert "w" in names
    assert not {"ɾ", "aʊ", "ɔɪ"} & set(names)  # the text has no such phone in the dictionary


def test_unknown_words_are_named(samples: np.ndarray) -> None:
    with pytest.raises(InputError, match="lacks frobnicate, xyzzyx"):
        Aligner().align(samples, "please frobnicate the xyzzyx")
    with pytest.raises(InputError, match="no words"):
        Aligner().align(samples, "...")


def test_clips_get_the_phones_of_their_words(samples: np.ndarray) -> None:
    words = (Timed("sil", 0.0, 0.2), Timed("had", 0.2, 0.5), Timed("he", 0.5, 0.7))
    clip = Clip(
        "a",
        "s",
        "train",
        samples[:20000],
        Motion(25.0, weights=np.zeros((31, 1), np.float32), names=("x",)),
        words=words,
    )
    (aligned,) = with_phones([clip])
    assert [phone for phone, _, _ in aligned.phones if phone != "sil"] == ["h", "æ", "d", "h", "i"]
    assert with_phones([aligned]) == [aligned]
