"""English numerals as words."""

from __future__ import annotations

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_GROUPS = ("", "thousand", "million", "billion", "trillion")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
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

    Four digits without a comma that may be a year are read as one: 1984 is nineteen eighty four, 2000 two thousand.
    """
    whole, _, part = text.partition(".")
    plain = whole.replace(",", "")
    if len(plain) > LONGEST or (len(plain) > 1 and plain[0] == "0"):
        words = digits(plain)
    elif len(whole) == 4 and not part and (1100 <= int(whole) < 2000 or 2010 <= int(whole) < 2100):
        high, low = divmod(int(whole), 100)
        rest = ["hundred"] if low == 0 else ["oh", *cardinal(low)] if low < 10 else cardinal(low)
        words = [*cardinal(high), *rest]
    else:
        words = cardinal(int(plain)) if plain else []
    return [*words, "point", *digits(part)] if part else words
