"""The regions of a mesh that losses and metrics look at: lips, upper face, the mouth's opening.

One place decides for preparing, training and evaluation: ``corpus_regions``. Masks come first
(FLAME's own file, the paper's box for BIWI_6), then the names of the default head, then the mesh's
shape.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.atomic import write_json
from jambatalk.datasets.dataset import OFFSETS, PreparedCorpus
from jambatalk.datasets.masks import inside_box, named_region, offset_spread, read_region
from jambatalk.errors import InputError, reading, shown
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.face.mouth import UPPER_FACE, find_mouth, lip_rings, middle_of_ring, upper_of_face

Array = NDArray[Any]
FILE = "regions.json"
"""Their name beside a prepared corpus' manifest."""

GEOMETRY = "geometry"
"""In the source of regions that were found from a mesh's shape."""


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

    @property
    def by_shape(self) -> bool:
        """Whether some of them are found from the mesh's shape, where no mask was at hand."""
        return GEOMETRY in self.source

    @property
    def lines(self) -> list[str]:
        """What a command prints before it uses them; a warning where the shape stands in."""
        lines = [f"regions {self.hash}: {len(self.lips)} lip vertices, {self.source}"]
        if self.by_shape:
            lines.append(
                "WARNING: no mask of this mesh is at hand, its shape stands in: numbers measured "
                "there cannot be compared with those under a published mask. For FLAME put "
                "FLAME_masks.pkl beside the raw corpus and prepare it again; for other meshes "
                "give --lips, --upper-face and --opening"
            )
        return lines

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
        with reading(path, "a file of regions"):
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
        if own != vertices:
            raise InputError(f"{path} is of a mesh of {own} vertices, expected {vertices}")
        if stored != regions.hash:
            raise InputError(
                f"{path} says its hash is {stored}, but its indices give {regions.hash}: was it "
                "changed by hand?"
            )
        return regions


def faces_hash(triangles: Array) -> str:
    """Twelve hexadecimal digits of a mesh's triangles (F, 3): its topology."""
    return hashlib.sha256(np.ascontiguousarray(triangles, "<i4").tobytes()).hexdigest()[:12]


@dataclass(frozen=True)
class Topology:
    """A mesh of the field that is known here by its number of vertices and its triangles.

    Args:
        name: As ``--mask`` names it.
        title: For sources.
        vertices, triangles: How many; 0 triangles: any number.
        faces: ``faces_hash`` of its triangles; "" where it is not known here.
        masks: A file of its owner's with regions by name, beside the corpus; "" for none.
        lips, upper_face: Regions in that file.
        opening: The middle inner vertices of upper and lower lip; None: found from the shape.
        box: The lips on a template: x from, to, y from, to.
        template: The subject whose template the box is laid on.
    """

    name: str
    title: str
    vertices: int
    triangles: int = 0
    faces: str = ""
    masks: str = ""
    lips: str = ""
    upper_face: str = ""
    opening: tuple[int, int] | None = None
    box: tuple[float, float, float, float] | None = None
    template: str = ""

    def fits(self, template: Array, triangles: Array | None) -> bool:
        """Whether a mesh (V, 3), (F, 3) is this one; triangles may be unknown."""
        if len(template) != self.vertices:
            return False
        if triangles is not None and (
            (self.triangles and len(triangles) != self.triangles)
            or (self.faces and faces_hash(triangles) != self.faces)
        ):
            return False
        if self.opening is None:
            return True
        # Another mesh of as many vertices hardly has its lips' middles at the same numbers.
        upper, lower = template[list(self.opening)]
        size, middle = np.ptp(template, axis=0), (template.min(0) + template.max(0)) / 2
        apart = np.abs(np.stack([upper, lower])[:, 0] - middle[0]).max()
        gap = float(np.linalg.norm(upper - lower))
        return bool(apart <= 0.1 * size[0] and upper[1] >= lower[1] and gap <= 0.05 * size[1])


TOPOLOGIES = {
    one.name: one
    for one in (
        Topology(
            "flame",
            "FLAME",
            5023,
            9976,
            masks="FLAME_masks.pkl",
            lips="lips",
            upper_face="forehead+eye_region",
            opening=(3531, 3504),
        ),
        Topology("biwi6", "BIWI_6", 3895, box=(-0.035, 0.035, -0.08, -0.035), template="F1"),
    )
}
"""By the names that ``--mask`` takes; a new one is one entry. FLAME's and BIWI_6's triangles are
their owners' and not at hand here, so their hashes are open.
"""

MASK_FILES = tuple(one.masks for one in TOPOLOGIES.values() if one.masks)
"""Files that ``data prepare`` copies from beside the raw corpus."""


def recognize(template: Array, triangles: Array | None) -> Topology | None:
    """The known topology of a mesh, None for others."""
    return next((one for one in TOPOLOGIES.values() if one.fits(template, triangles)), None)


def regions_from_files(
    lips: str | Path,
    upper_face: str | Path,
    opening: tuple[int, int],
    vertices: int,
    source: str | None = None,
) -> Regions:
    """Read mask files, as ``masks.read_region`` does (.npy, .txt, .json, .pkl).

    FILE:NAME chooses the region of a file with several, FILE:NAME+NAME joins two; without a name
    "lips" and "upper_face" are looked for. InputError as there.
    """
    indices = []
    for spec, usual in ((lips, "lips"), (upper_face, "upper_face")):
        path, name = named_region(spec)
        indices.append(read_region(path, vertices, name or usual))
    if source is None:
        source = " and ".join(Path(spec).name for spec in (lips, upper_face))
    return Regions(indices[0], indices[1], opening, source, vertices)


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

    Lips are where the rim of what is seen from the front lies between them, and the rings of
    neighbors within a fifth of the mouth's width; the upper face lies 1.3 mouth widths above the
    mouth (about the lower eyelids) or higher, on the front half; the opening is between the
    vertices of the rim's upper and lower half that are nearest to its middle.

    Args:
        template: (V, 3).
        triangles: (F, 3).

    Raises:
        InputError: The mesh has no opening where a mouth would be.
    """
    template = np.asarray(template, np.float64)
    mouth = find_mouth(template, triangles)
    return Regions(
        lip_rings(template, triangles, mouth),
        upper_of_face(template, mouth),
        middle_of_ring(template, mouth.ring),
        f"{GEOMETRY} ({mouth.found})",
        len(template),
    )


def mesh_regions(
    template: Array,
    triangles: Array | None,
    masks: Path,
    spread: Callable[[], Array],
    where: str,
    mask: str = "",
) -> Regions:
    """Find the regions of a mesh: by its owner's masks, by name, or by its shape.

    Args:
        template: (V, 3) in the corpus' unit.
        triangles: (F, 3), None when unknown.
        masks: The folder in which mask files are looked for.
        spread: Gives how much each coordinate moves, (V, 3); asked for only where the opening can
            be found in no other way.
        where: The corpus in error messages.
        mask: The name of a topology whose masks must be used, "geometry" for the shape alone; "":
            whatever is there.

    Raises:
        InputError: None of these is possible.
    """
    known = recognize(template, triangles)
    if mask == GEOMETRY:
        known = None
    elif mask and (known is None or known.name != mask):
        wanted = TOPOLOGIES[mask]
        raise InputError(
            f"the mesh of {where} is not that of {wanted.title}: it has {len(template)} vertices"
            + ("" if triangles is None else f" and {len(triangles)} triangles")
            + f", expected {wanted.vertices}"
            + (f" and {wanted.triangles}" if wanted.triangles and triangles is not None else "")
            + " with the lips at their usual numbers"
        )
    elif is_head(template, triangles):
        return regions_of_face(default_head())
    if known is not None and known.masks and (path := masks / known.masks).is_file():
        assert known.opening is not None
        return Regions(
            read_region(path, len(template), known.lips),
            read_region(path, len(template), known.upper_face),
            known.opening,
            f"{known.masks} ({known.lips}; {known.upper_face})",
            len(template),
        )
    if mask in TOPOLOGIES and TOPOLOGIES[mask].masks:
        raise InputError(
            f"{where} has no {TOPOLOGIES[mask].masks}: put the file that the owner of "
            f"{TOPOLOGIES[mask].title} gives out beside the raw corpus and prepare it again"
        )
    if known is not None and known.box is not None:
        lips = inside_box(template, known.box)
        if len(lips):
            return _boxed(known, template, triangles, lips, spread)
    if triangles is None:
        raise InputError(
            f"{where} has neither {FILE} nor triangles: give --regions, or --lips, --upper-face "
            "and --opening; or put the mesh's .obj or .ply beside the raw corpus and prepare it "
            "again"
        )
    found = regions_from_geometry(template, triangles)
    if known is not None and known.opening is not None:
        source = f"{found.source}; opening of {known.title}"
        return Regions(found.lips, found.upper_face, known.opening, source, len(template))
    return found


def _boxed(
    known: Topology,
    template: Array,
    triangles: Array | None,
    lips: Array,
    spread: Callable[[], Array],
) -> Regions:
    """Lips by the box; upper face and opening by the triangles or, without them, by motion."""
    source = f"{known.title}'s lips by the paper's box"
    if triangles is not None:
        found = regions_from_geometry(template, triangles)
        source += f"; upper face and opening by {found.source}"
        return Regions(lips, found.upper_face, found.opening, source, len(template))
    source += f"; upper face by {GEOMETRY} (height), opening by motion"
    x, y = template[lips, 0], template[lips, 1]
    # The widest lips are those of the box; a mouth is about three quarters of it.
    width, height = 0.75 * float(np.ptp(x)), float(y.mean())
    upper = np.flatnonzero(
        (template[:, 1] > height + UPPER_FACE * width)
        & (template[:, 2] >= (template[:, 2].min() + template[:, 2].max()) / 2)
    )
    opening = opening_by_motion(template, lips, spread())
    return Regions(lips, upper, opening, source, len(template))


MIDLINE = 0.06
"""Lip vertices up to this many widths of the lips beside their middle belong to its line."""
EDGE = 0.01
"""Widths of the lips up to which vertices of the line count as being as near to the other lip."""


def opening_by_motion(template: Array, lips: Array, spread: Array) -> tuple[int, int]:
    """Find the middle inner vertices of upper and lower lip by how they move.

    On the lips' midline, from the top down, the one moves little and the next one with the jaw.

    Args:
        template: (V, 3).
        lips: (L,) vertex indices.
        spread: (V, 3) root mean square of each coordinate's offset, see
            ``masks.offset_spread``.

    Raises:
        InputError: Fewer than two vertices lie on the midline, or none of them moves.
    """
    x = template[lips, 0]
    middle = (x.min() + x.max()) / 2
    line = lips[np.abs(x - middle) <= MIDLINE * np.ptp(x)]
    # Inside of the mouth the order from the top down says nothing.
    depth = template[line, 2]
    line = line[depth >= depth.max() - 0.25 * np.ptp(x)] if len(line) else line
    line = line[np.argsort(-template[line, 1], kind="stable")]
    moves = np.linalg.norm(spread[line], axis=1)
    if len(line) < 2 or not moves.max() > 0:
        raise InputError(
            f"the lips' midline has {len(line)} vertices, of which none moves: expected --opening"
        )
    place = int(np.argmax(np.diff(moves))) + 1
    height, off = template[line, 1], np.abs(template[line, 0] - middle)

    def innermost(half: Array, edge: float) -> int:
        about = half[np.abs(height[half] - edge) <= EDGE * np.ptp(x)]
        return int(line[about[np.argmin(off[about])]])

    order = np.arange(len(line))
    return (innermost(order[:place], height[place - 1]), innermost(order[place:], height[place]))


def is_head(template: Array, triangles: Array | None) -> bool:
    """Whether a mesh is the default head, in whatever identity."""
    head = default_head()
    same = triangles is not None and np.array_equal(triangles, head.triangles)
    return len(template) == len(head.vertices) and same


def corpus_regions(corpus: PreparedCorpus, mask: str = "", stored: bool = True) -> Regions:
    """Find the regions of a prepared corpus: those of ``regions.json`` in its folder, else as
    ``mesh_regions`` does on its first subject's template.

    Args:
        mask: As for ``mesh_regions``; a name leaves ``regions.json`` aside.
        stored: Whether ``regions.json`` counts.

    Raises:
        InputError: None can be found, or ``mask`` is not known.
    """
    if mask and mask not in (GEOMETRY, *TOPOLOGIES):
        raise InputError(
            f"no masks called {shown(mask)}: expected {', '.join(TOPOLOGIES)} or {GEOMETRY}; "
            "--lips, --upper-face and --opening give others, with --mask for their name"
        )
    if corpus.motion != OFFSETS:
        return regions_of_face(default_head())
    path = corpus.folder / FILE
    if path.is_file() and stored and not mask:
        return Regions.load(path, corpus.vertices)
    boxed = [one.template for one in TOPOLOGIES.values() if one.template in corpus.subjects]
    template = corpus.template(boxed[0] if boxed else corpus.subjects[0])

    def spread() -> Array:
        splits = corpus.splits()
        return offset_spread(corpus.clips("train" if "train" in splits else None))

    return mesh_regions(template, corpus.triangles, corpus.folder, spread, str(corpus.folder), mask)
