"""The VMC protocol: OSC that VRM avatars receive.

Checked against its specification (protocol.vmc.info/marionette-spec, from the repository
sh-akira/VirtualMotionCaptureProtocol): addresses, types and order of the arguments, port, Unity's
names of bones (HumanBodyBones) with their local pose, names with capitals that matter, and
``Apply`` after the values. Messages go in bundles.

Its rotations are Unity's: left-handed, x to the face's right, y up, z forward. Ours are
right-handed with x to the face's left. Turning x around keeps a rotation about x and reverses those
about y and z.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.deform import NECK_SHARE, pose_matrix
from jambatalk.face.shape_sets import ShapeConverter
from jambatalk.senders.base import MAX_DATAGRAM, DatagramSender, Target, safe_pose, safe_weights
from jambatalk.senders.osc import bundles, message

if TYPE_CHECKING:
    from jambatalk.session import Frame

VRM0 = ("A", "I", "U", "E", "O", "Blink")
VRM1 = ("aa", "ih", "ou", "ee", "oh", "blink")
"""The five vowels and the blink that every VRM avatar has, by the names in the VMC specification's
table of VRM 0 and VRM 1; capitals matter. That has a blink for each eye only; the one for both is
``Blink`` in vrm.dev's list of VRM 0's presets, and ``blink`` in VRM 1."""


class VmcSender(DatagramSender):
    """``vmc://host[:39539]?shapes=arkit|vrm|vrm1|own&case=pascal|camel&bones=0|1``.

    own: the frames' names as they are, for a character's own shapes. arkit: one blend value per
    shape, JawOpen as Unity's ARKit package writes it or jawOpen; vrm, vrm1: vowels and blink as the
    presets of VRM 0 or 1. bones=1 also turns neck and head where a frame has a pose; their
    positions are sent as zero, which not every receiver ignores.
    """

    def __init__(self, target: Target, names: Sequence[str], fps: float) -> None:
        self.shapes = target.option("shapes", "arkit", ("arkit", "vrm", "vrm1", "own"))
        pascal = target.option("case", "pascal", ("pascal", "camel")) == "pascal"
        self.bones = target.option("bones", "0", ("0", "1")) == "1"
        self._labels = [
            name[:1].upper() + name[1:] if pascal and self.shapes == "arkit" else name
            for name in names
        ]
        self._vowels = ShapeConverter(names, "vrm") if self.shapes in ("vrm", "vrm1") else None
        super().__init__(target, names, fps)

    def packets(self, frame: Frame) -> list[bytes]:
        """Bundles of one frame; the last message makes the blend values take effect."""
        messages = [message("/VMC/Ext/OK", 1), message("/VMC/Ext/T", float(frame.time))]
        pose = safe_pose(frame)
        if pose is not None and self.bones:
            for bone, share in (("Neck", NECK_SHARE), ("Head", 1.0 - NECK_SHARE)):
                values = (0.0, 0.0, 0.0, *unity_quaternion(pose, share))
                messages.append(message("/VMC/Ext/Bone/Pos", bone, *values))
        messages += [
            message("/VMC/Ext/Blend/Val", name, value) for name, value in self._values(frame)
        ]
        return bundles([*messages, message("/VMC/Ext/Blend/Apply")], MAX_DATAGRAM)

    def _values(self, frame: Frame) -> list[tuple[str, float]]:
        weights = safe_weights(frame)
        if self._vowels is None:
            return list(zip(self._labels, map(float, weights), strict=True))
        *vowels, left, right = map(float, self._vowels(np.asarray(weights)[None])[0])
        values = (*vowels, (left + right) / 2)
        return list(zip(VRM0 if self.shapes == "vrm" else VRM1, values, strict=True))


def unity_quaternion(
    pose: NDArray[np.float32], share: float = 1.0
) -> tuple[float, float, float, float]:
    """Turn (3,) radians (pitch, yaw, roll) into (x, y, z, w) in Unity's axes, w >= 0.

    share: of the angle.
    """
    matrix = pose_matrix(pose)
    # Shepperd's method: from the largest component, so that nothing small is divided by.
    diagonal = np.array([*(2 * np.diag(matrix) - np.trace(matrix)), np.trace(matrix)])
    trace = diagonal + 1.0  # 4 x², 4 y², 4 z², 4 w²
    k = int(np.argmax(trace))
    skew = np.array(
        [matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]
    )
    q = np.empty(4)
    if k == 3:
        q[:3], q[3] = skew, trace[3]
    else:
        q[:3], q[3] = matrix[k] + matrix[:, k], skew[k]
        q[k] = trace[k]
    q /= np.linalg.norm(q)
    q = -q if q[3] < 0 else q
    length = float(np.linalg.norm(q[:3]))
    if share != 1.0 and length > 0:
        angle = share * np.arctan2(length, q[3])
        q = np.array([*(q[:3] / length * np.sin(angle)), np.cos(angle)])
    return float(q[0]), float(-q[1]), float(-q[2]), float(q[3])
