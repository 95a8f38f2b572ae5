"""Base colour textures: encoded pictures of a face's surfaces, decoded, and read by the kernels.

All pictures of a face, each with its smaller versions (mip levels), lie one after another in one
array of texels, so that a kernel needs no list of arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jambatalk.errors import InputError, MissingExtraError, reason
from jambatalk.face.face import Face, Surface
from jambatalk.render.lighting import to_linear

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[Any]

LARGEST = 2048
"""Pixels along the longer side that a texture keeps; a head in a video shows no more."""

MOST_PIXELS = 2**27
"""Pixels that a texture may have before it is made smaller."""

LEVELS = 12
OPAQUE, MASK, BLEND = 0, 1, 2
# Columns of Looks.table: whether the material is drawn with a surface, its way of transparency,
# whether u and v repeat, the number of levels, then start, width and height of each level.
DRAWN, ALPHA, REPEAT_U, REPEAT_V, COUNT, FIRST = range(6)

LINEAR = to_linear(np.arange(256) / 255.0)
"""sRGB bytes -> linear light."""


class Looks(NamedTuple):
    """What the kernels need to know of surfaces: V vertices, M materials.

    Args:
        uv: (V, 2) float32.
        texels: (n, 4) uint8, sRGB and opacity.
        table: (M, FIRST + 3 LEVELS) int64, see the columns above.
        factors: (M, 5) float32: linear red, green, blue, opacity, and the cutoff of a mask.
    """

    uv: Array
    texels: Array
    table: Array
    factors: Array


def looks_of(face: Face) -> Looks:
    """Decode the pictures of a face's surfaces; for a face without any, an empty table.

    Raises:
        InputError: a picture cannot be decoded.
        MissingExtraError: there are pictures, and Pillow is not installed.
    """
    count = max(len(face.material_names), 1)
    table = np.zeros((count, FIRST + 3 * LEVELS), np.int64)
    factors = np.ones((count, 5), np.float32)
    uv = np.zeros((len(face.vertices), 2), np.float32)
    if face.uv is not None and face.surfaces:
        uv = np.ascontiguousarray(face.uv, np.float32)
    pieces: list[Array] = []
    placed: dict[tuple[bytes, bool], Array] = {}
    end = 0
    for number, surface in enumerate(face.surfaces):
        row = table[number]
        row[DRAWN] = 1
        row[REPEAT_U], row[REPEAT_V] = surface.repeat
        factors[number] = (*surface.colour, surface.cutoff)
        lowest = surface.colour[3]
        if surface.picture is not None:
            key = surface.picture, surface.alpha == "opaque"
            if key not in placed:
                levels = _levels(surface, face.material_names[number])
                entry = np.zeros(1 + 3 * LEVELS, np.int64)
                entry[0] = len(levels)
                for n, level in enumerate(levels):
                    entry[1 + 3 * n : 4 + 3 * n] = end, level.shape[1], level.shape[0]
                    pieces.append(level.reshape(-1, 4))
                    end += level.shape[0] * level.shape[1]
                placed[key] = entry
            row[COUNT:] = placed[key]
            first = pieces_of(pieces, int(row[FIRST]), int(row[FIRST + 1] * row[FIRST + 2]))
            lowest *= float(first[:, 3].min()) / 255
        row[ALPHA] = {"opaque": OPAQUE, "mask": MASK, "blend": BLEND}[surface.alpha]
        # A mask that nothing falls through is no mask, and a blend of full opacity is solid.
        if row[ALPHA] == MASK and lowest >= surface.cutoff:
            row[ALPHA] = OPAQUE
        if row[ALPHA] == BLEND and lowest > 0.999:
            row[ALPHA] = OPAQUE
    texels = np.concatenate(pieces) if pieces else np.zeros((1, 4), np.uint8)
    return Looks(uv, texels, table, factors)


def pieces_of(pieces: Sequence[Array], start: int, count: int) -> Array:
    """``count`` texels from place ``start`` of pieces that lie one after another, one piece."""
    at = 0
    for piece in pieces:
        if at == start:
            return piece[:count]
        at += len(piece)
    raise IndexError(start)


def decode(data: bytes, name: str) -> Image:
    """Decode a picture.

    Args:
        data: JPEG, PNG, WebP and what else Pillow reads.
        name: the material's, for errors.

    Raises:
        InputError: it is damaged, too large, or of a kind that is not decoded (KTX2, Basis).
        MissingExtraError: Pillow is not installed.
    """
    if data[:7] == b"\xabKTX 20" or data[:2] == b"sB":
        raise InputError(
            f"the texture of {name!r} is KTX2/Basis, which is not decoded here: convert it to PNG, "
            "JPEG or WebP to see it (animated .glb files can be written as it is)"
        )
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(
            'drawing textures needs Pillow: pip install "jambatalk[avatars]"'
        ) from error
    try:
        picture = Image.open(BytesIO(data))
        if picture.width * picture.height > MOST_PIXELS:
            raise InputError(
                f"the texture of {name!r} has {picture.width}x{picture.height} pixels, "
                f"expected at most {MOST_PIXELS:,}"
            )
        picture.load()
        return picture
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they like
        raise InputError(f"the texture of {name!r} cannot be decoded ({reason(error)})") from error


def _levels(surface: Surface, name: str) -> list[Array]:
    """The picture and its halves, each (H, W, 4) uint8, the largest first."""
    assert surface.picture is not None
    picture = decode(surface.picture, name)
    # An opaque surface's alpha means nothing, and must not be multiplied in when it is made
    # smaller.
    picture = picture.convert("RGB" if surface.alpha == "opaque" else "RGBA")
    longest = max(picture.size)
    if longest > LARGEST:
        picture = _smaller(picture, LARGEST / longest)
    levels = []
    while True:
        levels.append(np.asarray(picture.convert("RGBA")))
        if max(picture.size) == 1 or len(levels) == LEVELS:
            return levels
        picture = _smaller(picture, 0.5)


def _smaller(picture: Image, factor: float) -> Image:
    from PIL.Image import Resampling

    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Resampling.BOX)


@njit(cache=True, nogil=True, inline="always")
def _texel(place: int, size: int, repeat: int) -> int:
    if repeat != 0:
        return place % size
    return min(max(place, 0), size - 1)


@njit(cache=True, nogil=True, fastmath=True)
def sample(
    texels: Array,
    table: Array,
    factors: Array,
    material: int,
    u: float,
    v: float,
    level: int,
    out: Array,
) -> None:
    """Write the linear colour and opacity (4,) of a material at (u, v) to ``out``.

    Arrays of ``Looks`` one by one: a field of it that is read in a loop counts a reference.
    """
    for c in range(4):
        out[c] = factors[material, c]
    count = table[material, COUNT]
    if count == 0:
        return
    column = FIRST + 3 * min(max(level, 0), count - 1)
    start = table[material, column]
    width, height = table[material, column + 1], table[material, column + 2]
    # A coordinate far outside would overflow the texel's number.
    u = min(max(u, np.float32(-1e5)), np.float32(1e5))
    v = min(max(v, np.float32(-1e5)), np.float32(1e5))
    x = u * np.float32(width) - np.float32(0.5)
    y = v * np.float32(height) - np.float32(0.5)
    left, top = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - np.float32(left), y - np.float32(top)
    red, green, blue, opacity = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for dy in range(2):
        row = start + _texel(top + dy, height, table[material, REPEAT_V]) * width
        share_y = fy if dy == 1 else np.float32(1) - fy
        for dx in range(2):
            place = row + _texel(left + dx, width, table[material, REPEAT_U])
            share = share_y * (fx if dx == 1 else np.float32(1) - fx)
            red += share * LINEAR[texels[place, 0]]
            green += share * LINEAR[texels[place, 1]]
            blue += share * LINEAR[texels[place, 2]]
            opacity += share * np.float32(texels[place, 3]) * np.float32(1 / 255)
    out[0] *= red
    out[1] *= green
    out[2] *= blue
    out[3] *= opacity


@njit(cache=True, nogil=True, fastmath=True)
def opacity_at(
    texels: Array, table: Array, factors: Array, material: int, u: float, v: float, level: int
) -> float:
    """The opacity of the texel at (u, v), for masks."""
    count = table[material, COUNT]
    if count == 0:
        return factors[material, 3]
    column = FIRST + 3 * min(max(level, 0), count - 1)
    width, height = table[material, column + 1], table[material, column + 2]
    u = min(max(u, np.float32(-1e5)), np.float32(1e5))
    v = min(max(v, np.float32(-1e5)), np.float32(1e5))
    left = _texel(int(np.floor(u * np.float32(width))), width, table[material, REPEAT_U])
    top = _texel(int(np.floor(v * np.float32(height))), height, table[material, REPEAT_V])
    place = table[material, column] + top * width + left
    return factors[material, 3] * np.float32(texels[place, 3]) * np.float32(1 / 255)


@njit(cache=True, nogil=True)
def level_of(uv: Array, table: Array, material: int, screen: Array, i: int, j: int, k: int) -> int:
    """The mip level at which a triangle's texels are about as large as pixels."""
    if table[material, COUNT] < 2:
        return 0
    ux, uy = uv[j, 0] - uv[i, 0], uv[j, 1] - uv[i, 1]
    wx, wy = uv[k, 0] - uv[i, 0], uv[k, 1] - uv[i, 1]
    texels = abs(ux * wy - uy * wx) * table[material, FIRST + 1] * table[material, FIRST + 2]
    ax, ay = screen[j, 0] - screen[i, 0], screen[j, 1] - screen[i, 1]
    bx, by = screen[k, 0] - screen[i, 0], screen[k, 1] - screen[i, 1]
    pixels = abs(float(ax) * float(by) - float(ay) * float(bx)) / 65536.0
    ratio = texels / max(pixels, 1e-6)
    level = 0
    while ratio > 2.0 and level < LEVELS - 1:
        ratio *= 0.25
        level += 1
    return level
