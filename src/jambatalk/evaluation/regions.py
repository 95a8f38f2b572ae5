"""Where on a mesh it is measured: lips, upper face, and the two vertices between which the mouth opens."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.prepared import write_json
from jambatalk.errors import InputError
from jambatalk.evaluation.mouth_geometry import lip_rings, middle_of_ring, mouth_ring, upper_of_face
from jambatalk.evaluation.test_set import TestSet
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.training.lips import read_region

Array = NDArray[Any]
FILE = "regions.json"
"""Their name beside a prepared corpus' manifest."""


@dataclass(frozen=True)
class Regions:
    """Vertex indices of one mesh.

    lips, upper_face: ascending int64. opening: the middle vertex of the upper inner lip and that of the lower one. source: a
    few words on where they come from, which published masks are named by. vertices: of the mesh that they index.
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
                raise InputError(f"{name} of {self.source} names no vertices or some outside 0..{self.vertices - 1}")
            object.__setattr__(self, name, indices)
        upper, lower = (int(index) for index in self.opening)
        if not (0 <= upper < self.vertices and 0 <= lower < self.vertices) or upper == lower:
            raise InputError(f"opening is {upper}, {lower}, expected two different vertices of {self.vertices}")
        object.__setattr__(self, "opening", (upper, lower))

    @cached_property
    def hash(self) -> str:
        """Twelve hexadecimal digits that differ when any index does; printed with every number measured there."""
        digest = hashlib.sha256(f"{self.vertices}/{self.opening[0]}/{self.opening[1]}/{len(self.lips)}\n".encode())
        for indices in (self.lips, self.upper_face):
            digest.update(np.ascontiguousarray(indices, "<i8").tobytes())
        return digest.hexdigest()[:12]

    def check(self, vertices: int) -> None:
        """InputError when they belong to a mesh of another size."""
        if vertices != self.vertices:
            raise InputError(f"these regions are of a mesh of {self.vertices} vertices, but the motion has {vertices}")

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
        """Read what ``save`` wrote, or any JSON object of "lips", "upper_face" and "opening", such as ``data prepare`` writes
        beside corpora whose mesh is known. vertices: of the mesh. InputError when it is missing, damaged, of another mesh, or
        altered without its hash.
        """
        path = Path(path)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            lips, upper_face = (np.array([int(i) for i in found[name]], np.int64) for name in ("lips", "upper_face"))
            upper, lower = found["opening"]
            own = int(found.get("vertices", vertices))
            regions = cls(lips, upper_face, (int(upper), int(lower)), str(found.get("source", path.name)), own)
            stored = str(found.get("hash", regions.hash))
        except InputError as error:
            raise InputError(f"{path} cannot be used: {error}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is missing or no file of regions ({error!r})") from error
        if own != vertices:
            raise InputError(f"{path} is of a mesh of {own} vertices, expected {vertices}")
        if stored != regions.hash:
            raise InputError(f"{path} says its hash is {stored}, but its indices give {regions.hash}: was it changed by hand?")
        return regions


def regions_from_files(
    lips: Path, upper_face: Path, opening: tuple[int, int], vertices: int, source: str | None = None
) -> Regions:  # fmt: skip
    """From mask files of the user's own, as ``training.lips.read_region`` reads them (.npy, .txt, .json, .pkl).

    Files with several regions are asked for "lips" and "upper_face". InputError as there.
    """
    named = f"{lips.name} and {upper_face.name}" if source is None else source
    return Regions(
        read_region(lips, vertices), read_region(upper_face, vertices, "upper_face"), opening, named, vertices
    )  # fmt: skip


def regions_of_face(face: Face, source: str = "the default head") -> Regions:
    """From a face that names its regions, such as the default head. InputError when it names none."""
    for name in ("lips", "upper_face"):
        if name not in face.regions:
            raise InputError(f"this face names no region {name!r}: it names {', '.join(face.regions) or 'none'}")
    if face.gap_vertices is None:
        raise InputError("this face does not name its two inner-lip vertices (gap_vertices)")
    return Regions(face.regions["lips"], face.regions["upper_face"], face.gap_vertices, source, len(face.vertices))


def regions_from_geometry(template: Array, triangles: Array) -> Regions:
    """From a mesh alone, with axes as ``Face`` has them: x to the face's left, y up, z out of it; any unit.

    lips: the ring around the opening of the mouth and the rings of neighbours within a fifth of the mouth's width. upper_face:
    what lies 1.3 mouth widths above the mouth (about the lower eyelids) or higher, on the front half. opening: the vertices of
    the ring's upper and lower half that are nearest to its middle. template: (V, 3). triangles: (F, 3).
    InputError when the mesh has no opening where a mouth would be.
    """
    ring, filled, found = mouth_ring(template, triangles)
    lips = lip_rings(template, triangles, ring, filled)
    upper_face = upper_of_face(template, triangles, ring)
    return Regions(lips, upper_face, middle_of_ring(template, ring), f"geometry ({found})", len(template))


def find_regions(test_set: TestSet) -> Regions:
    """The regions of a test set's mesh: of ``regions.json`` in its folder, else of the default head where that is the mesh, else
    from its triangles and the first subject's template. InputError where none of these can be."""
    path = test_set.folder / FILE
    if path.is_file():
        return Regions.load(path, test_set.vertices)
    if is_default_head(test_set):
        return regions_of_face(default_head())
    if test_set.triangles is None:
        raise InputError(
            f"{test_set.folder} has neither {FILE} nor triangles: give --regions, or --lips, --upper-face and --opening"
        )
    return regions_from_geometry(test_set.template, test_set.triangles)


def is_default_head(test_set: TestSet) -> bool:
    """Whether the mesh is that of the default head, in whatever identity."""
    head = default_head()
    same = test_set.triangles is not None and np.array_equal(test_set.triangles, head.triangles)
    return test_set.face is not None or (test_set.vertices == len(head.vertices) and same)
