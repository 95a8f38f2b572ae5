"""Pictures of a validation clip: predicted and true faces side by side, and their mouths' opening over time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.face import Face
from jambatalk.motion import Motion
from jambatalk.render.lettering import HEIGHT, draw_text
from jambatalk.render.renderer import Renderer
from jambatalk.render.worn import WornMotion
from jambatalk.training.task import Sample

Array = NDArray[Any]
SIZE = (150, 180)  # pixels of one face
WHITE, DARK, TRUE, PREDICTED = (255, 255, 255), (40, 40, 40), (150, 150, 150), (200, 60, 30)
MARGIN = 2 * HEIGHT + 6  # pixels above a picture, for its label


class FaceStrip:
    """Draws moments of a clip; one renderer for each face that comes up."""

    def __init__(self) -> None:
        self._renderers: dict[int, tuple[Face, Renderer]] = {}

    def __call__(self, sample: Sample, moments: int = 8) -> Array:
        """(H, W, 3) uint8: the predicted faces above the true ones, at moments spread evenly over the clip."""
        rows = []
        for label, motion in (("predicted", sample.predicted), ("true", sample.true)):
            worn = WornMotion(motion)
            if id(worn.face) not in self._renderers:
                # Kept together with its face, whose identity is the key.
                self._renderers[id(worn.face)] = worn.face, Renderer(worn.face, SIZE)
            renderer = self._renderers[id(worn.face)][1]
            frames = np.linspace(0, len(motion) - 1, min(moments, len(motion)) + 2)[1:-1].round().astype(int)
            pictures = [renderer.render(worn.vertices(frame), worn.head_pose(frame)) for frame in frames]
            rows.append(np.concatenate([_label(label, len(pictures) * SIZE[0]), np.concatenate(pictures, axis=1)]))
        return np.concatenate(rows)


def opening_mm(motion: Motion) -> Array | None:
    """(T,) millimetres between the inner lips' middles; None for a face that does not name them."""
    face = WornMotion(motion).face
    if face.gap_vertices is None:
        return None
    if motion.offsets is None:
        ordered = np.zeros((len(motion), len(face.names)), np.float32)
        ordered[:, face.columns(motion.names)] = motion.weights
        gap = face.lip_gap(ordered)
    else:
        upper, lower = face.gap_vertices
        moved = face.vertices[[upper, lower], 1] + motion.offsets[:, [upper, lower], 1]
        gap = moved[:, 0] - moved[:, 1]
    return np.asarray(gap * 1000.0)


def opening_chart(sample: Sample, size: tuple[int, int] = (720, 180)) -> Array | None:
    """(H, W, 3) uint8: the two openings over the clip; None for a face without lip vertices."""
    curves = {name: opening_mm(motion) for name, motion in (("true", sample.true), ("predicted", sample.predicted))}
    values = [curve for curve in curves.values() if curve is not None]
    if len(values) < 2:
        return None
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    width, height = size
    picture = np.full((height, width, 3), WHITE, np.uint8)
    for colour, curve in zip((TRUE, PREDICTED), values, strict=True):
        x = np.arange(width)
        y = np.interp(x / max(width - 1, 1), np.linspace(0, 1, len(curve)), curve)
        rows = (height - 4 - (y - low) / max(high - low, 1e-6) * (height - 8)).round().astype(int)
        # Between neighbouring columns the line runs vertically, so that steep parts stay whole.
        before = np.concatenate([rows[:1], rows[:-1]])
        upper, lower = np.minimum(rows, before), np.maximum(rows, before)
        line = np.arange(height)[:, None]
        picture[(line >= upper - 1) & (line <= lower + 1)] = colour
    seconds = len(values[0]) / sample.true.fps
    label = _label(f"opening {low:.1f} to {high:.1f} mm over {seconds:.1f} s: grey true, red predicted", width)
    return np.concatenate([label, picture])


def _label(text: str, width: int) -> Array:
    """(MARGIN, width, 3) uint8: a line of text on white, small enough for the width."""
    picture = np.full((MARGIN, width, 3), WHITE, np.uint8)
    draw_text(picture, text, (4, 4), DARK, 2 if len(text) * 12 + 8 <= width else 1)
    return picture
