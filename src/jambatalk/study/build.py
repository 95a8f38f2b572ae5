"""Building a study's folder: whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from jambatalk.atomic import file_sha256
from jambatalk.errors import InputError
from jambatalk.study import checks
from jambatalk.study.media import RenderOptions, Source, Video, find_clips, inspect_video, mux
from jambatalk.study.plan import (
    AB,
    MEDIA_FOLDER,
    STUDY_FILE,
    Mismatch,
    Settings,
    Shown,
    Study,
    Tones,
)
from jambatalk.study.trials import trials_per_rater

Progress = Callable[[int, int], None]
NOTABLE_SECONDS = 0.2
"""Lengths of two systems' videos of one clip that differ by more are mentioned."""


@dataclass(frozen=True)
class Built:
    """A new study, and notes about the videos."""

    study: Study
    notes: tuple[str, ...]


def build_study(
    systems: Mapping[str, str | os.PathLike[str]],
    out: str | os.PathLike[str],
    settings: Settings | None = None,
    *,
    options: RenderOptions | None = None,
    common: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Make the folder ``out`` with the trials of ``systems`` (name -> folder of videos or motions).

    options: how motions become videos. common: use the clips that all systems have, instead of
    refusing when they differ.
    progress: called with (files made, files in all). Everything is made in a hidden folder beside
    ``out`` that is renamed at the end, so ``out`` is whole or not there. InputError for fewer than
    two systems, clips that differ, files that browsers do not play, or an ``out`` that exists.
    """
    settings, options, out = settings or Settings(), options or RenderOptions(), Path(out)
    if settings.seed is None:
        settings = replace(settings, seed=secrets.randbits(63))
    _check_names(systems, settings)
    if out.exists():
        raise InputError(
            f"{out} exists already, expected a new folder: answers that belong to an older study "
            "must not mix"
        )
    found = {name: find_clips(Path(folder), options) for name, folder in systems.items()}
    clips = _clips(found, common)
    with _new_folder(out) as folder:
        maker = _Maker(folder / MEDIA_FOLDER, settings, options, progress)
        study = maker.make(
            out,
            {name: {clip: sources[clip] for clip in clips} for name, sources in found.items()},
            systems,
        )
        (folder / STUDY_FILE).write_text(
            json.dumps(study.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return Built(study, tuple(maker.notes))


def _check_names(systems: Mapping[str, object], settings: Settings) -> None:
    least = 2 if settings.kind == AB else 1
    if len(systems) < least:
        raise InputError(
            f"a study of kind {settings.kind} needs at least {least} systems, {len(systems)} given"
        )
    for name in systems:
        if not 1 <= len(name) <= 60 or not name.isprintable():
            raise InputError(f"a system is called {name!r}, expected 1 to 60 printable characters")
    if settings.against is not None and settings.against not in systems:
        raise InputError(
            f"--against names {settings.against!r}, expected one of {', '.join(systems)}"
        )


def _clips(found: Mapping[str, Mapping[str, Source]], common: bool) -> tuple[str, ...]:
    shared = set.intersection(*(set(clips) for clips in found.values()))
    for name, clips in found.items():
        for other, theirs in found.items():
            missing = sorted(set(theirs) - set(clips))
            if missing and not common:
                raise InputError(
                    f"system {name} has no clip {missing[0]!r}, which {other} has ({len(missing)} "
                    "such): give all systems "
                    "the same clips, or use --common for those that all have"
                )
    if not shared:
        raise InputError("the systems have no clip in common, expected files of the same names")
    return tuple(sorted(shared))


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside ``out`` that becomes ``out`` on success and vanishes on any error."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # It stays private (0700): with the key inside, whoever can read it is no longer blind.
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    try:
        (folder / MEDIA_FOLDER).mkdir()
        yield folder
        try:
            os.rename(folder, out)
        except OSError as error:
            raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Maker:
    """Writes the media under opaque names. ``notes`` collects what its owner should know."""

    def __init__(
        self, folder: Path, settings: Settings, options: RenderOptions, progress: Progress | None
    ) -> None:
        self.folder, self.settings, self.options = folder, settings, options
        self.notes: list[str] = []
        # Not from the seed: who knows it must not know the files of other raters.
        self._random = secrets.SystemRandom()
        self._progress, self._done, self._total = progress, 0, 0

    def make(
        self, out: Path, found: Mapping[str, Mapping[str, Source]], systems: Mapping[str, object]
    ) -> Study:
        clips = tuple(next(iter(found.values())))
        orders = checks.orders() if self.settings.headphones else []
        wrong = -(-self.settings.checks // 2) if self.settings.kind == AB and len(clips) > 1 else 0
        self._total = len(found) * len(clips) + len(orders) + bool(orders) + wrong
        pieces = [(system, clip) for system in found for clip in clips]
        # In random order, so that neither names nor times of the files tell which belong together.
        self._random.shuffle(pieces)
        media: dict[str, Shown] = {}
        videos: dict[tuple[str, str], Video] = {}
        for system, clip in pieces:
            name = self._video(found[system][clip])
            videos[system, clip] = video = inspect_video(self.folder / name)
            media[name] = Shown(
                system, clip, round(video.seconds, 3), file_sha256(self.folder / name)
            )
        self._compare(tuple(found), clips, videos)
        mismatches = self._mismatches(media, next(iter(found)), wrong)
        study = Study(
            out,
            secrets.token_hex(16),
            self.settings,
            tuple(found),
            clips,
            media,
            mismatches,
            tuple(self._tones(order) for order in orders),
            self._volume() if orders else None,
            {name: str(folder) for name, folder in systems.items()},
        )
        trials_per_rater(study)
        return study

    def _token(self) -> str:
        return secrets.token_hex(16)

    def _step(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)

    def _video(self, source: Source) -> str:
        if isinstance(source, Path):
            inspect_video(source)
            name = self._token() + source.suffix.lower()
            mux(source, source, self.folder / name)
        else:
            from jambatalk.render.video import write_video

            name = self._token() + ".mp4"
            write_video(source(), self.folder / name, size=self.options.size)
        self._step()
        return name

    def _compare(
        self,
        systems: tuple[str, ...],
        clips: tuple[str, ...],
        videos: Mapping[tuple[str, str], Video],
    ) -> None:
        """Differences by which a rater could tell systems apart, or by which one has an
        advantage.
        """
        first = systems[0]
        for system in systems[1:]:
            for what, differs in (
                ("picture size", lambda a, b: a.size != b.size),
                ("frame rate", lambda a, b: abs(a.fps - b.fps) > 0.5),
                ("length", lambda a, b: abs(a.seconds - b.seconds) > NOTABLE_SECONDS),
            ):
                other = [
                    clip for clip in clips if differs(videos[first, clip], videos[system, clip])
                ]
                if other:
                    self.notes.append(
                        f"{what} of {first} and {system} differs in {len(other)} clips, such as "
                        f"{other[0]}"
                    )

    def _mismatches(
        self, media: Mapping[str, Shown], first: str, wanted: int
    ) -> tuple[Mismatch, ...]:
        """Videos of another clip's face with this clip's sound, of nearly the same length, all of
        one system: ``against`` or the first.
        """
        if not wanted:
            return ()
        trusted = self.settings.against or first
        own = sorted((one.clip, name) for name, one in media.items() if one.system == trusted)
        found = []
        for i in range(wanted):
            clip, right = own[i % len(own)]
            others = [
                (abs(media[n].seconds - media[right].seconds), c, n)
                for c, n in own
                if n != right and n[-4:] == right[-4:]
            ]
            if not others:
                continue
            others.sort()
            _, face_of, pictures = others[(i // len(own)) % len(others)]
            wrong = self._token() + Path(right).suffix
            mux(self.folder / pictures, self.folder / right, self.folder / wrong)
            found.append(Mismatch(right, wrong, clip, face_of))
            self._step()
        return tuple(found)

    def _tones(self, order: tuple[str, ...]) -> Tones:
        name = self._token() + ".wav"
        checks.write_sound(
            self.folder / name, checks.three_tones(order, self.settings.tone_seconds)
        )
        self._step()
        return Tones(name, order.index("quiet") + 1)

    def _volume(self) -> str:
        name = self._token() + ".wav"
        checks.write_sound(self.folder / name, checks.noise(4 * self.settings.tone_seconds))
        self._step()
        return name
