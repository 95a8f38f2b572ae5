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
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.datasets.articulation import articulated, spoken_part
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.registry import load_clips
from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.visemes import COLUMNS, MouthAtPhones, legibility, measure_phones
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.render import Renderer, contact_sheet, frame_face, save_png
from jambatalk.text.phones import ARPABET

Array = NDArray[Any]
LETTERS = {phone: letters for letters, phone in ARPABET.items()}
SHOWN = (*tuple("pbmfvθðlszʃʧʤɹiɪuwɔɛæɑʌ"), "oʊ", "aɪ", "aʊ")
TOUCH, NEAR_TEETH = 1.0, 1.5  # millimetres


def measure(face: Face, clips: Sequence[Clip]) -> MouthAtPhones:
    """Measure the mouth at the phones of clips."""
    weights, phones = ([getattr(clip, name) for clip in clips] for name in ("weights", "phones"))
    return measure_phones(weights, phones, clips[0].fps, face)


def table(before: MouthAtPhones, after: MouthAtPhones) -> str:
    """Markdown: means at the centre of each phone, before → after."""
    shares = ("closed (< 1 mm)", "at the teeth's edge (± 1.5 mm)")
    lines = ["| phone | number | " + " | ".join((*COLUMNS, *shares)) + " |", "|---" * 9 + "|"]
    for phone in SHOWN:
        rows = [m.at(phone) for m in (before, after)]
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
