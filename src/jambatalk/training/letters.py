"""Letters without a recogniser: what a lip reader needs to learn to read the corpus' own texts, when no network is at hand."""

from __future__ import annotations

import string
from typing import Any

from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.nn.lip_reader import TEXT_RATE
from jambatalk.training.recogniser import Reading

NAME = "letters"
ALPHABET = "|" + string.ascii_lowercase + "'"
WIDTH = 128


class Letters:
    """Stands in for ``Recogniser`` where CTC with the corpus' texts is the only term: it spells, and hears nothing."""

    width = WIDTH
    blank = 0
    letters = 1 + len(ALPHABET)

    def frames(self, samples: int) -> int:
        """Frames at 50 Hz of so many samples at 16 kHz."""
        return int(samples * TEXT_RATE / 16_000)

    def spelled(self, text: str) -> list[int]:
        """A text as letters; what is none is left out, a space is the word mark."""
        return [1 + ALPHABET.index(char) for char in "|".join(text.lower().split()) if char in ALPHABET]

    def read(self, samples: NDArray[Any], device: Any) -> Reading:
        """InputError: there is no network that could hear."""
        raise InputError(f"{NAME!r} hears nothing: expected a wav2vec2 network as recogniser")
