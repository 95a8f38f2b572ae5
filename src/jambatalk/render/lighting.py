"""Light: the light rig, the tone curve from light to bytes, and the backdrop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Light:
    """A far light.

    Args:
        towards: the direction it comes from, in view space (x right, y up, z to the viewer).
        colour: linear RGB.
    """

    towards: tuple[float, float, float]
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class LightRig:
    """Three soft lights and that of the room, fixed to the camera: every view is well lit.

    Args:
        key: the main light, which casts the shadow.
        fill: brightens the other side.
        rim: from behind.
        above, below: the room's light, linear RGB.
    """

    key: Light = Light((-0.62, 0.58, 0.70), (1.05, 0.96, 0.86))
    fill: Light = Light((0.80, 0.06, 0.62), (0.17, 0.195, 0.24))
    rim: Light = Light((0.78, 0.42, -0.62), (0.80, 0.92, 1.15))
    above: tuple[float, float, float] = (0.22, 0.245, 0.285)
    below: tuple[float, float, float] = (0.125, 0.10, 0.09)

    def rows(self) -> Array:
        """Rows (5, 6) float32: direction and colour of key, fill, rim, room above, room below."""
        lights = [
            np.concatenate([np.divide(light.towards, np.linalg.norm(light.towards)), light.colour])
            for light in self.lights()
        ]
        room = [
            np.concatenate([[0.0, sign, 0.0], colour])
            for sign, colour in ((1.0, self.above), (-1.0, self.below))
        ]
        return np.array([*lights, *room], np.float32)

    def lights(self) -> tuple[Light, Light, Light]:
        """The three lights in the order of ``rows``."""
        return self.key, self.fill, self.rim


SHOULDER = 0.60  # linear light below this keeps its value, so a face's colours stay what they are
TABLE_SIZE = 4096
TABLE_LIMIT = 8.0  # the brightest linear value the table distinguishes from white


def to_linear(srgb: Array) -> Array:
    """sRGB in 0..1 -> linear light in 0..1 (IEC 61966-2-1)."""
    srgb = np.clip(np.asarray(srgb, np.float64), 0, 1)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


def to_srgb(linear: Array) -> Array:
    """Linear light in 0..1 -> sRGB in 0..1."""
    linear = np.clip(np.asarray(linear, np.float64), 0, 1)
    return np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    ).astype(np.float32)


def tonemap(linear: Array) -> Array:
    """The filmic curve: straight to SHOULDER, then rolling off, white only at infinity."""
    linear = np.maximum(np.asarray(linear, np.float64), 0)
    room = 1.0 - SHOULDER
    return np.where(
        linear < SHOULDER, linear, SHOULDER + room * (1.0 - np.exp(-(linear - SHOULDER) / room))
    )


def tone_table() -> Array:
    """(TABLE_SIZE + 1,) float32: ``255 * to_srgb(tonemap(x))`` at ``x = TABLE_LIMIT * (i /
    TABLE_SIZE) ** 2``.

    Spaced by the square root, so the dark end, where the eye and sRGB are finest, has the most
    entries.
    """
    steps = np.arange(TABLE_SIZE + 1) / TABLE_SIZE
    return (255.0 * to_srgb(tonemap(TABLE_LIMIT * steps**2))).astype(np.float32)


GLOW = (0.545, 0.600, 0.650)  # sRGB behind the head
CORNER = (0.165, 0.190, 0.225)  # sRGB in the corners


def backdrop(width: int, height: int) -> Array:
    """A soft glow behind the head, dark in the corners: (H, W, 3) float32 linear light."""
    x = (np.arange(width) + 0.5 - 0.5 * width) / max(width, height)
    y = (np.arange(height) + 0.5 - 0.42 * height) / max(width, height)
    distance = np.sqrt((1.05 * x[None, :]) ** 2 + y[:, None] ** 2)
    fall = np.clip(distance / 0.78, 0, 1)
    fall = fall * fall * (3 - 2 * fall)
    glow, corner = to_linear(np.array(GLOW)), to_linear(np.array(CORNER))
    # Mixed by ratio, not by sum: equal steps to the eye.
    return (glow * (corner / glow) ** fall[:, :, None]).astype(np.float32)
