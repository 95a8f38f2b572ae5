"""Binding new geometry to the skin: each new vertex rides on one triangle of it, in every shape and
identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .part import Part

Array = NDArray[Any]


def smooth_normals(vertices: Array, triangles: Array) -> Array:
    """(V, 3) unit normals, weighted by area."""
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    face = np.cross(b - a, c - a)
    out = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(out, triangles[:, k], face)
    return np.asarray(out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-30))


@dataclass(frozen=True)
class Binding:
    """n points on the skin: corners (n, 3) vertex indices, shares (n, 3) summing to 1."""

    corners: Array
    shares: Array

    def at(self, values: Array) -> Array:
        """Values (..., V, d) at the skin's vertices -> (..., n, d) at the bound points."""
        return np.asarray((values[..., self.corners, :] * self.shares[:, :, None]).sum(axis=-2))

    def taken(self, index: Array) -> Binding:
        """The binding of some of the points."""
        return Binding(self.corners[index], self.shares[index])


def cast(skin: Part, origins: Array, directions: Array) -> Binding:
    """Where rays (n, 3) first meet the skin. ValueError when one misses."""
    corner = skin.vertices[skin.triangles]
    a, ab, ac = corner[:, 0], corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    corners, shares = np.zeros((len(origins), 3), np.int64), np.zeros((len(origins), 3))
    for i, (origin, direction) in enumerate(zip(origins, directions)):
        # Moeller and Trumbore 1997, one ray against all triangles.
        p = np.cross(direction, ac)
        determinant = (ab * p).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            s = origin - a
            u = (s * p).sum(axis=1) / determinant
            q = np.cross(s, ab)
            v = q @ direction / determinant
            t = (ac * q).sum(axis=1) / determinant
        hit = np.flatnonzero(
            (np.abs(determinant) > 1e-14) & (u > -1e-6) & (v > -1e-6) & (u + v < 1 + 1e-6) & (t > 0)
        )
        if not len(hit):
            raise ValueError(f"a ray from {origin} along {direction} misses the skin")
        best = hit[t[hit].argmin()]
        corners[i] = skin.triangles[best]
        shares[i] = 1.0 - u[best] - v[best], u[best], v[best]
    return Binding(corners, shares)


def rounding(skin: Part, binding: Binding) -> Array:
    """(n, 3) how far each bound point lies below the smooth surface that the skin's flat triangles
    stand for.

    Phong tessellation (Boubekeur and Alexa 2008) with weight 3/4.
    """
    flat = binding.at(skin.vertices)
    corner, normal = (
        skin.vertices[binding.corners],
        smooth_normals(skin.vertices, skin.triangles)[binding.corners],
    )
    below = np.einsum("nkd,nkd->nk", flat[:, None] - corner, normal)
    return np.asarray(-0.75 * np.einsum("nk,nk,nkd->nd", binding.shares, below, normal))


def bound_part(
    skin: Part, binding: Binding, lift: Array, triangles: Array, colours: Array, material: str
) -> Part:
    """A part whose vertices ride on the skin, ``lift`` (n, 3) metres away from it."""
    return Part(
        vertices=binding.at(skin.vertices) + lift,
        triangles=triangles,
        basis=binding.at(skin.basis),
        identities={name: binding.at(offsets) for name, offsets in skin.identities.items()},
        colours=colours,
        material=material,
    )
