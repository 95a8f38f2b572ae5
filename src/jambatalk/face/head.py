"""The default head: built by ``tools/head`` from CC0 data, see ``assets/HEAD.md``.

Metres; x to the head's own left, y up, z out of the face. The origin lies midway between the
centres of the two eyes.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import as_file, files

from jambatalk.face.face import Face

IDENTITIES: tuple[str, ...] = ("amara", "daniel", "kofi", "mei", "walter")


@lru_cache(maxsize=1)
def _template() -> Face:
    with as_file(files("jambatalk") / "assets" / "head.npz") as path:
        return Face.load(path)


@lru_cache(maxsize=8)
def default_head(identity: str | None = None) -> Face:
    """The head that ships with jambatalk: 52 ARKit shapes, regions, colours and materials.

    The result is shared between callers: do not write into its arrays.

    Args:
        identity: one of ``IDENTITIES`` for another person, None for the head itself.

    Raises:
        InputError: the identity is unknown; the message lists the choices.
    """
    return _template() if identity is None else _template().with_identity(identity)


def identities() -> list[str]:
    """Names of the default head's people, the default first."""
    return ["default", *IDENTITIES]


ARKIT_NAMES: tuple[str, ...] = (
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeLookUpLeft",
    "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight",
    "eyeLookDownRight",
    "eyeLookInRight",
    "eyeLookOutRight",
    "eyeLookUpRight",
    "eyeSquintRight",
    "eyeWideRight",
    "jawForward",
    "jawRight",
    "jawLeft",
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthRight",
    "mouthLeft",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
)
"""The 52 ARKit blend shapes, in the column order of Apple's enumeration and of Live Link Face."""
