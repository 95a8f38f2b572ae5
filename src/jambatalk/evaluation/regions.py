"""The regions of a mesh that metrics look at: lips, upper face and the opening of the mouth."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.datasets.dataset import write_json
from jambatalk.datasets.lip_mask import read_region
from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import EvalDataset
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.face.landmarks import INNER_LOWER, INNER_UPPER

# The mouth of a mesh found by its shape: the hole between the lips, the rings of vertices around
# it, the face above it.
#
# Axes as ``Face`` has them: x to the face's own left, y up, z out of the face. Lengths are told in
# widths of the mouth, so that no unit needs to be known.


Array = NDArray[Any]
MEDIAPIPE_VERTICES = (468, 478)  # without and with the irises
LIP_REACH = 0.2
"""A ring of neighbors belongs to the lips while its mean distance from the inner ring is at most
this many mouth widths: on MediaPipe's face these are the rings up to the outer contour of the lips
(0.05, 0.10 and 0.16; the next is 0.30).
"""
UPPER_FACE = 1.3
"""Mouth widths above the mouth at which the upper face begins; MediaPipe's lower eyelids lie at
1.5.
"""
CENTRED = 0.05
"""How far a mouth's centre may lie from the middle of its surface, in widths of the surface."""


def mouth_ring(template: Array, triangles: Array) -> tuple[Array, Array, str]:
    """Find the inner ring of the lips.

    MediaPipe's face, whose mouth is filled by triangles, is known by its own vertex numbers. Of any
    other mesh the mouth is the widest hole of the largest surface that lies in that surface's
    middle, on its front half, and is no more than half as wide.

    Returns:
        The ring, (n,) vertex indices in order; a mask (F,) of the triangles that fill the mouth's
        hole; how it was found, in words.

    Raises:
        InputError: There is none.
    """
    ring = _mediapipe_ring(len(template), triangles)
    if ring is not None:
        filled = np.all(np.isin(triangles, ring), axis=1)
        return ring, filled, "MediaPipe's inner lips"
    skin = largest_surface(template, triangles)
    low, size = template[skin].min(0), np.ptp(template[skin], axis=0)
    best: tuple[float, Array] | None = None
    for loop in boundary_loops(triangles[skin[triangles].all(1)]):
        around = template[loop]
        width = float(np.ptp(around[:, 0]))
        off_centre = abs(
            float(around[:, 0].min() + around[:, 0].max()) / 2 - float(low[0] + size[0] / 2)
        )
        in_front = float(around[:, 2].min()) > float(low[2] + size[2] / 2)
        if (
            0 < width <= size[0] / 2
            and off_centre <= CENTRED * size[0]
            and in_front
            and (best is None or width > best[0])
        ):
            best = width, loop
    if best is None:
        raise InputError(
            f"this mesh of {len(template)} vertices has no hole where a mouth would be: expected "
            "regions from mask files"
        )
    return best[1], np.zeros(len(triangles), bool), "the mouth's boundary ring"


def _mediapipe_ring(vertices: int, triangles: Array) -> Array | None:
    if vertices not in MEDIAPIPE_VERTICES:
        return None
    ring = np.array([*INNER_UPPER, *INNER_LOWER[-2:0:-1]], np.int64)
    edges = {tuple(edge) for edge in np.sort(_edges(triangles), axis=1).tolist()}
    closed = np.sort(np.stack([ring, np.roll(ring, -1)], axis=1), axis=1).tolist()
    return ring if all(tuple(edge) in edges for edge in closed) else None


def _edges(triangles: Array) -> Array:
    """(3 F, 2) int64, each triangle's edges in its direction of turning."""
    corners = np.asarray(triangles, np.int64)
    return np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])


def boundary_loops(triangles: Array) -> list[Array]:
    """Find the closed boundaries of a mesh, each as vertex indices in order.

    Edges of exactly one triangle are a boundary.

    A boundary that touches itself in a vertex is cut there into its simple loops.
    """
    edges = _edges(triangles)
    _, first, counts = np.unique(
        np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True
    )
    following: dict[int, list[int]] = {}
    for a, b in edges[first[counts == 1]].tolist():
        following.setdefault(a, []).append(b)
    loops = []
    while following:
        path = [next(iter(following))]
        places = {path[0]: 0}
        while following.get(path[-1]):
            after = following[path[-1]].pop()
            if after in places:
                loop = path[places[after] :]
                loops.append(np.array(loop, np.int64))
                for vertex in loop[1:]:
                    del places[vertex]
                path = path[: places[after] + 1]
            else:
                places[after] = len(path)
                path.append(after)
        following = {vertex: left for vertex, left in following.items() if left}
    return loops


def components(vertices: int, triangles: Array) -> Array:
    """(V,) int64: equal for vertices of one connected surface, -1 for those of no triangle."""
    label = np.arange(vertices)
    edges = _edges(triangles)
    while True:
        lower = label.copy()
        np.minimum.at(lower, edges[:, 0], label[edges[:, 1]])
        np.minimum.at(lower, edges[:, 1], label[edges[:, 0]])
        lower = lower[lower]  # halves the way to the lowest number each time
        if np.array_equal(lower, label):
            break
        label = lower
    used = np.zeros(vertices, bool)
    used[np.unique(triangles)] = True
    return np.where(used, label, -1)


def largest_surface(template: Array, triangles: Array) -> Array:
    """Find the connected surface of the largest extent, the skin: a mask (V,)."""
    part = components(len(template), triangles)
    extent = {
        label: float(np.linalg.norm(np.ptp(template[part == label], axis=0)))
        for label in np.unique(part[part >= 0])
    }
    found: Array = part == max(extent, key=lambda label: extent[label])
    return found


def lip_rings(
    template: Array, triangles: Array, ring: Array, filled: Array, reach: float = LIP_REACH
) -> Array:
    """Add the rings of neighbors within ``reach`` mouth widths, at least one, to the ring.

    Returns:
        (L,) ascending indices.
    """
    edges = _edges(triangles[~filled])
    width = float(np.ptp(template[ring, 0]))
    inside = np.zeros(len(template), bool)
    inside[ring] = True
    while True:
        grown = inside.copy()
        grown[edges[inside[edges[:, 0]], 1]] = True
        grown[edges[inside[edges[:, 1]], 0]] = True
        new = np.flatnonzero(grown & ~inside)
        if not len(new):
            break
        apart = np.linalg.norm(template[new, None] - template[None, ring], axis=2).min(1)
        if inside.sum() > len(ring) and float(apart.mean()) > reach * width:
            break
        inside = grown
    return np.flatnonzero(inside)


def upper_of_face(template: Array, triangles: Array, ring: Array) -> Array:
    """Find the mouth's surface at least UPPER_FACE mouth widths above it, on the front half.

    Returns:
        Ascending indices.
    """
    surface = largest_surface(template, triangles)
    width, height = float(np.ptp(template[ring, 0])), float(template[ring, 1].mean())
    depth = template[surface, 2]
    in_front = template[:, 2] >= (depth.min() + depth.max()) / 2
    found = np.flatnonzero(surface & in_front & (template[:, 1] > height + UPPER_FACE * width))
    if not len(found):
        raise InputError(
            "no vertex lies above the mouth where eyes would be: expected regions from mask files"
        )
    return found


def middle_of_ring(template: Array, ring: Array) -> tuple[int, int]:
    """Find (upper, lower), the vertices of the ring's halves nearest to its middle."""
    x = template[ring, 0]
    middle = (x.min() + x.max()) / 2
    corners = sorted((int(np.argmin(x)), int(np.argmax(x))))
    one = ring[corners[0] + 1 : corners[1]]
    other = np.concatenate([ring[corners[1] + 1 :], ring[: corners[0]]])
    if not len(one) or not len(other):
        raise InputError(
            "the mouth's ring has a lip without vertices between the corners: expected regions "
            "from mask files"
        )
    halves = sorted((one, other), key=lambda half: -float(template[half, 1].mean()))
    upper, lower = (int(half[np.argmin(np.abs(template[half, 0] - middle))]) for half in halves)
    return upper, lower


FILE = "regions.json"
"""Their name beside a prepared corpus' manifest."""


@dataclass(frozen=True)
class Regions:
    """Vertex indices of one mesh.

    Args:
        lips, upper_face: Ascending int64.
        opening: The middle vertices of the upper and the lower inner lip.
        source: Where they come from; published masks are named by it.
        vertices: Of the mesh that they index.
    """

    lips: Array
    upper_face: Array
    opening: tuple[int, int]
    source: str
    vertices: int

    def __post_init__(self) -> None:
        for name in ("lips", "upper_face"):
            indices = np.unique(np.asarray(getattr(self, name), np.int64))
            if not len(indices) or indices[0] < 0 or indices[-1] >= self.vertices:
                raise InputError(
                    f"{name} of {self.source} names no vertices or some outside 0.."
                    f"{self.vertices - 1}"
                )
            object.__setattr__(self, name, indices)
        upper, lower = (int(index) for index in self.opening)
        if not (0 <= upper < self.vertices and 0 <= lower < self.vertices) or upper == lower:
            raise InputError(
                f"opening is {upper}, {lower}, expected two different vertices of {self.vertices}"
            )
        object.__setattr__(self, "opening", (upper, lower))

    @cached_property
    def hash(self) -> str:
        """Twelve hexadecimal digits of all indices; printed with every number measured there."""
        digest = hashlib.sha256(
            f"{self.vertices}/{self.opening[0]}/{self.opening[1]}/{len(self.lips)}\n".encode()
        )
        for indices in (self.lips, self.upper_face):
            digest.update(np.ascontiguousarray(indices, "<i8").tobytes())
        return digest.hexdigest()[:12]

    def check(self, vertices: int) -> None:
        """InputError when they belong to a mesh of another size."""
        if vertices != self.vertices:
            raise InputError(
                f"these regions are of a mesh of {self.vertices} vertices, but the motion has "
                f"{vertices}"
            )

    def save(self, path: str | Path) -> None:
        """Write as JSON, whole or not at all."""
        write_json(
            Path(path),
            {
                "hash": self.hash,
                "source": self.source,
                "vertices": self.vertices,
                "opening": list(self.opening),
                "lips": self.lips.tolist(),
                "upper_face": self.upper_face.tolist(),
            },
        )

    @classmethod
    def load(cls, path: str | Path, vertices: int) -> Regions:
        """Read what ``save`` wrote, or any JSON object of "lips", "upper_face" and "opening".

        ``data prepare`` writes one beside corpora whose mesh is known.

        Raises:
            InputError: It is missing, damaged, of another mesh, or altered without its hash.
        """
        path = Path(path)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            lips, upper_face = (
                np.array([int(i) for i in found[name]], np.int64) for name in ("lips", "upper_face")
            )
            upper, lower = found["opening"]
            own = int(found.get("vertices", vertices))
            regions = cls(
                lips, upper_face, (int(upper), int(lower)), str(found.get("source", path.name)), own
            )
            stored = str(found.get("hash", regions.hash))
        except InputError as error:
            raise InputError(f"{path} cannot be used: {error}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is missing or not a file of regions ({error!r})") from error
        if own != vertices:
            raise InputError(f"{path} is of a mesh of {own} vertices, expected {vertices}")
        if stored != regions.hash:
            raise InputError(
                f"{path} says its hash is {stored}, but its indices give {regions.hash}: was it "
                "changed by hand?"
            )
        return regions


def regions_from_files(
    lips: Path, upper_face: Path, opening: tuple[int, int], vertices: int, source: str | None = None
) -> Regions:
    """Read mask files, as ``datasets.lip_mask.read_region`` does (.npy, .txt, .json, .pkl).

    Files with several regions are asked for "lips" and "upper_face". InputError as there.
    """
    named = f"{lips.name} and {upper_face.name}" if source is None else source
    return Regions(
        read_region(lips, vertices),
        read_region(upper_face, vertices, "upper_face"),
        opening,
        named,
        vertices,
    )


def regions_of_face(face: Face, source: str = "the default head") -> Regions:
    """Take the regions that a face names; InputError when it names none."""
    for name in ("lips", "upper_face"):
        if name not in face.regions:
            raise InputError(
                f"this face names no region {name!r}: it names {', '.join(face.regions) or 'none'}"
            )
    if face.gap_vertices is None:
        raise InputError("this face does not name its two inner-lip vertices (gap_vertices)")
    return Regions(
        face.regions["lips"],
        face.regions["upper_face"],
        face.gap_vertices,
        source,
        len(face.vertices),
    )


def regions_from_geometry(template: Array, triangles: Array) -> Regions:
    """Find the regions from a mesh alone, with axes as ``Face`` has them; any unit.

    Lips are the ring around the opening of the mouth and the rings of neighbors within a fifth of
    the mouth's width; the upper face lies 1.3 mouth widths above the mouth (about the lower
    eyelids) or higher, on the front half; the opening is between the vertices of the ring's upper
    and lower half that are nearest to its middle.

    Args:
        template: (V, 3).
        triangles: (F, 3).

    Raises:
        InputError: The mesh has no opening where a mouth would be.
    """
    ring, filled, found = mouth_ring(template, triangles)
    lips = lip_rings(template, triangles, ring, filled)
    upper_face = upper_of_face(template, triangles, ring)
    return Regions(
        lips, upper_face, middle_of_ring(template, ring), f"geometry ({found})", len(template)
    )


def find_regions(test_set: EvalDataset) -> Regions:
    """Find the regions of a test set's mesh.

    Those of ``regions.json`` in its folder, else of the default head where that is the mesh, else
    from its triangles and the first subject's template.

    Raises:
        InputError: None of these is possible.
    """
    path = test_set.folder / FILE
    if path.is_file():
        return Regions.load(path, test_set.vertices)
    if is_default_head(test_set):
        return regions_of_face(default_head())
    if test_set.triangles is None:
        raise InputError(
            f"{test_set.folder} has neither {FILE} nor triangles: give --regions, or --lips, "
            "--upper-face and --opening"
        )
    return regions_from_geometry(test_set.template, test_set.triangles)


def is_default_head(test_set: EvalDataset) -> bool:
    """Whether the mesh is that of the default head, in whatever identity."""
    head = default_head()
    same = test_set.triangles is not None and np.array_equal(test_set.triangles, head.triangles)
    return test_set.face is not None or (test_set.vertices == len(head.vertices) and same)
