"""Textured, masked and transparent surfaces in the picture."""

from __future__ import annotations

import sys
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from jambatalk.errors import InputError, MissingExtraError
from jambatalk.face.face import Face, Surface
from jambatalk.render import Camera, Renderer
from jambatalk.render.lighting import to_linear
from jambatalk.render.textures import LEVELS, looks_of, sample
from tiny_avatar import make_avatar, texture

SIZE = 64
CAMERA = Camera((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 40.0)


def png(pixels):
    file = BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, "PNG")
    return file.getvalue()


def card(z=0.0, half=0.2):
    """A square that faces the viewer; its texture's upper left is the picture's."""
    points = np.array([[-half, half, z], [half, half, z], [half, -half, z], [-half, -half, z]])
    return points.astype(np.float32), np.array([[0, 2, 1], [0, 3, 2]], np.int32)


def cards(*surfaces, depths=None, flip=()):
    """One card for each surface, each nearer than the one before."""
    points, triangles, materials = [], [], []
    for n in range(len(surfaces)):
        one, corners = card(z=0.05 * n if depths is None else depths[n])
        points.append(one)
        triangles.append((corners[:, ::-1] if n in flip else corners) + 4 * n)
        materials.append(np.full(2, n))
    uv = np.tile(np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32), (len(surfaces), 1))
    return Face(
        np.concatenate(points),
        np.concatenate(triangles).astype(np.int32),
        materials=np.concatenate(materials).astype(np.int32),
        material_names=tuple(f"m{n}" for n in range(len(surfaces))),
        surfaces=tuple(surfaces),
        uv=uv,
    )


def flat(colour=(1.0, 1.0, 1.0, 1.0), picture=None, **changes):
    return Surface(lighting="flat", colour=colour, picture=picture, **changes)


def drawn(face):
    picture = Renderer(
        face, (SIZE, SIZE), camera=CAMERA, background=np.zeros((SIZE, SIZE, 3))
    ).render(face.vertices)
    return picture.astype(int)


def middle(picture):
    return picture[SIZE // 2 - 3 : SIZE // 2 + 3, SIZE // 2 - 3 : SIZE // 2 + 3].mean((0, 1))


def test_base_colour_and_factor():
    # Below the tone curve's shoulder a flat surface shows its texture's own bytes.
    assert middle(drawn(cards(flat(picture=texture((120, 80, 40)))))) == pytest.approx(
        [120, 80, 40], abs=1.5
    )
    half = to_linear(np.array([120, 80, 40]) / 255) * 0.5
    expected = 255 * np.where(half <= 0.0031308, 12.92 * half, 1.055 * half ** (1 / 2.4) - 0.055)
    found = middle(drawn(cards(flat((0.5, 0.5, 0.5, 1), texture((120, 80, 40))))))
    assert found == pytest.approx(expected, abs=1.5)


def test_which_way_up():
    pixels = np.zeros((8, 8, 3))
    pixels[:4, :4, 0] = pixels[:4, 4:, 1] = pixels[4:, :4, 2] = 150
    picture = drawn(cards(flat(picture=png(pixels))))
    quarter, three = SIZE // 2 - 8, SIZE // 2 + 8
    assert picture[quarter, quarter].argmax() == 0
    assert picture[quarter, three].argmax() == 1
    assert picture[three, quarter].argmax() == 2
    assert picture[three, three].max() < 10


def test_a_mask_lets_see_what_lies_behind():
    holes = np.full((8, 8, 4), 150)
    holes[:, :4, 3] = 0
    holes[:, :, 1:3] = 0
    back = flat(picture=texture((0, 0, 150)))
    picture = drawn(cards(back, flat(picture=png(holes), alpha="mask")))
    left, right = picture[SIZE // 2, SIZE // 2 - 8], picture[SIZE // 2, SIZE // 2 + 8]
    assert left.argmax() == 2
    assert right.argmax() == 0
    # Whatever the order in the file.
    again = drawn(cards(flat(picture=png(holes), alpha="mask"), back, depths=(0.05, 0.0)))
    assert np.abs(again - picture).max() <= 2


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_transparent_layers_from_back_to_front(order):
    red, green, blue = (np.eye(3)[n] * 0.4 for n in range(3))
    layers = [
        flat((*red, 1.0)),
        flat((*green, 0.5), alpha="blend"),
        flat((*blue, 0.25), alpha="blend"),
    ]
    depths = np.array([0.0, 0.05, 0.1])
    face = cards(*(layers[n] for n in order), depths=depths[list(order)])
    light = red
    for colour, opacity in ((green, 0.5), (blue, 0.25)):
        light = light * (1 - opacity) + colour * opacity
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert middle(drawn(face)) == pytest.approx(expected, abs=2)


def test_what_is_solid_hides_a_transparent_layer_behind_it():
    face = cards(flat((0.4, 0, 0, 1)), flat((0, 0.4, 0, 0.5), alpha="blend"), depths=(0.05, 0.0))
    assert middle(drawn(face))[1] < 3


def test_the_back_of_a_surface():
    assert middle(drawn(cards(flat((0.4, 0, 0, 1)), flip=(0,)))).max() < 3
    assert middle(drawn(cards(flat((0.4, 0, 0, 1), two_sided=True), flip=(0,))))[0] > 100


def test_far_textures_are_averaged():
    """A fine black and white pattern is grey from afar, and does not flicker."""
    pixels = np.indices((256, 256)).sum(0)[..., None] % 2 * np.full(3, 160)
    picture = drawn(cards(flat(picture=png(pixels))))
    inner = picture[SIZE // 2 - 10 : SIZE // 2 + 10, SIZE // 2 - 10 : SIZE // 2 + 10]
    assert inner.std() < 3
    assert 60 < inner.mean() < 110


def test_sampling_against_a_plain_reference():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (5, 7, 4))
    for repeat in ((True, True), (False, False), (True, False)):
        face = cards(flat(picture=png(pixels), alpha="blend", repeat=repeat))
        looks = looks_of(face)
        out = np.zeros(4, np.float32)
        for u, v in rng.uniform(-2, 3, (60, 2)):
            sample(
                looks.texels, looks.table, looks.factors, 0, np.float32(u), np.float32(v), 0, out
            )
            assert out == pytest.approx(plain_sample(pixels, u, v, repeat), abs=2e-3)


def plain_sample(pixels, u, v, repeat):
    height, width = pixels.shape[:2]
    x, y = u * width - 0.5, v * height - 0.5
    total = np.zeros(4)
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            share = (1 - abs(x - column)) * (1 - abs(y - row))
            at = row % height if repeat[1] else min(max(row, 0), height - 1)
            along = column % width if repeat[0] else min(max(column, 0), width - 1)
            texel = pixels[at, along] / 255
            total += share * np.array([*to_linear(texel[:3]), texel[3]])
    return total


def test_levels_end_at_one_texel():
    looks = looks_of(cards(flat(picture=texture((9, 9, 9), size=64))))
    assert looks.table[0, 4] == 7
    assert looks.table.shape[1] == 5 + 3 * LEVELS


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_kinds_of_pictures(tmp_path, kind):
    make_avatar(tmp_path / "a.glb", picture=texture((200, 40, 40), kind, 16))
    face = Face.load(tmp_path / "a.glb")
    plain = replace(face, surfaces=tuple(replace(one, picture=None) for one in face.surfaces))
    textured, white = (Renderer(one, (SIZE, SIZE)).render(one.vertices) for one in (face, plain))
    nose = (slice(SIZE // 3, SIZE // 2), slice(SIZE // 2 - 4, SIZE // 2 + 4))
    assert textured[nose][..., 0].mean() > textured[nose][..., 1].mean() + 50
    assert abs(white[nose][..., 0].mean() - white[nose][..., 1].mean()) < 40


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xabKTX 20\xbb" + b"\0" * 50, "KTX2/Basis, which is not decoded"),
        (b"\x89PNG broken", "cannot be decoded"),
        (b"", "cannot be decoded"),
    ],
)
def test_pictures_that_cannot_be_drawn(data, message):
    with pytest.raises(InputError, match=message):
        looks_of(cards(flat(picture=data)))


def test_without_pillow(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    looks_of(cards(flat()))
    with pytest.raises(MissingExtraError, match=r"jambatalk\[avatars\]"):
        looks_of(cards(flat(picture=b"\x89PNG")))
