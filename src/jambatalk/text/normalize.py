"""English numerals as words."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace

_SMALL = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
_TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_GROUPS = ("", "thousand", "million", "billion", "trillion")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
LONGEST = 3 * len(_GROUPS)
"""Digits of the largest number that is read as one; longer ones are read digit by digit."""


def cardinal(value: int) -> list[str]:
    """0 <= value < 1000**5: 121 -> one hundred twenty one."""
    if value < 20:
        return [_SMALL[value]]
    if value < 100:
        return [_TENS[value // 10], *(cardinal(value % 10) if value % 10 else ())]
    if value < 1000:
        return [_SMALL[value // 100], "hundred", *(cardinal(value % 100) if value % 100 else ())]
    words: list[str] = []
    for power in range(len(_GROUPS) - 1, -1, -1):
        group = value // 1000**power % 1000
        if group:
            words += [*cardinal(group), *([_GROUPS[power]] if power else ())]
    return words


def ordinal(value: int) -> list[str]:
    """21 -> twenty first."""
    *before, last = cardinal(value)
    if last in _ORDINALS:
        return [*before, _ORDINALS[last]]
    return [*before, (last[:-1] + "ie" if last.endswith("y") else last) + "th"]


def digits(text: str) -> list[str]:
    """Each digit by itself."""
    return [_SMALL[int(digit)] for digit in text]


def numeral(text: str) -> list[str]:
    """Words of ``text``: ASCII digits, with commas between thousands and a decimal point perhaps.

    Four digits without a comma that may be a year are read as one: 1984 is nineteen eighty four,
    2000 two thousand.
    """
    whole, _, part = text.partition(".")
    plain = whole.replace(",", "")
    if len(plain) > LONGEST or (len(plain) > 1 and plain[0] == "0"):
        words = digits(plain)
    elif (
        len(whole) == 4
        and whole.isdigit()
        and not part
        and (1100 <= int(whole) < 2000 or 2010 <= int(whole) < 2100)
    ):
        high, low = divmod(int(whole), 100)
        rest = ["hundred"] if low == 0 else ["oh", *cardinal(low)] if low < 10 else cardinal(low)
        words = [*cardinal(high), *rest]
    else:
        words = cardinal(int(plain)) if plain else []
    return [*words, "point", *digits(part)] if part else words


# A text as what is written of it: words with their places, and pauses.


SHORT, LONG = "short", "long"
"""Pauses inside a sentence and after it."""

_SYMBOLS = {
    "&": "and",
    "+": "plus",
    "=": "equals",
    "@": "at",
    "%": "percent",
    "°": "degrees",
    "×": "times",
    "€": "euros",
}
_MONEY = {"$": ("dollar", "dollars"), "£": ("pound", "pounds"), "€": ("euro", "euros")}
_ABBREVIATIONS = {
    "mr": "mister",
    "mrs": "missus",
    "ms": "miz",
    "dr": "doctor",
    "prof": "professor",
    "vs": "versus",
    "etc": "et cetera",
    "st": "saint",
    "mt": "mount",
    "jr": "junior",
    "sr": "senior",
    "approx": "approximately",
    "e.g": "for example",
    "i.e": "that is",
    "no": "number",
}
_TOKEN = re.compile(
    r"(?P<money>[$£€]\d[\d,]*(?:\.\d+)?)"
    r"|(?P<ordinal>\d[\d,]*(?:st|nd|rd|th)\b)"
    r"|(?P<number>\d[\d,]*(?:\.\d+)?|\.\d+)"
    r"|(?P<short_form>(?:e\.g|i\.e|(?:Mr|Mrs|Ms|Dr|Prof|vs|etc|St|Mt|Jr|Sr|approx)(?=\.)|No(?=\.\s*\d))\.?)"
    r"|(?P<word>[^\W\d_]+(?:['’][^\W\d_]+)*)"
    r"|(?P<symbol>[&+=@%°×€])"
    r"|(?P<long>[.!?…。！？]+(?=\s|$|[\"'”’)\]])|\n\s*\n)"
    r"|(?P<short>[,;:—–()\[\]]|\s-+\s|\n)"
)
_LETTER = {
    "æ": "ae",
    "œ": "oe",
    "ß": "ss",
    "ø": "o",
    "ð": "th",
    "þ": "th",
    "ł": "l",
    "đ": "d",
    "ı": "i",
}


@dataclass(frozen=True)
class Token:
    """What is written at once. words: in lower-case a to z and apostrophes; one in capitals is
    spelled out. char, length: where it stands, in UTF-16 code units, which is how browsers count.
    pause: SHORT or LONG after it, None for none.
    """

    text: str
    words: tuple[str, ...]
    char: int
    length: int
    pause: str | None = None


def tokens(text: str) -> list[Token]:
    """Words of ``text`` in order. What is neither English letters nor a number is left out."""
    found: list[Token] = []
    counted, units = 0, 0  # characters of the text, and their UTF-16 units
    for match in _TOKEN.finditer(text):
        kind, written = str(match.lastgroup), match[0]
        if kind in (SHORT, LONG):
            before, after = text[: match.start()][-1:], text[match.end() :][:1]
            if found and not (
                written == ":" and before.isdigit() and after.isdigit()
            ):  # no pause in 10:30
                found[-1] = replace(
                    found[-1], pause=LONG if LONG in (kind, found[-1].pause) else SHORT
                )
            continue
        words = tuple(_words(kind, written))
        if words:
            units += _utf16(text[counted : match.start()])
            counted = match.start()
            found.append(Token(written, words, units, _utf16(written)))
    return found


def _words(kind: str, written: str) -> list[str]:
    if kind == "money":
        return _money(written)
    if kind == "ordinal":
        plain = written[:-2].replace(",", "")
        return ordinal(int(plain)) if len(plain) <= 15 else digits(plain)
    if kind == "number":
        return numeral(_ascii_digits(written.rstrip(",")))
    if kind == "symbol":
        return [_SYMBOLS[written]]
    if kind == "short_form":
        return _ABBREVIATIONS[written.rstrip(".").lower()].split()
    bare = latin(written)
    letters = bare.replace("'", "")
    if not letters:
        return []
    if (
        letters == "ok"
        or (len(letters) == 1 and letters not in "aio")
        or (written.isupper() and _spelled_out(letters))
    ):
        return [letters.upper()]
    return [bare]


def _spelled_out(letters: str) -> bool:
    """Whether a word in capitals is an abbreviation that is read letter by letter: too few vowels,
    or very short.
    """
    vowels = sum(letter in "aeiouy" for letter in letters)
    return 2 <= len(letters) <= 6 and (
        vowels == 0 or (len(letters) <= 3 and letters not in _READ_AS_WORDS)
    )


_READ_AS_WORDS = {
    "a",
    "all",
    "am",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "but",
    "by",
    "can",
    "did",
    "do",
    "for",
    "get",
    "go",
    "had",
    "has",
    "he",
    "her",
    "him",
    "his",
    "how",
    "i",
    "if",
    "in",
    "is",
    "it",
    "its",
    "let",
    "may",
    "me",
    "my",
    "no",
    "not",
    "now",
    "of",
    "off",
    "oh",
    "on",
    "one",
    "or",
    "our",
    "out",
    "put",
    "say",
    "see",
    "she",
    "so",
    "the",
    "to",
    "too",
    "two",
    "up",
    "us",
    "use",
    "was",
    "way",
    "we",
    "who",
    "why",
    "yes",
    "yet",
    "you",
}


def _money(written: str) -> list[str]:
    one, many = _MONEY[written[0]]
    amount = _ascii_digits(written[1:].rstrip(","))
    whole, _, part = amount.partition(".")
    unit = one if whole == "1" and not part else many
    if len(part) == 2:
        return [
            *numeral(whole.replace(",", "") or "0"),
            unit,
            *(numeral(part.lstrip("0")) if part.strip("0") else ()),
        ]
    return [*numeral(amount), unit]


def _ascii_digits(text: str) -> str:
    """\\d also finds the digits of other scripts."""
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


def latin(word: str) -> str:
    """Lower-case a to z and apostrophes of a word: accents go, letters of other scripts too."""
    lower = "".join(_LETTER.get(c, c) for c in word.lower().replace("’", "'"))
    return re.sub("[^a-z']", "", unicodedata.normalize("NFKD", lower)).strip("'")


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
