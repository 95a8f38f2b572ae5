"""How wide the mouth opens, system by system against the truth, above the spectrogram of what is
said: SVG for one clip.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.errors import MissingExtraError
from jambatalk.evaluation.metrics.closure import (
    ROUNDING_METRES,
    SHORTEST_VOWEL,
    closed_level,
    smallest_gap,
    threshold,
)
from jambatalk.face.deform import affine
from jambatalk.face.face import Face
from jambatalk.render import frame_face
from jambatalk.render.geometry import vertex_normals
from jambatalk.render.rasterizer import (
    TWO_SIDED,
    bin_triangles,
    project,
    raster_rows,
    sample_offsets,
)
from jambatalk.text.phones import (
    BILABIALS,
    FEATURES,
    OPEN_VOWELS,
    PHONES,
    SILENCE,
    Timed,
    features_of,
)

# Pictures and numbers inside a page: PNG bytes, addresses that hold the data itself, sound as a
# spectrogram.


Array = NDArray[Any]


def require_matplotlib() -> None:
    """MissingExtraError when the pictures' library is absent."""
    try:
        import matplotlib.image  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'a report needs matplotlib: pip install "jambatalk[evaluate]"'
        ) from error


def png(image: Array) -> bytes:
    """A PNG of (H, W, 3) or (H, W, 4), as uint8 or floats in 0..1. The same image gives the same
    bytes.
    """
    require_matplotlib()
    from matplotlib.image import imsave

    if image.dtype != np.uint8:
        image = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    plain: Any = {"Software": None}  # the library's version is none of the picture's business
    imsave(buffer, image, format="png", metadata=plain)
    return buffer.getvalue()


def jpeg(image: Array) -> bytes:
    """A JPEG of (H, W, 3) uint8, for what need not be sharp."""
    require_matplotlib()
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, image, format="jpeg", pil_kwargs={"quality": 80})
    return buffer.getvalue()


def data_uri(data: bytes, kind: str) -> str:
    """An address that holds the data itself, such as ``data:image/png;base64,...``."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def spectrogram(samples: Array) -> bytes:
    """PNG of the mel spectrogram of (n,) samples at 16 kHz: one column each 10 ms, low tones below,
    the loudest 60 dB in grey.

    Black ink on a transparent ground, so that it shows on light pages; a dark page inverts it.
    """
    import torch

    from jambatalk.models.config import MelConfig
    from jambatalk.models.features import LogMel

    config = MelConfig(bands=80, fft=512)
    mel = LogMel(config)
    frames = -(-len(samples) // config.hop)
    # The window of column j is centred on the middle of its 10 ms.
    late = (config.window - config.hop) // 2
    padded = np.zeros(
        (frames * config.hop + late) // config.hop * config.hop + config.hop, np.float32
    )
    padded[: len(samples)] = samples
    with torch.no_grad():
        power, _ = mel(torch.from_numpy(padded)[None], mel.init_state(1))
    shift = round(late / config.hop)
    level = power[0, shift : shift + frames].numpy().T[::-1] * (10 / np.log(10))  # dB
    ink = np.clip((level - level.max() + 60) / 60, 0, 1)
    return png(np.stack([np.zeros_like(ink)] * 3 + [ink], axis=2))


# Values of vertices as colours on the face: where a system errs, and how much each part of the face
# moves.


COLOUR_MAP = "viridis"
"""Perceptually uniform, and told apart by people who confuse red and green."""
FORM = 0.22
"""Share of the brightness that follows the face's form: enough to see a nose, too little to be
taken for a value.
"""
TOP_SHARE = 0.995
"""The brightest colour stands for this quantile of all values shown, so that one odd vertex does
not darken the rest.
"""


class MotionMap:
    """Collects over clips, for each vertex, the mean distance from the truth and how much the
    vertex moves.

    error (V,): mean over all frames of |p - y|. moved (V,): root of the mean over clips of the
    variance over time of the position. Both in the unit of the positions.
    """

    def __init__(self, vertices: int) -> None:
        self._apart, self._variance = np.zeros(vertices), np.zeros(vertices)
        self._frames = self._clips = 0

    def add(self, true: Array, predicted: Array) -> None:
        """One clip: positions (T, V, 3) each."""
        self._apart += np.linalg.norm(predicted - true, axis=2).sum(0, np.float64)
        self._variance += predicted.var(0, np.float64).sum(1)
        self._frames += len(true)
        self._clips += 1

    @property
    def error(self) -> Array:
        return self._apart / max(self._frames, 1)

    @property
    def moved(self) -> Array:
        return np.sqrt(self._variance / max(self._clips, 1))


@dataclass(frozen=True)
class Scale:
    """What the colours mean: 0 to ``top``. ticks: values to be written beside the bar. colours:
    CSS, from 0 to top.
    """

    top: float
    ticks: tuple[float, ...]
    colours: tuple[str, ...]


def shared_scale(maps: Sequence[Array]) -> Scale:
    """One scale for all these maps (V,) of values from 0 on."""
    highest = float(np.quantile(np.concatenate(list(maps)), TOP_SHARE)) if maps else 0.0
    top = highest if highest > 0 else 1.0
    step = nice_step(top / 5)
    ticks = tuple(round(step * n, 10) for n in range(int(top / step + 1e-9) + 1))
    shown = [colour_table()[round(255 * n / 15)] for n in range(16)]
    return Scale(
        top,
        ticks,
        tuple("rgb({},{},{})".format(*(round(255 * c) for c in colour)) for colour in shown),
    )


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least ``least``; 1 for nothing."""
    if not least > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(least))
    return float(
        next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))
    )


def colour_table() -> Array:
    """(256, 3) sRGB in 0..1."""
    require_matplotlib()
    from matplotlib import colormaps

    return np.asarray(colormaps[COLOUR_MAP](np.arange(256)))[:, :3]


class FrontView:
    """A face from the front, ready to be painted with values again and again.

    template: (V, 3) positions in any unit. triangles: (F, 3). size: pixels each way.
    """

    def __init__(
        self, template: Array, triangles: Array, size: int = 320, supersample: int = 3
    ) -> None:
        vertices = np.ascontiguousarray(
            template / max(float(np.ptp(template, axis=0).max()), 1e-9), np.float32
        )
        corners = np.ascontiguousarray(triangles, np.int32)
        camera = frame_face(Face(vertices, corners))
        rotation = camera.rotation()
        view = affine(
            vertices,
            np.column_stack([rotation, -rotation @ np.asarray(camera.position)]).astype(np.float32),
        )
        screen, near = project(view, camera.focal(size), size, size)
        sides = np.full(len(corners), TWO_SIDED, np.uint8)
        _, items = bin_triangles(screen, near, corners, sides, size, size, size)
        offsets = sample_offsets(supersample)
        ids = np.full((size, size, len(offsets)), -1, np.int32)
        raster_rows(
            screen, near, corners, items, 0, size, offsets, ids, np.zeros(ids.shape, np.float32)
        )
        self.seen = ids >= 0
        self.corners = corners[ids[self.seen]]  # (N, 3) vertices around each covered sample
        rows, columns, sample = np.nonzero(self.seen)
        spots = np.stack([columns, rows], 1) * 256 + offsets[sample]
        self.shares = _shares(screen[self.corners].astype(np.float64), spots)  # (N, 3)
        facing = np.abs(
            vertex_normals(view, corners, np.arange(len(vertices), dtype=np.int32))[:, 2]
        )
        self._form = (self._at(facing) * FORM + (1 - FORM))[:, None]

    def _at(self, values: Array) -> Array:
        return np.asarray((values[self.corners] * self.shares).sum(1))

    def paint(self, values: Array, scale: Scale) -> bytes:
        """Values (V,) as a PNG with a transparent ground."""
        level = np.clip(self._at(np.asarray(values, np.float64)) / scale.top, 0, 1)
        colours = np.zeros((*self.seen.shape, 3))
        colours[self.seen] = colour_table()[np.round(level * 255).astype(int)] * self._form
        cover = self.seen.mean(2)
        shown = colours.sum(2) / np.maximum(self.seen.sum(2), 1)[:, :, None]
        return png(np.concatenate([shown, cover[:, :, None]], axis=2))


def _shares(triangles: Array, spots: Array) -> Array:
    """(N, 3) barycentric coordinates of spots (N, 2) in triangles (N, 3, 2)."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]

    def cross(one: Array, other: Array) -> Array:
        return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])

    whole = cross(b - a, c - a)
    return (
        np.stack(
            [cross(b - spots, c - spots), cross(c - spots, a - spots), cross(a - spots, b - spots)],
            1,
        )
        / whole[:, None]
    )


WIDTH, LEFT, RIGHT = 1000, 56, 12
CURVES_TOP, CURVES_HEIGHT = 26, 250
SPECTRUM_TOP, SPECTRUM_HEIGHT = 302, 120
BOTTOM = CURVES_TOP + CURVES_HEIGHT
HEIGHT = 462
PAUSES = (SILENCE, "sp", "")
TRUTH = "truth"


def figure(
    title: str,
    truth: Array,
    curves: Mapping[str, Array],
    fps: float,
    samples: Array,
    unit: str,
    words: Sequence[Timed] = (),
    phones: Sequence[Timed] = (),
) -> str:
    """An ``<svg>`` of one clip.

    truth: (T,) opening in ``unit``. curves: CSS class -> (T,) opening of a system; the page's style
    gives classes their colours. samples: (n,) speech at 16 kHz. words: written above their time.
    phones: bands behind those for which the lips meet.
    """
    seconds = max(len(truth) / fps, len(samples) / SAMPLE_RATE)
    top = (
        max(float(np.max(curve, initial=0.0)) for curve in (truth, *curves.values())) * 1.05 or 1.0
    )
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        'class="curves">',
        f"<title>{escape(title)}</title>",
    ]
    for phone, start, end in phones:
        if phone in BILABIALS:
            x = _x(start, seconds)
            parts.append(
                f'<rect class="meet" x="{x:.1f}" y="{CURVES_TOP}" '
                f'width="{_x(end, seconds) - x:.1f}" height="{CURVES_HEIGHT}"/>'
                f'<text class="phone" x="{_x((start + end) / 2, seconds):.1f}" '
                f'y="{CURVES_TOP + 14}">{escape(phone)}</text>'
            )
    parts += _axes(seconds, top, unit)
    for text, start, end in words:
        if text not in PAUSES:
            parts.append(
                f'<text class="word" x="{_x((start + end) / 2, seconds):.1f}" y="16">'
                f"{escape(text)}</text>"
            )
    for name, curve in ((TRUTH, truth), *curves.items()):
        parts.append(f'<path class="curve {name}" d="{_path(curve, fps, seconds, top)}"/>')
    wide = _x(len(samples) / SAMPLE_RATE, seconds) - LEFT
    if len(samples):
        parts.append(
            f'<image class="spectrum" x="{LEFT}" y="{SPECTRUM_TOP}" width="{wide:.1f}" '
            f'height="{SPECTRUM_HEIGHT}" '
            f'preserveAspectRatio="none" href="{data_uri(spectrogram(samples), "image/png")}"/>'
        )
    parts.append("</svg>")
    return "".join(parts)


def _x(time: float, seconds: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * time / seconds


def _y(opening: float, top: float) -> float:
    return CURVES_TOP + CURVES_HEIGHT * (1 - opening / top)


def _path(curve: Array, fps: float, seconds: float, top: float) -> str:
    """Frame t stands at t / fps."""
    return "M" + "L".join(
        f"{_x(t / fps, seconds):.1f} {_y(float(value), top):.1f}" for t, value in enumerate(curve)
    )


def _axes(seconds: float, top: float, unit: str) -> list[str]:
    right = WIDTH - RIGHT
    parts = []
    step = nice_step(top / 5)
    for n in range(int(top / step) + 1):
        y = _y(n * step, top)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick side" x="{LEFT - 8}" y="{y + 4:.1f}">{round(n * step, 10):g}</text>'
        )
    middle = CURVES_TOP + CURVES_HEIGHT / 2
    parts.append(
        f'<text class="axis" transform="translate(14 {middle}) rotate(-90)">'
        f"lip opening, {escape(unit)}</text>"
    )
    middle = SPECTRUM_TOP + SPECTRUM_HEIGHT / 2
    parts.append(
        f'<text class="axis" transform="translate(14 {middle}) rotate(-90)">mel, 0–7.6 kHz</text>'
    )
    step = nice_step(seconds / 12)
    low = SPECTRUM_TOP + SPECTRUM_HEIGHT
    for n in range(int(seconds / step + 1e-9) + 1):
        x = _x(n * step, seconds)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{BOTTOM}" y2="{BOTTOM + 5}"/>'
            f'<text class="tick" x="{x:.1f}" y="{low + 18}">{round(n * step, 10):g}</text>'
        )
    parts.append(f'<text class="axis" x="{(LEFT + right) / 2}" y="{low + 36}">seconds</text>')
    parts.append(
        f'<rect class="frame" x="{LEFT}" y="{CURVES_TOP}" width="{right - LEFT}" '
        f'height="{CURVES_HEIGHT}"/>'
    )
    parts.append(
        f'<rect class="frame" x="{LEFT}" y="{SPECTRUM_TOP}" width="{right - LEFT}" '
        f'height="{SPECTRUM_HEIGHT}"/>'
    )
    return parts


# What the mouth does for each class of phones: how wide it opens, how often it closes, how wide it
# is.


_ROUND = FEATURES.index("round")
CLASSES: Mapping[str, tuple[str, ...]] = {
    "lips meet": BILABIALS,
    "lip on teeth": ("f", "v"),
    "rounded": tuple(
        p
        for p in PHONES
        if p not in OPEN_VOWELS and max(side[_ROUND] for side in features_of(p)) >= 0.7
    ),
    "open vowels": OPEN_VOWELS,
}
"""Classes of phones by what the lips do."""


@dataclass(frozen=True)
class SpokenClip:
    """A clip as this table needs it; true: (T,) opening."""

    name: str
    speaker: str
    fps: float
    true: Array
    phones: Sequence[Timed]


@dataclass(frozen=True)
class ClassScore:
    """One class of phones in one system's motion; numbers are nan where none is spoken.

    Attributes:
        count: Phones that the numbers are from.
        opening: Mean opening over their frames.
        closed: Share of them in which the opening falls below the closure threshold of the same
            clip's truth.
    """

    count: int
    opening: float
    closed: float


def thresholds(clips: Sequence[SpokenClip]) -> dict[str, float]:
    """Clip -> its closure threshold, from the truth for every system alike."""
    levels = {}
    for speaker in dict.fromkeys(clip.speaker for clip in clips):
        levels[speaker] = closed_level(clip.true for clip in clips if clip.speaker == speaker)
    return {
        clip.name: threshold(clip.true, levels[clip.speaker]) + ROUNDING_METRES for clip in clips
    }


def score_classes(
    clips: Sequence[SpokenClip], openings: Mapping[str, Array]
) -> dict[str, ClassScore]:
    """Score a system's openings (clip name -> (T,)) by class of phones.

    Of vowels those of at least 60 ms count, in their middle third.
    """
    bounds, scores = thresholds(clips), {}
    for name, members in CLASSES.items():
        means, closed = [], []
        for clip in clips:
            curve = openings[clip.name]
            for phone, start, end in clip.phones:
                if phone not in members:
                    continue
                if name == "open vowels":
                    if end - start < SHORTEST_VOWEL:
                        continue
                    third = (end - start) / 3
                    start, end = start + third, end - third
                first = min(max(round(start * clip.fps), 0), len(curve) - 1)
                means.append(float(curve[first : max(round(end * clip.fps), first) + 1].mean()))
                closed.append(smallest_gap(curve, start, end, clip.fps) <= bounds[clip.name])
        if means:
            scores[name] = ClassScore(len(means), float(np.mean(means)), float(np.mean(closed)))
        else:
            scores[name] = ClassScore(0, float("nan"), float("nan"))
    return scores
