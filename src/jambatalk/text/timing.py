"""When each phone of a text is spoken: the mean times of synthetic voices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jambatalk.text.g2p import dictionary, sound_out
from jambatalk.text.normalize import LONG, SHORT, tokens
from jambatalk.text.phones import ARPABET, SILENCE, VOWELS, Timed

LETTERS = {
    "A": "EY",
    "B": "B IY",
    "C": "S IY",
    "D": "D IY",
    "E": "IY",
    "F": "EH F",
    "G": "JH IY",
    "H": "EY CH",
    "I": "AY",
    "J": "JH EY",
    "K": "K EY",
    "L": "EH L",
    "M": "EH M",
    "N": "EH N",
    "O": "OW",
    "P": "P IY",
    "Q": "K Y UW",
    "R": "AA R",
    "S": "EH S",
    "T": "T IY",
    "U": "Y UW",
    "V": "V IY",
    "W": "D AH B AH L Y UW",
    "X": "EH K S",
    "Y": "W AY",
    "Z": "Z IY",
}
"""How letters are called."""

# Means over the voices of the corpus `tts`; benchmarks/quality/text_to_motion.py prints them.
SECONDS = {
    "i": 0.106,
    "ɪ": 0.074,
    "ɛ": 0.096,
    "æ": 0.101,
    "ɑ": 0.115,
    "ʌ": 0.079,
    "ə": 0.060,
    "ɨ": 0.067,
    "ɔ": 0.115,
    "ʊ": 0.063,
    "u": 0.108,
    "ɝ": 0.090,
    "p": 0.068,
    "b": 0.065,
    "m": 0.067,
    "f": 0.070,
    "v": 0.058,
    "θ": 0.081,
    "ð": 0.046,
    "t": 0.064,
    "d": 0.061,
    "ɾ": 0.059,
    "s": 0.078,
    "z": 0.084,
    "n": 0.061,
    "l": 0.062,
    "ʃ": 0.075,
    "ʒ": 0.069,
    "ʧ": 0.080,
    "ʤ": 0.074,
    "ɹ": 0.061,
    "j": 0.051,
    "w": 0.050,
    "k": 0.069,
    "ɡ": 0.069,
    "ŋ": 0.074,
    "h": 0.059,
    "eɪ": 0.144,
    "aɪ": 0.149,
    "ɔɪ": 0.178,
    "aʊ": 0.134,
    "oʊ": 0.145,
}
"""A phone's mean time where no pause follows."""
LENGTHENED = 1.46
"""From the last vowel before a pause on, phones last so many times as long."""
PAUSES = {SHORT: 0.3, LONG: 0.5}
"""Seconds of rest, chosen: a browser's voice reports where its next word begins."""
LEAD, TAIL = 0.1, 0.4
"""Seconds of rest before and after."""


@dataclass(frozen=True)
class SpokenWord:
    """A token of the text with its time in seconds; char, length: where it stands, in UTF-16 code
    units.
    """

    text: str
    start: float
    end: float
    char: int
    length: int


@dataclass(frozen=True)
class Timeline:
    """phones: in IPA with pauses as ``sil``, in order, without gaps. seconds: until the mouth is at
    rest again.
    """

    phones: tuple[Timed, ...]
    words: tuple[SpokenWord, ...]
    seconds: float


def phones_of(word: str) -> tuple[str, ...]:
    """A word's phones in IPA: from the dictionary where it is installed and has the word, else by
    rules. A word in capitals is spelled out.
    """
    if word.isupper():
        found = tuple(phone for letter in word for phone in LETTERS[letter].split())
    else:
        known = dictionary().get(word)
        found = known[0] if known else sound_out(word)
    return tuple(ARPABET[phone] for phone in found)


def timeline(text: str, rate: float = 1.0) -> Timeline:
    """The phones and words of an English text with their times; no words when there is nothing to
    say.

    rate: how fast, 2 for twice as fast.
    """
    phones: list[Timed] = []
    words: list[SpokenWord] = []
    now = LEAD / rate

    def silent(until: float) -> None:
        phones.append(Timed(SILENCE, phones[-1].end if phones else 0.0, until))

    spoken = [
        (token, tuple(phone for word in token.words for phone in phones_of(word)))
        for token in tokens(text)
    ]
    spoken = [(token, sounds) for token, sounds in spoken if sounds]
    if not spoken:
        return Timeline((), (), 0.0)
    silent(now)
    for place, (token, sounds) in enumerate(spoken):
        ends = token.pause is not None or place == len(spoken) - 1
        begin = now
        for phone, seconds in zip(sounds, durations(sounds, ends)):
            phones.append(Timed(phone, now, now + seconds / rate))
            now += seconds / rate
        words.append(SpokenWord(token.text, begin, now, token.char, token.length))
        if token.pause is not None and place < len(spoken) - 1:
            now += PAUSES[token.pause] / rate
            silent(now)
    silent(now + TAIL / rate)
    return Timeline(tuple(phones), tuple(words), now + TAIL / rate)


def durations(sounds: Sequence[str], ends: bool) -> list[float]:
    """Seconds of the phones of a word; ``ends``: a pause follows."""
    last = (
        max((k for k, phone in enumerate(sounds) if phone in VOWELS), default=0)
        if ends
        else len(sounds)
    )
    return [SECONDS[phone] * (LENGTHENED if k >= last else 1.0) for k, phone in enumerate(sounds)]
