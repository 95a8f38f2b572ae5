"""What the articulation rule changes in filmed speech: a table and a sheet by phone.

    python tools/figures/articulation_sheet.py GRID --images docs/images

GRID is a folder written by jambatalk data prepare grid with phones (extra align). The sheet shows
for each phone the clip whose gap at the phone's centre is the median, before (above) and after the
rule, from the front and from the side.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.datasets.articulation import articulated, spoken_part, teeth_edge
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.registry import load_clips
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.face.landmarks import split_ring
from jambatalk.render import Renderer, contact_sheet, frame_face, save_png
from jambatalk.text.phones import ARPABET

Array = NDArray[Any]
LETTERS = {phone: letters for letters, phone in ARPABET.items()}
SHOWN = (*tuple("pbmfvθðlszʃʧʤɹiɪuwɔɛæɑʌ"), "oʊ", "aɪ", "aʊ")
VISEMES = (
    *("p b m", "f v", "θ ð", "t d n ɾ", "l", "s z", "ʃ ʒ ʧ ʤ", "k ɡ ŋ h", "ɹ ɝ"),
    *("i ɪ e j eɪ ɨ", "ɛ æ ʌ a ɑ aɪ aʊ ə", "ɔ o oʊ u ʊ w ɔɪ"),
)
AROUND = (-0.08, 0.0, 0.08)
"""Seconds from a phone's centre at which the mouth is measured."""
FOLDS = 5
TOUCH, NEAR_TEETH = 1.0, 1.5  # millimetres
COLUMNS = ("gap", "width", "protrusion", "lip above teeth's edge", "jaw")


@dataclass(frozen=True)
class Measured:
    """Mouths at phone centres. phones (N,); values (N, 3, 7): three times of five columns of
    ``COLUMNS`` (mm; weight), the inner width (mm) and the tongue's weight; sentences (N,).
    """

    phones: Array
    values: Array
    sentences: Array


def measure(face: Face, clips: Sequence[Clip]) -> Measured:
    """Measure the mouth at every phone's centre and around it."""
    outer, lower = split_ring(face, "outer_lip_ring")
    inner, _ = split_ring(face, "inner_lip_ring")
    middle = len(outer) // 2
    assert face.gap_vertices is not None
    ends = (outer[0], outer[-1], inner[0], inner[-1], *face.gap_vertices)
    used = np.array([*ends, outer[middle], lower[len(lower) // 2]])
    edge, (tongue, jaw) = teeth_edge(face), face.columns(["tongueOut", "jawOpen"])
    phones, values, sentences = [], [], []
    for number, clip in enumerate(clips):
        points = face.vertices[used] + np.einsum("tk,kvd->tvd", clip.weights, face.basis[:, used])
        right, left, inner_right, inner_left, top, bottom, above, below = points.swapaxes(0, 1)
        lengths = [top[:, 1] - bottom[:, 1], left[:, 0] - right[:, 0]]
        lengths += [(above + below)[:, 2] / 2, bottom[:, 1] - edge]
        track = np.stack([*lengths, clip.weights[:, jaw] / 1e3, (inner_left - inner_right)[:, 0]])
        track = np.concatenate([track, clip.weights[None, :, tongue] / 1e3]).T * 1e3
        for phone, start, end in map(spoken_part, clip.phones):
            frames = ((start + end) / 2 + np.array(AROUND)) * clip.fps
            values.append(track[np.clip(np.round(frames).astype(int), 0, clip.frames - 1)])
            phones.append(phone)
            sentences.append(number)
    return Measured(np.array(phones), np.array(values), np.array(sentences))


def legibility(measured: Measured) -> dict[str, float]:
    """Share of phones whose viseme a linear discriminant names, sentences left out; by viseme and
    over all ("all"), and the mean of the visemes ("mean").
    """
    viseme = {phone: n for n, group in enumerate(VISEMES) for phone in group.split()}
    known = np.isin(measured.phones, list(viseme))
    true = np.array([viseme[phone] for phone in measured.phones[known]])
    x = measured.values[known].reshape(len(true), -1)
    fold, named = measured.sentences[known] % FOLDS, np.full(len(true), -1)
    for left_out in range(FOLDS):
        kept = fold != left_out
        present = np.unique(true[kept])
        means = np.stack([x[kept & (true == n)].mean(0) for n in present])
        within = x[kept] - means[np.searchsorted(present, true[kept])]
        inverse = np.linalg.inv(np.cov(within.T) + 1e-4 * np.eye(x.shape[1]))
        scores = x @ inverse @ means.T - 0.5 * np.einsum("kd,de,ke->k", means, inverse, means)
        named[~kept] = present[scores[~kept].argmax(1)]
    rates = {VISEMES[n]: float((named == n)[true == n].mean()) for n in np.unique(true)}
    return {"all": float((named == true).mean()), "mean": float(np.mean(list(rates.values())))} | (
        rates
    )


def table(before: Measured, after: Measured) -> str:
    """Markdown: means at the centre of each phone, before → after."""
    shares = ("closed (< 1 mm)", "at the teeth's edge (± 1.5 mm)")
    lines = ["| phone | number | " + " | ".join((*COLUMNS, *shares)) + " |", "|---" * 9 + "|"]
    for phone in SHOWN:
        rows = [m.values[m.phones == phone, 1] for m in (before, after)]
        if not len(rows[0]):
            continue
        cells = []
        for n in range(len(COLUMNS)):
            digits = 2 if COLUMNS[n] == "jaw" else 1
            cells.append(" → ".join(f"{row[:, n].mean():.{digits}f}" for row in rows))
        cells.append(" → ".join(f"{(row[:, 0] < TOUCH).mean():.0%}" for row in rows))
        cells.append(" → ".join(f"{(np.abs(row[:, 3]) < NEAR_TEETH).mean():.0%}" for row in rows))
        lines.append(f"| {phone} | {len(rows[0])} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sheet(face: Face, clips: Sequence[Clip], after: Sequence[Clip]) -> Array:
    """(H, W, 3) uint8: for each phone before and after, from the front and from the side."""
    x, y, z = (float(value) for value in face.vertices[face.regions["lips"]].mean(0))
    front = frame_face(face).closer((x, y - 0.008, z), 0.085)
    renderers = [
        Renderer(face, (104, 88), camera=front),
        Renderer(face, (104, 88), camera=front.orbit(60.0)),
    ]
    rows: list[list[Array]] = [[], [], [], []]
    labels: list[str] = []
    for phone in SHOWN:
        found = [
            (clip.weights[t], changed.weights[t])
            for clip, changed in zip(clips, after)
            for t in [
                min(round((p.start + p.end) / 2 * clip.fps), clip.frames - 1)
                for p in map(spoken_part, clip.phones)
                if p.text == phone
            ]
        ]
        if not found:
            continue
        order = np.argsort(face.lip_gap(np.array([pose for pose, _ in found])), kind="stable")
        poses = found[int(order[len(order) // 2])]
        labels.append(LETTERS.get(phone, phone))
        for view, renderer in enumerate(renderers):
            for n, pose in enumerate(poses):
                rows[2 * view + n].append(renderer.render(face.pose(pose)))
    pictures, texts = [], []
    across = 9
    for start in range(0, len(labels), across):
        here = labels[start : start + across]
        blank = [np.full_like(rows[0][0], 20)] * (across - len(here))
        for row, name in zip(rows, ("before", "after", "before", "after")):
            pictures += row[start : start + across] + blank
            texts += [f"{label} {name}" for label in here] + [""] * len(blank)
    return contact_sheet(pictures, texts, across)


def main() -> int:
    """Print the table and the rates, and write the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grid", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--most", type=int, help="clips that are used; default: all")
    parser.add_argument("--images", type=Path, help="folder for articulation.png")
    options = parser.parse_args()
    try:
        face = default_head()
        clips = [c for c in load_clips(options.grid, options.split, face) if c.phones]
        clips = clips[: options.most]
        if not clips:
            raise InputError(f"no clip of {options.grid} has phones, expected some")
        after = [articulated(clip, face) for clip in clips]
        before_values, after_values = measure(face, clips), measure(face, after)
        print(table(before_values, after_values))
        alike = [
            np.corrcoef(face.lip_gap(a.weights), face.lip_gap(b.weights))[0, 1]
            for a, b in zip(clips, after)
        ]
        print(f"gap, correlation by clip: mean {np.mean(alike):.3f}, least {np.min(alike):.3f}")
        for name, values in (("before", before_values), ("after", after_values)):
            rates = legibility(values)
            print(f"visemes named {name}: " + ", ".join(f"{k} {v:.2f}" for k, v in rates.items()))
        if options.images:
            options.images.mkdir(parents=True, exist_ok=True)
            save_png(sheet(face, clips, after), options.images / "articulation.png")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
