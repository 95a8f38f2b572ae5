"""Forced alignment: when each phone of a known text is spoken, by pocketsphinx (10 ms, English
model in its wheel).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.clip import Clip
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.text.phones import ARPABET, SILENCE, Timed

SPELLED_OTHERWISE: Mapping[str, str] = {"z": "zed"}
"""GRID's speakers are British: the letter z is "zed"."""

SILENT_WORDS = ("sil", "sp", "")
"""Marks of words that are none."""

STEP = 0.01  # seconds; the aligner's frames
LEAD, TAIL = 0.2, 0.3
"""Seconds of faint noise put around the sound: without it the aligner finds no way through one GRID
sentence in fourteen.
"""


class Aligner:
    """Aligns phones to speech. MissingExtraError without the extra ``align``."""

    def __init__(self, spelled: Mapping[str, str] | None = None) -> None:
        """spelled: words to be looked up under another spelling."""
        try:
            from pocketsphinx import Decoder
        except ImportError as error:
            raise MissingExtraError(
                'aligning phones needs pocketsphinx: pip install "jambatalk[align]"'
            ) from error
        self.spelled = SPELLED_OTHERWISE if spelled is None else spelled
        self._decoder = Decoder(lm=None, loglevel="FATAL")

    def words_of(self, text: str) -> list[str]:
        """The words of a text as the dictionary spells them. InputError names the words that it
        lacks.
        """
        words = [
            self.spelled.get(word, word) for word in re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower())
        ]
        if unknown := [word for word in words if self._decoder.lookup_word(word) is None]:
            raise InputError(
                f"the pronouncing dictionary lacks {', '.join(dict.fromkeys(unknown))}"
            )
        if not words:
            raise InputError(f"no words to align in {text!r}")
        return words

    def align(
        self, samples: NDArray[Any], text: str
    ) -> tuple[tuple[Timed, ...], tuple[Timed, ...]]:
        """(phones in IPA with pauses as "sil", words) of ``samples`` (n,) float32 at 16 kHz, in
        seconds, in order of time.

        InputError when a word is unknown, or the text cannot be found in the sound.
        """
        words = self.words_of(text)
        decoder: Any = self._decoder
        rng = np.random.default_rng(0)
        around = [
            rng.normal(0.0, 1e-3, round(seconds * SAMPLE_RATE)).astype(np.float32)
            for seconds in (LEAD, TAIL)
        ]
        padded = np.concatenate([around[0], samples, around[1]])
        sound = np.clip(np.round(padded * 32767.0), -32768, 32767).astype(np.int16).tobytes()
        length = len(samples) / SAMPLE_RATE

        def timed(name: str, part: Any) -> Timed:
            times = ((part.start + n) * STEP - LEAD for n in (0, part.duration))
            return Timed(name, *(round(min(max(time, 0.0), length), 3) for time in times))

        try:
            decoder.set_align_text(" ".join(words))
            self._run(sound)
            decoder.set_alignment()
            self._run(sound)
            found = decoder.get_alignment()
        except RuntimeError as error:
            raise InputError(
                f"the text does not fit the sound of {len(samples) / SAMPLE_RATE:.2f} s: "
                f"{text[:80]!r}"
            ) from error
        if found is None:
            raise InputError(
                f"the text does not fit the sound of {len(samples) / SAMPLE_RATE:.2f} s: "
                f"{text[:80]!r}"
            )
        phones: list[Timed] = []
        spoken: list[Timed] = []
        for word in found:
            if not word.name.startswith("<"):
                # The dictionary distinguishes pronunciations by a number in brackets.
                spoken.append(timed(word.name.split("(")[0], word))
            # The dictionary's T, W and Y are not the synthesisers' shorthand of the same letters.
            phones += [
                timed(ARPABET.get(phone.name.rstrip("012"), SILENCE), phone) for phone in word
            ]
        return tuple(phone for phone in phones if phone.end > phone.start), tuple(spoken)

    def _run(self, sound: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(sound, full_utt=True)
        self._decoder.end_utt()


def with_phones(
    clips: Sequence[Clip], progress: Callable[[int, int], None] | None = None
) -> list[Clip]:
    """The clips, those without phones with the phones of their words. InputError when a clip has
    neither.
    """
    aligner: Aligner | None = None
    result = []
    for count, clip in enumerate(clips, 1):
        if not clip.phones:
            words = [word.text for word in clip.words if word.text not in SILENT_WORDS]
            if not words:
                raise InputError(
                    f"clip {clip.id} has neither phones nor words: expected one of them"
                )
            aligner = aligner or Aligner()
            clip = replace(clip, phones=aligner.align(clip.samples, " ".join(words))[0])
        result.append(clip)
        if progress is not None:
            progress(count, len(clips))
    return result
