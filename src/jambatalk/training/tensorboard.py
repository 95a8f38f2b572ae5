"""TensorBoard files of a run: the figures of the log, validation clips as pictures and sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from jambatalk.errors import MissingExtraError
from jambatalk.face.deform import AnimatedMesh
from jambatalk.face.face import Face
from jambatalk.motion import Motion
from jambatalk.render.image import HEIGHT, draw_text
from jambatalk.render.renderer import Renderer
from jambatalk.training.task import Sample

Array = NDArray[Any]
SIZE = (150, 180)
"""Width and height of one face, pixels."""
WHITE, DARK, TRUE, PREDICTED = (255, 255, 255), (40, 40, 40), (150, 150, 150), (200, 60, 30)
MARGIN = 2 * HEIGHT + 6
"""Pixels above a picture, for its label."""


class TensorBoardLogger:
    """Writes event files; what an earlier process wrote after ``step`` is void.

    Args:
        folder: Where they go.
        step: The last one done.

    Raises:
        MissingExtraError: The extra ``train`` is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            import PIL.Image  # noqa: F401  (encodes the pictures)
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError(
                'training needs tensorboard and pillow: pip install "jambatalk[train]"'
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)  # type: ignore[no-untyped-call]
        self._strip = FaceStrip()
        self._has_sound = False

    def settings(self, settings: Mapping[str, object]) -> None:
        """Write the run's settings as a text."""
        lines = yaml.safe_dump(dict(settings), sort_keys=False).splitlines()
        self._writer.add_text("settings", "\n".join(f"    {line}" for line in lines))  # type: ignore[no-untyped-call]

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to every curve; ``val_`` names are in a group of their own."""
        for name, value in values.items():
            tag = f"validation/{name[4:]}" if name.startswith("val_") else f"training/{name}"
            self._writer.add_scalar(tag, value, step)  # type: ignore[no-untyped-call]

    def samples(self, step: int, samples: Sequence[Sample]) -> None:
        """Add predicted and true faces, their lip gaps and, once, the sound of each clip."""
        for place, sample in enumerate(samples):
            tag = f"clip {place + 1}"
            self._writer.add_image(f"{tag}/faces", self._strip(sample), step, dataformats="HWC")  # type: ignore[no-untyped-call]
            chart = opening_chart(sample)
            if chart is not None:
                self._writer.add_image(f"{tag}/opening", chart, step, dataformats="HWC")  # type: ignore[no-untyped-call]
            if not self._has_sound:
                sound = sample.speech.samples[None]
                self._writer.add_audio(f"{tag}/speech", sound, step, sample_rate=sample.speech.rate)  # type: ignore[no-untyped-call]
                self._writer.add_text(f"{tag}/name", sample.name, step)  # type: ignore[no-untyped-call]
        self._has_sound = self._has_sound or bool(samples)
        self._writer.flush()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Write what is pending and close the files."""
        self._writer.close()  # type: ignore[no-untyped-call]


class FaceStrip:
    """Draws moments of a clip; keeps one renderer for each face."""

    def __init__(self) -> None:
        self._renderers: dict[int, tuple[Face, Renderer]] = {}

    def __call__(self, sample: Sample, moments: int = 8) -> Array:
        """Draw the predicted faces above the true ones, at moments spread evenly over the clip.

        Returns:
            (H, W, 3) uint8.
        """
        rows = []
        for label, motion in (("predicted", sample.predicted), ("true", sample.true)):
            mesh = AnimatedMesh(motion)
            if id(mesh.face) not in self._renderers:
                # Kept together with its face, whose identity is the key.
                self._renderers[id(mesh.face)] = mesh.face, Renderer(mesh.face, SIZE)
            renderer = self._renderers[id(mesh.face)][1]
            frames = np.linspace(0, len(motion) - 1, min(moments, len(motion)) + 2)[1:-1]
            pictures = [
                renderer.render(mesh.vertices(frame), mesh.head_pose(frame))
                for frame in frames.round().astype(int)
            ]
            rows += [_label(label, len(pictures) * SIZE[0]), np.concatenate(pictures, axis=1)]
        return np.concatenate(rows)


def opening_mm(motion: Motion) -> Array | None:
    """Measure the gap (T,) of the inner lips in mm; None for a face that does not name them."""
    face = AnimatedMesh(motion).face
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
    """Draw both lip gaps over the clip, (H, W, 3) uint8; None for a face without lip vertices."""
    curves = {
        name: opening_mm(motion)
        for name, motion in (("true", sample.true), ("predicted", sample.predicted))
    }
    values = [curve for curve in curves.values() if curve is not None]
    if len(values) < 2:
        return None
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    width, height = size
    picture = np.full((height, width, 3), WHITE, np.uint8)
    for color, curve in zip((TRUE, PREDICTED), values, strict=True):
        x = np.arange(width)
        y = np.interp(x / max(width - 1, 1), np.linspace(0, 1, len(curve)), curve)
        rows = (height - 4 - (y - low) / max(high - low, 1e-6) * (height - 8)).round().astype(int)
        # Between neighbouring columns the line runs vertically, so that steep parts stay whole.
        before = np.concatenate([rows[:1], rows[:-1]])
        upper, lower = np.minimum(rows, before), np.maximum(rows, before)
        line = np.arange(height)[:, None]
        picture[(line >= upper - 1) & (line <= lower + 1)] = color
    seconds = len(values[0]) / sample.true.fps
    label = _label(
        f"opening {low:.1f} to {high:.1f} mm over {seconds:.1f} s: grey true, red predicted", width
    )
    return np.concatenate([label, picture])


def _label(text: str, width: int) -> Array:
    """Draw a line of text on white, small enough for the width; (MARGIN, width, 3) uint8."""
    picture = np.full((MARGIN, width, 3), WHITE, np.uint8)
    draw_text(picture, text, (4, 4), DARK, 2 if len(text) * 12 + 8 <= width else 1)
    return picture
