"""The mesh tools of ``tools/head``: subdivision, cutting, thinning, sealing, binding.

The wheel itself is not needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the build script needs scipy (pip install 'jambatalk[dev]')")
sys.path.insert(0, str(Path(__file__).parents[2]))

from tools.head.bind import cast, rounding
from tools.head.bust import border, clipped
from tools.head.lips import MouthLine, Spread, sealed
from tools.head.part import Part
from tools.head.rigid import fit_rigid, fit_scale
from tools.head.teeth import LOWER_ARCH, UPPER_ARCH, crown_mesh, row_of_teeth
from tools.head.thin import thinned
from tools.head.topology import edge_loop, subdivide, triangulate

from jambatalk.face.head import ARKIT_NAMES


def quad_grid(n: int) -> tuple[np.ndarray, list[list[int]]]:
    """n x n quads over the unit square in the plane z = 0, and its polygons counter-clockwise from
    +z.
    """
    x, y = np.meshgrid(np.linspace(0, 1, n + 1), np.linspace(0, 1, n + 1))
    points = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    corner = [j * (n + 1) + i for j in range(n) for i in range(n)]
    return points, [[c, c + 1, c + n + 2, c + n + 1] for c in corner]


def a_part(points: np.ndarray, triangles: np.ndarray) -> Part:
    basis = np.zeros((len(ARKIT_NAMES), *points.shape))
    basis[0] = points * 2.0  # linear in place, so that cuts can be checked
    return Part(
        points,
        triangles,
        basis,
        {"ann": points * 0.5},
        np.abs(points) % 1.0,
        "skin",
        {"all": np.arange(len(points))},
    )


def area(points: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = points[triangles].transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def test_subdivision_is_a_blend_without_cracks() -> None:
    points, polygons = quad_grid(6)
    chosen = {14, 15, 20, 21}
    matrix, fine, edge_point = subdivide(len(points), polygons, chosen)
    np.testing.assert_allclose(np.asarray(matrix.sum(axis=1)).ravel(), 1.0)
    new = matrix @ points
    triangles = triangulate(fine, new)
    assert area(new, triangles) == pytest.approx(1.0)
    # Every inner edge is shared by exactly two triangles: no T-junctions, no holes.
    edges = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1
    )
    _, shared = np.unique(edges, axis=0, return_counts=True)
    assert sorted(set(shared)) == [1, 2]
    assert (shared == 1).sum() == 4 * 6
    assert len(fine) == 36 + 3 * len(chosen)
    assert len(edge_point) == 12


def test_edge_loop_walks_straight() -> None:
    _, polygons = quad_grid(6)
    assert edge_loop(polygons, 15, 16, 4) == [15, 16, 17, 18]
    with pytest.raises(ValueError, match="ends at vertex"):
        edge_loop(polygons, 15, 16, 9)


def test_clipping_cuts_on_the_line() -> None:
    points, polygons = quad_grid(5)
    part = clipped(a_part(points, triangulate(polygons, points)), lambda p: 0.63 - p[:, 0])
    assert area(part.vertices, part.triangles) == pytest.approx(0.63)
    np.testing.assert_allclose(part.basis[0], part.vertices * 2.0, atol=1e-12)
    np.testing.assert_allclose(part.identities["ann"], part.vertices * 0.5, atol=1e-12)
    loops = border(part.triangles)
    assert len(loops) == 1
    assert part.vertices[loops[0], 0].max() == pytest.approx(0.63)


def test_thinning_keeps_the_surface() -> None:
    points, polygons = quad_grid(10)
    points[:, 2] = 0.1 * np.sin(3 * points[:, 0])
    triangles = triangulate(polygons, points)
    part = thinned(a_part(points, triangles), np.arange(len(points)), 40)
    assert len(part.triangles) == len(triangles) - 80
    assert area(part.vertices, part.triangles) == pytest.approx(area(points, triangles), rel=0.01)
    assert len(border(part.triangles)[0]) == 40  # the open edge is untouched
    np.testing.assert_allclose(part.basis[0], part.vertices * 2.0)


def test_sealing_closes_the_line_and_fades() -> None:
    # Two rows of vertices that touch at their ends, upper and lower, inside a grid of free ones.
    points, polygons = quad_grid(8)
    triangles = triangulate(polygons, points)
    upper = np.array([38, 48, 49, 50, 42])
    lower = np.array([38, 30, 31, 32, 42])
    line = MouthLine(upper, lower, points[upper, 0], points[lower, 0])
    spread = Spread(len(points), triangles, line.ring, np.arange(len(points)))
    assert np.abs(line.gap(points)).max() > 0.1
    shut = sealed(points, line, spread)
    np.testing.assert_allclose(line.gap(shut), 0.0, atol=1e-12)
    wide = np.zeros((len(upper), 3))
    wide[2, 1] = 0.05
    np.testing.assert_allclose(
        line.gap(sealed(points, line, spread, keep_gap=wide))[2, 1], 0.05, atol=1e-12
    )


def test_rays_bind_to_the_surface() -> None:
    points, polygons = quad_grid(4)
    skin = a_part(points, triangulate(polygons, points))
    random = np.random.default_rng(0)
    origins = np.column_stack([random.uniform(0.05, 0.95, (20, 2)), np.full(20, 3.0)])
    binding = cast(skin, origins, np.tile([0.0, 0.0, -1.0], (20, 1)))
    np.testing.assert_allclose(binding.at(skin.vertices), origins * [1, 1, 0], atol=1e-9)
    np.testing.assert_allclose(binding.at(skin.basis)[0], origins * [2, 2, 0], atol=1e-9)
    np.testing.assert_allclose(
        rounding(skin, binding), 0.0, atol=1e-12
    )  # a plane has nothing to round
    with pytest.raises(ValueError, match="misses the skin"):
        cast(skin, np.array([[5.0, 5.0, 1.0]]), np.array([[0.0, 0.0, -1.0]]))


def test_rigid_and_scale_fits_recover_what_made_the_points() -> None:
    random = np.random.default_rng(1)
    points = random.normal(size=(30, 3))
    angle = 0.3
    turn = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    moved = points @ turn.T + [0.1, -0.2, 0.3]
    np.testing.assert_allclose(
        fit_rigid(points, moved - points).offsets(points), moved - points, atol=1e-12
    )
    grown = points * [1.1, 0.9, 1.2] + [0.0, 0.5, 0.0]
    np.testing.assert_allclose(
        fit_scale(points, grown - points).offsets(points), grown - points, atol=1e-12
    )


@pytest.mark.parametrize("arch", [UPPER_ARCH, LOWER_ARCH])
def test_rows_of_teeth(arch) -> None:  # type: ignore[no-untyped-def]
    """Fourteen crowns, symmetric, each turned outwards, as wide as the tables say."""
    places = arch.places()
    assert len(places) == 14
    vertices, _, colours = row_of_teeth(arch)
    assert colours.min() >= 0
    assert colours.max() <= 1
    mirrored = vertices * [-1, 1, 1]
    nearest = np.linalg.norm(vertices[:, None] - mirrored[None], axis=2).min(axis=1)
    assert nearest.max() < 1e-9
    middle, crown = places[7]
    points, faces, _ = crown_mesh(arch, middle, crown)
    assert np.ptp(points[:, 0]) == pytest.approx(crown.width, rel=0.1)
    a, b, c = points[faces].transpose(1, 0, 2)
    assert np.einsum("ij,ij->", np.cross(b - a, c - a), a - points.mean(axis=0)) > 0
