"""One job: what is wanted, and how far it is."""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from jambatalk.errors import InputError
from jambatalk.export import FORMATS

QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
KINDS = tuple(suffix[1:] for suffix in FORMATS)
"""What can be made of speech."""

LONGEST_NAME = 120
LARGEST_SIDE = 1024


@dataclass(frozen=True)
class JobOptions:
    """What to make: format (one of ``KINDS``), frames a second, pixels each way, who speaks, how, and with which life."""

    format: str = "mp4"
    fps: float | None = None
    size: int = 512
    identity: str | None = None
    style: str | None = None
    life: str = "off"

    def __post_init__(self) -> None:
        from jambatalk.life import LifeSettings

        if self.format not in KINDS:
            raise InputError(f"format is {self.format[:40]!r}, expected one of {', '.join(KINDS)}")
        if self.fps is not None and not 1 <= self.fps <= 240:
            raise InputError(f"fps is {self.fps}, expected 1 to 240")
        if not 16 <= self.size <= LARGEST_SIDE:
            raise InputError(f"size is {self.size}, expected 16 to {LARGEST_SIDE} pixels")
        LifeSettings.parse(self.life)


@dataclass(frozen=True)
class Job:
    """Times in seconds since 1970. attempts: how often a worker began. seconds: of sound. bytes: of the result."""

    id: str
    name: str
    options: JobOptions
    created: float
    status: str = QUEUED
    stage: str = ""
    progress: float = 0.0
    attempts: int = 0
    seconds: float | None = None
    finished: float | None = None
    bytes: int | None = None
    error: str | None = None
    upload_bytes: int = field(default=0)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in (DONE, FAILED)

    @property
    def result(self) -> str:
        """Name of its result in its folder."""
        return f"result.{self.options.format}"

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Job:
        """From what ``plain`` gave. InputError when it is none."""
        try:
            known = {one.name for one in fields(cls)}
            return cls(**{k: v for k, v in values.items() if k in known} | {"options": JobOptions(**values["options"])})
        except (TypeError, KeyError, AttributeError) as error:
            raise InputError(f"a stored job is damaged ({error})") from error

    def with_(self, **changes: Any) -> Job:
        """A copy."""
        return replace(self, **changes)


def label(name: str) -> str:
    """A name that a client gave, fit for showing and for a file's name: no folders, no control or reserved characters."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join("_" if c in '<>:"|?*\\/;' or unicodedata.category(c)[0] == "C" else c for c in base)
    return kept.strip(" .")[:LONGEST_NAME] or "speech"
