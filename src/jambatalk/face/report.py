"""What is found in a face, and how well it can speak: for people who bring their own."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.face.head import ARKIT_NAMES, default_head
from jambatalk.face.lips import MEASURES, find_lips, lips_of, moves
from jambatalk.face.transfer import ABOUT_MOUTH, ShapeTransfer

Array = NDArray[Any]

MOUTHS: dict[str, dict[str, float]] = {
    "rest": {},
    "m b p": {"mouthPress": 0.4, "mouthRollLower": 0.25, "mouthRollUpper": 0.2},
    "ah": {"jawOpen": 0.45, "mouthLowerDown": 0.25},
    "ee": {"jawOpen": 0.09, "mouthStretch": 0.4, "mouthSmile": 0.4, "mouthLowerDown": 0.5},
    "oh": {"jawOpen": 0.3, "mouthFunnel": 0.6},
    "oo": {"jawOpen": 0.1, "mouthPucker": 0.9, "mouthFunnel": 0.3},
    "f v": {"jawOpen": 0.07, "mouthRollLower": 0.5, "mouthUpperUp": 0.4},
    "sh": {"jawOpen": 0.08, "mouthFunnel": 0.6, "mouthUpperUp": 0.25, "mouthLowerDown": 0.4},
    "blink": {"eyeBlink": 1.0},
}
"""Mouths of speech on the default head; a name without a side sets both."""


@dataclass(frozen=True)
class FaceReport:
    """What a face has.

    Args:
        vertices, triangles, shapes: how many.
        dialects: kind of names -> how many shapes have one.
        speaking: shapes that move the mouth when it speaks.
        other: shapes that move eyes, brows and cheeks.
        empty: shapes with a known name that move nothing.
        unknown: shapes whose names say nothing.
        missing: ARKit's shapes of mouth and eyes that no shape stands for.
        joints: those of neck, head and eyes.
        mouth: width in millimetres, and where the lips are; None where they are not found.
        mouths: name of ``MOUTHS`` -> opening, width and protrusion in millimetres, as wanted and as
            this face makes them; empty where the lips are not found.
        problem: why it cannot speak, or None.
    """

    vertices: int
    triangles: int
    shapes: int
    dialects: dict[str, int]
    speaking: list[str]
    other: list[str]
    empty: list[str]
    unknown: list[str]
    missing: list[str]
    joints: list[str]
    mouth: dict[str, Any] | None
    mouths: dict[str, dict[str, list[float]]]
    problem: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def report_on(face: Face) -> FaceReport:
    """Look at a face."""
    meaning = {name: face.meanings.get(name) or _itself(name) for name in face.names}
    known = [name for name, found in meaning.items() if found is not None]
    empty = [name for name in known if not moves(face, name)]
    try:
        transfer: ShapeTransfer | None = ShapeTransfer(face, ARKIT_NAMES)
        problem = None
    except InputError as error:
        transfer, problem = None, str(error)
    speaking = transfer.about_mouth if transfer else []
    used = transfer.used if transfer else []
    lips = lips_of(face)
    if problem is None and not speaking:
        problem = "no shape of it moves the mouth"
    missing: list[str] = []
    if transfer is not None:
        reached = np.abs(transfer.table[:, [face.names[k] in used for k in transfer.chosen]]).sum(1)
        parts = (*ABOUT_MOUTH, "eyeBlink")
        missing = [
            name
            for name, reach in zip(ARKIT_NAMES, reached)
            if reach == 0 and name.startswith(parts)
        ]
    return FaceReport(
        len(face.vertices),
        len(face.triangles),
        len(face.names),
        dict(Counter(_dialect(found) for found in meaning.values() if found is not None)),
        speaking,
        [name for name in used if name not in speaking],
        empty,
        [name for name, found in meaning.items() if found is None],
        missing,
        sorted(face.joints),
        None
        if lips is None
        else {
            "width_mm": round(1000 * float(lips.measure(face.vertices)[1]), 1),
            "middle": [float(v) for v in face.vertices[[lips.upper, lips.lower]].mean(0).round(4)],
        },
        {} if transfer is None or lips is None else _mouths(face, transfer),
        problem,
    )


def mouth_weights(name: str) -> Array:
    """(52,) ARKit weights of one of ``MOUTHS``."""
    weights = np.zeros(len(ARKIT_NAMES), np.float32)
    for part, value in MOUTHS[name].items():
        for side in ("", "Left", "Right"):
            if part + side in ARKIT_NAMES:
                weights[ARKIT_NAMES.index(part + side)] = value
    return weights


def _mouths(face: Face, transfer: ShapeTransfer) -> dict[str, dict[str, list[float]]]:
    head = default_head()
    theirs, own = find_lips(head), lips_of(face)
    assert theirs is not None
    assert own is not None
    scale = float(own.measure(face.vertices)[1] / theirs.measure(head.vertices)[1])
    found = {}
    for name in MOUTHS:
        weights = mouth_weights(name)[None]
        wanted = scale * theirs.measure(head.pose(weights)[0] - head.vertices)
        made = own.measure(face.pose(transfer(weights))[0] - face.vertices)
        found[name] = {
            measure: [round(1000 * float(wanted[m]), 1), round(1000 * float(made[m]), 1)]
            for m, measure in enumerate(MEASURES[:3])
        }
    return found


def _itself(name: str) -> str | None:
    return name if name in ARKIT_NAMES else None


def _dialect(meaning: str) -> str:
    if meaning in ARKIT_NAMES:
        return "ARKit"
    for start, kind in (("viseme_", "visemes"), ("vowel_", "vowels"), ("cc_", "Character Creator")):
        if meaning.startswith(start):
            return kind
    return "others"
