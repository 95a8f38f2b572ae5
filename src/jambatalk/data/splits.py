"""Which clip is for training and which for testing, by the names under which the field knows the ways to divide a corpus."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

Key = tuple[str, str]
"""(subject, sentence) of a clip."""

Scheme = Callable[[Sequence[Key]], list[str | None]]
"""All clips of a corpus -> the split of each; None for a clip that the scheme leaves out."""

VOCASET_SUBJECTS = {
    "train": ("170728_03272", "170904_00128", "170725_00137", "170915_00223",
              "170811_03274", "170913_03279", "170904_03276", "170912_03278"),
    "val": ("170811_03275", "170908_03277"),
    "test": ("170809_00138", "170731_00024"),
}  # fmt: skip
VOCASET_SPLIT = {f"FaceTalk_{name}_TA": split for split, names in VOCASET_SUBJECTS.items() for name in names}

BIWI_TRAIN = ("F2", "F3", "F4", "M3", "M4", "M5")
BIWI_UNSEEN = ("F1", "F5", "F6", "F7", "F8", "M1", "M2", "M6")


def number(sentence: str) -> int:
    """The number at the end of a sentence's name, ``sentence07`` -> 7; -1 without one."""
    found = re.search(r"\d+$", sentence)
    return int(found[0]) if found else -1


def _voca(clips: Sequence[Key]) -> list[str | None]:
    """8, 2 and 2 subjects with all their sentences: 320, 80 and 80 clips."""
    return [VOCASET_SPLIT.get(subject) for subject, _ in clips]


def _faceformer(clips: Sequence[Key]) -> list[str | None]:
    """The same subjects, but only sentences 21 to 40 to validate and test with: 320, 40 and 40 clips."""
    splits = _voca(clips)
    return [split if split == "train" or 21 <= number(sentence) <= 40 else None for split, (_, sentence) in zip(splits, clips)]


def _codetalker(clips: Sequence[Key]) -> list[str | None]:
    """The emotional sentences of BIWI: 192 train, 24 val, 24 test_a (subjects of train) and 32 test_b (other subjects)."""
    return [_codetalker_split(subject, sentence) for subject, sentence in clips]


def _codetalker_split(subject: str, sentence: str) -> str | None:
    if not sentence.startswith("e"):
        return None
    place = number(sentence)
    if subject in BIWI_TRAIN:
        for split, first, last in (("train", 1, 32), ("val", 33, 36), ("test_a", 37, 40)):
            if first <= place <= last:
                return split
    return "test_b" if subject in BIWI_UNSEEN and 37 <= place <= 40 else None


def _scantalk(clips: Sequence[Key]) -> list[str | None]:
    """The neutral sentences of BIWI: subjects F7 and M5 val, F8 and M6 test, the other ten train."""
    held = {"F7": "val", "M5": "val", "F8": "test", "M6": "test"}
    known = BIWI_TRAIN + BIWI_UNSEEN
    return [held.get(subject, "train") if subject in known and sentence.isdigit() else None for subject, sentence in clips]


def _sentences(clips: Sequence[Key]) -> list[str | None]:
    """By sentence, whoever says it: the last tenth test, the tenth before it val, the others train (at least one each)."""
    names = sorted({sentence for _, sentence in clips})
    held = max(1, len(names) // 10) if len(names) >= 3 else 0
    split = dict.fromkeys(names, "train")
    split |= dict.fromkeys(names[len(names) - 2 * held :], "val")
    split |= dict.fromkeys(names[len(names) - held :], "test")
    return [split[sentence] for _, sentence in clips]


def own_splits(known: Mapping[Key, str | None]) -> Scheme:
    """The splits that a corpus brings itself, by (subject, sentence)."""
    return lambda clips: [known.get(key) for key in clips]


VOCASET: Mapping[str, Scheme] = {"faceformer": _faceformer, "voca": _voca}
BIWI: Mapping[str, Scheme] = {"codetalker": _codetalker, "scantalk": _scantalk}
ANY: Mapping[str, Scheme] = {"sentences": _sentences}


def schemes_for(subjects: Sequence[str]) -> Mapping[str, Scheme]:
    """The schemes for a corpus of unknown origin, told by its subjects' names; the first is the usual one."""
    names = set(subjects)
    if names and names <= set(VOCASET_SPLIT):
        return VOCASET
    if names and names <= set(BIWI_TRAIN + BIWI_UNSEEN):
        return BIWI
    return ANY
