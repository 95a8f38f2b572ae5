"""Whole pictures: exact silhouettes and colours, light and shadow, and the same bytes whatever the
threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.render import Camera, Renderer
from jambatalk.render.lighting import Light, LightRig, to_linear
from jambatalk.render.occlusion import MouthLight
from render_meshes import FRONT, black, joined, puppet, quad, sphere

GREY = (0.6, 0.5, 0.4)


def picture(face, size=(96, 96), **options):
    options = {"camera": FRONT, "background": black(*size), **options}
    return Renderer(face, size, **options).render(face.vertices)


def test_a_flat_square_keeps_its_colour_and_its_edges():
    face = joined((*quad(0.5, 0.25), "flat", GREY))
    image = picture(face, (128, 128)).astype(int)
    rows, columns = np.nonzero(image.sum(2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (48, 79, 32, 95)
    assert np.abs(image[48:80, 32:96] - np.array(GREY) * 255).max() <= 1


def test_a_ball_covers_the_area_of_its_outline():
    radius, size = 0.3, 256
    face = joined((*sphere(radius, 256), "flat", GREY))
    covered = (
        to_linear(picture(face, (size, size)) / 255.0)[:, :, 0].sum() / to_linear(np.array(GREY))[0]
    )
    focal = FRONT.focal(size)
    seen = (
        np.pi * (focal * radius) ** 2 / (10**2 - radius**2)
    )  # the outline of a ball is where rays just touch it
    assert covered == pytest.approx(seen, rel=0.003)


def test_an_edge_between_pixels_is_smoothed():
    shift = np.array([0, 0.25 / 96, 0], np.float32)
    points, faces = quad(0.5, 0.5)
    face = joined((points + shift, faces, "flat", GREY))
    for supersample, step in ((1, 1.0), (2, 0.25), (4, 0.0625)):
        light = (
            to_linear(picture(face, supersample=supersample) / 255.0)[:, 48, 0]
            / to_linear(np.array(GREY))[0]
        )
        top = light[23]
        assert (
            top in (0, 1) if supersample == 1 else top == pytest.approx(0.25, abs=step / 2 + 0.01)
        )
        assert light[24:71].min() > 0.98


def test_the_nearer_surface_hides_the_farther():
    face = joined(
        (*quad(0.4, 0.4, 0.1), "flat", (0, 0.6, 0)), (*quad(0.8, 0.8, 0), "flat", (0.6, 0, 0))
    )
    image = picture(face).astype(int)
    assert image[48, 48, 1] > 140
    assert image[48, 48, 0] <= 1
    assert image[20, 20, 0] > 140
    assert image[20, 20, 1] <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (90, 2), (257, 131), (64, 200)])
def test_any_size(size):
    face = puppet()
    image = Renderer(face, size).render(face.vertices)
    assert image.shape == (size[1], size[0], 3)
    assert image.dtype == np.uint8


def test_the_same_bytes_for_any_number_of_threads():
    face = puppet()
    pose = np.array([0.1, -0.3, 0.05])
    first = Renderer(face, (131, 97), threads=1).render(face.pose(np.array([0.7])), pose)
    for threads in (2, 3, 8):
        renderer = Renderer(face, (131, 97), threads=threads)
        for _ in range(2):
            assert np.array_equal(renderer.render(face.pose(np.array([0.7])), pose), first)


def test_one_renderer_serves_several_threads():
    face = puppet()
    renderer = Renderer(face, (80, 80), threads=2)
    frames = [face.pose(np.array([w])) for w in np.linspace(0, 1, 12)]
    expected = [renderer.render(frame) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(renderer.render, frames), expected):
            assert np.array_equal(got, want)


def test_light_comes_from_the_key_light():
    face = joined((*sphere(0.4), "cloth", GREY))
    dark = Light((0, 0, 1), (0, 0, 0))
    for towards, bright, dim in (((1, 0, 1), (48, 70), (48, 26)), ((0, -1, 1), (70, 48), (26, 48))):
        lights = LightRig(Light(towards, (1, 1, 1)), dark, dark, (0, 0, 0), (0, 0, 0))
        light = to_linear(picture(face, lights=lights) / 255.0).sum(2)
        assert light[bright] > 2 * light[dim]


def test_a_thing_before_the_light_casts_a_shadow():
    wall, plate = (*quad(0.9, 0.9), "cloth", GREY), (*quad(0.2, 0.2, 0.3), "cloth", GREY)
    dark = Light((0, 0, 1), (0, 0, 0))
    lights = LightRig(Light((1, 0, 1), (1, 1, 1)), dark, dark, (0, 0, 0), (0, 0, 0))
    with_plate = picture(joined(wall, plate), lights=lights)
    without = picture(joined(wall, (*quad(0.2, 0.2, -0.3), "cloth", GREY)), lights=lights)
    # Light from the right front throws the shadow of a plate 0.3 m off the wall 0.3 m to the left:
    # column 48 - 0.3 * 96.
    assert with_plate[48, 19, 0] < 0.2 * without[48, 19, 0]
    assert with_plate[48, 85, 0] == pytest.approx(int(without[48, 85, 0]), abs=2)


def test_glass_only_adds_light():
    eye, lens = sphere(0.3), sphere(0.31)
    bare = joined((*eye, "eye", GREY))
    covered = joined((*eye, "eye", GREY), (*lens, "cornea", (1, 0, 0)))
    plain, glass = picture(bare).astype(int), picture(covered).astype(int)
    assert (glass - plain).max() > 60
    # Away from highlights the iris shows through, whatever colour the lens has.
    assert np.abs(glass[60, 40] - plain[60, 40]).max() < 12


def test_what_lies_behind_the_lips_is_darker_the_deeper():
    front, deep = quad(0.02, 0.02, 0.09), quad(0.02, 0.02, 0.05)
    parts = joined((*front, "teeth", (0.9, 0.9, 0.9)), (*deep, "teeth", (0.9, 0.9, 0.9)))
    lips = {"inner_lips": np.array([8], np.int32)}
    vertices = np.concatenate([parts.vertices, [[0, 0, 0.1]]]).astype(np.float32)
    mouth = replace(
        parts, vertices=vertices, regions=lips, colours=np.full(vertices.shape, 0.9, np.float32)
    )
    triangles, materials = mouth.triangles, mouth.materials.astype(np.int32)
    light = MouthLight(
        mouth,
        np.arange(9, dtype=np.int32),
        triangles,
        materials,
        np.zeros(len(triangles), np.uint8),
    )
    _, direct = light(mouth.vertices)
    assert direct[:4] == pytest.approx(direct[0])
    assert direct[0] > 0.6
    assert direct[4] < 0.5 * direct[0]


def test_turning_the_head_leaves_the_shoulders():
    face = puppet()
    renderer = Renderer(face, (120, 120))
    still, turned = (
        renderer.render(face.vertices, pose).astype(int)
        for pose in (None, np.array([0.0, 0.0, 0.4]))
    )
    change = np.abs(still - turned).max(2)
    assert change[:70].max() > 30
    bottom = change[-12:]
    assert np.median(bottom) <= 1
    assert np.array_equal(
        renderer.render(face.vertices, np.zeros(3)), renderer.render(face.vertices)
    )


def test_a_face_without_materials_or_regions_is_drawn():
    points, faces = sphere(0.1, 48)
    image = Renderer(Face(points, faces), (64, 64)).render(points)
    assert image[32, 32].min() > 90


def test_a_two_sided_material_looks_the_same_from_behind():
    points, faces = quad(0.5, 0.5)
    front, back = (
        picture(joined((points, order, "cloth", GREY))) for order in (faces, faces[:, ::-1])
    )
    assert front[48, 48].min() > 60
    assert np.abs(front.astype(int) - back).max() <= 1
    # One-sided skin is not seen from behind at all.
    assert not picture(joined((points, faces[:, ::-1].copy(), "skin", GREY))).any()


def test_an_unknown_material_looks_like_skin():
    points, faces = sphere(0.3, 48)
    assert np.array_equal(
        picture(joined((points, faces, "porcelain", GREY))),
        picture(joined((points, faces, "skin", GREY))),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (0, 5)}, "0x5"),
        ({"size": (9000, 5)}, "9000x5"),
        ({"supersample": 9}, "supersample is 9"),
        ({"threads": 0}, "threads is 0"),
        ({"background": np.zeros((3, 3, 3))}, r"\(3, 3, 3\)"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        Renderer(puppet(), **options)


def test_bad_meshes():
    face = puppet()
    renderer = Renderer(face, (32, 32))
    with pytest.raises(InputError, match="vertices have shape"):
        renderer.render(face.vertices[:-1])
    broken = face.vertices.copy()
    broken[7, 1] = np.nan
    with pytest.raises(InputError, match="not all finite"):
        renderer.render(broken)
    with pytest.raises(InputError, match="head_pose"):
        renderer.render(face.vertices, np.array([0, np.inf, 0]))
    with pytest.raises(InputError, match="names vertex"):
        Renderer(
            replace(
                face, triangles=np.array([[0, 1, len(face.vertices)]], np.int32), materials=None
            )
        )


def test_a_triangle_behind_the_camera_does_no_harm():
    face = joined((*quad(0.5, 0.5), "flat", GREY), (*quad(50, 50, 11), "flat", (1, 1, 1)))
    image = picture(face, (64, 64), camera=Camera((0, 0, 10), (0, 0, 0), FRONT.fov)).astype(int)
    assert np.abs(image[32, 32] - np.array(GREY) * 255).max() <= 1
