"""Do other characters' lips follow the default head's? Solved weights beside the table of names.

    python benchmarks/quality/own_character.py [AVATARS] [--librivox DIR] [--json]

AVATARS holds brunette-t.glb (ARKit's shapes, Oculus' visemes) and vroid.glb (VRoid's vowels).
Speech is the demo that comes with the package, and LibriVox sentences (a folder as in ``jambatalk
evaluate --protocol default``; Debian's package pocketsphinx-testdata has them), whose phones are
aligned.

Per character and set of shapes, over all frames:

* r of opening, width and protrusion, measured at the lips' vertices as ``face.lips`` finds them;
* r of the opening as seen in pictures: rows of a close picture, at the middle of the mouth, in
  which a triangle is seen that nothing shows at rest. It knows nothing of the lips' vertices, by
  which the weights are solved;
* the share of /p b m/ in which the lips touch: within 1 mm on the default head, within the same
  share of the mouth's width on the character.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import jambatalk
from jambatalk.audio import Speech
from jambatalk.evaluation.metrics.closure import touch_rate
from jambatalk.evaluation.protocols.default_weights import load_readings
from jambatalk.face.deform import affine
from jambatalk.face.face import Face
from jambatalk.face.head import ARKIT_NAMES, default_head
from jambatalk.face.lips import Lips, find_lips
from jambatalk.face.transfer import ShapeTransfer
from jambatalk.render import frame_face
from jambatalk.render.rasterizer import (
    TWO_SIDED,
    bin_triangles,
    project,
    raster_rows,
    sample_offsets,
)
from jambatalk.text.phones import Timed

Array = NDArray[Any]
AVATARS = Path(__file__).parents[3] / "shared" / "data" / "avatars"
PIXELS = 192
VOWELS = tuple(f"Fcl_MTH_{vowel}" for vowel in "AIUEO")
CASES: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("brunette, ARKit", "brunette-t.glb", lambda name: not name.startswith("viseme_")),
    ("brunette, 15 visemes", "brunette-t.glb", lambda name: name.startswith("viseme_")),
    ("vroid, all shapes", "vroid.glb", lambda name: True),
    ("vroid, A I U E O", "vroid.glb", lambda name: name in VOWELS),
)


class SeenMouth:
    """The opening of a mouth in pictures from the front, in pixels."""

    def __init__(self, face: Face, lips: Lips) -> None:
        self.triangles = np.ascontiguousarray(face.triangles, np.int32)
        width = float(lips.measure(face.vertices)[1])
        x, y, z = (float(v) for v in face.vertices[[lips.upper, lips.lower]].mean(0))
        self.camera = frame_face(face).closer((x, y - 0.3 * width, z), 2.0 * width)
        self.sides = np.full(len(self.triangles), TWO_SIDED, np.uint8)
        self.known = np.unique(self._seen(face.vertices))

    def _seen(self, vertices: Array) -> Array:
        turn = self.camera.rotation()
        view = np.column_stack([turn, -turn @ self.camera.position]).astype(np.float32)
        points = affine(np.ascontiguousarray(vertices, np.float32), view)
        screen, near = project(points, self.camera.focal(PIXELS), PIXELS, PIXELS)
        _, items = bin_triangles(screen, near, self.triangles, self.sides, PIXELS, PIXELS, PIXELS)
        ids = np.full((PIXELS, PIXELS, 1), -1, np.int32)
        best = np.zeros((PIXELS, PIXELS, 1), np.float32)
        offsets = sample_offsets(1)
        raster_rows(screen, near, self.triangles, items, 0, PIXELS, offsets, ids, best)
        return ids[:, :, 0]

    def __call__(self, vertices: Array) -> float:
        middle = self._seen(vertices)[:, PIXELS // 2 - 4 : PIXELS // 2 + 4]
        return float((~np.isin(middle, self.known)).sum(0).mean())


def curves(face: Face, weights: Array, every: int) -> tuple[Array, Array, float]:
    """(T, 6) measures from rest, (T / every,) seen openings, and the mouth's width in metres."""
    lips = find_lips(face)
    assert lips is not None
    seen = SeenMouth(face, lips)
    measures, openings = [], []
    for t, row in enumerate(weights):
        vertices = face.pose(row)
        measures.append(lips.measure(vertices - face.vertices))
        if t % every == 0:
            openings.append(seen(vertices))
    return np.stack(measures), np.array(openings), float(lips.measure(face.vertices)[1])


def speech_of(librivox: Path | None) -> list[tuple[Any, tuple[Timed, ...]]]:
    """Sounds, with phones where they are known."""
    demo = (files("jambatalk") / "assets" / "demo.flac").read_bytes()
    found: list[tuple[Any, tuple[Timed, ...]]] = [(Speech.load(demo), ())]
    for reading in load_readings(librivox) if librivox is not None else ():
        found.append((Speech(reading.samples, 16000), tuple(reading.phones)))
    return found


def touching(
    measures: Array, width: float, theirs: float, lengths: list[int], phones: Any, fps: float
) -> float:
    """Share of the bilabials in which the lips touch, in the default head's millimetres."""
    gaps = np.split(1000 * measures[:, 0] * theirs / width, np.cumsum(lengths)[:-1])
    return touch_rate(gaps, phones, fps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("avatars", type=Path, nargs="?", default=AVATARS)
    parser.add_argument("--librivox", type=Path)
    parser.add_argument("--every", type=int, default=3, help="frames from picture to picture")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    talker = jambatalk.load()
    spoken = speech_of(options.librivox)
    motions = [talker.animate(speech) for speech, _ in spoken]
    phones, lengths = [timed for _, timed in spoken], [len(motion) for motion in motions]
    weights = np.concatenate([motion.weights for motion in motions if motion.weights is not None])
    names = motions[0].names
    head = default_head()
    full = np.zeros((len(weights), len(ARKIT_NAMES)), np.float32)
    full[:, head.columns(names)] = weights
    true, seen_true, width = curves(head, full, options.every)
    rate = touching(true, width, width, lengths, phones, talker.fps)
    rows = [{"face": "default head", "touch": rate, "frames": len(weights)}]
    for label, file, wanted in CASES:
        whole = Face.load(options.avatars / file)
        kept = [k for k, name in enumerate(whole.names) if wanted(name)]
        face = replace(
            whole, names=tuple(whole.names[k] for k in kept), basis=whole.basis[kept], source=None
        )
        for way, solved in (("solved", True), ("table", False)):
            own = ShapeTransfer(face, names, solved)(weights)
            made, seen, own_width = curves(face, own, options.every)
            r = [float(np.corrcoef(true[:, m], made[:, m])[0, 1]) for m in range(3)]
            rows.append(
                {
                    "face": label,
                    "way": way,
                    "opening": r[0],
                    "width": r[1],
                    "protrusion": r[2],
                    "seen opening": float(np.corrcoef(seen_true, seen)[0, 1]),
                    "touch": touching(made, own_width, width, lengths, phones, talker.fps),
                }
            )
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{len(weights)} frames; /p b m/ touching on the default head: {rate:.1%}")
    columns = ("opening", "width", "protrusion", "seen opening")
    print(f"{'':22}{'':8}" + "".join(f"{'r ' + name:>15}" for name in columns) + f"{'touch':>10}")
    for row in rows[1:]:
        values = "".join(f"{row[name]:15.3f}" for name in columns)
        print(f"{row['face']:22}{row['way']:8}{values}{row['touch']:10.1%}")


if __name__ == "__main__":
    main()
