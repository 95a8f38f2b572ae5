"""A small face with three shapes and two materials, for quick export tests."""

from __future__ import annotations

import numpy as np

from jambatalk.face.face import Face


def small_face() -> Face:
    """A bumpy grid of 9 x 9 vertices: skin around, lips in the middle; the third shape moves every
    vertex."""
    x, y = np.meshgrid(np.linspace(-0.08, 0.08, 9), np.linspace(-0.1, 0.1, 9))
    vertices = (
        np.stack([x, y, 0.03 * np.cos(20 * x) * np.cos(15 * y)], axis=-1)
        .reshape(-1, 3)
        .astype(np.float32)
    )
    corners = np.array(
        [
            [r * 9 + c, r * 9 + c + 1, r * 9 + c + 10, r * 9 + c + 9]
            for r in range(8)
            for c in range(8)
        ]
    )
    triangles = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]]).astype(np.int32)
    middle = np.abs(vertices[triangles].mean(axis=1)[:, :2]).max(axis=1) < 0.04
    basis = np.zeros((3, 81, 3), np.float32)
    basis[0, 30:50, 1] = -0.02
    basis[1, 12:16] = (0.003, 0.001, 0.01)
    basis[2] = np.random.default_rng(0).normal(0, 0.004, (81, 3))
    return Face(
        vertices,
        triangles,
        names=("jawOpen", "mouthClose", "cheekPuff"),
        basis=basis,
        colours=np.random.default_rng(1).random((81, 3)).astype(np.float32),
        materials=middle.astype(np.uint8),
        material_names=("skin", "lips", "cornea"),
        identities={"tall": (vertices * (0, 0.2, 0)).astype(np.float32)},
    )
