"""From the 116 shapes of FACEGOOD's rig to the 52 ARKit shapes, by what they do to a mouth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.face import Face

Array = NDArray[Any]

MAP_VERSION = 1  # raise when the mapping changes, so that prepared clips are made anew

JAW = 0.75
"""jawOpen per unit of mouth_stretch_c: with it the 95th percentile of the default head's lip gap in sounding frames is 12.5 mm,
as in GRID's carried motion."""

SIDED: Mapping[str, tuple[tuple[str, float], ...]] = {
    "mouth_lipCornerPull": (("mouthSmile", 1.0),),
    "mouth_lipCornerPullOpen": (("mouthSmile", 1.0),),
    "mouth_lipCornerDepress": (("mouthFrown", 1.0),),
    "mouth_lipStretch": (("mouthStretch", 1.0),),
    "mouth_lipStretchOpen": (("mouthStretch", 1.0),),
    "mouth_dimple": (("mouthDimple", 1.0),),
    "mouth_press": (("mouthPress", 1.0),),
    "mouth_lowerLipDepress": (("mouthLowerDown", 1.0),),
    "mouth_upperLipRaise": (("mouthUpperUp", 1.0),),
    "nose_wrinkle": (("noseSneer", 1.0),),
    "cheek_raise": (("cheekSquint", 1.0),),
}
"""<column>_l and _r -> shapes Left and Right with a factor each."""

MIDDLE: Mapping[str, tuple[tuple[str, float], ...]] = {
    "mouth_stretch_c": (("jawOpen", JAW),),
    "jaw_thrust_c": (("jawForward", 1.0),),
    "jaw_sideways_l": (("jawLeft", 1.0),),
    "jaw_sideways_r": (("jawRight", 1.0),),
    "mouth_sideways_l": (("mouthLeft", 1.0),),
    "mouth_sideways_r": (("mouthRight", 1.0),),
    "mouth_chinRaise_d": (("mouthShrugLower", 1.0),),
    "mouth_chinRaise_u": (("mouthShrugLower", 0.6), ("mouthShrugUpper", 0.3)),
    "mouth_lowerLipProtrude_c": (("mouthShrugLower", 0.5),),
    # The lips' four quarters flare one by one on the rig, all at once in ARKit.
    "mouth_funnel_dl": (("mouthFunnel", 0.15),),
    "mouth_funnel_dr": (("mouthFunnel", 0.15),),
    "mouth_funnel_ul": (("mouthFunnel", 0.15),),
    "mouth_funnel_ur": (("mouthFunnel", 0.15),),
    # Rounded vowels: "oh" is open and flared, "oo" is drawn together.
    "mouth_oh_c": (("mouthFunnel", 0.45), ("mouthPucker", 0.45)),
    "mouth_oo_c": (("mouthPucker", 0.7), ("mouthFunnel", 0.1)),
    "mouth_pucker_l": (("mouthPucker", 0.5),),
    "mouth_pucker_r": (("mouthPucker", 0.5),),
    "mouth_suck_dl": (("mouthRollLower", 0.5),),
    "mouth_suck_dr": (("mouthRollLower", 0.5),),
    "mouth_suck_ul": (("mouthRollUpper", 0.5),),
    "mouth_suck_ur": (("mouthRollUpper", 0.5),),
    "cheek_puff_l": (("cheekPuff", 0.5),),
    "cheek_puff_r": (("cheekPuff", 0.5),),
}
"""Columns that are not one of a pair of shapes -> shapes with a factor each."""

OPENERS = ("mouthFunnel", "mouthShrugUpper", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight")
SEAL = (0.03, 0.12)
"""Pressed or sucked-in lips (in the rig's weights) begin to hold together at the first and touch from the second on."""

TUCKED, TUCKED_SEAL = (0.1, 0.3), 0.6
"""The same for a lower lip that is sucked in alone, and the share of the opening that it takes away."""


def column_shapes() -> dict[str, tuple[tuple[str, float], ...]]:
    """Every column of the rig that moves a speaking mouth -> ((shape, factor), ...).

    The others stay out: eyes, brows and blinks are not speech, teeth and tongue have no shape of their own in ARKit, and the
    "Fix" columns mend the rig's own skin.
    """
    shapes = dict(MIDDLE)
    for column, targets in SIDED.items():
        for end, side in (("l", "Left"), ("r", "Right")):
            shapes[f"{column}_{end}"] = tuple((name + side, factor) for name, factor in targets)
    return shapes


def facegood_weights(values: Array, columns: Sequence[str], face: Face) -> Array:
    """FACEGOOD's artist weights (T, 116) on ``columns`` -> (T, K) float32 in 0..1 on ``face.names``.

    Shapes the face lacks, eyes and brows stay at 0. Where lips are pressed or both sucked in they touch, whatever the jaw
    does. Raises InputError when the columns do not fit or ``mouth_stretch_c`` is not among them.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise InputError(f"FACEGOOD's weights have shape {values.shape}, expected (T, {len(columns)}) for {len(columns)} columns")
    if not np.isfinite(values).all():
        raise InputError(f"frame {np.argwhere(~np.isfinite(values))[0][0]} of FACEGOOD's weights is not finite")
    place = {column: i for i, column in enumerate(columns)}
    if "mouth_stretch_c" not in place:
        raise InputError("FACEGOOD's columns have no mouth_stretch_c, the opening of the jaw")
    index = {name: i for i, name in enumerate(face.names)}
    weights = np.zeros((len(values), len(face.names)))
    for column, targets in column_shapes().items():
        for name, factor in targets:
            if column in place and name in index:
                weights[:, index[name]] += factor * values[:, place[column]]
    weights = np.clip(weights, 0.0, 1.0)

    def mean(*names: str) -> Array:
        found = [values[:, place[name]] for name in names if name in place]
        return np.mean(found, axis=0) if found else np.zeros(len(values))

    # On the rig these shapes hold the lips together; on an ARKit head the jaw parts them until mouthClose holds them. The lower
    # lip sucked in alone is an /f/: it goes up to the teeth, not to the upper lip.
    lower = mean("mouth_suck_dl", "mouth_suck_dr")
    upper = np.maximum(mean("mouth_suck_ul", "mouth_suck_ur"), mean("mouth_chinRaise_u"))
    held = mean("mouth_press_l", "mouth_press_r") + np.minimum(lower, upper)
    seal = np.maximum(_ramp(held, *SEAL), TUCKED_SEAL * _ramp(lower, *TUCKED))
    for name in OPENERS:
        if name in index:
            weights[:, index[name]] *= 1.0 - seal
    if "mouthClose" in index and "jawOpen" in index:
        weights[:, index["mouthClose"]] = seal * weights[:, index["jawOpen"]]
    return weights.astype(np.float32)


def _ramp(values: Array, start: float, end: float) -> Array:
    return np.clip((values - start) / (end - start), 0.0, 1.0)
