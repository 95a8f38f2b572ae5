"""From a raw corpus to a prepared one: clip by clip, in parallel, resumable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.atomic import atomic_write, file_sha256
from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.dataset import (
    FORMAT,
    MANIFEST,
    OFFSETS,
    VERSION,
    WEIGHTS,
    open_prepared,
    safe_name,
    write_array,
    write_clip,
    write_json,
)
from jambatalk.datasets.regions import FILE as REGIONS
from jambatalk.datasets.regions import MASK_FILES, Regions, corpus_regions
from jambatalk.datasets.registry import corpus_kind
from jambatalk.datasets.safe_pickle import read_pickle
from jambatalk.datasets.source import (
    IN_METRES,
    SHAPES,
    ClipData,
    CorpusKind,
    Issue,
    PrepareOptions,
    SourceClip,
    SourceCorpus,
)
from jambatalk.errors import InputError
from jambatalk.file_lock import is_locked, locked

LONGEST_DIFFERENCE = 1.0
"""Seconds by which sound and motion may differ in length; beyond, one of them is cut off or belongs
to another clip.
"""

ROUNDING = 1e-3
"""How far a weight may lie outside 0..1; it is cut to that range."""


@dataclass(frozen=True)
class Outcome:
    """What a run did: clips made and clips that were there already, what failed and why, and the
    splits.

    splits: scheme -> split -> clips. limited: whether clips were left out because of a limit.
    quality: of recordings that were tracked here. regions: of the mesh, None where they are not
    known or the corpus moves shapes; lines: what to print about them.
    """

    folder: Path
    made: int
    kept: int
    failed: tuple[Issue, ...]
    splits: Mapping[str, Mapping[str, int]]
    limited: bool
    quality: Mapping[str, Any] | None = None
    regions: Regions | None = None
    lines: tuple[str, ...] = ()


def prepare(
    kind: str | CorpusKind,
    raw: str | Path,
    out: str | Path,
    options: PrepareOptions | None = None,
    half: bool = False,
    jobs: int | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    per_split: int | None = None,
) -> Outcome:
    """Turn the raw corpus of ``kind`` in ``raw`` into a prepared one in ``out``.

    kind: a registered name, or what reads the corpus. half: store offsets as float16 (half the
    size, about 0.01 mm). jobs: threads, None for one per processor up to eight. limit: only so many
    clips. per_split: only so many of each split of the usual scheme, for trials. progress: called
    with (done, in all) clips. Clips that are there, unchanged in their sources and whole, are kept.
    Damaged clips are left out and named in the result and the
    manifest. Raises InputError when the corpus as a whole cannot be read, or ``out`` holds another
    one.
    """
    raw, out = Path(raw), Path(out)
    reader = kind if isinstance(kind, CorpusKind) else corpus_kind(kind)
    if limit is not None and limit < 1:
        raise InputError(f"a limit of {limit} clips, expected at least 1")
    _check_folder(out, {"corpus": reader.name})
    try:
        with locked(out / LOCK, str(out)):
            return _prepare(reader, raw, out, options, half, jobs, limit, progress, per_split)
    finally:  # a corpus that cannot be read leaves no folder behind
        with suppress(OSError):
            if [path.name for path in out.iterdir()] == [LOCK] and not is_locked(out / LOCK):
                (out / LOCK).unlink()
                out.rmdir()


def _prepare(
    kind: CorpusKind,
    raw: Path,
    out: Path,
    options: PrepareOptions | None,
    half: bool,
    jobs: int | None,
    limit: int | None,
    progress: Callable[[int, int], None] | None,
    per_split: int | None = None,
) -> Outcome:
    corpus = kind.open(
        raw,
        replace(options or PrepareOptions(), scratch=out / SCRATCH, jobs=jobs, progress=progress),
    )
    clips, failed = _distinct(corpus)
    settings: dict[str, Any] = {
        "corpus": kind.name,
        "fps": float(corpus.fps),
        "dtype": "float16" if half else "float32",
    }
    if corpus.unit == SHAPES:
        settings["names"] = list(corpus.names)
    _check_folder(out, settings)
    _sweep(out)
    chosen = (clips if per_split is None else _some_of_each(corpus, clips, per_split))[:limit]
    for subject in dict.fromkeys(clip.subject for clip in chosen if corpus.unit != SHAPES):
        write_array(out / "templates" / f"{subject}.npy", corpus.templates[subject])
    if corpus.triangles is not None:
        write_array(out / "triangles.npy", corpus.triangles.astype(np.int32))

    for name in MASK_FILES:
        copy_masks(corpus.folder, out, name)
    records: dict[str, dict[str, Any]] = {}
    made = 0
    workers = jobs or min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        running: dict[Future[tuple[dict[str, Any], bool]], SourceClip] = {
            pool.submit(_one, corpus, clip, out, settings): clip for clip in chosen
        }
        try:
            for count, done in enumerate(as_completed(running), 1):
                clip = running[done]
                try:
                    records[clip.name], fresh = done.result()
                    made += fresh
                except InputError as error:
                    failed.append(Issue(clip.name, str(error)))
                    _remove(out, clip.name)
                if progress is not None:
                    progress(count, len(chosen))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    failed.sort()
    splits = _write_manifest(
        corpus,
        clips,
        [records[clip.name] for clip in chosen if clip.name in records],
        failed,
        out,
        settings,
    )
    if corpus.quality is not None:
        write_json(out / QUALITY, corpus.quality)
    regions: Regions | None = None
    lines: tuple[str, ...] = ()
    if corpus.unit != SHAPES and records:
        regions, lines = _write_regions(corpus, out)
    return Outcome(
        out,
        made,
        len(records) - made,
        tuple(failed),
        splits,
        len(chosen) < len(clips),
        corpus.quality,
        regions,
        lines,
    )


def _write_regions(corpus: SourceCorpus, out: Path) -> tuple[Regions | None, tuple[str, ...]]:
    """Write the regions of a mesh beside the manifest, where they can be found; say which."""
    if corpus.regions is not None:
        write_json(out / REGIONS, corpus.regions)
        return Regions.load(out / REGIONS, len(next(iter(corpus.templates.values())))), ()
    try:
        regions = corpus_regions(open_prepared(out), stored=False)
    except InputError as error:
        (out / REGIONS).unlink(missing_ok=True)
        return None, (f"no lips are known: {error}",)
    regions.save(out / REGIONS)
    return regions, tuple(regions.lines)


def copy_masks(raw: Path, out: Path, name: str) -> None:
    """Copy a file of masks from beside the raw corpus, checked to hold regions by name.

    Raises:
        InputError: It is damaged or holds something else.
    """
    found = next(
        (place / name for place in (raw, raw / "templates") if (place / name).is_file()), None
    )
    if found is None:
        return
    if not isinstance(read_pickle(found), dict):
        raise InputError(f"{found} holds no regions by name, expected its owner's file")
    with atomic_write(out / name) as temporary:
        temporary.write_bytes(found.read_bytes())


def _some_of_each(corpus: SourceCorpus, clips: list[SourceClip], count: int) -> list[SourceClip]:
    """The first ``count`` clips of every split by the first scheme that has a split to train on."""
    keys = [(clip.subject, clip.sentence) for clip in clips]
    drawn = [scheme(keys) for scheme in corpus.schemes.values()]
    splits = next((one for one in drawn if "train" in one), drawn[0])
    seen: dict[str, int] = {}
    chosen = []
    for clip, split in zip(clips, splits, strict=True):
        if split is not None and seen.setdefault(split, 0) < count:
            seen[split] += 1
            chosen.append(clip)
    return chosen


def _distinct(corpus: SourceCorpus) -> tuple[list[SourceClip], list[Issue]]:
    """The clips by name, without those whose name cannot be a file's or occurs twice."""
    clips: dict[str, SourceClip] = {}
    problems = list(corpus.problems)
    for clip in sorted(corpus.clips, key=lambda clip: (clip.subject, clip.sentence)):
        try:
            safe_name(clip.name)
        except InputError as error:
            problems.append(Issue(clip.name[:80], str(error)))
            continue
        # Compared without case: some systems' files do not distinguish F1_E01 from F1_e01.
        if clip.name.casefold() in clips:
            problems.append(Issue(clip.name, "two clips of this name"))
            continue
        clips[clip.name.casefold()] = clip
    if not clips:
        reason = f": {problems[0].name}: {problems[0].reason}" if problems else ""
        raise InputError(f"{corpus.folder} holds no clip of {corpus.kind} that can be read{reason}")
    return list(clips.values()), problems


def _check_folder(out: Path, settings: Mapping[str, Any]) -> None:
    if (
        out.is_dir()
        and not (out / MANIFEST).is_file()
        and any(p.name not in CONTENTS for p in out.iterdir())
    ):
        raise InputError(f"{out} holds other files, expected an empty folder or a prepared corpus")
    found = {}
    with suppress(OSError, ValueError):  # a damaged manifest is made anew
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    if isinstance(found, dict) and (
        theirs := [_short(k, found[k]) for k, v in settings.items() if found.get(k, v) != v]
    ):
        raise InputError(
            f"{out} holds a corpus prepared otherwise ({', '.join(theirs)}): choose another folder"
        )


def _short(key: str, value: Any) -> str:
    return f"{key} {value}" if not isinstance(value, list) else f"{len(value)} {key}"


SCRATCH, QUALITY = "tracked", "quality.json"
LOCK = ".prepare.lock"
CONTENTS = ("clips", "templates", "triangles.npy", SCRATCH, QUALITY, REGIONS, LOCK, *MASK_FILES)


def _sweep(out: Path) -> None:
    """Remove the unfinished files of a run that was killed."""
    for place in (out, out / "clips", out / "templates", out / SCRATCH):
        for path in place.glob(".*"):
            if path.is_file() and path.suffix in (".npy", ".npz", ".flac", ".json"):
                path.unlink()


def _one(
    corpus: SourceCorpus, clip: SourceClip, out: Path, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], bool]:
    """(the clip's record, whether it had to be made)."""
    details = {
        **{key: value for key, value in settings.items() if key != "names"},
        "subject": clip.subject,
        "sentence": clip.sentence,
        "unit": corpus.unit,
        "text": clip.text,
        "licence": corpus.licence,
        "source": corpus.folder.name,
        "pseudo": clip.pseudo,
        "weight": clip.weight,
        "recipe": corpus.recipe,
        "sources": [_source(path, corpus.folder) for path in clip.sources],
        **clip.notes,
    }
    timed = {"words": clip.words, "phones": clip.phones}
    known = {key: [list(one) for one in value] for key, value in timed.items() if value is not None}
    if (kept := _kept(out, clip.name, details | known)) is not None:
        return kept, False
    loaded = clip.load()
    timed |= {key: value for key in timed if (value := getattr(loaded, key)) is not None}
    details |= {
        key: None if value is None else [list(one) for one in value] for key, value in timed.items()
    }
    details |= loaded.notes or {}
    motion = _weights(corpus, loaded) if corpus.unit == SHAPES else _offsets(corpus, clip, loaded)
    sound, seen = len(loaded.speech.samples) / SAMPLE_RATE, len(motion) / corpus.fps
    if abs(sound - seen) > LONGEST_DIFFERENCE:
        raise InputError(
            f"its sound lasts {sound:.2f} s and its motion {seen:.2f} s: one of them is cut off or "
            "another clip's"
        )
    motion = motion.astype(settings["dtype"])
    if not np.isfinite(motion).all():
        raise InputError("its offsets are too large for float16: leave out --half")
    extra = {}
    for key, dtype, width in (
        ("gap", np.float32, ()),
        ("tracked", np.bool_, ()),
        ("head_pose", np.float32, (3,)),
    ):
        if (values := getattr(loaded, key)) is not None:
            if np.shape(values) != (len(motion), *width):
                raise InputError(
                    f"its {key} has shape {np.shape(values)}, its motion {len(motion)} frames"
                )
            extra[key] = np.asarray(values, dtype)
    return write_clip(out, clip.name, motion, loaded.speech.samples, details, extra), True


def _offsets(corpus: SourceCorpus, clip: SourceClip, loaded: ClipData) -> NDArray[Any]:
    """(T, V, 3) offsets of the positions from the subject's template."""
    positions, template = loaded.motion, corpus.templates[clip.subject]
    if positions.shape[1:] != template.shape:
        raise InputError(
            f"it moves {positions.shape[1]} vertices, the template of {clip.subject} has "
            f"{len(template)}"
        )
    if not np.isfinite(positions).all():
        raise InputError(
            f"frame {np.argwhere(~np.isfinite(positions))[0][0]} holds positions that are not "
            "finite"
        )
    return np.asarray(positions - template)


def _weights(corpus: SourceCorpus, loaded: ClipData) -> NDArray[Any]:
    """(T, K) weights, checked to lie in 0..1."""
    weights = np.asarray(loaded.motion)
    if weights.ndim != 2 or weights.shape[1] != len(corpus.names):
        raise InputError(
            f"its motion has shape {weights.shape}, expected weights of {len(corpus.names)} shapes"
        )
    if len(wrong := np.argwhere(~((weights >= -ROUNDING) & (weights <= 1 + ROUNDING)))):
        frame, shape = wrong[0]
        raise InputError(
            f"frame {frame}: {corpus.names[shape]} is {weights[frame, shape]:.3g}, expected a "
            "weight in 0..1"
        )
    return np.clip(weights, 0.0, 1.0)


def _source(path: Path, folder: Path) -> dict[str, Any]:
    """What shows that a source has not changed; for a folder, of all files in it."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        stats = [file.stat() for file in files]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return {
        "path": path.relative_to(folder).as_posix(),
        "size": sum(stat.st_size for stat in stats),
        "mtime_ns": max((stat.st_mtime_ns for stat in stats), default=0),
    }


def _kept(out: Path, name: str, details: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a clip that an earlier run made, if it is of the same sources and settings, and
    whole.
    """
    place = out / "clips"
    with suppress(OSError, ValueError, AttributeError, KeyError, TypeError):
        record = json.loads((place / f"{name}.json").read_text(encoding="utf-8"))
        if (
            all(record.get(key) == value for key, value in details.items())
            and record["name"] == name
        ):
            ends = ENDS if record["extra_sha256"] is not None else ENDS[:2]
            whole = [
                file_sha256(place / f"{name}{end}") == record[f"{what}_sha256"]
                for end, what in ends
            ]
            if all(whole):
                return record
    return None


ENDS = ((".npy", "motion"), (".flac", "audio"), (".npz", "extra"))


def _remove(out: Path, name: str) -> None:
    """Take away what an earlier run made of a clip that is damaged now; its record first."""
    for end in (".json", ".flac", ".npz", ".npy"):
        (out / "clips" / f"{name}{end}").unlink(missing_ok=True)


def _write_manifest(
    corpus: SourceCorpus,
    clips: list[SourceClip],
    records: list[dict[str, Any]],
    failed: list[Issue],
    out: Path,
    settings: Mapping[str, Any],
) -> dict[str, dict[str, int]]:
    """Write the manifest; returns scheme -> split -> clips. Splits are drawn over all clips, also
    when some were left out.
    """
    keys = [(clip.subject, clip.sentence) for clip in clips]
    drawn = {
        name: dict(zip((clip.name for clip in clips), scheme(keys)))
        for name, scheme in corpus.schemes.items()
    }
    # A scheme for emotional sentences leaves a neutral folder empty: the first that has something
    # to train on is the usual one.
    order = sorted(drawn, key=lambda name: "train" not in drawn[name].values())
    counts: dict[str, dict[str, int]] = {name: {} for name in order}
    for record in records:
        record["splits"] = {name: drawn[name][record["name"]] for name in order}
        for name, split in record["splits"].items():
            if split is not None:
                counts[name][split] = counts[name].get(split, 0) + 1
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        **settings,
        "licence": corpus.licence,
        "source": corpus.folder.name,
        "unit": corpus.unit,
        "offset_limit": 0.05 / IN_METRES[corpus.unit] if corpus.unit in IN_METRES else None,
        "motion": WEIGHTS if corpus.unit == SHAPES else OFFSETS,
        "vertices": None if corpus.unit == SHAPES else len(next(iter(corpus.templates.values()))),
        "triangles": None if corpus.triangles is None else "triangles.npy",
        "subjects": {
            s: None if corpus.unit == SHAPES else f"templates/{s}.npy"
            for s in dict.fromkeys(record["subject"] for record in records)
        },
        "schemes": order,
        "splits": counts,
        "failed": {problem.name: problem.reason for problem in failed},
        "clips": records,
    }
    write_json(out / MANIFEST, manifest)
    return counts
