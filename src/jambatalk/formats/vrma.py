"""Motion as a VRM animation (.vrma): for any VRM avatar, in whatever program plays such files.

A glTF 2.0 document with the extension VRMC_vrm_animation 1.0 (vrm-consortium's specification): a
humanoid at rest whose neck and head turn, a node for each expression whose translation along x is
the expression's weight, and a node that turns as the gaze does. It holds no mesh and no sound.

A motion whose face is a VRM gets that character's own expressions, solved for its mouth. Any other
motion gets the five vowels and the blinks that every VRM has, solved for vowels that look as the
table in ``face.dialects`` says.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.deform import EYE_DEGREES, neck_and_head, pose_matrix, weights_on
from jambatalk.face.dialects import known_dialects
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.formats.common import weights_of
from jambatalk.formats.glb import GltfFile
from jambatalk.formats.own_glb import quaternions_of
from jambatalk.motion import Motion

Array = NDArray[Any]

PRESETS = (
    *("aa", "ih", "ou", "ee", "oh", "blink", "blinkLeft", "blinkRight"),
    *("happy", "angry", "sad", "relaxed", "surprised", "neutral"),
)
"""Expressions of VRM 1.0 that an animation may name as presets; others are custom."""

VRM0_PRESETS = {
    "a": "aa",
    "i": "ih",
    "u": "ou",
    "e": "ee",
    "o": "oh",
    "blink_l": "blinkLeft",
    "blink_r": "blinkRight",
    "joy": "happy",
    "sorrow": "sad",
    "fun": "relaxed",
}
"""VRM 0's names of presets -> VRM 1's."""

EVERY_VRM = {
    "aa": "vowel_aa",
    "ih": "vowel_ih",
    "ou": "vowel_ou",
    "ee": "vowel_ee",
    "oh": "vowel_oh",
    "blinkLeft": "eyeBlinkLeft",
    "blinkRight": "eyeBlinkRight",
}
"""Expressions of a VRM that is not known -> what they mean, see ``face.dialects``."""

HUMANOID: dict[str, tuple[str, tuple[float, float, float]]] = {
    "hips": ("", (0.0, 0.95, 0.0)),
    "spine": ("hips", (0.0, 0.1, 0.0)),
    "chest": ("spine", (0.0, 0.15, 0.0)),
    "neck": ("chest", (0.0, 0.25, -0.02)),
    "head": ("neck", (0.0, 0.1, 0.02)),
}
"""Bone -> the one above, and its place from there in metres; with arms and legs below."""
for _side, _sign in (("left", 1.0), ("right", -1.0)):
    HUMANOID |= {
        f"{_side}UpperArm": ("chest", (0.17 * _sign, 0.2, -0.02)),
        f"{_side}LowerArm": (f"{_side}UpperArm", (0.26 * _sign, 0.0, 0.0)),
        f"{_side}Hand": (f"{_side}LowerArm", (0.25 * _sign, 0.0, 0.0)),
        f"{_side}UpperLeg": ("hips", (0.09 * _sign, -0.05, 0.0)),
        f"{_side}LowerLeg": (f"{_side}UpperLeg", (0.0, -0.42, 0.0)),
        f"{_side}Foot": (f"{_side}LowerLeg", (0.0, -0.4, -0.02)),
    }
EYES = (0.0, 0.06, 0.0)
"""The eyes' place from the head's bone, in metres."""


def save(motion: Motion, path: Path) -> None:
    """Write the animation.

    Args:
        motion: shape weights, and a head pose perhaps.
        path: the file.

    Raises:
        InputError: the motion is empty, moves vertices, or has shapes that no expression says.
    """
    weights_of(motion, ".vrma")
    if not len(motion):
        raise InputError("the motion has no frames to animate")
    file = GltfFile()
    times = file.accessor((np.arange(len(motion)) / motion.fps).astype(np.float32), bounds=True)
    nodes, bones = _humanoid()
    channels: list[tuple[int, str, Array]] = []
    expressions: dict[str, dict[str, Any]] = {}
    for name, values in _expressions(motion).items():
        kind = "preset" if name in PRESETS else "custom"
        expressions.setdefault(kind, {})[name] = {"node": len(nodes)}
        along = np.zeros((len(values), 3), np.float32)
        along[:, 0] = values
        channels.append((len(nodes), "translation", along))
        nodes.append({"name": name})
    if motion.head_pose is not None:
        both = [neck_and_head(pose) for pose in motion.head_pose]
        for n, bone in enumerate(("neck", "head")):
            turns = quaternions_of(np.stack([pair[n] for pair in both]))
            channels.append((bones[bone], "rotation", turns))
    extension: dict[str, Any] = {
        "specVersion": "1.0",
        "humanoid": {"humanBones": {bone: {"node": node} for bone, node in bones.items()}},
    }
    if expressions:
        extension["expressions"] = expressions
    gaze = _gaze(motion)
    if gaze is not None:
        extension["lookAt"] = {"node": len(nodes), "offsetFromHeadBone": list(EYES)}
        channels.append((len(nodes), "rotation", quaternions_of(gaze)))
        nodes.append({"name": "lookAt"})
    roots = [0, *range(len(bones), len(nodes))]
    document = file.document
    document |= {
        "extensionsUsed": ["VRMC_vrm_animation"],
        "extensions": {"VRMC_vrm_animation": extension},
        "scene": 0,
        "scenes": [{"nodes": roots}],
        "nodes": nodes,
    }
    if channels:
        document["animations"] = [
            {
                "name": "speech",
                "samplers": [
                    {"input": times, "output": file.accessor(values), "interpolation": "LINEAR"}
                    for _, _, values in channels
                ],
                "channels": [
                    {"sampler": n, "target": {"node": node, "path": target}}
                    for n, (node, target, _) in enumerate(channels)
                ],
            }
        ]
    file.write(path)


def _humanoid() -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The skeleton's nodes, and bone -> node."""
    bones = {bone: number for number, bone in enumerate(HUMANOID)}
    nodes: list[dict[str, Any]] = []
    for bone, (_, place) in HUMANOID.items():
        nodes.append({"name": bone, "translation": list(place)})
    for bone, (above, _) in HUMANOID.items():
        if above:
            nodes[bones[above]].setdefault("children", []).append(bones[bone])
    return nodes, bones


def _expressions(motion: Motion) -> dict[str, Array]:
    """Expression, as VRM 1.0 names it -> (T,) weights."""
    vrm = getattr(motion.face.source, "vrm", None) if motion.face is not None else None
    if vrm is None or motion.face is None:
        face = _every_vrm()
        weights, columns = weights_on(face, replace(motion, face=face))
        return {face.names[k]: weights[:, n] for n, k in enumerate(columns)}
    own = {expression.name for expression in vrm.expressions}
    weights, columns = weights_on(motion.face, motion)
    found = {}
    for n, k in enumerate(columns):
        name = motion.face.names[k].removesuffix(" (expression)")
        if name in own and weights[:, n].any():
            found[VRM0_PRESETS.get(name, name) if vrm.version == 0 else name] = weights[:, n]
    return found


@lru_cache(maxsize=1)
def _every_vrm() -> Face:
    """The default head with the expressions of ``EVERY_VRM``, looking as their recipes say."""
    head = default_head()
    table = known_dialects().matrix(tuple(EVERY_VRM.values()), head.names)
    basis = np.einsum("kn,kvc->nvc", table.astype(np.float32), head.basis)
    return replace(head, names=tuple(EVERY_VRM), basis=basis, meanings=dict(EVERY_VRM))


def _gaze(motion: Motion) -> Array | None:
    """(T, 3, 3) turns of the gaze: the mean of both eyes; None where they look straight ahead."""
    assert motion.weights is not None
    columns = {name: motion.weights[:, k] for k, name in enumerate(motion.names)}
    none = np.zeros(len(motion))
    yaw, pitch = none.copy(), none.copy()
    inwards, outwards, down, up = np.radians(EYE_DEGREES)
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        yaw += 0.5 * sign * outwards * columns.get(f"eyeLookOut{side}", none)
        yaw -= 0.5 * sign * inwards * columns.get(f"eyeLookIn{side}", none)
        pitch += 0.5 * down * columns.get(f"eyeLookDown{side}", none)
        pitch -= 0.5 * up * columns.get(f"eyeLookUp{side}", none)
    if not yaw.any() and not pitch.any():
        return None
    return np.stack([pose_matrix(np.array([p, y, 0.0])) for p, y in zip(pitch, yaw)])
