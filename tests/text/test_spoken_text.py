"""From a text to words, phones and times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jambatalk.face.head import default_head
from jambatalk.text import timeline, timing
from jambatalk.text.g2p import by_rules, dictionary, sound_out, tables
from jambatalk.text.normalize import numeral, ordinal, tokens
from jambatalk.text.phone_motion import load_phone_motion
from jambatalk.text.phones import ARPABET, BILABIALS, PHONES, SILENCE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0", "zero"),
        ("19", "nineteen"),
        ("121", "one hundred twenty one"),
        ("1,000,001", "one million one"),
        ("3.14", "three point one four"),
        (".5", "point five"),
        ("007", "zero zero seven"),
        ("1984", "nineteen eighty four"),
        ("1905", "nineteen oh five"),
        ("1900", "nineteen hundred"),
        ("2000", "two thousand"),
        ("2005", "two thousand five"),
        ("2026", "twenty twenty six"),
        ("1,984", "one thousand nine hundred eighty four"),
        ("1" * 16, " ".join(["one"] * 16)),
        (
            "999999999999999",
            "nine hundred ninety nine trillion nine hundred ninety nine billion nine hundred "
            "ninety nine million "
            "nine hundred ninety nine thousand nine hundred ninety nine",
        ),
    ],
)
def test_numerals(text: str, words: str) -> None:
    assert " ".join(numeral(text)) == words


def test_ordinals() -> None:
    wanted = {
        1: "first",
        2: "second",
        12: "twelfth",
        20: "twentieth",
        33: "thirty third",
        100: "one hundredth",
    }
    assert {value: " ".join(ordinal(value)) for value in wanted} == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, world!", "hello world"),
        ("It’s 10:30.", "it's ten thirty"),
        ("Dr. Smith etc.", "doctor smith et cetera"),
        ("$3.50, £1 and €2,000", "three dollars fifty one pound and two thousand euros"),
        ("50% & more", "fifty percent and more"),
        ("the 21st", "the twenty first"),
        ("naïve café, Straße, Ærø", "naive cafe strasse aero"),
        ("the GPU of IBM", "the GPU of IBM"),
        ("NASA says IT IS OK", "nasa says it is OK"),
        ("v2.0", "V two point zero"),
        ("e.g. 'quoted'", "for example quoted"),
        ("rock-and-roll", "rock and roll"),
        ("中文 😀 ١٢", "twelve"),
        ("don't I'd", "don't i'd"),
        ("", ""),
        ("…--!?", ""),
    ],
)
def test_what_is_said_of_a_text(text: str, words: str) -> None:
    assert " ".join(word for token in tokens(text) for word in token.words) == words


def test_places_are_counted_as_browsers_count() -> None:
    """UTF-16: the face takes two."""
    text = "😀 one — 😀😀 two (three). Four\n\nfive"
    units = text.encode("utf-16-le")
    found = tokens(text)
    assert [units[2 * t.char : 2 * (t.char + t.length)].decode("utf-16-le") for t in found] == [
        t.text for t in found
    ]
    assert [(t.text, t.pause) for t in found] == [
        ("one", "short"),
        ("two", "short"),
        ("three", "long"),
        ("Four", "long"),
        ("five", None),
    ]


def test_the_rules_name_known_sounds_only() -> None:
    for lines in tables()[0].values():
        for _, letters, _, phones in lines:
            assert letters
            assert set(phones) <= set(ARPABET), letters
    assert all(set(phones) <= set(ARPABET) for phones in tables()[1].values())
    assert set(timing.SECONDS) >= set(ARPABET.values())
    assert all(set(phones.split()) <= set(ARPABET) for phones in timing.LETTERS.values())


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("thoughtful", "TH AO T F AH L"),
        ("knight", "N AY T"),
        ("make", "M EY K"),
        ("making", "M EY K IH NG"),
        ("stopped", "S T AA P T"),
        ("boxes", "B AA K S IH Z"),
        ("nation", "N EY SH AH N"),
        ("phone", "F OW N"),
        ("picture", "P IH K CH ER"),
        ("one", "W AH N"),
        ("people", "P IY P AH L"),
        ("women", "W IH M AH N"),
    ],
)
def test_words_by_rule_and_by_heart(word: str, phones: str) -> None:
    assert " ".join(sound_out(word)) == phones


def test_the_rules_agree_with_the_dictionary_where_lips_show_it() -> None:
    """Bilabials and labiodentals of every 40th word of the dictionary."""
    pytest.importorskip("pocketsphinx")
    plain = [word for word in dictionary() if word.isascii() and word.isalpha() and len(word) > 1][
        ::40
    ]
    assert len(plain) > 2000
    lips = {"P", "B", "M", "F", "V"}

    def seen(phones: tuple[str, ...]) -> list[str]:
        return [phone for phone in phones if phone in lips]

    agree = [seen(by_rules(word)) in [seen(way) for way in dictionary()[word]] for word in plain]
    assert np.mean(agree) > 0.93


def test_a_timeline_has_no_gaps_and_its_pauses_where_the_text_has_them() -> None:
    line = timeline("Peter, buy me a big map. Then go!")
    assert line.phones[0].text == SILENCE == line.phones[-1].text
    assert line.phones[0].start == 0.0
    assert line.phones[-1].end == line.seconds
    for a, b in zip(line.phones, line.phones[1:]):
        assert a.end == b.start
    assert {phone.text for phone in line.phones} <= set(PHONES)
    assert [word.text for word in line.words] == [
        "Peter",
        "buy",
        "me",
        "a",
        "big",
        "map",
        "Then",
        "go",
    ]
    between = [b.start - a.end for a, b in zip(line.words, line.words[1:])]
    assert between == pytest.approx([0.3, 0, 0, 0, 0, 0.5, 0])
    twice = timeline("Peter, buy me a big map. Then go!", rate=2.0)
    assert twice.seconds == pytest.approx(line.seconds / 2)


def test_lips_meet_in_the_right_words_and_rest_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the rules alone, as on a machine without the dictionary."""
    monkeypatch.setattr(timing, "dictionary", dict)
    line = timeline("Mama bought apples. She has nine cats.")
    face, model = default_head(), load_phone_motion()
    frames = int(line.seconds * 50)
    gap = face.lip_gap(model.weights(line.phones, frames, 50.0)) * 1e3
    for phone, start, end in line.phones:
        inside = gap[round(start * 50) : max(round(end * 50), round(start * 50) + 1)]
        if phone in BILABIALS:
            assert inside.min() < 1.0
    later = [word for word in line.words if word.text in ("She", "has", "nine", "cats")]
    assert gap[round(later[0].start * 50) + 2 : round(later[-1].end * 50)].min() > 1.0
    assert gap[-1] < 1.0


def test_nothing_to_say() -> None:
    assert timeline("中文 …").words == ()
    assert timeline("").seconds == 0.0


@given(st.text(max_size=80))
def test_any_text_has_a_timeline(text: str) -> None:
    line = timeline(text)
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    before = -1
    for word in line.words:
        assert before < word.char
        assert word.char + word.length <= units
        assert word.end > word.start
        before = word.char
    assert all(b.start == a.end for a, b in zip(line.phones, line.phones[1:]))
