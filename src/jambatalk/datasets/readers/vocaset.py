"""VOCASET as its owners ship it: one memory map of vertices at 60 frames a second, and three
pickles of Python 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import Speech
from jambatalk.datasets.safe_pickle import read_pickle
from jambatalk.datasets.source import (
    METRES,
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
    number,
    read_array,
    require,
)
from jambatalk.errors import InputError

Array = NDArray[Any]
VERTS, AUDIO, TEMPLATES, INDEX = (
    "data_verts.npy",
    "raw_audio_fixed.pkl",
    "templates.pkl",
    "subj_seq_to_idx.pkl",
)
FPS = 60.0
LICENCE = (
    "VOCASET: not for passing on; the terms are those its owner gave you with it "
    "(voca.is.tue.mpg.de)"
)


SUBJECTS = {
    "train": (
        "170728_03272",
        "170904_00128",
        "170725_00137",
        "170915_00223",
        "170811_03274",
        "170913_03279",
        "170904_03276",
        "170912_03278",
    ),
    "val": ("170811_03275", "170908_03277"),
    "test": ("170809_00138", "170731_00024"),
}
SPLITS = {f"FaceTalk_{name}_TA": split for split, names in SUBJECTS.items() for name in names}


def open_vocaset(folder: Path, options: PrepareOptions) -> SourceCorpus:
    """The clips of a VOCASET folder; 30 frames a second (every second one) unless ``options`` say
    otherwise.
    """
    require(folder, (VERTS, AUDIO, TEMPLATES, INDEX), "VOCASET")
    fps = options.fps or 30.0
    step = every_nth(options.source_fps or FPS, fps)
    verts = open_array(folder / VERTS)
    if verts.ndim != 3 or verts.shape[2] != 3:
        raise InputError(
            f"{folder / VERTS} has shape {verts.shape}, expected (frames, vertices, 3)"
        )
    vertices = verts.shape[1]
    templates = check_templates(read_pickle(folder / TEMPLATES), folder / TEMPLATES, vertices)
    index, audio = (_by_sentence(folder / name) for name in (INDEX, AUDIO))
    triangles, problems = find_triangles(folder, vertices)
    clips = []
    for subject, sentences in index.items():
        if subject not in templates:
            problems += (Issue(subject, f"{TEMPLATES} has no template of this subject"),)
            continue
        for sentence, rows in sentences.items():
            sound = audio.get(subject, {}).get(sentence)
            if sound is None:
                problems += (Issue(f"{subject}_{sentence}", f"{AUDIO} has no sound for it"),)
                continue
            sources = tuple(folder / name for name in (VERTS, AUDIO, TEMPLATES, INDEX))
            clips.append(
                SourceClip(subject, sentence, sources, partial(_load, verts, rows, step, sound))
            )
    for subject, sounds in audio.items():
        extra = [sentence for sentence in sounds if sentence not in index.get(subject, {})]
        problems += tuple(
            Issue(f"{subject}_{sentence}", f"{INDEX} has no motion for it") for sentence in extra
        )
    return SourceCorpus(
        "vocaset",
        folder,
        LICENCE,
        fps,
        METRES,
        templates,
        triangles,
        SCHEMES,
        tuple(clips),
        problems,
    )


def open_array(path: Path) -> Array:
    """A .npy file as a memory map; InputError when it is damaged, cut off or holds objects."""
    return read_array(path)


def _by_sentence(path: Path) -> dict[str, Mapping[Any, Any]]:
    """{subject: {sentence: anything}}, checked to be that."""
    found = read_pickle(path)
    if (
        not isinstance(found, dict)
        or not found
        or not all(isinstance(inner, dict) for inner in found.values())
    ):
        raise InputError(f"{path} holds {type(found).__name__}, expected sentences by subject")
    return {
        str(subject): {str(sentence): value for sentence, value in inner.items()}
        for subject, inner in found.items()
    }


def _load(verts: Array, rows: Any, step: int, sound: Any) -> ClipData:
    if (
        not isinstance(rows, dict)
        or not rows
        or not all(type(n) is int for pair in rows.items() for n in pair)
    ):
        raise InputError(f"{INDEX} holds {type(rows).__name__} for it, expected rows by frame")
    frames = sorted(rows)
    first = min(
        frames[0], 1
    )  # counted from 0 or from 1; any other start would part the motion from its sound
    if first < 0 or frames != list(range(first, first + len(frames))):
        raise InputError(
            f"{INDEX} leaves out frames: it has {len(frames)} of {frames[0]} to {frames[-1]}"
        )
    kept = [rows[frame] for frame in frames[::step]]
    if min(kept) < 0 or max(kept) >= len(verts):
        wrong = max(kept) if min(kept) >= 0 else min(kept)
        raise InputError(
            f"{INDEX} names row {wrong}, but {VERTS} holds {len(verts)}: one of them is cut off"
        )
    rate = sound.get("sample_rate") if isinstance(sound, dict) else None
    if (
        not isinstance(rate, (int, float))
        or not 1 <= rate < 1e7
        or not isinstance(sound.get("audio"), np.ndarray)
    ):
        raise InputError(f"{AUDIO} holds no array 'audio' with a 'sample_rate' for it")
    samples = sound["audio"].astype(
        sound["audio"].dtype.newbyteorder("=")
    )  # soxr wants the machine's own order
    return ClipData(
        np.asarray(verts[kept], np.float32), Speech.load(samples.squeeze(), rate=round(rate))
    )


def _voca(clips: Sequence[Key]) -> list[str | None]:
    """8, 2 and 2 subjects with all their sentences: 320, 80 and 80 clips."""
    return [SPLITS.get(subject) for subject, _ in clips]


def _faceformer(clips: Sequence[Key]) -> list[str | None]:
    """The same subjects, but only sentences 21 to 40 to validate and test with: 320, 40 and 40
    clips.
    """
    splits = _voca(clips)
    return [
        split if split == "train" or 21 <= number(sentence) <= 40 else None
        for split, (_, sentence) in zip(splits, clips)
    ]


SCHEMES: Mapping[str, Scheme] = {"faceformer": _faceformer, "voca": _voca}

VOCASET = CorpusKind(
    "vocaset",
    open_vocaset,
    holds="`data_verts.npy`, `raw_audio_fixed.pkl`, `templates.pkl`, `subj_seq_to_idx.pkl`",
    splits="`faceformer` 320/40/40, `voca` 320/80/80",
    rate="30 (every second of 60; `--fps 60` keeps all)",
    unit="metres",
)
