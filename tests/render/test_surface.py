"""Normals, welding, occlusion and tone."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.face.deform import affine
from jambatalk.face.face import blend
from jambatalk.render.geometry import vertex_normals, weld
from jambatalk.render.lighting import (
    SHOULDER,
    TABLE_LIMIT,
    TABLE_SIZE,
    to_linear,
    to_srgb,
    tone_table,
    tonemap,
)
from jambatalk.render.materials import materials_of
from jambatalk.render.occlusion import bake, fibonacci_sphere
from jambatalk.render.rasterizer import TWO_SIDED
from render_meshes import quad, sphere


def test_normals_of_a_ball_point_outwards():
    points, faces = sphere(0.3, 96)
    owner = weld(points, faces, np.zeros(len(faces), int), materials_of(["skin"]))
    normals = vertex_normals(points, faces, owner)
    assert (normals * points / 0.3).sum(1).min() > 0.999


def test_a_seam_is_smoothed_within_flesh_but_not_across_teeth_or_touching_lips():
    left = np.array(
        [[0, 0, 0], [0, 1, 0], [-1, 0, -0.5]], np.float32
    )  # two leaves of a roof, meeting in x = 0
    right = left * np.float32([-1, 1, 1])
    points = np.concatenate([left, right])
    faces = np.array([[0, 1, 2], [3, 5, 4]], np.int32)
    for names, joined in ((("skin", "lips"), True), (("skin", "teeth"), False)):
        owner = weld(points, faces, np.array([0, 1]), materials_of(names))
        normals = vertex_normals(points, faces, owner)
        assert (owner[3] == 0) == joined
        assert (abs(normals[0, 0]) < 1e-6) == joined
    # Lips that touch: the same place, opposite sides.
    touching = np.concatenate([left, left])
    owner = weld(
        touching,
        np.array([[0, 1, 2], [3, 5, 4]], np.int32),
        np.array([0, 0]),
        materials_of(["lips"]),
    )
    assert owner[3] == 3


def test_occlusion_of_a_ball_and_of_a_corner():
    points, faces = sphere(0.1, 48)
    normals = (points / 0.1).astype(np.float32)
    open_sky = bake(points, normals, faces, np.full(len(faces), TWO_SIDED, np.uint8))
    assert open_sky.min() > 0.9
    # The middle of a floor with a wall all around, twice as high as it is far, sees the sky through
    # a cone of about 27 degrees.
    floor, faces = quad(2, 2)
    walls = []
    for angle in np.arange(4) * np.pi / 2:
        turn = np.array(
            [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        )
        walls.append(np.array([[1, -1, 0], [1, 1, 0], [1, 1, 2], [1, -1, 2]]) @ turn.T)
    points = np.concatenate([floor, *walls, [[0, 0, 0]]]).astype(np.float32)
    all_faces = np.concatenate([faces + 4 * n for n in range(5)]).astype(np.int32)
    normals = np.zeros_like(points)
    normals[:, 2] = 1
    middle = bake(points, normals, all_faces, np.full(len(all_faces), TWO_SIDED, np.uint8))[-1]
    # Exact, by the form factor of the square opening (side 2, height 2) seen from the middle of the
    # floor.
    x = 1 / 2
    exact = 4 / (2 * np.pi) * 2 * x / np.sqrt(1 + x * x) * np.arctan(x / np.sqrt(1 + x * x))
    assert middle == pytest.approx(exact, abs=0.08)


def test_directions_are_spread_evenly():
    directions = fibonacci_sphere(96)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1)
    assert np.abs(directions.mean(0)).max() < 0.02
    nearest = np.sort(directions @ directions.T, axis=1)[:, -2]
    assert np.degrees(np.arccos(nearest)).min() > 12


def test_srgb_and_back():
    values = np.linspace(0, 1, 256)
    assert to_srgb(to_linear(values)) == pytest.approx(values, abs=1e-6)


def test_the_tone_curve_keeps_colours_and_never_clips():
    assert np.array_equal(tonemap(np.linspace(0, SHOULDER, 9)), np.linspace(0, SHOULDER, 9))
    bright = tonemap(np.linspace(0, 6, 4000))
    assert (np.diff(bright) > 0).all()
    assert bright.max() < 1
    x = np.array([0.001, 0.05, 0.4, 1.5])
    place = np.sqrt(x / TABLE_LIMIT) * TABLE_SIZE
    cell = place.astype(int)
    table = tone_table()
    value = table[cell] + (table[cell + 1] - table[cell]) * (place - cell)
    assert value == pytest.approx(255 * to_srgb(tonemap(x)), abs=0.02)


def test_affine_and_blend_are_the_matrix_products():
    rng = np.random.default_rng(5)
    points, matrix = (
        rng.normal(size=(50, 3)).astype(np.float32),
        rng.normal(size=(3, 4)).astype(np.float32),
    )
    assert affine(points, matrix) == pytest.approx(
        points @ matrix[:, :3].T + matrix[:, 3], abs=1e-5
    )
    neutral, basis = (
        rng.normal(size=30).astype(np.float32),
        rng.normal(size=(6, 30)).astype(np.float32),
    )
    rows, weights = np.array([4, 0, 2]), np.array([0.5, 0, -2], np.float32)
    assert blend(neutral, basis, rows, weights) == pytest.approx(
        neutral + weights @ basis[rows], abs=1e-5
    )
