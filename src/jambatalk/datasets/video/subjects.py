"""Who speaks in which video, by folders and file names, and which clips are kept for testing."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jambatalk.datasets.dataset import safe_name
from jambatalk.datasets.source import Issue, visible
from jambatalk.datasets.video.decode import SUFFIXES
from jambatalk.errors import InputError

RULES = ("folder", "prefix", "file")

CAMERA = re.compile(
    r"(?:(?:VID|IMG|PXL|MVI|MOV|DSC|DSCF|DSCN|GOPR|GX|GH|WIN|SAM|CLIP)[_-]?)?\d[\d_ .-]{2,}",
    re.IGNORECASE,
)
"""Names that cameras and phones give: VID_20260102_101500, IMG_0042, 2026-01-02 10.15; they tell
nobody's name.
"""


@dataclass(frozen=True)
class Recording:
    """A video: who speaks in it, and the name of the sentence."""

    path: Path
    subject: str
    sentence: str


def find_recordings(raw: Path, subject: str | None = None) -> tuple[list[Recording], list[Issue]]:
    """The videos in ``raw`` and its sub-folders (or ``raw`` itself), and the files that cannot be
    named.

    subject: None: the sub-folder's name, else the file name's part before the last ``_`` (unless a
    camera gave the name), else one person, called like ``raw``. "folder", "prefix": only that.
    "file": a person per file. Anything else: the name of the one person in all of them. Raises
    InputError when there is none.
    """
    if raw.is_file():
        paths, raw = [raw], raw.parent
    elif raw.is_dir():
        paths = [p for p in visible(raw.rglob("*")) if p.suffix.lower() in SUFFIXES and p.is_file()]
        paths = [
            p for p in paths if not any(part.startswith(".") for part in p.relative_to(raw).parts)
        ]
    else:
        raise InputError(f"no such file or folder: {raw}")
    if not paths:
        raise InputError(f"{raw} holds no video: expected files ending in {', '.join(SUFFIXES)}")
    found, problems = [], []
    for path in paths:
        place = path.relative_to(raw)
        try:
            found.append(
                Recording(path, *(safe_name(name) for name in _names(place, raw, subject)))
            )
        except InputError as error:
            problems.append(Issue(place.as_posix(), str(error)))
    return found, problems


def _names(place: Path, raw: Path, subject: str | None) -> tuple[str, str]:
    """(subject, sentence) of a file at ``place`` below ``raw``."""
    stem = place.stem
    prefix, _, rest = stem.rpartition("_")
    whole = "-".join([*place.parts[:-1], stem])
    one = raw.resolve().name or "me"
    if subject not in (None, *RULES):
        return tidy(str(subject)), tidy(whole)
    if subject == "file":
        return tidy(whole), "1"
    if subject in (None, "folder") and len(place.parts) > 1:
        return tidy(place.parts[0]), tidy("-".join([*place.parts[1:-1], stem]))
    if subject in (None, "prefix") and prefix and rest and (subject or not CAMERA.fullmatch(stem)):
        return tidy(prefix), tidy("-".join([*place.parts[:-1], rest]))
    return tidy(one), tidy(whole)


def tidy(name: str) -> str:
    """A name with - for what no file name here may hold."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")


def hold_out(clips: Sequence[tuple[str, str]]) -> list[str | None]:
    """Of each subject's clips (subject, sentence) every tenth for "val" and every twentieth for
    "test", the others "train".

    Which ones is decided by a hash of their names, so a clip added later moves few others. Who has
    three clips has one of each, who has two none for "test". People of whom there is a single clip
    are taken together, as if they were one.
    """
    splits: dict[tuple[str, str], str] = {}
    groups: dict[str | None, list[tuple[str, str]]] = {}
    counts = Counter(subject for subject, _ in clips)
    for key in clips:
        groups.setdefault(key[0] if counts[key[0]] > 1 else None, []).append(key)
    for group in groups.values():
        own = sorted(group, key=lambda key: hashlib.sha256(repr(key).encode()).digest())
        val = max(1, len(own) // 10) if len(own) > 1 else 0
        test = max(1, len(own) // 20) if len(own) > 2 else 0
        for n, key in enumerate(own):
            splits[key] = "val" if n < val else "test" if n < val + test else "train"
    return [splits[key] for key in clips]
