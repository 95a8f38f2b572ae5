"""The colours of each person: skin, lips, hair and shirt, in sRGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Palette:
    """skin: the forehead's tone; lips; hair; brows; shirt; blush: how strongly cheeks, nose and
    ears redden, 0..1; stubble: how dark the shaven beard is, 0..1; freckles: how much the tone
    varies, 0..1.
    """

    skin: Colour
    lips: Colour
    hair: Colour
    brows: Colour
    shirt: Colour
    blush: float = 0.5
    stubble: float = 0.0
    mottle: float = 0.5


TEMPLATE_PALETTE = Palette(
    skin=(0.865, 0.700, 0.605),
    lips=(0.725, 0.455, 0.425),
    hair=(0.235, 0.155, 0.110),
    brows=(0.250, 0.170, 0.125),
    shirt=(0.235, 0.310, 0.370),
    blush=0.55,
)
PALETTES: dict[str, Palette] = {
    "amara": Palette(
        skin=(0.500, 0.340, 0.255),
        lips=(0.500, 0.270, 0.250),
        hair=(0.075, 0.058, 0.052),
        brows=(0.085, 0.062, 0.052),
        shirt=(0.640, 0.520, 0.330),
        blush=0.35,
    ),
    "daniel": Palette(
        skin=(0.850, 0.665, 0.575),
        lips=(0.700, 0.440, 0.410),
        hair=(0.380, 0.270, 0.170),
        brows=(0.340, 0.245, 0.165),
        shirt=(0.300, 0.330, 0.300),
        blush=0.6,
        stubble=0.35,
    ),
    "kofi": Palette(
        skin=(0.400, 0.265, 0.200),
        lips=(0.410, 0.240, 0.220),
        hair=(0.060, 0.050, 0.047),
        brows=(0.070, 0.055, 0.048),
        shirt=(0.330, 0.360, 0.420),
        blush=0.25,
        stubble=0.30,
    ),
    "mei": Palette(
        skin=(0.885, 0.745, 0.635),
        lips=(0.770, 0.440, 0.425),
        hair=(0.085, 0.070, 0.068),
        brows=(0.130, 0.100, 0.088),
        shirt=(0.450, 0.300, 0.340),
        blush=0.45,
    ),
    "walter": Palette(
        skin=(0.850, 0.670, 0.590),
        lips=(0.690, 0.470, 0.440),
        hair=(0.620, 0.610, 0.600),
        brows=(0.520, 0.500, 0.480),
        shirt=(0.330, 0.280, 0.260),
        blush=0.75,
        stubble=0.22,
        mottle=0.9,
    ),
}


def mixed(one: Array, other: Array | Colour, share: Array) -> Array:
    """(n, 3): ``one`` with ``share`` (n,) of ``other``."""
    return np.asarray(one + (np.asarray(other) - one) * np.clip(share, 0.0, 1.0)[:, None])


def lattice_noise(points: Array, size: float, seed: int) -> Array:
    """(n,) smooth noise in -1..1 with features of ``size`` metres: random values on a lattice,
    blended between its nodes.
    """
    table = np.random.default_rng(seed).uniform(-1.0, 1.0, 4096)
    scaled = points / size
    cell = np.floor(scaled).astype(np.int64)
    t = scaled - cell
    t = t * t * (3.0 - 2.0 * t)
    out = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        node = cell + corner
        value = table[
            (node[:, 0] * 73856093 ^ node[:, 1] * 19349663 ^ node[:, 2] * 83492791) % 4096
        ]
        weight = np.where(np.array(corner) == 1, t, 1.0 - t).prod(axis=1)
        out += weight * value
    return out
