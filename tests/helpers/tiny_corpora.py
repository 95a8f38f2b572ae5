"""Miniature corpora in their owners' own formats, written on the spot: Python-2 pickles, .vl
frames, tar archives.
"""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile

from jambatalk.datasets.readers.biwi import OTHER_SUBJECTS as BIWI_UNSEEN
from jambatalk.datasets.readers.biwi import TRAINING_SUBJECTS as BIWI_TRAIN
from jambatalk.datasets.readers.vocaset import SPLITS as VOCASET_SPLIT
from made_faces import MadeFace, save_flame_masks, save_mesh

OBJ = "".join(
    f"v {x} {y} {z}\n"
    for x, y, z in ((0, 0, 0), (0.2, 0, 0), (0, 0.2, 0), (0, 0, 0.1), (0.1, 0.1, 0))
)
OBJ += "f 1 2 3\nf 1 2 4\nf 1//1 3//1 5//1\n"
TEMPLATE = np.array([[0, 0, 0], [0.2, 0, 0], [0, 0.2, 0], [0, 0, 0.1], [0.1, 0.1, 0]], np.float32)
V = len(TEMPLATE)


class Python2(pickle._Pickler):
    """Writes as Python 2 did: bytes are its strings (no encoding noted), and numpy lives in
    numpy.core.
    """

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, text: Any) -> None:
        raw = text if isinstance(text, bytes) else text.encode("latin-1")
        if len(raw) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(raw)]) + raw)
        else:
            self.write(pickle.BINSTRING + len(raw).to_bytes(4, "little") + raw)
        self.memoize(text)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = obj.__module__.replace("numpy._core", "numpy.core").replace(
            "builtins", "__builtin__"
        )
        self.write(pickle.GLOBAL + f"{module}\n{name or obj.__qualname__}\n".encode())
        self.memoize(obj)

    dispatch[bytes] = save_text
    dispatch[str] = save_text
    dispatch[type] = save_global
    dispatch[type(len)] = save_global
    dispatch[type(lambda: None)] = save_global


def write_python2(path: Path, value: Any) -> None:
    buffer = io.BytesIO()
    Python2(buffer, protocol=2).dump(value)
    path.write_bytes(buffer.getvalue())


def talking(
    frames: int, fps: float, seed: int, size: float = 0.01, face: MadeFace | None = None
) -> np.ndarray:
    """(T, V, 3) float32 offsets: vertex 3, or the face's jaw, opens and closes with ``loudness``,
    the others tremble a little.
    """
    if face is not None:
        return face.talk(size * loudness(np.arange(frames) / fps, seed))
    rng = np.random.default_rng(seed)
    offsets = rng.normal(0, 1e-5, (frames, V, 3))
    offsets[:, 3, 1] -= size * loudness(np.arange(frames) / fps, seed)
    return offsets.astype(np.float32)


def loudness(t: np.ndarray, seed: int) -> np.ndarray:
    """0..1 at the given seconds, irregular like syllables."""
    rng = np.random.default_rng(seed)
    knots = rng.uniform(0, 1, 60) * (rng.uniform(0, 1, 60) > 0.3)
    return np.interp(t, np.arange(60) * 0.12, knots)


def voice(seconds: float, rate: int, seed: int) -> np.ndarray:
    """(n,) int16 sound that is loud when ``loudness`` is high."""
    t = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * 150 * t) + np.random.default_rng(seed).normal(0, 0.3, len(t))
    return (
        8000 * loudness(t, seed) * wave + np.random.default_rng(seed + 1).normal(0, 3, len(t))
    ).astype(np.int16)


def write_vocaset(
    folder: Path,
    subjects: Sequence[str] = tuple(VOCASET_SPLIT),
    sentences: Iterable[int] = range(1, 41),
    frames: int = 13,
    face: MadeFace | None = None,
) -> dict[str, np.ndarray]:
    """A VOCASET folder; gives <subject>_<sentence> -> its positions at 60 frames a second.

    face: what moves, with its mesh and FLAME_masks.pkl in the folder; None: five vertices.
    """
    folder.mkdir(parents=True)
    truth: dict[str, np.ndarray] = {}
    index: dict[str, dict[str, dict[int, int]]] = {}
    audio: dict[str, dict[str, dict[str, Any]]] = {}
    rest = TEMPLATE if face is None else face.template
    templates = {subject: rest + np.float32(0.001 * i) for i, subject in enumerate(subjects)}
    if face is not None:
        save_flame_masks(folder, face)
        save_mesh(folder / "FLAME_sample.obj", face)
    row = 0
    for subject in subjects:
        index[subject], audio[subject] = {}, {}
        for number in sentences:
            sentence, seed = f"sentence{number:02d}", len(truth)
            moved = talking(frames, 60, seed, face=face)
            truth[f"{subject}_{sentence}"] = templates[subject] + moved
            index[subject][sentence] = {frame: row + frame for frame in range(frames)}
            audio[subject][sentence] = {
                "audio": voice(frames / 60, 22000, seed),
                "sample_rate": 22000,
            }
            row += frames
    np.save(folder / "data_verts.npy", np.concatenate(list(truth.values())).astype(np.float32))
    write_python2(folder / "subj_seq_to_idx.pkl", index)
    write_python2(folder / "raw_audio_fixed.pkl", audio)
    write_python2(folder / "templates.pkl", templates)
    return truth


def vl(positions: np.ndarray) -> bytes:
    return len(positions).to_bytes(4, "little") + positions.astype("<f4").tobytes()


BIWI_CLIPS = [(s, f"e{n:02d}") for s in BIWI_TRAIN for n in range(1, 41)] + [
    (s, f"e{n:02d}") for s in BIWI_UNSEEN for n in range(37, 41)
]


def write_biwi(
    folder: Path,
    clips: Sequence[tuple[str, str]],
    packing: str = "folder",
    frames: int = 6,
    unit: float = 1.0,
) -> dict:
    """A BIWI folder; packing: folder, tar, tgz (an archive per sentence), subject.tar or
    subject.tgz (one per subject).
    """
    truth: dict[str, np.ndarray] = {}
    (folder / "rigid_scans").mkdir(parents=True)
    (folder / "wav").mkdir()
    (folder / "faces").mkdir()
    archives: dict[Path, list[tuple[str, bytes]]] = {}
    for subject, sentence in clips:
        seed = len(truth)
        rows = "".join(f"v {x / unit} {y / unit} {z / unit}\n" for x, y, z in TEMPLATE)
        (folder / "rigid_scans" / f"{subject}.obj").write_text(rows + OBJ[OBJ.index("f ") :])
        positions = truth[f"{subject}_{sentence}"] = TEMPLATE + talking(frames, 25, seed)
        soundfile.write(
            folder / "wav" / f"{subject}_{sentence}.wav", voice(frames / 25, 44100, seed), 44100
        )
        contents = [(f"frame_{i + 1:03d}.vl", vl(positions[i] / unit)) for i in range(frames)]
        if packing == "folder":
            place = folder / "faces" / subject / sentence
            place.mkdir(parents=True)
            for name, content in contents:
                (place / name).write_bytes(content)
        elif packing.startswith("subject"):
            archive = folder / "faces" / f"{subject}{packing[7:]}"
            archives.setdefault(archive, []).extend(
                (f"{subject}/{sentence}/{name}", content) for name, content in contents
            )
        else:
            (folder / "faces" / subject).mkdir(exist_ok=True)
            archives[folder / "faces" / subject / f"{sentence}.{packing}"] = contents
    for path, contents in archives.items():
        with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
            for name, content in contents:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return truth


def write_layout(
    folder: Path,
    clips: Sequence[tuple[str, str]],
    fps: float = 25.0,
    frames: int = 6,
    face: MadeFace | None = None,
) -> dict[str, np.ndarray]:
    """A folder in the layout of FaceFormer and its descendants; face: what moves."""
    rest = TEMPLATE if face is None else face.template
    truth: dict[str, np.ndarray] = {}
    for name in ("wav", "vertices_npy"):
        (folder / name).mkdir(parents=True)
    for subject, sentence in clips:
        name, seed = f"{subject}_{sentence}", len(truth)
        truth[name] = rest + talking(frames, fps, seed, face=face)
        np.save(folder / "vertices_npy" / f"{name}.npy", truth[name].reshape(frames, -1))
        soundfile.write(folder / "wav" / f"{name}.wav", voice(frames / fps, 16000, seed), 16000)
    with (folder / "templates.pkl").open("wb") as file:
        pickle.dump({subject: rest.astype(np.float64) for subject, _ in clips}, file)
    return truth


FACEGOOD_COLUMNS = (
    "mouth_stretch_c",
    "mouth_press_l",
    "mouth_press_r",
    "mouth_suck_dl",
    "mouth_suck_dr",
    "mouth_suck_ul",
    "mouth_suck_ur",
    "mouth_pucker_l",
    "mouth_pucker_r",
    "mouth_lipCornerPull_l",
    "mouth_lipCornerPull_r",
    "eye_blink1_l",
    "brow_raise_l",
)


def write_facegood(folder: Path, recordings: dict[str, float]) -> dict[str, np.ndarray]:
    """A FACEGOOD folder with recordings of so many seconds; gives their artist weights at 30 frames
    a second.
    """
    folder.mkdir(parents=True)
    (folder / "columns.json").write_text(json.dumps(FACEGOOD_COLUMNS))
    truth = {}
    for seed, (name, seconds) in enumerate(recordings.items()):
        frames = round(seconds * 30)
        values = truth[name] = np.zeros((frames, len(FACEGOOD_COLUMNS)), np.float16)
        values[:, 0] = 0.6 * loudness(np.arange(frames) / 30 % 7.2, seed)
        values[:, 11:] = 0.5  # eyes and brows, which are not speech
        np.save(folder / f"{name}.npy", values)
        samples = np.concatenate([voice(7.2, 16000, seed)] * (int(seconds / 7.2) + 1))[
            : round(seconds * 16000)
        ]
        soundfile.write(folder / f"{name}.flac", samples, 16000)
    return truth


def write_tts(
    folder: Path, clips: Sequence[tuple[str, dict[str, float], str]], seconds: float = 2.0
) -> None:
    """A folder of synthetic voices: (id, voice mix, text); every clip says /ma pa/ as the
    synthesiser marks it.
    """
    (folder / "audio").mkdir(parents=True)
    marks = [
        ["^", 0, 0.4],
        ["m", 0.4, 0.5],
        ["ˈ", 0.5, 0.55],
        ["ɑ", 0.55, 0.8],
        [" ", 0.8, 0.85],
        ["p", 0.85, 0.95],
    ]
    marks += [["A", 0.95, 1.3], [".", 1.3, 1.6], ["$", 1.6, 1.7]]
    lines = []
    for seed, (name, mix, text) in enumerate(clips):
        lines.append(
            json.dumps(
                {"id": name, "voice": mix, "text": text, "seconds": seconds, "phones": marks}
            )
        )
        soundfile.write(folder / "audio" / f"{name}.flac", voice(seconds, 16000, seed), 16000)
    (folder / "clips.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
