"""A GRID folder made up on the spot: the default head speaks, and its lips become the tracked
landmarks.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from jambatalk.face.face import Face
from jambatalk.face.landmarks import (
    CHIN,
    CONTOURS,
    arc_fractions,
    find_chin,
    sample_contour,
    split_ring,
)

FRAMES = 40
FPS = 25
LANDMARKS = 468
BROWS = (105, 334)


def head_as_landmarks(face: Face, weights: np.ndarray) -> np.ndarray:
    """(T, 468, 3) metres: the head's own lip contours and chin at the landmarks' places, the others
    far from the mouth.
    """
    rest = np.zeros((LANDMARKS, 3))
    basis = np.zeros((len(face.names), LANDMARKS, 3))
    rest[:, 1] = 0.05
    for ring in ("outer", "inner"):
        for side, contour in zip(("upper", "lower"), split_ring(face, f"{ring}_lip_ring")):
            indices = list(CONTOURS[f"{ring}_{side}"])
            # The middle landmark is the contour's own middle vertex, so that landmarks 13 and 14
            # are the head's gap.
            along = arc_fractions(face.vertices[contour].astype(np.float64))
            middle = along[int(np.argmin(np.abs(face.vertices[contour, 0])))]
            places = np.interp(np.linspace(0, 1, 11), [0, 0.5, 1], [0, middle, 1])
            rest[indices], basis[:, indices] = sample_contour(face, contour, places)
    chin = find_chin(face)
    rest[list(CHIN)], basis[:, list(CHIN)] = face.vertices[chin], face.basis[:, chin][:, None]
    return rest + np.tensordot(weights, basis, 1)


def mouth_motion(face: Face, frames: int, phase: float = 0.0) -> np.ndarray:
    """(T, 52) a mouth that rests, opens twice with its jaw, and rests again."""
    t = np.arange(frames) / FPS
    weights = np.zeros((frames, len(face.names)))
    moving = (t > 0.3) & (t < 1.3)
    weights[moving, face.names.index("jawOpen")] = (
        0.3 * np.sin(2 * np.pi * (t[moving] - 0.3) * 1.0 + phase) ** 2
    )
    return weights


def write_grid(
    folder: Path, face: Face, clips: tuple[tuple[str, str, str], ...]
) -> dict[str, np.ndarray]:
    """Write a folder of (id, subject, split) clips; returns id -> the true weights (T, 52)."""
    (folder / "audio").mkdir(parents=True)
    truth, positions, lines = {}, [], []
    for i, (name, subject, split) in enumerate(clips):
        truth[name] = mouth_motion(face, FRAMES, phase=0.4 * i)
        positions.append(head_as_landmarks(face, truth[name]) * 100)  # the corpus is in centimetres
        words = [["sil", 0.0, 0.3], ["bin", 0.3, 0.8], ["five", 0.8, 1.3], ["sil", 1.3, 1.6]]
        row = {
            "id": name,
            "subject": subject,
            "split": split,
            "frames": FRAMES,
            "start": i * FRAMES,
            "fps": FPS,
            "words": words,
        }
        lines.append(json.dumps(row))
        sound = 0.1 * np.sin(np.arange(int(FRAMES / FPS * 16000)) * 0.1 * (i + 1))
        soundfile.write(folder / "audio" / f"{name}.flac", sound.astype(np.float32), 16000)
    (folder / "clips.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tracked = np.concatenate(positions)
    canonical = tracked[0] - 0.1  # some other face: offsets hold the speaker's shape too
    canonical[BROWS, 1] += 2.0  # above the eyes
    offsets = (tracked - canonical).reshape(len(tracked), -1)
    mean = offsets.mean(0)
    _, scale, basis = np.linalg.svd(offsets - mean, full_matrices=False)
    kept = 8
    assert scale[kept:].max() < 1e-6 * scale[0]
    np.savez(
        folder / "motion.npz",
        coefficients=((offsets - mean) @ basis[:kept].T).astype(np.float16),
        blendshapes=np.zeros((len(tracked), 2), np.float16),
        tracked=np.ones(len(tracked), bool),
    )
    np.savez(
        folder / "face468.npz",
        vertices=canonical.astype(np.float32),
        faces=np.zeros((1, 3), np.int32),
        offset_mean=mean.reshape(LANDMARKS, 3).astype(np.float32),
        offset_basis=basis[:kept].reshape(kept, LANDMARKS, 3).astype(np.float32),
        blendshape_names=np.array(["_neutral", "jawOpen"]),
    )
    return truth
