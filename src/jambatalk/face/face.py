"""A face: a mesh that can be moved by named shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError

Array = NDArray[Any]


@dataclass(frozen=True)
class Face:
    """A mesh that can be moved.

    Axes: x to the face's own left (the viewer's right), y up, z out of the face towards the viewer. Metres.

    vertices: (V, 3) float32 neutral positions.
    triangles: (F, 3) int32, counter-clockwise seen from outside.
    regions: name -> (n,) int32 vertex indices ("lips", "inner_lips", "upper_face", "eyes", "jaw", "teeth", "tongue", ...).
    names: the K shape names of ``basis``.
    basis: (K, V, 3) float32 offsets of each shape at weight 1 (empty when the face has none).
    colours: (V, 3) float32 sRGB in 0..1.
    materials: (F,) uint8 index into ``material_names``, telling the renderer how a triangle shines.
    gap_vertices: (upper, lower) vertex indices of the middle of the inner lips; their vertical distance is the lip gap.
    identities: name -> (V, 3) float32 offsets that turn the template into another person.
    identity_colours: name -> (V, 3) float32 sRGB of that person, where it differs from ``colours``.
    """

    vertices: Array
    triangles: Array
    regions: Mapping[str, Array] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    basis: Array = field(default_factory=lambda: np.zeros((0, 0, 3), np.float32))
    colours: Array | None = None
    materials: Array | None = None
    material_names: tuple[str, ...] = ("skin",)
    gap_vertices: tuple[int, int] | None = None
    identities: Mapping[str, Array] = field(default_factory=dict)
    uv: Array | None = None
    identity_colours: Mapping[str, Array] = field(default_factory=dict)

    def pose(self, weights: Array) -> Array:
        """Vertices for shape weights: (K,) -> (V, 3), or (T, K) -> (T, V, 3), float32 metres."""
        weights = np.asarray(weights, np.float32)
        if weights.shape[-1] != len(self.names):
            raise InputError(f"{weights.shape[-1]} weights given, but the face has {len(self.names)} shapes")
        flat = self.basis.reshape(len(self.names), -1)
        return self.vertices + (weights @ flat).reshape(*weights.shape[:-1], *self.vertices.shape)

    def columns(self, names: Sequence[str]) -> Array:
        """(n,) int indices of the given shape names. InputError names the first unknown one."""
        index = {name: i for i, name in enumerate(self.names)}
        for name in names:
            if name not in index:
                raise InputError(f"unknown shape {name!r}: this face has {', '.join(self.names) or 'no shapes'}")
        return np.array([index[name] for name in names], np.int64)

    def lip_gap(self, weights: Array) -> Array:
        """Inner-lip gap in metres for (T, K) weights -> (T,); upper minus lower, negative when lips overlap."""
        if self.gap_vertices is None:
            raise InputError("this face does not name its two inner-lip vertices (gap_vertices)")
        upper, lower = self.gap_vertices
        rest = self.vertices[upper, 1] - self.vertices[lower, 1]
        return rest + np.asarray(weights) @ (self.basis[:, upper, 1] - self.basis[:, lower, 1])

    def with_identity(self, name: str) -> Face:
        """The same face worn by another identity. InputError names the choices."""
        if name not in self.identities:
            raise InputError(f"unknown identity {name!r}: choose one of {', '.join(sorted(self.identities))}")
        vertices = (self.vertices + self.identities[name]).astype(np.float32)
        return replace(self, vertices=vertices, colours=self.identity_colours.get(name, self.colours))

    @classmethod
    def load(cls, path: str | Path) -> Face:
        """Read a face written by ``scripts/build_head.py`` (see ``face/asset.py`` for the layout)."""
        from jambatalk.face.asset import read_face

        return read_face(path)
