"""Rigid motions fitted to the helpers' offsets, so that hard parts (teeth, eyeballs) never bend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Rigid:
    """p -> rotation @ (p - centre) + centre + shift."""

    rotation: Array
    centre: Array
    shift: Array

    def offsets(self, points: Array) -> Array:
        """(n, 3) how far each point moves at weight 1. Shapes are linear: at weight 1/2 lengths
        shrink by 1 - cos(angle / 2).
        """
        return np.asarray((points - self.centre) @ (self.rotation - np.eye(3)).T + self.shift)


def fit_rigid(points: Array, offsets: Array) -> Rigid:
    """The rigid motion closest to points -> points + offsets (Kabsch 1976), both (n, 3)."""
    centre = points.mean(axis=0)
    moved = points + offsets
    u, _, vt = np.linalg.svd((points - centre).T @ (moved - moved.mean(axis=0)))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    return Rigid(vt.T @ flip @ u.T, centre, moved.mean(axis=0) - centre)


@dataclass(frozen=True)
class Fit:
    """p -> (p - centre) * scale + centre + shift: carries a part made for the template to another
    person.
    """

    scale: Array
    centre: Array
    shift: Array

    def offsets(self, points: Array) -> Array:
        """(n, 3) how far each point moves."""
        return np.asarray((points - self.centre) * (self.scale - 1.0) + self.shift)


def fit_scale(points: Array, offsets: Array) -> Fit:
    """Scales along x, y, z and a shift that best carry points -> points + offsets, both (n, 3)."""
    centre = points.mean(axis=0)
    moved = points + offsets
    a, b = points - centre, moved - moved.mean(axis=0)
    return Fit((a * b).sum(axis=0) / (a * a).sum(axis=0), centre, moved.mean(axis=0) - centre)
