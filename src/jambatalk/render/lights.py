"""The studio: three soft lights and the light of the room, fixed to the camera so every view is well lit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Light:
    """A far light. towards: the direction it comes from, in view space (x right, y up, z to the viewer). colour: linear RGB."""

    towards: tuple[float, float, float]
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Studio:
    """key (casts the shadow), fill, rim (from behind), and the room: linear RGB from above and from below."""

    key: Light = Light((-0.62, 0.58, 0.70), (1.05, 0.96, 0.86))
    fill: Light = Light((0.80, 0.06, 0.62), (0.17, 0.195, 0.24))
    rim: Light = Light((0.78, 0.42, -0.62), (0.80, 0.92, 1.15))
    above: tuple[float, float, float] = (0.22, 0.245, 0.285)
    below: tuple[float, float, float] = (0.125, 0.10, 0.09)

    def rows(self) -> Array:
        """(5, 6) float32: key, fill and rim as unit direction + colour; then the room's light from above and from below."""
        lights = [
            np.concatenate([np.divide(light.towards, np.linalg.norm(light.towards)), light.colour]) for light in self.lights()
        ]
        room = [np.concatenate([[0.0, sign, 0.0], colour]) for sign, colour in ((1.0, self.above), (-1.0, self.below))]
        return np.array([*lights, *room], np.float32)

    def lights(self) -> tuple[Light, Light, Light]:
        """The three lights in the order of ``rows``."""
        return self.key, self.fill, self.rim
