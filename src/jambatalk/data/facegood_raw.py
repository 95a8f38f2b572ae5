"""FACEGOOD-Audio2Face as ``data prepare`` takes it."""

from __future__ import annotations

import hashlib
from functools import cache, partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from jambatalk.audio import Speech
from jambatalk.data.facegood import COLUMNS, FPS, FacegoodCorpus, FacegoodEntry
from jambatalk.data.facegood_map import MAP_VERSION
from jambatalk.data.raw import SHAPES, Loaded, Options, Problem, RawClip, RawCorpus, fixed_rate, require
from jambatalk.data.splits import own_splits
from jambatalk.errors import InputError
from jambatalk.face.head import default_head

Array = NDArray[Any]


def open_facegood(folder: Path, options: Options) -> RawCorpus:
    """The folder that ``data.facegood`` describes. A recording that cannot be read is a problem, not the end."""
    require(folder, (COLUMNS,), "FACEGOOD-Audio2Face")
    fixed_rate(options, FPS)
    corpus, face = FacegoodCorpus.open(folder), default_head()
    worn = cache(lambda recording: corpus.weights(recording, face))

    def load(entry: FacegoodEntry) -> Loaded:
        return Loaded(worn(entry.recording)[entry.first : entry.last], Speech(corpus.samples(entry)))

    entries, problems = [], []
    for recording in corpus.recordings:
        try:
            entries += corpus.cut(recording)
        except InputError as error:
            problems.append(Problem(recording, str(error)))
    clips = tuple(
        RawClip(
            subject=entry.subject,
            sentence=entry.id,
            sources=(folder / f"{entry.recording}.npy", folder / f"{entry.recording}.flac"),
            load=partial(load, entry),
            id=entry.id,
        )
        for entry in entries
    )
    schemes = {"recording": own_splits({(entry.subject, entry.id): entry.split for entry in entries})}
    digest = hashlib.sha256(f"{MAP_VERSION} {face.names} {corpus.columns}".encode()).hexdigest()[:16]
    return RawCorpus(
        "facegood", folder, corpus.credit, FPS, SHAPES, {}, None, schemes, clips, tuple(problems), face.names, digest
    )  # fmt: skip
