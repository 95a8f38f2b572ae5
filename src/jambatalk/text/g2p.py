"""English words to phones: a dictionary where one is installed, else letter-to-sound rules.

Rules and irregular words are data, in assets/english.txt. Phones are the CMU dictionary's symbols
without stress (ARPAbet).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

Rule = tuple[re.Pattern[str], str, re.Pattern[str], tuple[str, ...]]

SHORTHAND = {
    "C": "[bcdfghjklmnpqrstvwxz]",
    "V": "[aeiouy]",
    "S": "[aeiouy].*[bcdfghjklmnpqrstvwxz]",
    "E": (
        "(?:th|[bcdfgjklmnpqrstvwz])(?:e|es|ed|er|ers|ing|ings|ely|eless|eful|ement|ements|able)$"
    ),
}
"""What the capital letters of a rule stand for."""

DOUBLED = "T D S Z K L N M P B F R G V JH"
SAME = {(phone, phone) for phone in DOUBLED.split()} | {("ER", "R")}
"""Phones that are spoken once when letters on both sides of a seam give them twice."""


@lru_cache(maxsize=4096)
def sound_out(word: str) -> tuple[str, ...]:
    """Read a word by the table of irregular words, else by the rules.

    Args:
        word: lower-case a to z and apostrophes.

    Returns:
        Its phones, () for none.
    """
    phones = tables()[1].get(word)
    return by_rules(word) if phones is None else phones


def by_rules(word: str) -> tuple[str, ...]:
    """Read a word by the rules alone."""
    letters = word.replace("'", "")
    phones: list[str] = []
    place = 0
    rules = tables()[0]
    while place < len(letters):
        before, step = letters[:place], 1
        for left, graph, right, sounds in rules.get(letters[place], ()):
            end = place + len(graph)
            if (
                letters.startswith(graph, place)
                and right.match(letters[end:])
                and left.search(before)
            ):
                for sound in sounds:
                    if not (phones and (phones[-1], sound) in SAME):
                        phones.append(sound)
                step = len(graph)
                break
        place += step
    return tuple(phones)


@lru_cache(maxsize=1)
def dictionary() -> Mapping[str, tuple[tuple[str, ...], ...]]:
    """Read the pronunciation dictionary that comes with pocketsphinx (the extra ``align``).

    Returns:
        Word in lower case -> its pronunciations, the most usual first; empty where pocketsphinx is
        not installed.
    """
    try:
        from pocketsphinx import get_model_path

        text = Path(get_model_path("en-us/cmudict-en-us.dict")).read_text("utf-8", "ignore")
    except (ImportError, OSError):
        return {}
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in text.splitlines():
        word, _, phones = line.partition(" ")
        # Further pronunciations of a word carry a number in brackets.
        found.setdefault(re.sub(r"\(\d+\)$", "", word), []).append(tuple(phones.split()))
    return {word: tuple(ways) for word, ways in found.items()}


@lru_cache(maxsize=1)
def tables() -> tuple[Mapping[str, list[Rule]], Mapping[str, tuple[str, ...]]]:
    """Read the rules (by their first letters, in order) and the irregular words."""
    rules: dict[str, list[Rule]] = {}
    words: dict[str, tuple[str, ...]] = {}
    section = ""
    for line in (files("jambatalk") / "assets" / "english.txt").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if line in ("[rules]", "[words]"):
            section = line
        elif section == "[rules]":
            left, letters, right, phones = _parts(line)
            before, after = re.compile(f"(?:{_pattern(left)})$"), re.compile(_pattern(right))
            rules.setdefault(letters[0], []).append((before, letters, after, tuple(phones.split())))
        else:
            word, *sounds = line.split()
            words[word] = tuple(sounds)
    return rules, words


def _pattern(text: str) -> str:
    # A capital of the shorthand, but not one behind a backslash.
    return re.sub(r"(?<!\\)[CVSE]", lambda found: SHORTHAND[found[0]], text)


def _parts(line: str) -> list[str]:
    """Split a line at the bars outside brackets: contexts put alternatives in brackets."""
    parts, depth = [""], 0
    for c in line:
        depth += (c in "([") - (c in ")]")
        if c == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += c
    return parts
