"""What a study is: its settings, its media, and the key that says which file shows which system.
All in ``study.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import combinations
from pathlib import Path
from typing import Any

from jambatalk.errors import InputError, reading, shown

FORMAT, VERSION = "jambatalk-study", 1
STUDY_FILE, ANSWERS_FILE, MEDIA_FOLDER = "study.json", "answers.sqlite", "media"
AB, MOS = "ab", "mos"

QUESTIONS = {
    AB: (
        "In which video do the lips fit the speech better?",
        "In which video does the face look more natural?",
    ),
    MOS: ("How well do the lips fit the speech?", "How natural does the face look?"),
}
"""What is asked unless the study says otherwise. The first question is about the lips: attention
checks are graded by it.
"""

CONSENT = """You will watch short videos of talking faces and say what you think of them.

Taking part is voluntary. You may stop at any time, and you may delete your answers while this \
page is open.

What is stored: your answers, how long each one took and how often you played the videos, under a \
random number that only this browser knows. No name, no address, no IP address and nothing about \
your device is stored."""


@dataclass(frozen=True)
class Settings:
    """How a study is wanted.

    kind: "ab" (two videos, which one?) or "mos" (one video, 1 to 5). questions: empty for the usual
    ones of the kind.
    ties: whether "no difference" may be answered ("ab" only). trials: per rater, None for all there
    are, at most 24.
    checks: attention checks per rater. headphones: tone trials per rater, 0 for none. against:
    compare only pairs with this system ("ab"). tone_seconds: length of each of a trial's three
    tones. seed: of everything random; None draws one.
    """

    kind: str = AB
    questions: tuple[str, ...] = ()
    ties: bool = False
    trials: int | None = None
    checks: int = 4
    headphones: int = 6
    against: str | None = None
    tone_seconds: float = 1.0
    seed: int | None = None
    title: str = "Talking faces"
    consent: str = CONSENT

    def __post_init__(self) -> None:
        if self.kind not in QUESTIONS:
            raise InputError(f"the kind of study is {self.kind!r}, expected ab or mos")
        if self.ties and self.kind != AB:
            raise InputError(
                "ties belong to studies of kind ab: a mean-opinion study compares nothing"
            )
        if self.against is not None and self.kind != AB:
            raise InputError(
                "--against belongs to studies of kind ab: a mean-opinion study compares nothing"
            )
        questions = tuple(text.strip() for text in self.questions) or QUESTIONS[self.kind]
        if (
            len(questions) > 10
            or any(not 1 <= len(text) <= 300 for text in questions)
            or len(set(questions)) < len(questions)
        ):
            raise InputError(
                "questions must be 1 to 10 different texts of 1 to 300 characters each"
            )
        object.__setattr__(self, "questions", questions)
        for name, least, most in (("trials", 1, 500), ("checks", 0, 50), ("headphones", 0, 24)):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise InputError(f"{name} per rater is {value}, expected {least} to {most}")
        if not 0.05 <= self.tone_seconds <= 5:
            raise InputError(f"tones last {self.tone_seconds} s, expected 0.05 to 5")
        if not self.title.strip() or len(self.title) > 200:
            raise InputError("the title must have 1 to 200 characters")
        if not self.consent.strip() or len(self.consent) > 20_000:
            raise InputError(
                "the consent text must have 1 to 20,000 characters: nobody may be asked without one"
            )

    @property
    def question_ids(self) -> tuple[str, ...]:
        """``q1``, ``q2`` ...: the names of the questions in answers."""
        return tuple(f"q{i}" for i in range(1, len(self.questions) + 1))

    @property
    def choices(self) -> tuple[Any, ...]:
        """What a question may be answered with."""
        if self.kind == MOS:
            return (1, 2, 3, 4, 5)
        return ("A", "B", "tie") if self.ties else ("A", "B")


@dataclass(frozen=True)
class Shown:
    """One video: system and clip are the key, which is never served. seconds: its length. sha256:
    of the file.
    """

    system: str
    clip: str
    seconds: float
    sha256: str


@dataclass(frozen=True)
class Mismatch:
    """A wrong clip for attention checks: ``right`` is a video of the study, ``wrong`` shows another
    clip's face to its sound.
    """

    right: str
    wrong: str
    clip: str
    face_of: str


@dataclass(frozen=True)
class Tones:
    """Three tones in a row; ``quiet`` (1 to 3) is the quietest one."""

    file: str
    quiet: int


@dataclass(frozen=True)
class Study:
    """A built study. media: file name -> Shown. mismatches: for checks. tones: for the headphones
    check. volume: file or None.
    """

    folder: Path
    id: str
    settings: Settings
    systems: tuple[str, ...]
    clips: tuple[str, ...]
    media: Mapping[str, Shown]
    mismatches: tuple[Mismatch, ...] = ()
    tones: tuple[Tones, ...] = ()
    volume: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The pairs of systems that are compared, in the order of ``systems``."""
        found = combinations(self.systems, 2)
        return tuple(pair for pair in found if self.settings.against in (None, *pair))

    @property
    def files(self) -> frozenset[str]:
        """The names of all files that may be served."""
        names = {*self.media, *(m.wrong for m in self.mismatches), *(t.file for t in self.tones)}
        return frozenset(names | ({self.volume} if self.volume else set()))

    def as_json(self) -> dict[str, Any]:
        """What ``study.json`` holds."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "id": self.id,
            "settings": asdict(self.settings),
            "systems": list(self.systems),
            "clips": list(self.clips),
            "sources": dict(self.sources),
            "media": {name: asdict(one) for name, one in self.media.items()},
            "mismatches": [asdict(one) for one in self.mismatches],
            "tones": [asdict(one) for one in self.tones],
            "volume": self.volume,
        }


def load_study(folder: str | Path) -> Study:
    """The study in ``folder``. InputError when there is none, or it is damaged or of a newer
    version.
    """
    folder = Path(folder)
    path = folder / STUDY_FILE
    if not path.is_file():
        raise InputError(
            f"{folder} is not a study: it has no {STUDY_FILE} (written by jambatalk study build)"
        )
    with reading(path, "a study"):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.get("format") != FORMAT or found.get("version") != VERSION:
            raise InputError(
                f"{path} is of format {shown(found.get('format'))} "
                f"{shown(found.get('version'))}, expected {FORMAT} {VERSION}"
            )
        unknown = set(found["settings"]) - {one.name for one in fields(Settings)}
        if unknown:
            raise InputError(f"{path} has an unknown setting {shown(min(unknown))}")
        settings = Settings(
            **{**found["settings"], "questions": tuple(found["settings"]["questions"])}
        )
        study = Study(
            folder,
            str(found["id"]),
            settings,
            tuple(found["systems"]),
            tuple(found["clips"]),
            {name: Shown(**one) for name, one in found["media"].items()},
            tuple(Mismatch(**one) for one in found["mismatches"]),
            tuple(Tones(**one) for one in found["tones"]),
            found["volume"],
            found["sources"],
        )
    missing = [name for name in sorted(study.files) if not (folder / MEDIA_FOLDER / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} is incomplete: {len(missing)} of its {len(study.files)} media files are "
            "missing"
        )
    return study
