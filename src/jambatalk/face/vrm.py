"""What VRM adds to glTF: a humanoid's bones, expressions and their rules, and where the eyes look.

VRM 0.x (extension ``VRM``, faces -z) and VRM 1.0 (``VRMC_vrm``, faces +z). An expression moves
morph targets of several meshes at a time; where the file says so, it is either off or fully on, and
others are held back while it shows (overrides).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.gltf import Gltf

Array = NDArray[Any]


class Bind(NamedTuple):
    """One morph target of one node, and how far it moves."""

    node: int
    target: int
    weight: float


@dataclass(frozen=True)
class Expression:
    """One expression of a VRM.

    Args:
        name: its preset or own name.
        binds: what it moves.
        binary: it is off below half, else fully on.
        overrides: "blink", "look_at", "mouth" -> "block" or "blend": those are switched off, or
            fade, while this one shows.
    """

    name: str
    binds: tuple[Bind, ...]
    binary: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Vrm:
    """What a VRM says besides its glTF.

    Args:
        version: 0 or 1.
        bones: the humanoid's bones in VRM 1's names ("head", "leftEye", ...) -> node.
        expressions: in the file's order.
        eye_range: degrees that the eyes' bones turn inwards, outwards, down and up at most.
    """

    version: int
    bones: Mapping[str, int]
    expressions: tuple[Expression, ...]
    eye_range: tuple[float, float, float, float] | None = None


GROUPS = {
    "blink": ("blink", "blinkleft", "blinkright", "blink_l", "blink_r"),
    "look_at": ("lookup", "lookdown", "lookleft", "lookright"),
    "mouth": ("aa", "ih", "ou", "ee", "oh", "a", "i", "u", "e", "o"),
}
"""Which expressions an override holds back."""


def read_vrm(gltf: Gltf) -> Vrm | None:
    """The VRM part of a document; None where there is none."""
    extensions = gltf.document.get("extensions")
    if not isinstance(extensions, dict):
        return None
    if isinstance(extensions.get("VRMC_vrm"), dict):
        return _read_1(gltf, extensions["VRMC_vrm"])
    if isinstance(extensions.get("VRM"), dict):
        return _read_0(gltf, extensions["VRM"])
    return None


def _read_1(gltf: Gltf, vrm: dict[str, Any]) -> Vrm:
    bones = {
        str(name): _index(bone.get("node"))
        for name, bone in vrm.get("humanoid", {}).get("humanBones", {}).items()
    }
    expressions = []
    found = vrm.get("expressions") or {}
    for group in ("preset", "custom"):
        for name, entry in (found.get(group) or {}).items():
            binds = tuple(
                Bind(_index(bind["node"]), _index(bind["index"]), float(bind.get("weight", 1.0)))
                for bind in entry.get("morphTargetBinds") or []
            )
            overrides = {
                kind: entry[key]
                for kind, key in (
                    ("blink", "overrideBlink"),
                    ("look_at", "overrideLookAt"),
                    ("mouth", "overrideMouth"),
                )
                if entry.get(key) in ("block", "blend")
            }
            expressions.append(Expression(str(name), binds, bool(entry.get("isBinary")), overrides))
    look = vrm.get("lookAt") or {}
    ranges = [
        look.get(f"rangeMap{way}") or {}
        for way in ("HorizontalInner", "HorizontalOuter", "VerticalDown", "VerticalUp")
    ]
    by_bones = look.get("type", "bone") == "bone"
    return Vrm(1, bones, tuple(expressions), _eye_range(ranges, "outputScale", by_bones))


def _read_0(gltf: Gltf, vrm: dict[str, Any]) -> Vrm:
    bones = {
        str(bone["bone"]): _index(bone["node"])
        for bone in vrm.get("humanoid", {}).get("humanBones", [])
    }
    holders: dict[int, list[int]] = {}
    for number, node in enumerate(gltf.list("nodes")):
        if "mesh" in node:
            holders.setdefault(_index(node["mesh"]), []).append(number)
    expressions = []
    for entry in (vrm.get("blendShapeMaster") or {}).get("blendShapeGroups") or []:
        preset = str(entry.get("presetName", "unknown"))
        name = str(entry.get("name", preset)) if preset in ("unknown", "") else preset
        binds = tuple(
            Bind(node, _index(bind["index"]), float(bind.get("weight", 100.0)) / 100)
            for bind in entry.get("binds") or []
            for node in holders.get(_index(bind["mesh"]), [])
        )
        expressions.append(Expression(name, binds, bool(entry.get("isBinary"))))
    first = vrm.get("firstPerson") or {}
    ranges = [
        first.get(f"lookAt{way}") or {}
        for way in ("HorizontalInner", "HorizontalOuter", "VerticalDown", "VerticalUp")
    ]
    by_bones = first.get("lookAtTypeName", "Bone") == "Bone"
    return Vrm(0, bones, tuple(expressions), _eye_range(ranges, "yRange", by_bones))


def _index(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no index")
    return value


def _eye_range(
    ranges: list[dict[str, Any]], key: str, by_bones: bool
) -> tuple[float, float, float, float] | None:
    if not by_bones:
        return None
    inner, outer, down, up = (
        float(np.clip(float(one.get(key, 10.0)), 0.0, 90.0)) for one in ranges
    )
    return inner, outer, down, up


def apply_rules(vrm: Vrm, weights: Mapping[str, Array]) -> dict[str, Array]:
    """Hold the rules of a VRM's expressions.

    Args:
        vrm: the rules.
        weights: expression -> (T,) in 0..1.

    Returns:
        The same with binary expressions at 0 or 1, and with those held back that an override of
        another one names.
    """
    ruled = {name: np.asarray(values) for name, values in weights.items()}
    known = {expression.name: expression for expression in vrm.expressions}
    for name in ruled:
        if name in known and known[name].binary:
            ruled[name] = (ruled[name] > 0.5).astype(np.float32)
    for kind, members in GROUPS.items():
        room = np.ones(1, np.float32)
        for name, values in ruled.items():
            rule = known[name].overrides.get(kind) if name in known else None
            if rule == "block":
                room = room * (values <= 0)
            elif rule == "blend":
                room = np.maximum(room - values, 0)
        for name in ruled:
            if name.lower() in members:
                ruled[name] = (ruled[name] * room).astype(np.float32)
    return ruled
