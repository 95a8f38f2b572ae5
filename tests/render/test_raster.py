"""Coverage and depth: exact answers, and the fast rasteriser against the plain one."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.render.rasterizer import (
    ONE_SIDED,
    SKIP,
    SUBPIXEL,
    TWO_SIDED,
    bin_triangles,
    project,
    raster_reference,
    raster_rows,
    sample_offsets,
)


def fast(screen, near, triangles, sides, width, height, offsets, band=8):
    """The whole picture, band by band, as the renderer draws it."""
    starts, items = bin_triangles(screen, near, triangles, sides, width, height, band)
    ids = np.full((height, width, len(offsets)), -1, np.int32)
    best = np.zeros((height, width, len(offsets)), np.float32)
    for b in range(len(starts) - 1):
        rows = np.s_[b * band : min(b * band + band, height)]
        raster_rows(
            screen,
            near,
            triangles,
            items[starts[b] : starts[b + 1]],
            rows.start,
            rows.stop,
            offsets,
            ids[rows],
            best[rows],
        )
    return ids, best


def random_scene(seed: int, width: int, height: int, count: int = 120):
    rng = np.random.default_rng(seed)
    middle = rng.uniform(-0.2, 1.2, (count, 1, 2)) * [width, height]
    screen = (
        ((middle + rng.normal(0, 0.15 * max(width, height), (count, 3, 2))) * SUBPIXEL)
        .round()
        .astype(np.int64)
        .reshape(-1, 2)
    )
    near = rng.uniform(0.2, 2, len(screen)).astype(np.float32)
    near[rng.integers(0, len(near), 3)] = 0  # behind the camera
    sides = rng.choice([SKIP, ONE_SIDED, TWO_SIDED], count, p=[0.1, 0.5, 0.4]).astype(np.uint8)
    return screen, near, np.arange(3 * count, dtype=np.int32).reshape(-1, 3), sides


@pytest.mark.parametrize("supersample", [1, 2, 3])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (37, 5), (6, 41), (64, 64)])
def test_fast_equals_reference(supersample, width, height):
    scene = random_scene(width + height + supersample, width, height)
    offsets = sample_offsets(supersample)
    ids, best = fast(*scene, width, height, offsets)
    true_ids, true_best = raster_reference(*scene, width, height, offsets)
    assert ((ids >= 0) == (true_ids >= 0)).all()
    np.testing.assert_allclose(best, true_best, rtol=2e-5, atol=2e-5)
    # Where two triangles cross within single precision, either may win; elsewhere the same one
    # must.
    assert (ids != true_ids).mean() < 1e-3


def test_a_triangle_covers_its_area():
    screen = (np.array([[3.3, 2.1], [55.2, 9.7], [20.9, 60.4]]) * SUBPIXEL).round().astype(np.int64)
    a, b, c = screen / SUBPIXEL
    area = 0.5 * abs((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0])
    near, triangles, sides = (
        np.ones(3, np.float32),
        np.array([[0, 1, 2]], np.int32),
        np.array([TWO_SIDED], np.uint8),
    )
    for supersample, tolerance in ((1, 0.01), (2, 0.004), (4, 0.001)):
        ids, _ = fast(screen, near, triangles, sides, 64, 64, sample_offsets(supersample))
        assert (ids >= 0).sum() / supersample**2 == pytest.approx(area, rel=tolerance)


def test_neighbours_leave_no_gap_and_no_overlap():
    rng = np.random.default_rng(3)
    n = 12
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).astype(float)
    grid[1:-1, 1:-1] += rng.uniform(-0.4, 0.4, (n - 2, n - 2, 2))
    grid[:, 2] = np.round(grid[:, 2])  # some edges run exactly through sample positions
    screen = (grid.reshape(-1, 2) * 4 * SUBPIXEL).round().astype(np.int64)
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    triangles = np.concatenate(
        [
            np.stack([corner, corner + n, corner + n + 1], 1),
            np.stack([corner, corner + n + 1, corner + 1], 1),
        ]
    )
    offsets = np.array([[0, 0], [128, 128], [64, 0]])
    covered = np.zeros((48, 48, 3), int)
    for triangle in triangles:
        ids, _ = fast(
            screen,
            np.ones(n * n, np.float32),
            triangle[None].astype(np.int32),
            np.array([TWO_SIDED], np.uint8),
            48,
            48,
            offsets,
        )
        covered += ids >= 0
    inside = 4 * (n - 1)
    assert (covered[:inside, :inside] == 1).all()
    assert (covered[inside:] == 0).all()
    assert (covered[:, inside:] == 0).all()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_triangle_is_seen(order):
    screen = np.array([[0, 0], [0, 32], [32, 0], [0, 0], [0, 32], [32, 0]], np.int64) * SUBPIXEL
    near = np.array([1, 1, 1, 2, 2, 2], np.float32)
    triangles = np.array([[0, 1, 2], [3, 4, 5]], np.int32)[list(order)]
    ids, best = fast(
        screen, near, triangles, np.full(2, TWO_SIDED, np.uint8), 32, 32, sample_offsets(1)
    )
    assert set(np.unique(ids)) == {-1, order.index(1)}
    assert best.max() == 2


def test_only_the_back_of_a_one_sided_triangle_is_hidden():
    view = np.array(
        [[-1, -1, -5], [1, -1, -5], [0, 1, -5]], np.float32
    )  # counter-clockwise to the viewer
    screen, near = project(view, 40.0, 32, 32)
    assert near == pytest.approx(0.2)
    for triangle, side, seen in (
        ((0, 1, 2), ONE_SIDED, True),
        ((0, 2, 1), ONE_SIDED, False),
        ((0, 2, 1), TWO_SIDED, True),
    ):
        ids, _ = fast(
            screen,
            near,
            np.array([triangle], np.int32),
            np.array([side], np.uint8),
            32,
            32,
            sample_offsets(1),
        )
        assert (ids >= 0).any() == seen


def test_each_sample_has_its_own_row_and_column():
    for supersample in (1, 2, 3, 4):
        offsets = sample_offsets(supersample)
        assert len(set(offsets[:, 0])) == len(set(offsets[:, 1])) == supersample**2
        assert offsets.min() >= 0
        assert offsets.max() < SUBPIXEL
        assert offsets.mean(0) == pytest.approx([SUBPIXEL / 2] * 2, abs=1)
