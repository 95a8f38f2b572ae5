"""Words that no dictionary has: English letters to sounds by rule."""

from __future__ import annotations

import re
from functools import lru_cache

from jambatalk.live.spoken.irregular_words import IRREGULAR
from jambatalk.live.spoken.letter_rules import RULES, SHORTHAND

Rule = tuple[re.Pattern[str], str, re.Pattern[str], tuple[str, ...]]

SAME = {("T", "T"), ("D", "D"), ("S", "S"), ("Z", "Z"), ("K", "K"), ("L", "L"), ("N", "N"), ("M", "M"), ("P", "P"), ("B", "B"),
        ("F", "F"), ("R", "R"), ("G", "G"), ("V", "V"), ("ER", "R"), ("JH", "JH")}  # fmt: skip
"""Phones that are said once when letters on both sides of a seam give them twice."""


def _pattern(text: str) -> str:
    # A capital of the shorthand, but not one behind a backslash.
    return re.sub(r"(?<!\\)[CVSE]", lambda found: SHORTHAND[found[0]], text)


def _parts(line: str) -> list[str]:
    """A line split at the bars that stand in no brackets: only the contexts hold alternatives, always in brackets."""
    parts, depth = [""], 0
    for c in line:
        depth += (c in "([") - (c in ")]")
        if c == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += c
    return parts


@lru_cache(maxsize=1)
def rules() -> dict[str, list[Rule]]:
    """First letter -> its rules in order, as (left, letters, right, phones)."""
    found: dict[str, list[Rule]] = {}
    for line in RULES.split("\n"):
        if line:
            left, letters, right, phones = _parts(line)
            rule = re.compile(f"(?:{_pattern(left)})$"), letters, re.compile(_pattern(right)), tuple(phones.split())
            found.setdefault(letters[0], []).append(rule)
    return found


@lru_cache(maxsize=4096)
def sound_out(word: str) -> tuple[str, ...]:
    """Phones (the CMU dictionary's symbols without stress) of ``word``, lower-case a to z and apostrophes; () for none."""
    if word in IRREGULAR:
        return tuple(IRREGULAR[word].split())
    return by_rules(word)


def by_rules(word: str) -> tuple[str, ...]:
    """The same by the rules alone."""
    letters = word.replace("'", "")
    phones: list[str] = []
    place = 0
    table = rules()
    while place < len(letters):
        before, step = letters[:place], 1
        for left, graph, right, sounds in table.get(letters[place], ()):
            end = place + len(graph)
            if letters.startswith(graph, place) and right.match(letters[end:]) and left.search(before):
                for sound in sounds:
                    if not (phones and (phones[-1], sound) in SAME):
                        phones.append(sound)
                step = len(graph)
                break
        place += step
    return tuple(phones)
