"""The bust: a shirt over the shoulders and a smooth curved cut below, closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bind import smooth_normals
from .palette import PALETTES, TEMPLATE_PALETTE, Colour, lattice_noise
from .part import Part
from .topology import edge_faces

Array = NDArray[Any]

SHIRT = 0.0045  # metres between skin and shirt
FALL = 0.075  # how far the shirt falls below the cut
BAND = 0.013  # height of the collar's ribbing


def cut_below(points: Array) -> Array:
    """(n,) positive where the bust is kept: a rounded cut through the shoulders."""
    x, y = np.abs(points[:, 0]) / 0.214, np.maximum(-0.09 - points[:, 1], 0.0) / 0.116
    return np.asarray(1.0 - x**4 - y**4)


def above_collar(points: Array) -> Array:
    """(n,) metres above the collar: a plane that rises towards the nape."""
    return np.asarray(points[:, 1] + 0.1500 + 0.42 * (points[:, 2] + 0.045))


def clipped(part: Part, inside: Callable[[Array], Array]) -> Part:
    """The part where ``inside`` is positive; triangles across its border are cut there. Vertex
    order is kept.
    """
    value = inside(part.vertices)
    value = np.where(np.abs(value) < 1e-9, 1e-9, value)
    blends: dict[tuple[int, int], int] = {}
    pairs: list[tuple[int, int, float]] = []
    count = len(part.vertices)

    def crossing(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in blends:
            blends[key] = count + len(pairs)
            low, high = key
            pairs.append((low, high, float(value[low] / (value[low] - value[high]))))
        return blends[key]

    triangles: list[tuple[int, int, int]] = []
    kept_material: list[str] = []
    for (a, b, c), material in zip(part.triangles.tolist(), part.materials()):
        loop: list[int] = []
        for u, v in ((a, b), (b, c), (c, a)):
            if value[u] > 0:
                loop.append(u)
            if (value[u] > 0) != (value[v] > 0):
                loop.append(crossing(u, v))
        for i in range(1, len(loop) - 1):
            triangles.append((loop[0], loop[i], loop[i + 1]))
            kept_material.append(str(material))
    low, high = (np.array([p[k] for p in pairs], np.int64) for k in (0, 1))
    share = np.array([p[2] for p in pairs])[:, None]

    def extended(values: Array) -> Array:
        return np.concatenate(
            [values, values[..., low, :] * (1 - share) + values[..., high, :] * share], axis=-2
        )

    return compact(
        Part(
            vertices=extended(part.vertices),
            triangles=np.array(triangles).reshape(-1, 3),
            basis=extended(part.basis),
            identities={name: extended(offsets) for name, offsets in part.identities.items()},
            colours=extended(part.colours),
            material=np.array(kept_material),
            regions=part.regions,
            identity_colours={
                name: extended(colours) for name, colours in part.identity_colours.items()
            },
        )
    )


def compact(part: Part) -> Part:
    """The part without vertices that no triangle uses. Order is kept; regions lose the vertices
    that go.
    """
    used = np.unique(part.triangles)
    number = np.full(len(part.vertices), -1)
    number[used] = np.arange(len(used))
    regions = {name: number[members] for name, members in part.regions.items()}
    return Part(
        vertices=part.vertices[used],
        triangles=number[part.triangles],
        basis=part.basis[:, used],
        identities={name: offsets[used] for name, offsets in part.identities.items()},
        colours=part.colours[used],
        material=part.material,
        regions={name: members[members >= 0] for name, members in regions.items()},
        identity_colours={name: colours[used] for name, colours in part.identity_colours.items()},
    )


def border(triangles: Array) -> list[list[int]]:
    """The open edges of a mesh as closed loops of vertices, in the direction of their triangles."""
    shared = edge_faces([[int(v) for v in triangle] for triangle in triangles])
    after: dict[int, int] = {}
    for a, b, c in triangles.tolist():
        for u, v in ((a, b), (b, c), (c, a)):
            if len(shared[min(u, v), max(u, v)]) == 1:
                after[u] = v
    loops = []
    while after:
        start, here = next(iter(after.items()))
        del after[start]
        loop = [start]
        while here != start:
            loop.append(here)
            here = after.pop(here)
        loops.append(loop)
    return loops


def dressed(skin: Part) -> tuple[Part, Part]:
    """(the skin down to just under the collar, the shirt with its collar and closed underside)."""
    whole = clipped(skin, cut_below)
    body = clipped(whole, lambda points: above_collar(points) + 0.010)
    return body, _shirt(clipped(whole, lambda points: -above_collar(points)))


def _shirt(part: Part) -> Part:
    normals = smooth_normals(part.vertices, part.triangles)
    depth = -above_collar(part.vertices)
    band = np.clip((BAND - depth) / 0.003, 0.0, 1.0)
    part.vertices = part.vertices + normals * (SHIRT + 0.0012 * band)[:, None]
    part.basis[:] = 0.0
    loops = sorted(border(part.triangles), key=lambda loop: part.vertices[loop, 1].mean())
    bottom, collar = loops[0], loops[-1]
    count = len(part.vertices)
    # The collar's edge turns inwards to the neck; below the cut the shirt falls straight down and
    # is closed by a fan.
    inner = part.vertices[collar] - normals[collar] * (SHIRT + 0.003) - [0.0, 0.002, 0.0]
    low = part.vertices[bottom] * [0.97, 1.0, 1.0]
    low[:, 1] = low[:, 1].min() - FALL
    middle = low.mean(axis=0)
    triangles = part.triangles.tolist()
    n = len(collar)
    for i in range(n):
        a, b, c, d = collar[i], collar[(i + 1) % n], count + (i + 1) % n, count + i
        triangles += [(b, a, d), (b, d, c)]
    below, m = count + n, len(bottom)
    for i in range(m):
        a, b, c, d = bottom[i], bottom[(i + 1) % m], below + (i + 1) % m, below + i
        triangles += [(b, a, d), (b, d, c), (c, d, below + m)]
    index = np.concatenate([np.arange(count), collar, bottom, bottom[:1]])
    vertices = np.concatenate([part.vertices, inner, low, middle[None]])

    def cloth(shirt: Colour) -> Array:
        weave = 1.0 + 0.05 * lattice_noise(vertices, 0.02, 9)
        colours = np.array(shirt) * weave[:, None] * (1.0 + 0.10 * band[index])[:, None]
        colours[count:below] = np.array(shirt) * 0.45
        return np.clip(colours, 0.0, 1.0)

    return Part(
        vertices=vertices,
        triangles=np.array(triangles),
        basis=part.basis[:, index],
        identities={name: offsets[index] for name, offsets in part.identities.items()},
        colours=cloth(TEMPLATE_PALETTE.shirt),
        material="cloth",
        regions={"cloth": np.arange(len(vertices))},
        identity_colours={name: cloth(palette.shirt) for name, palette in PALETTES.items()},
    )


def without_hidden(skin: Part, cover: Array, eye_centres: list[Array], radius: float) -> Part:
    """The skin without the scalp deep under the hair and the socket's lining inside the eyeballs.

    cover: (V,) metres from the hairline; eye_centres, radius: the balls, metres.
    """
    unseen = cover > 0.012
    for centre in eye_centres:
        unseen |= np.linalg.norm(skin.vertices - centre, axis=1) < radius - 0.0006
    hidden = unseen[skin.triangles].all(axis=1)
    skin.material = skin.materials()[~hidden]
    skin.triangles = skin.triangles[~hidden]
    return compact(skin)
