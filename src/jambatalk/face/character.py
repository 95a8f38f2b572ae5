"""A character's file as a face: glTF 2.0 (.glb, .gltf) and VRM, several meshes as one.

All meshes of the scene become one mesh in the scene's axes, in the pose that the file rests in:
skins are applied to positions and to what shapes move. Shapes of the same name on several meshes
(head, teeth, lashes) are one shape; a VRM's expressions are further shapes. Of the body only what a
portrait shows is kept. ``Face.source`` remembers which morph targets of which nodes a shape is, and
which nodes turn head and eyes, so that a motion can be written into the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError, reading
from jambatalk.face.dialects import Dialects, dialects_beside, words_of
from jambatalk.face.face import Face, Joint, Surface
from jambatalk.face.gltf import Gltf
from jambatalk.face.lips import with_landmarks
from jambatalk.face.vrm import Bind, Vrm, read_vrm

Array = NDArray[Any]

MOST_VERTICES, MOST_OFFSETS = 2**21, 2**26
"""Vertices of a face, and vertices times shapes, that are held: the latter take 800 MB."""

HEAD_HEIGHT = (0.08, 0.8)
"""Metres from a head's joint to its top; a file outside is in another unit."""
USUAL_HEIGHT = 0.25
BELOW, BESIDE = 1.6, 2.2
"""Heights of a head that are kept below its joint and to its sides."""

BONES = {"neck": "neck", "head": "head", "left_eye": "leftEye", "right_eye": "rightEye"}
"""Ours -> a VRM humanoid's names."""

KINDS = {
    "eye": ("eye", "eyes", "eyeball", "iris", "sclera", "eyewhite", "eyeiris", "cornea"),
    "teeth": ("teeth", "tooth"),
    "tongue": ("tongue",),
    "lash": ("lash", "lashes", "eyelash", "eyelashes", "eyeline"),
    "brow": ("brow", "brows", "eyebrow", "eyebrows", "facebrow"),
    "hair": ("hair", "beard"),
    "cloth": ("cloth", "outfit", "top", "tops", "bottom", "shirt", "onepiece", "glasses", "shoes"),
}
"""Kind of material -> words in its name by which it is known; else it is skin."""


@dataclass(frozen=True)
class Source:
    """Where a face's shapes and bones are in its file.

    Args:
        gltf: the document.
        binds: shape -> the morph targets that it moves.
        bones: "neck", "head", "left_eye", "right_eye" -> node.
        world: (N, 4, 4) matrices of all nodes, in the file's own axes.
        parents: (N,) nodes above them, -1 for none.
        reversed: whether the character looks along -z, and was turned round for us.
        vrm: its rules, of a VRM.
        targets: how many morph targets each node with a mesh has.
    """

    gltf: Gltf
    binds: Mapping[str, tuple[Bind, ...]]
    bones: Mapping[str, int]
    world: Array
    parents: Array
    reversed: bool
    vrm: Vrm | None
    targets: Mapping[int, int]

    @property
    def path(self) -> Path:
        """The character's file."""
        return self.gltf.path


def load_character(path: str | Path, dialects: Dialects | None = None) -> Face:
    """Read a character.

    Args:
        path: .glb, .vrm or .gltf.
        dialects: the table of shape names; None for the package's and the YAML beside the file.

    Raises:
        InputError: the file is missing, damaged or holds no surface, or requires what is not read.
        MissingExtraError: it is packed in a way that needs a library.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no character at {path}")
    gltf = Gltf(path)
    # Damaged numbers are found by their result.
    with reading(path, "a glTF 2.0 character"), np.errstate(all="ignore"):
        return _Reader(gltf, dialects or dialects_beside(path)).face()


@dataclass
class _Part:
    """One primitive as it stands in the scene."""

    node: int
    mesh: dict[str, Any]
    primitive: dict[str, Any]
    vertices: Array  # (n, 3)
    linear: Array  # (n, 3, 3) or (3, 3): what turns a morph target's offsets
    triangles: Array
    joints: Array | None  # (n, k) nodes
    shares: Array | None  # (n, k)
    kept: Array | None = None  # the rows that the face keeps


class _Reader:
    def __init__(self, gltf: Gltf, dialects: Dialects) -> None:
        self.gltf, self.dialects = gltf, dialects
        self.vrm = read_vrm(gltf)
        self.nodes = gltf.list("nodes")
        self.world, self.parents, self.shown = _world(gltf)
        self.reversed = self.vrm is not None and self.vrm.version == 0

    def face(self) -> Face:
        parts = [
            part for node in self.shown if "mesh" in self.nodes[node] for part in self._parts(node)
        ]
        if not parts or not sum(len(part.triangles) for part in parts):
            raise InputError(f"{self.gltf.path} has no triangles in its scene")
        if sum(len(part.vertices) for part in parts) > MOST_VERTICES:
            raise InputError(
                f"{self.gltf.path} has over {MOST_VERTICES:,} vertices: leave out what is not seen"
            )
        bones = self._bones()
        turn = self._turn(bones)
        for part in parts:
            part.vertices = part.vertices @ turn.T
            part.linear = turn @ part.linear
        binds = self._shapes(parts)
        self._drop_partial(bones, binds)
        scale = self._crop(parts, bones, turn, binds)
        used = [part for part in parts if len(part.triangles)]
        names = tuple(binds)
        starts = np.cumsum([0, *(len(part.kept) for part in used)])  # type: ignore[arg-type]
        count = int(starts[-1])
        if count * len(names) > MOST_OFFSETS:
            raise InputError(
                f"{self.gltf.path} has {len(names)} shapes of {count:,} vertices, too many to hold"
            )
        vertices = np.concatenate([part.vertices[part.kept] for part in used]) * scale
        triangles = np.concatenate(
            [part.triangles + start for part, start in zip(used, starts)]
        ).astype(np.int32)
        materials, surfaces, material_names = self._materials(used)
        meanings = self._meanings(names)
        face = Face(
            vertices.astype(np.float32),
            triangles,
            names=names,
            basis=self._basis(used, starts, binds) * np.float32(scale),
            colours=self._colours(used),
            materials=materials,
            material_names=material_names,
            uv=self._uv(used),
            meanings=meanings,
            recipes=self.dialects.own_recipes(),
            joints=self._joints(used, bones, turn, scale),
            surfaces=surfaces,
            source=Source(
                self.gltf,
                binds,
                bones,
                self.world,
                self.parents,
                self.reversed,
                self.vrm,
                self._targets(parts),
            ),
        )
        if not np.isfinite(face.vertices).all() or not np.isfinite(face.basis).all():
            raise InputError(f"{self.gltf.path} holds positions that are not finite")
        return with_landmarks(face)

    # --- meshes ---

    def _parts(self, node: int) -> list[_Part]:
        mesh = self.gltf.entry("meshes", self.nodes[node]["mesh"])
        found = []
        for primitive in mesh["primitives"]:
            mode = primitive.get("mode", 4)
            if mode not in (4, 5, 6):
                continue  # points and lines
            draco = (primitive.get("extensions") or {}).get("KHR_draco_mesh_compression")
            packed = None if draco is None else self.gltf.draco(draco)
            points = self._attribute(primitive, "POSITION", packed, draco)
            if points is None or points.ndim != 2 or points.shape[1] != 3:
                continue
            if packed is not None:
                order = np.asarray(packed.faces, np.int64).reshape(-1)
            elif "indices" in primitive:
                order = self.gltf.accessor(primitive["indices"]).astype(np.int64)
            else:
                order = np.arange(len(points))
            if len(order) and order.max() >= len(points):
                raise InputError(
                    f"{self.gltf.path}: a triangle names vertex {order.max()}, "
                    f"but its mesh has {len(points)}"
                )
            triangles = _triangles(order, mode if packed is None else 4)
            vertices, linear, joints, shares = self._skinned(
                node, primitive, points.astype(np.float64), packed, draco
            )
            found.append(_Part(node, mesh, primitive, vertices, linear, triangles, joints, shares))
        return found

    def _attribute(self, primitive: dict[str, Any], name: str, packed: Any, draco: Any) -> Any:
        """An attribute's values, or None; from Draco's mesh where it is packed there."""
        if draco is not None and name in draco.get("attributes", {}):
            found = packed.get_attribute_by_unique_id(draco["attributes"][name])
            return np.asarray(found["data"])
        index = primitive["attributes"].get(name)
        return None if index is None else self.gltf.accessor(index)

    def _skinned(
        self, node: int, primitive: dict[str, Any], points: Array, packed: Any, draco: Any
    ) -> tuple[Array, Array, Array | None, Array | None]:
        skin = self.nodes[node].get("skin")
        numbers, shares = [], []
        for n in range(4 if skin is not None else 0):
            one = self._attribute(primitive, f"JOINTS_{n}", packed, draco)
            other = self._attribute(primitive, f"WEIGHTS_{n}", packed, draco)
            if one is None or other is None or len(one) != len(points) or len(other) != len(one):
                break
            numbers.append(one.astype(np.int64))
            shares.append(_unit(other))
        if not numbers:
            matrix = self.world[node]
            return points @ matrix[:3, :3].T + matrix[:3, 3], matrix[:3, :3], None, None
        entry = self.gltf.entry("skins", skin)
        joints = np.array([int(joint) for joint in entry["joints"]])
        if len(joints) and (joints.min() < 0 or joints.max() >= len(self.nodes)):
            raise InputError(f"{self.gltf.path}: a skin names a node that does not exist")
        number, share = np.concatenate(numbers, 1), np.concatenate(shares, 1).astype(np.float64)
        if number.max(initial=0) >= len(joints) or number.min(initial=0) < 0:
            raise InputError(f"{self.gltf.path}: a vertex follows a joint that its skin has not")
        share = share / np.maximum(share.sum(1, keepdims=True), 1e-9)
        inverse = np.tile(np.eye(4), (len(joints), 1, 1))
        if "inverseBindMatrices" in entry:
            found = self.gltf.accessor(entry["inverseBindMatrices"]).reshape(-1, 4, 4)
            inverse = found.transpose(0, 2, 1).astype(np.float64)
        pose = self.world[joints] @ inverse[: len(joints)]
        matrices = np.einsum("nk,nkij->nij", share, pose[number])
        linear = matrices[:, :3, :3]
        vertices = np.einsum("nij,nj->ni", linear, points) + matrices[:, :3, 3]
        return vertices, linear, joints[number], share

    def _turn(self, bones: Mapping[str, int]) -> Array:
        """What turns the character to look along +z: eyes that are known tell, else VRM's rule."""
        if "left_eye" in bones and "right_eye" in bones:
            left, right = (self.world[bones[name]][0, 3] for name in ("left_eye", "right_eye"))
            if abs(left - right) > 1e-6:
                self.reversed = bool(left < right)
        return np.diag([-1.0, 1.0, -1.0]) if self.reversed else np.eye(3)

    # --- shapes ---

    def _target_names(self, mesh: dict[str, Any], primitive: dict[str, Any]) -> list[str]:
        targets = primitive.get("targets") or []
        names: list[Any] = []
        for holder in (mesh, primitive):
            extras = holder.get("extras")
            if isinstance(extras, dict) and isinstance(extras.get("targetNames"), list):
                names = extras["targetNames"]
                break
        return [
            str(names[i])[:200] if i < len(names) else f"target_{i}" for i in range(len(targets))
        ]

    def _targets(self, parts: list[_Part]) -> dict[int, int]:
        return {part.node: len(part.primitive.get("targets") or []) for part in parts}

    def _shapes(self, parts: list[_Part]) -> dict[str, tuple[Bind, ...]]:
        """Shape -> its morph targets: those of one name are one, and expressions are further."""
        found: dict[str, dict[tuple[int, int], float]] = {}
        for part in parts:
            for index, name in enumerate(self._target_names(part.mesh, part.primitive)):
                found.setdefault(name, {})[part.node, index] = 1.0
        counts = self._targets(parts)
        for expression in self.vrm.expressions if self.vrm else ():
            binds = {
                (bind.node, bind.target): bind.weight
                for bind in expression.binds
                if bind.target < counts.get(bind.node, 0)
            }
            if binds:
                name = expression.name
                found[name if name not in found else f"{name} (expression)"] = binds
        return {
            name: tuple(Bind(node, target, weight) for (node, target), weight in binds.items())
            for name, binds in found.items()
        }

    def _meanings(self, names: tuple[str, ...]) -> dict[str, str]:
        meanings = self.dialects.meanings([name.removesuffix(" (expression)") for name in names])
        found = {}
        for name in names:
            meaning = meanings.get(name.removesuffix(" (expression)"))
            if meaning is not None:
                found[name] = meaning
        if self.vrm is not None:
            # An expression is what the author meant; a morph target of the same meaning is its raw
            # material.
            own = {expression.name for expression in self.vrm.expressions}
            expressed = {
                meaning
                for name, meaning in found.items()
                if name.removesuffix(" (expression)") in own
            }
            found = {
                name: meaning
                for name, meaning in found.items()
                if meaning not in expressed or name.removesuffix(" (expression)") in own
            }
        return found

    def _basis(
        self, used: list[_Part], starts: Array, binds: Mapping[str, tuple[Bind, ...]]
    ) -> Array:
        basis = np.zeros((len(binds), int(starts[-1]), 3), np.float32)
        for part, start in zip(used, starts):
            assert part.kept is not None
            rows = slice(start, start + len(part.kept))
            linear = part.linear if part.linear.ndim == 2 else part.linear[part.kept]
            offsets: dict[int, Array] = {}
            for k, moved in enumerate(binds.values()):
                for bind in moved:
                    if bind.node != part.node:
                        continue
                    if bind.target not in offsets:
                        offsets[bind.target] = self._offsets(part, bind.target, linear)
                    basis[k, rows] += np.float32(bind.weight) * offsets[bind.target]
        return basis

    def _offsets(self, part: _Part, target: int, linear: Array) -> Array:
        targets = part.primitive.get("targets") or []
        index = targets[target].get("POSITION") if target < len(targets) else None
        assert part.kept is not None
        if index is None:
            return np.zeros((len(part.kept), 3), np.float32)
        if self.gltf.length(index) != len(part.vertices):
            raise InputError(
                f"{self.gltf.path}: a morph target moves {self.gltf.length(index):,} vertices of "
                f"a mesh of {len(part.vertices):,}"
            )
        values = self.gltf.accessor(index)[part.kept].astype(np.float64)
        turned = values @ linear.T if linear.ndim == 2 else np.einsum("nij,nj->ni", linear, values)
        return turned.astype(np.float32)

    # --- bones ---

    def _bones(self) -> dict[str, int]:
        found: dict[str, int] = {}
        if self.vrm is not None:
            for name, bone in BONES.items():
                node = self.vrm.bones.get(bone)
                if node is not None and node < len(self.nodes):
                    found[name] = node
        joints = {
            int(joint) for skin in self.gltf.list("skins") for joint in skin.get("joints", [])
        }
        for number in sorted(joints) if joints else range(len(self.nodes)):
            if number >= len(self.nodes):
                continue
            words = words_of(str(self.nodes[number].get("name", "")))
            bone_name = _bone_of(words)
            if bone_name is not None and bone_name not in found:
                found[bone_name] = number
        return found

    def _drop_partial(self, bones: dict[str, int], binds: Mapping[str, tuple[Bind, ...]]) -> None:
        """Without a skin: a node called head that not all of the face hangs on is just a mesh.

        Turning it would leave teeth and eyes behind.
        """
        if self.gltf.list("skins"):
            return
        moving = {bind.node for moved in binds.values() for bind in moved}
        for name in ("head", "neck"):
            if name in bones and not self._under(bones[name])[sorted(moving)].all():
                del bones[name]

    def _under(self, node: int) -> Array:
        """Whether each node hangs on ``node``, (N,) bool."""
        hangs = np.zeros(len(self.nodes), bool)
        for number in range(len(self.nodes)):
            above, steps = number, 0
            while above >= 0 and above != node and steps <= len(self.nodes):
                above, steps = int(self.parents[above]), steps + 1
            hangs[number] = above == node
        return hangs

    def _joints(
        self, used: list[_Part], bones: Mapping[str, int], turn: Array, scale: float
    ) -> dict[str, Joint]:
        found = {}
        for name, node in bones.items():
            hangs = self._under(node)
            pieces = []
            for part in used:
                if part.joints is None or part.shares is None:
                    pieces.append(np.full(len(part.kept), float(hangs[part.node])))  # type: ignore[arg-type]
                else:
                    share = (part.shares[part.kept] * hangs[part.joints[part.kept]]).sum(1)
                    pieces.append(share)
            weights = np.concatenate(pieces).astype(np.float32)
            if weights.any():
                pivot = (turn @ self.world[node][:3, 3] * scale).astype(np.float32)
                found[name] = Joint(weights, pivot)
        return found

    # --- what is kept ---

    def _crop(
        self,
        parts: list[_Part],
        bones: Mapping[str, int],
        turn: Array,
        binds: Mapping[str, tuple[Bind, ...]],
    ) -> float:
        """Keep what a portrait shows; the factor that makes the file's unit metres."""
        points = np.concatenate([part.vertices for part in parts])
        if not np.isfinite(points).all():
            raise InputError(f"{self.gltf.path} holds positions that are not finite")
        top = float(points[:, 1].max())
        centre = None
        if "head" in bones:
            centre = turn @ self.world[bones["head"]][:3, 3]
        if centre is None or top - centre[1] <= 0:
            # Without a head's joint: the lower end of what shapes move stands for it.
            nodes = {bind.node for moved in binds.values() for bind in moved}
            moving = [part.vertices for part in parts if part.node in nodes]
            mesh = np.concatenate(moving) if moving else points
            low, high = mesh.min(0), mesh.max(0)
            centre = np.array([0.5 * (low[0] + high[0]), low[1], 0.5 * (low[2] + high[2])])
            top = max(top, float(high[1]))
        height = max(top - float(centre[1]), 1e-9)
        for part in parts:
            inside = (part.vertices[:, 1] > centre[1] - BELOW * height) & (
                np.abs(part.vertices[:, 0] - centre[0]) < BESIDE * height
            )
            part.triangles = part.triangles[inside[part.triangles].all(1)]
            part.kept, flat = np.unique(part.triangles, return_inverse=True)
            part.triangles = flat.reshape(-1, 3)
        if not sum(len(part.triangles) for part in parts):
            raise InputError(f"{self.gltf.path} has no triangles where its head should be")
        lowest, highest = HEAD_HEIGHT
        return 1.0 if lowest <= height <= highest else USUAL_HEIGHT / height

    # --- looks ---

    def _materials(self, used: list[_Part]) -> tuple[Array, tuple[Surface, ...], tuple[str, ...]]:
        rows: dict[Any, int] = {}
        surfaces: list[Surface] = []
        names, which = [], []
        for part in used:
            index = part.primitive.get("material")
            entry = {} if index is None else self.gltf.entry("materials", index)
            holder = f"{part.mesh.get('name', '')} {self.nodes[part.node].get('name', '')}"
            name = str(entry.get("name", "none"))[:80]
            key = (index, _kind(name, holder))
            if key not in rows:
                rows[key] = len(surfaces)
                surfaces.append(self._surface(entry, key[1]))
                names.append(name)
            which.append(np.full(len(part.triangles), rows[key], np.int32))
        return np.concatenate(which), tuple(surfaces), tuple(names)

    def _surface(self, entry: dict[str, Any], kind: str) -> Surface:
        base = entry.get("pbrMetallicRoughness") or {}
        extensions = entry.get("extensions") or {}
        unlit = "KHR_materials_unlit" in extensions or "VRMC_materials_mtoon" in extensions
        texture = base.get("baseColorTexture")
        picture, repeat = None, (True, True)
        if isinstance(texture, dict):
            picture, repeat = self._picture(texture.get("index"))
        factor = base.get("baseColorFactor", (1, 1, 1, 1))
        colour = [float(np.clip(float(value), 0, 1)) for value in factor]
        if len(colour) != 4:
            raise InputError(f"{self.gltf.path}: a base colour has {len(colour)} parts, expected 4")
        return Surface(
            "toon" if unlit or self._drawn() else kind,
            (colour[0], colour[1], colour[2], colour[3]),
            picture,
            {"MASK": "mask", "BLEND": "blend"}.get(entry.get("alphaMode", "OPAQUE"), "opaque"),
            float(np.clip(float(entry.get("alphaCutoff", 0.5)), 0, 2)),
            bool(entry.get("doubleSided", False)),
            repeat,
        )

    def _drawn(self) -> bool:
        """Whether the character is drawn rather than modelled: VRM's and VRoid's are."""
        if self.vrm is not None:
            return True
        names = [str(one.get("name", "")) for one in self.gltf.list("materials")]
        return any(name.startswith("N00_") for name in names)

    def _picture(self, index: Any) -> tuple[bytes | None, tuple[bool, bool]]:
        texture = self.gltf.entry("textures", index)
        source = texture.get("source")
        for name in ("EXT_texture_webp", "EXT_texture_avif", "KHR_texture_basisu"):
            inner = (texture.get("extensions") or {}).get(name)
            if isinstance(inner, dict) and (source is None or name == "EXT_texture_webp"):
                source = inner.get("source")
        if source is None:
            return None, (True, True)
        image = self.gltf.entry("images", source)
        if "bufferView" in image:
            data = self.gltf.view(image["bufferView"]).tobytes()
        else:
            data = self.gltf.resource(image.get("uri"))
        repeat = (True, True)
        if "sampler" in texture:
            sampler = self.gltf.entry("samplers", texture["sampler"])
            repeat = (sampler.get("wrapS", 10497) != 33071, sampler.get("wrapT", 10497) != 33071)
        return data, repeat

    def _uv(self, used: list[_Part]) -> Array | None:
        pieces = []
        for part in used:
            assert part.kept is not None
            index = part.primitive.get("material")
            entry = {} if index is None else self.gltf.entry("materials", index)
            texture = (entry.get("pbrMetallicRoughness") or {}).get("baseColorTexture") or {}
            change = (texture.get("extensions") or {}).get("KHR_texture_transform") or {}
            which = change.get("texCoord", texture.get("texCoord", 0))
            draco = (part.primitive.get("extensions") or {}).get("KHR_draco_mesh_compression")
            packed = None if draco is None else self.gltf.draco(draco)
            found = self._attribute(part.primitive, f"TEXCOORD_{which}", packed, draco)
            if found is None or found.ndim != 2 or len(found) != len(part.vertices):
                pieces.append(np.zeros((len(part.kept), 2), np.float32))
                continue
            uv = _unit(found)[part.kept, :2].astype(np.float64)
            if change:
                uv = uv * np.array(change.get("scale", (1, 1)), float)
                angle = float(change.get("rotation", 0))
                cos, sin = np.cos(angle), np.sin(angle)
                uv = uv @ np.array([[cos, -sin], [sin, cos]])
                uv = uv + np.array(change.get("offset", (0, 0)), float)
            pieces.append(uv.astype(np.float32))
        return np.nan_to_num(np.concatenate(pieces))

    def _colours(self, used: list[_Part]) -> Array | None:
        """Vertex colours as sRGB, white where a part has none; None where no part has any."""
        pieces, any_found = [], False
        for part in used:
            assert part.kept is not None
            found = None
            if "COLOR_0" in part.primitive["attributes"]:
                found = self.gltf.accessor(part.primitive["attributes"]["COLOR_0"])
            if found is None or found.ndim != 2 or len(found) != len(part.vertices):
                pieces.append(np.ones((len(part.kept), 3), np.float32))
                continue
            any_found = True
            light = np.clip(_unit(found)[part.kept, :3].astype(np.float64), 0, 1)
            encoded = np.where(
                light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055
            )
            pieces.append(encoded.astype(np.float32))
        return np.concatenate(pieces) if any_found else None


def _unit(values: Array) -> Array:
    """Integers that stand for 0..1 as float32; floats as they are."""
    if values.dtype.kind in "iu":
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    return values


def _triangles(order: Array, mode: int) -> Array:
    """(n,) corners of a list (4), strip (5) or fan (6) -> (F, 3), without degenerate ones."""
    if mode == 4:
        found = order[: len(order) // 3 * 3].reshape(-1, 3)
    elif len(order) < 3:
        found = np.zeros((0, 3), np.int64)
    elif mode == 5:
        found = np.stack([order[:-2], order[1:-1], order[2:]], 1)
        found[1::2] = found[1::2, [1, 0, 2]]
    else:
        found = np.stack([np.full(len(order) - 2, order[0]), order[1:-1], order[2:]], 1)
    a, b, c = found.T
    return found[(a != b) & (b != c) & (c != a)]


def _bone_of(words: tuple[str, ...]) -> str | None:
    """Which of BONES a joint's name is, or None."""
    if not words:
        return None
    if words[-1] in ("head", "neck"):
        return words[-1]
    if any(word in ("eye", "faceeye") for word in words) and "end" not in words:
        if {"lid", "brow", "lash", "socket"} & set(words):
            return None
        for side, letter in (("left", "l"), ("right", "r")):
            if side in words or letter in words:
                return f"{side}_eye"
    return None


def _kind(name: str, holder: str) -> str:
    for text in (name, holder):
        words = set(words_of(text))
        for kind, known in KINDS.items():
            if words & set(known):
                return kind
    return "skin"


def _world(gltf: Gltf) -> tuple[Array, Array, list[int]]:
    """(N, 4, 4) matrices, (N,) parents (-1: none), and the nodes of the scene."""
    nodes = gltf.list("nodes")
    local = np.tile(np.eye(4), (len(nodes), 1, 1))
    parents = np.full(len(nodes), -1)
    for number, node in enumerate(nodes):
        local[number] = _matrix(node)
        for child in node.get("children", []):
            gltf.entry("nodes", child)
            parents[child] = number
    scenes = gltf.list("scenes")
    if scenes:
        roots = gltf.entry("scenes", gltf.document.get("scene", 0)).get("nodes", [])
    else:
        roots = [number for number in range(len(nodes)) if parents[number] < 0]
    world, shown, seen = local.copy(), [], set()
    waiting = [(int(root), np.eye(4)) for root in reversed(roots)]
    while waiting:
        number, above = waiting.pop()
        gltf.entry("nodes", number)
        if number in seen:
            continue  # a node that is named twice; in a sound file it has one parent
        seen.add(number)
        shown.append(number)
        world[number] = above @ local[number]
        waiting += [
            (int(child), world[number]) for child in reversed(nodes[number].get("children", []))
        ]
    return world, parents, sorted(shown)


def _matrix(node: dict[str, Any]) -> Array:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = (float(value) for value in node.get("rotation", (0, 0, 0, 1)))
    length = float(np.sqrt(x * x + y * y + z * z + w * w)) or 1.0
    x, y, z, w = x / length, y / length, z / length, w / length
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
