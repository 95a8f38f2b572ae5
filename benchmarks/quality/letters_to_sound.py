"""How well the letter-to-sound rules read words, against the pronunciation dictionary that comes
with pocketsphinx.

    python benchmarks/quality/letters_to_sound.py [--clips ../shared/data/tts/clips.jsonl] [--half
    develop] [--worst 40]

Phone error rate: insertions, deletions and substitutions that turn the rules' phones into the
nearest of the dictionary's pronunciations, per phone of the latter. Mouth error rate: the same
after phones that look alike on the mouth are made one. The rules were written while looking at one
half of the words ("develop", by a checksum); the other half ("test") tells how they do on words not
looked at. --clips: a file with texts; its words are then measured too, once each and as often as
they occur.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from jambatalk.errors import InputError, MissingExtraError
from jambatalk.text.g2p import by_rules, dictionary, sound_out

LOOK_ALIKE = (
    "P B M",
    "F V",
    "TH DH",
    "CH JH SH ZH",
    "W",
    "R ER",
    "T D N L S Z K G NG HH Y",
    "IY IH",
    "EH EY AH",
    "AE AA AY AW",
    "AO OW OY",
    "UW UH",
)
"""Phones that one cannot tell apart by the lips and jaw: the tongue's work inside the mouth is not
seen.
"""
MOUTH = {phone: number for number, group in enumerate(LOOK_ALIKE) for phone in group.split()}

Pronunciations = Mapping[str, Sequence[tuple[str, ...]]]
Reader = Callable[[str], tuple[str, ...]]


def distance(a: Sequence[object], b: Sequence[object]) -> int:
    """Insertions, deletions and substitutions between two sequences."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def errors(word: str, known: Pronunciations, read: Reader) -> tuple[int, int, int, int]:
    """(wrong phones, phones, wrong mouth classes, 1 if the word is right) for one word."""
    said = read(word)
    counts = [(distance(said, right), len(right), right) for right in known[word]]
    wrong, length, right = min(counts, key=lambda count: count[0])
    looks = distance([MOUTH[phone] for phone in said], [MOUTH[phone] for phone in right])
    return wrong, length, looks, int(wrong == 0)


def row(words: Mapping[str, int], known: Pronunciations, read: Reader) -> list[str]:
    """The measures over words with their weights, as text."""
    totals = [0, 0, 0, 0]
    for word, times in words.items():
        for k, value in enumerate(errors(word, known, read)):
            totals[k] += times * value
    wrong, length, looks, right = totals
    weight = sum(words.values())
    return [
        f"{weight:,}",
        f"{100 * wrong / length:.1f} %",
        f"{100 * looks / length:.1f} %",
        f"{100 * right / weight:.1f} %",
    ]


def texts_words(path: Path, known: Pronunciations) -> Counter[str]:
    """How often each word that the dictionary knows occurs in the texts of a clips.jsonl."""
    try:
        texts = [json.loads(line)["text"].lower() for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no clips.jsonl with texts ({type(error).__name__})") from error
    return Counter(
        word for text in texts for word in re.findall(r"[a-z]+(?:'[a-z]+)*", text) if word in known
    )


def half_of(word: str) -> str:
    """ "develop" or "test"."""
    return "develop" if zlib.crc32(word.encode()) % 2 == 0 else "test"


def print_worst(words: Mapping[str, int], known: Pronunciations, count: int) -> None:
    """Words with the most errors: what to write the next rule for."""
    ranked = sorted(words, key=lambda word: (-words[word] * errors(word, known, by_rules)[2], word))
    for word in ranked[:count]:
        print(
            f"{words[word]:4d} {word:16s} {' '.join(by_rules(word)):40s} "
            f"{' / '.join(' '.join(p) for p in known[word])}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, help="clips.jsonl of the corpus of synthetic voices")
    parser.add_argument(
        "--half", choices=("develop", "test"), default="test", help="which half of the words"
    )
    parser.add_argument(
        "--every", type=int, default=10, help="of the dictionary's words, every n-th"
    )
    parser.add_argument(
        "--worst", type=int, default=0, help="show so many words that are read worst"
    )
    options = parser.parse_args()
    try:
        known = dictionary()
        if not known:
            raise MissingExtraError(
                'measuring needs the dictionary of pocketsphinx: pip install "jambatalk[align]"'
            )
        plain = [
            word
            for word in known
            if re.fullmatch("[a-z]{2,}", word) and half_of(word) == options.half
        ]
        sets = {f"dictionary, every {options.every}th word": Counter(plain[:: options.every])}
        if options.clips:
            occurring = texts_words(options.clips, known)
            chosen = {
                word: times for word, times in occurring.items() if half_of(word) == options.half
            }
            sets["texts' words, once each"] = Counter(dict.fromkeys(chosen, 1))
            sets["texts' words, as often as they occur"] = Counter(chosen)
        table = Table(title=f"letters to sound, half {options.half!r} of the words")
        for title in ("", "words", "phone errors", "mouth errors", "words right"):
            table.add_column(title, justify="right" if title else "left")
        for name, words in sets.items():
            table.add_row(f"{name}, rules alone", *row(words, known, by_rules))
            table.add_row(f"{name}, with the irregular words", *row(words, known, sound_out))
        Console(width=130).print(table)
        print_worst(list(sets.values())[-1], known, options.worst)
    except (InputError, MissingExtraError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
