"""How wide the mouth opens, system by system against the truth, above the spectrogram of what is said: SVG for one clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.clip import RATE, Timed
from jambatalk.data.phones import BILABIALS, SILENCE
from jambatalk.evaluation.report.heat_maps import nice_step
from jambatalk.evaluation.report.pictures import data_uri, spectrogram

Array = NDArray[Any]

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

    truth: (T,) opening in ``unit``. curves: CSS class -> (T,) opening of a system; the page's style gives classes their colours.
    samples: (n,) speech at 16 kHz. words: written above their time. phones: bands behind those for which the lips meet.
    """
    seconds = max(len(truth) / fps, len(samples) / RATE)
    top = max(float(np.max(curve, initial=0.0)) for curve in (truth, *curves.values())) * 1.05 or 1.0
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" class="curves">',
        f"<title>{escape(title)}</title>",
    ]
    for phone, start, end in phones:
        if phone in BILABIALS:
            x = _x(start, seconds)
            parts.append(
                f'<rect class="meet" x="{x:.1f}" y="{CURVES_TOP}" width="{_x(end, seconds) - x:.1f}" height="{CURVES_HEIGHT}"/>'
                f'<text class="phone" x="{_x((start + end) / 2, seconds):.1f}" y="{CURVES_TOP + 14}">{escape(phone)}</text>'
            )
    parts += _axes(seconds, top, unit)
    for text, start, end in words:
        if text not in PAUSES:
            parts.append(f'<text class="word" x="{_x((start + end) / 2, seconds):.1f}" y="16">{escape(text)}</text>')
    for name, curve in ((TRUTH, truth), *curves.items()):
        parts.append(f'<path class="curve {name}" d="{_path(curve, fps, seconds, top)}"/>')
    wide = _x(len(samples) / RATE, seconds) - LEFT
    if len(samples):
        parts.append(
            f'<image class="spectrum" x="{LEFT}" y="{SPECTRUM_TOP}" width="{wide:.1f}" height="{SPECTRUM_HEIGHT}" '
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
    return "M" + "L".join(f"{_x(t / fps, seconds):.1f} {_y(float(value), top):.1f}" for t, value in enumerate(curve))


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
    parts.append(f'<text class="axis" transform="translate(14 {middle}) rotate(-90)">lip opening, {escape(unit)}</text>')
    middle = SPECTRUM_TOP + SPECTRUM_HEIGHT / 2
    parts.append(f'<text class="axis" transform="translate(14 {middle}) rotate(-90)">mel, 0–7.6 kHz</text>')
    step = nice_step(seconds / 12)
    low = SPECTRUM_TOP + SPECTRUM_HEIGHT
    for n in range(int(seconds / step + 1e-9) + 1):
        x = _x(n * step, seconds)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{BOTTOM}" y2="{BOTTOM + 5}"/>'
            f'<text class="tick" x="{x:.1f}" y="{low + 18}">{round(n * step, 10):g}</text>'
        )
    parts.append(f'<text class="axis" x="{(LEFT + right) / 2}" y="{low + 36}">seconds</text>')
    parts.append(f'<rect class="frame" x="{LEFT}" y="{CURVES_TOP}" width="{right - LEFT}" height="{CURVES_HEIGHT}"/>')
    parts.append(f'<rect class="frame" x="{LEFT}" y="{SPECTRUM_TOP}" width="{right - LEFT}" height="{SPECTRUM_HEIGHT}"/>')
    return parts
