"""A face: a mesh that can be moved by named shapes, and the file that holds it.

The file is one compact .npz, read without pickle (F triangles, V vertices, K shapes; "steps" are
int16 with one float32 step size in metres each):

    format            "jambatalk-face 1"
    vertices          (V, 3) float32 metres
    triangles         (F, 3) uint16, or uint32 for large meshes
    names             (K,) text
    gap               (2,) int32, absent when unknown
    shape_counts      (K,) how many vertices each shape moves
    shape_vertices    the moved vertices of all shapes, one after another
    shape_steps       (sum of counts, 3) int16
    shape_scale       (K,) float32 metres per step
    region_names, region_counts, region_vertices
    materials         (F,) uint8; material_names
    colours           (V, 3) uint8
    uv                (V, 2) float32, absent when there is none
    identity_names, identity_steps (I, V, 3) int16, identity_scale (I,)
    identity_colours  (I, V, 3) uint8
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jambatalk.arrays import read_arrays
from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError, reading

Array = NDArray[Any]

FORMAT = "jambatalk-face 1"
STEPS = 32767
SMALLEST = 2e-6
"""Metres; a vertex that a shape moves by less is not stored for it."""


@dataclass(frozen=True)
class Joint:
    """A bone of the face, and what it carries along.

    Args:
        weights: (V,) float32, how far each vertex follows it, with everything that hangs on it.
        pivot: (3,) metres, the point that it turns about.
    """

    weights: Array
    pivot: Array


@dataclass(frozen=True)
class Surface:
    """What a material looks like, as its file says; the renderer draws it.

    Args:
        lighting: the kind of material by which it is lit, see ``render.materials``.
        colour: linear red, green, blue and opacity, which multiply the picture's.
        picture: an encoded image (JPEG, PNG, WebP, ...) of base colour, or None.
        alpha: "opaque", "mask" (seen where opacity reaches ``cutoff``) or "blend".
        cutoff: see ``alpha``.
        two_sided: whether its back is seen.
        repeat: whether the picture repeats (True) or ends (False) along u and v.
    """

    lighting: str = "skin"
    colour: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    picture: bytes | None = field(default=None, repr=False)
    alpha: str = "opaque"
    cutoff: float = 0.5
    two_sided: bool = False
    repeat: tuple[bool, bool] = (True, True)


@dataclass(frozen=True)
class Face:
    """A mesh that can be moved.

    Axes: x to the face's own left (the viewer's right), y up, z out of the face towards the viewer.
    Metres.

    Args:
        vertices: (V, 3) float32 neutral positions.
        triangles: (F, 3) int32, counter-clockwise seen from outside.
        regions: name -> (n,) int32 vertex indices ("lips", "inner_lips", "upper_face", "eyes",
            "jaw", "teeth", "tongue", ...).
        names: the K shape names of ``basis``.
        basis: (K, V, 3) float32 offsets of each shape at weight 1 (empty when the face has none).
        colours: (V, 3) float32 sRGB in 0..1.
        materials: (F,) uint8 index into ``material_names``, by which the renderer lights it.
        gap_vertices: (upper, lower) vertex indices of the middle of the inner lips; their vertical
            distance is the lip gap.
        identities: name -> (V, 3) float32 offsets that turn the template into another person.
        uv: (V, 2) float32 texture coordinates.
        identity_colours: name -> (V, 3) float32 sRGB of that person, where it differs from
            ``colours``.
        meanings: shape name -> what it means in other words: an ARKit name, or one of the table in
            ``dialects``. Empty for a face whose shapes have the names that motions use.
        recipes: meaning -> ARKit weights, of those that a user's own file adds to the table.
        joints: "neck", "head", "left_eye", "right_eye" -> the bone, of a face that has some.
        surfaces: one for each of ``material_names``, of a face that brings textures.
        source: the character's file, of a face that is part of one, see ``character``.
    """

    vertices: Array
    triangles: Array
    regions: Mapping[str, Array] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    basis: Array = field(default_factory=lambda: np.zeros((0, 0, 3), np.float32))
    colours: Array | None = None
    materials: Array | None = None
    material_names: tuple[str, ...] = ("skin",)
    gap_vertices: tuple[int, int] | None = None
    identities: Mapping[str, Array] = field(default_factory=dict)
    uv: Array | None = None
    identity_colours: Mapping[str, Array] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    recipes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    joints: Mapping[str, Joint] = field(default_factory=dict)
    surfaces: tuple[Surface, ...] = ()
    source: Any = field(default=None, compare=False, repr=False)

    def pose(self, weights: Array, columns: Array | None = None) -> Array:
        """Vertices for shape weights: (n,) -> (V, 3), or (T, n) -> (T, V, 3), float32 metres.

        Args:
            weights: of the shapes at ``columns``.
            columns: (n,) indices of shapes (see ``columns``); None for all K in their order.
        """
        weights = np.ascontiguousarray(weights, np.float32)
        rows = np.arange(len(self.names)) if columns is None else columns
        if weights.shape[-1] != len(rows):
            raise InputError(
                f"{weights.shape[-1]} weights given, but the face has {len(rows)} shapes"
            )
        neutral = np.ascontiguousarray(self.vertices, np.float32).reshape(-1)
        basis = np.ascontiguousarray(self.basis, np.float32).reshape(len(self.names), -1)
        flat = weights.reshape(-1, len(rows))
        posed = np.empty((len(flat), len(neutral)), np.float32)
        for frame, row in enumerate(flat):
            posed[frame] = blend(neutral, basis, rows, row)
        return posed.reshape(*weights.shape[:-1], *self.vertices.shape)

    def columns(self, names: Sequence[str]) -> Array:
        """(n,) int indices of the given shape names. InputError names the first unknown one."""
        index = {name: i for i, name in enumerate(self.names)}
        for name in names:
            if name not in index:
                known = ", ".join(self.names) or "no shapes"
                raise InputError(f"unknown shape {name!r}: this face has {known}")
        return np.array([index[name] for name in names], np.int64)

    def lip_gap(self, weights: Array) -> Array:
        """Inner-lip gap in metres for (T, K) weights -> (T,), negative when the lips overlap."""
        if self.gap_vertices is None:
            raise InputError("this face does not name its two inner-lip vertices (gap_vertices)")
        upper, lower = self.gap_vertices
        rest = self.vertices[upper, 1] - self.vertices[lower, 1]
        return rest + np.asarray(weights) @ (self.basis[:, upper, 1] - self.basis[:, lower, 1])

    def with_identity(self, name: str) -> Face:
        """The face of another identity, with the same shapes. InputError names the choices."""
        if name not in self.identities:
            raise InputError(
                f"unknown identity {name!r}: choose one of {', '.join(sorted(self.identities))}"
            )
        vertices = (self.vertices + self.identities[name]).astype(np.float32)
        return replace(
            self, vertices=vertices, colours=self.identity_colours.get(name, self.colours)
        )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Face:
        """Read a face from any file that holds one: the one way in.

        Args:
            path: an .npz that ``save`` wrote, a mesh or a model (.npz, .obj, .ply), a character
                (.glb, .gltf, .vrm), or a folder of one .obj for each shape beside a neutral one.

        Raises:
            InputError: the file is missing, damaged or of another kind.
            MissingExtraError: reading it needs a library that is not installed.
        """
        source = Path(path)
        suffix = source.suffix.lower()
        if source.is_dir():
            suffix = "folder"
        elif suffix not in FILES:
            kinds = ", ".join(kind for kind in FILES if kind != "folder")
            raise InputError(f"{source} is no face that can be read, expected {kinds} or a folder")
        elif not source.is_file():
            raise InputError(f"no face at {source}: expected a file that can be read")
        module, function = FILES[suffix]
        # By name, since those modules make faces: imported by name there is no circle.
        face: Face = getattr(importlib.import_module(module), function)(source)
        return face

    def save(self, path: str | PathLike[str]) -> None:
        """Write the face.

        Shapes and identities are kept to 1/65534 of their largest offset (under 1 µm for 38 mm),
        colours to 8 bits.

        Raises:
            InputError: the file cannot be written, or the face is part of a character's file, whose
                textures, joints and names this one has no place for.
        """
        if self.source is not None:
            raise InputError(
                f"the face of {self.source.path} stays in its own file: .npz has no place for its "
                "textures and joints"
            )
        arrays = _pack(self)
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **arrays)


FILES = {
    ".npz": ("jambatalk.face.face", "load_npz"),
    ".obj": ("jambatalk.face.mesh", "load_mesh"),
    ".ply": ("jambatalk.face.mesh", "load_mesh"),
    ".glb": ("jambatalk.face.character", "load_character"),
    ".gltf": ("jambatalk.face.character", "load_character"),
    ".vrm": ("jambatalk.face.character", "load_character"),
    "folder": ("jambatalk.face.mesh", "load_folder"),
}
"""Suffix -> module and function that reads it. The only list of faces' files."""


def load_npz(path: str | PathLike[str]) -> Face:
    """Read a face that ``Face.save`` wrote, or another .npz of a mesh (see ``mesh.load_arrays``).

    Raises:
        InputError: the file is missing, damaged or of another kind.
    """
    source = Path(path)
    arrays = read_arrays(source)
    if "format" not in arrays:
        other: Face = importlib.import_module("jambatalk.face.mesh").load_arrays(arrays, source)
        return other
    with reading(source, f"an .npz of the format {FORMAT!r}"):
        if str(arrays.get("format")) != FORMAT:
            raise InputError(f"{source} is not a face: expected an .npz of the format {FORMAT!r}")
        face = _unpack(arrays)
        _check(face, source)
        return face


@njit(cache=True, nogil=True, fastmath={"contract"})
def blend(neutral: Array, basis: Array, rows: Array, weights: Array) -> Array:
    """Compute (n,) float32 ``neutral + weights @ basis[rows]``, skipping weights of zero.

    A loop rather than a matrix product: that starts threads of its own, which get in each other's
    way when several frames are drawn at a time.

    Args:
        neutral: (n,) float32.
        basis: (K, n) float32.
        rows: (k,) indices of shapes.
        weights: (k,) float32, theirs.
    """
    moved = neutral.copy()
    for i in range(rows.shape[0]):
        weight = weights[i]
        if weight != 0:
            shape = basis[rows[i]]
            for n in range(moved.shape[0]):
                moved[n] += weight * shape[n]
    return moved


def _pack(face: Face) -> dict[str, Array]:
    index_type = np.uint16 if len(face.vertices) <= 65536 else np.uint32
    arrays: dict[str, Array] = {
        "format": np.array(FORMAT),
        "vertices": face.vertices.astype(np.float32),
        "triangles": face.triangles.astype(index_type),
        "names": np.array(face.names, dtype=np.str_),
        "material_names": np.array(face.material_names, dtype=np.str_),
    }
    moved = [np.flatnonzero(np.abs(shape).max(axis=1) > SMALLEST) for shape in face.basis]
    quantised = [_to_steps(shape[index]) for shape, index in zip(face.basis, moved)]
    arrays["shape_counts"] = np.array([len(index) for index in moved], np.int32)
    arrays["shape_vertices"] = np.concatenate([*moved, np.zeros(0, np.int64)]).astype(index_type)
    arrays["shape_steps"] = np.concatenate(
        [*(steps for steps, _ in quantised), np.zeros((0, 3), np.int16)]
    )
    arrays["shape_scale"] = np.array([scale for _, scale in quantised], np.float32)
    arrays["region_names"] = np.array(list(face.regions), dtype=np.str_)
    arrays["region_counts"] = np.array([len(region) for region in face.regions.values()], np.int32)
    arrays["region_vertices"] = np.concatenate(
        [*face.regions.values(), np.zeros(0, np.int64)]
    ).astype(index_type)
    if face.gap_vertices is not None:
        arrays["gap"] = np.array(face.gap_vertices, np.int32)
    if face.colours is not None:
        arrays["colours"] = _to_bytes(face.colours)
    if face.materials is not None:
        arrays["materials"] = face.materials.astype(np.uint8)
    if face.uv is not None:
        arrays["uv"] = face.uv.astype(np.float32)
    people = [_to_steps(offsets) for offsets in face.identities.values()]
    arrays["identity_names"] = np.array(list(face.identities), dtype=np.str_)
    arrays["identity_steps"] = np.array([steps for steps, _ in people], np.int16).reshape(
        -1, *face.vertices.shape
    )
    arrays["identity_scale"] = np.array([scale for _, scale in people], np.float32)
    if face.identity_colours:
        if face.colours is None or set(face.identity_colours) - set(face.identities):
            raise InputError("identity_colours need colours and the identities they belong to")
        coloured = [face.identity_colours.get(name, face.colours) for name in face.identities]
        arrays["identity_colours"] = np.stack([_to_bytes(colours) for colours in coloured])
    return arrays


def _unpack(arrays: Mapping[str, Array]) -> Face:
    vertices = arrays["vertices"]
    names = tuple(str(name) for name in arrays["names"])
    basis = np.zeros((len(names), *vertices.shape), np.float32)
    ends = np.cumsum(arrays["shape_counts"])
    for k, (start, end) in enumerate(zip(ends - arrays["shape_counts"], ends)):
        basis[k, arrays["shape_vertices"][start:end]] = (
            arrays["shape_steps"][start:end] * arrays["shape_scale"][k]
        )
    pieces = np.split(
        arrays["region_vertices"].astype(np.int32), np.cumsum(arrays["region_counts"])[:-1]
    )
    people = [str(name) for name in arrays["identity_names"]]
    offsets = arrays["identity_steps"] * arrays["identity_scale"][:, None, None]
    colours = arrays.get("identity_colours")
    gap = arrays.get("gap")
    return Face(
        vertices=vertices,
        triangles=arrays["triangles"].astype(np.int32),
        regions={str(name): piece for name, piece in zip(arrays["region_names"], pieces)},
        names=names,
        basis=basis,
        colours=_from_bytes(arrays["colours"]) if "colours" in arrays else None,
        materials=arrays.get("materials"),
        material_names=tuple(str(name) for name in arrays["material_names"]),
        gap_vertices=None if gap is None else (int(gap[0]), int(gap[1])),
        identities={name: offset.astype(np.float32) for name, offset in zip(people, offsets)},
        uv=arrays.get("uv"),
        identity_colours={}
        if colours is None
        else {name: _from_bytes(one) for name, one in zip(people, colours)},
    )


def _check(face: Face, source: Path) -> None:
    """InputError if the parts of a face that was read do not belong together."""
    count, triangles = len(face.vertices), face.triangles
    if face.vertices.shape != (count, 3) or triangles.ndim != 2 or triangles.shape[1] != 3:
        raise InputError(f"{source} holds no mesh: expected vertices (V, 3) and triangles (F, 3)")
    used = [triangles, *face.regions.values()]
    if face.gap_vertices is not None:
        used.append(np.array(face.gap_vertices))
    if any(len(part) and (part.min() < 0 or part.max() >= count) for part in used):
        raise InputError(f"{source} names a vertex that is not there: it has {count}")
    if face.materials is not None and (
        face.materials.shape != (len(triangles),)
        or (len(triangles) and face.materials.max() >= len(face.material_names))
    ):
        raise InputError(f"{source} does not give each triangle one of its materials")
    for part in (face.vertices, face.basis, face.colours, face.uv, *face.identities.values()):
        if part is not None and not np.isfinite(part).all():
            raise InputError(f"{source} holds values that are not finite")


def _to_steps(values: Array) -> tuple[Array, float]:
    """int16 steps and the step size, so that steps * size gives the values back."""
    largest = float(np.abs(values).max()) if values.size else 0.0
    scale = np.float32(largest / STEPS) if largest > 0 else np.float32(1.0)
    return np.clip(np.round(values / scale), -STEPS, STEPS).astype(np.int16), float(scale)


def _to_bytes(colours: Array) -> Array:
    return np.clip(np.round(colours * 255.0), 0, 255).astype(np.uint8)


def _from_bytes(colours: Array) -> Array:
    return colours.astype(np.float32) / np.float32(255.0)
