"""The folder layout that FaceFormer and its descendants share: wav/, vertices_npy/ and
templates.pkl.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import Speech
from jambatalk.datasets.readers import biwi, vocaset
from jambatalk.datasets.safe_pickle import read_pickle
from jambatalk.datasets.source import (
    METRES,
    OWN_UNIT,
    ClipData,
    CorpusKind,
    Issue,
    Key,
    PrepareOptions,
    Scheme,
    SourceClip,
    SourceCorpus,
    check_templates,
    every_nth,
    find_triangles,
    require,
    visible,
)
from jambatalk.errors import InputError

Array = NDArray[Any]
WAV, VERTICES, TEMPLATES = "wav", "vertices_npy", "templates.pkl"
BIWI6_VERTICES = 3895
UNKNOWN_LICENCE = "as the owner of the recordings states; the folder does not state it"

# vertices -> (frames a second as stored, frames a second wanted, unit, licence)
KNOWN = {
    5023: (
        60.0,
        30.0,
        METRES,
        vocaset.LICENCE,
    ),  # FaceFormer's loader leaves every second frame out
    biwi.VERTICES: (25.0, 25.0, OWN_UNIT, biwi.LICENCE),
    BIWI6_VERTICES: (25.0, 25.0, OWN_UNIT, biwi.LICENCE),
}


def open_layout(
    folder: Path, options: PrepareOptions, kind: str = "faceformer-layout", like: int | None = None
) -> SourceCorpus:
    """The clips of such a folder; the corpus is recognized by its number of vertices and its
    subjects' names.

    like: a number of vertices in ``KNOWN`` whose rates, unit and licence hold, whatever the mesh.
    """
    require(folder, (WAV, VERTICES, TEMPLATES), "the FaceFormer layout")
    templates = check_templates(read_pickle(folder / TEMPLATES), folder / TEMPLATES)
    vertices = len(next(iter(templates.values())))
    known = KNOWN.get(like or vertices)
    if known is None and options.source_fps is None:
        raise InputError(
            f"{folder} moves {vertices} vertices, a corpus not known here: say its frame rate, "
            "--source-fps"
        )
    source_fps, fps, unit, licence = known or (
        0.0,
        options.source_fps or 0.0,
        OWN_UNIT,
        UNKNOWN_LICENCE,
    )
    source_fps = options.source_fps or source_fps
    fps = options.fps or min(fps, source_fps)
    step = every_nth(source_fps, fps)
    triangles, problems = find_triangles(folder, vertices)
    sounds, motions = _stems(folder / WAV, ".wav"), _stems(folder / VERTICES, ".npy")
    clips = []
    for name in sorted(sounds.keys() | motions.keys()):
        subject, _, sentence = name.rpartition("_")
        if name not in sounds or name not in motions:
            lacking = f"{WAV}/{name}.wav" if name not in sounds else f"{VERTICES}/{name}.npy"
            problems += (Issue(name, f"{lacking} is missing"),)
        elif subject not in templates:
            problems += (Issue(name, f"{TEMPLATES} has no template of {subject or name!r}"),)
        else:
            sources = (motions[name], sounds[name], folder / TEMPLATES)
            clips.append(
                SourceClip(
                    subject,
                    sentence,
                    sources,
                    partial(_load, motions[name], sounds[name], vertices, step),
                )
            )
    schemes = schemes_for([clip.subject for clip in clips])
    return SourceCorpus(
        kind, folder, licence, fps, unit, templates, triangles, schemes, tuple(clips), problems
    )


def open_biwi6(folder: Path, options: PrepareOptions) -> SourceCorpus:
    """BIWI_6: the BIWI corpus decimated to 3,895 vertices, in this layout."""
    return open_layout(folder, options, "biwi6", like=BIWI6_VERTICES)


def _stems(folder: Path, suffix: str) -> Mapping[str, Path]:
    """{name without suffix: file}."""
    return {path.stem: path for path in visible(folder.iterdir()) if path.suffix.lower() == suffix}


def _load(motion: Path, sound: Path, vertices: int, step: int) -> ClipData:
    values = vocaset.open_array(motion)
    if (
        values.dtype.kind != "f"
        or values.ndim not in (2, 3)
        or values[0:1].size != 3 * vertices
        or values.shape[-1] % 3
    ):
        raise InputError(
            f"{motion} holds {values.dtype} of shape {values.shape}, expected floats (T, "
            f"{3 * vertices})"
        )
    frames = np.asarray(values[::step], np.float32).reshape(-1, vertices, 3)
    return ClipData(frames, Speech.load(sound))


def schemes_for(subjects: Sequence[str]) -> Mapping[str, Scheme]:
    """The schemes for a corpus of unknown origin, by its subjects' names; the first is the usual
    one.
    """
    names = set(subjects)
    if names and names <= set(vocaset.SPLITS):
        return vocaset.SCHEMES
    if names and names <= set(biwi.TRAINING_SUBJECTS + biwi.OTHER_SUBJECTS):
        return biwi.SCHEMES
    return {"sentences": _sentences}


def _sentences(clips: Sequence[Key]) -> list[str | None]:
    """By sentence, whoever speaks it: the last tenth test, the tenth before it val, the others
    train (at least one each).
    """
    names = sorted({sentence for _, sentence in clips})
    held = max(1, len(names) // 10) if len(names) >= 3 else 0
    split = dict.fromkeys(names, "train")
    split |= dict.fromkeys(names[len(names) - 2 * held :], "val")
    split |= dict.fromkeys(names[len(names) - held :], "test")
    return [split[sentence] for _, sentence in clips]


BIWI6 = CorpusKind(
    "biwi6",
    open_biwi6,
    holds="`wav/*.wav`, `vertices_npy/*.npy`, `templates.pkl`",
    splits="`codetalker`, `scantalk`",
    rate="25",
    unit="its own",
)
LAYOUT = CorpusKind(
    "faceformer-layout",
    open_layout,
    holds="the same",
    splits="by its subjects: those of VOCASET or BIWI, else `sentences`",
    rate="VOCASET 60 → 30, BIWI 25, else `--source-fps`",
    unit="VOCASET metres, else its own",
)
