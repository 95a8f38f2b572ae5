"""A motion's mouth under the names of other programs: Oculus' visemes, VRM's vowels, Microsoft's
viseme ids.

The network gives weights of ARKit's shapes. Which viseme a mouth shows is read off them by a linear
classifier with a softmax, fitted on the networks' own output at phones whose times are known
(``tools/fit_shape_sets.py``; the confusion table is in docs/reference/shape-sets.md). It looks at
one frame only: nothing is smoothed and nothing waits. Lips that touch on the default head are
``sil`` or ``PP`` whatever the classifier says, so a closed mouth is closed under every name.

VRM's five vowels are those probabilities through a fixed matrix: a vowel counts as itself, a
consonant as the vowels that its mouth resembles, as far as it is open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError, shown

if TYPE_CHECKING:
    from jambatalk.motion import Motion

Array = NDArray[Any]

OCULUS = {
    "sil": "",
    "PP": "p b m",
    "FF": "f v",
    "TH": "θ ð",
    "DD": "t d ɾ",
    "kk": "k ɡ ŋ h",
    "CH": "ʃ ʒ ʧ ʤ",
    "SS": "s z",
    "nn": "n l",
    "RR": "ɹ ɝ ɜ",
    "aa": "ɑ a æ ʌ ə aɪ aʊ",
    "E": "ɛ e eɪ",
    "ih": "ɪ i j ɨ",
    "oh": "ɔ o oʊ ɔɪ",
    "ou": "u ʊ w",
}
"""Viseme of Oculus LipSync and OpenXR -> its phones (IPA)."""

MICROSOFT = (
    *("", "æ ə ʌ a", "ɑ", "ɔ", "ɛ ʊ e", "ɝ ɜ", "j i ɪ ɨ", "w u", "o", "aʊ", "ɔɪ", "aɪ", "h", "ɹ"),
    *("l", "s z", "ʃ ʧ ʤ ʒ", "ð", "f v", "d t n θ ɾ", "k ɡ ŋ", "p b m"),
)
"""The phones of Microsoft's viseme ids 0 to 21; /eɪ/ and /oʊ/ count with their first vowel."""

VRM = {"aa": "aa", "ih": "ih", "ou": "ou", "ee": "E", "oh": "oh"}
"""Expression of VRM 1.0 -> the viseme of Oculus that it is."""

TOUCHING, PARTED = 1.0, 2.5
"""Millimetres between the lips below which they count as closed, and above which they do not."""

SOFTNESS = 2.0
"""By which the classifier's scores are divided: what it says is right as often, but goes from one
viseme to the next over a few frames, as mouths do, and not within one."""

SHORTEST_EVENT = 0.06
"""Seconds; a viseme that shows for less is no event of its own."""

Convert = Callable[[Array, "dict[str, Array]"], Array]


@dataclass(frozen=True)
class ShapeSet:
    """Names of shapes that a motion can be given out with.

    Args:
        names: the shapes, () for those of the motion itself.
        summary: a few words for help and tables.
        convert: (T, 52) ARKit weights, the fitted numbers -> (T, len(names)).
    """

    names: tuple[str, ...]
    summary: str
    convert: Convert | None = None


def _visemes(weights: Array, fit: dict[str, Array], kind: str, closed: tuple[int, int]) -> Array:
    """Probabilities of visemes; touching lips leave only those of ``closed``."""
    scores = (weights @ fit[f"{kind}_weight"] + fit[f"{kind}_bias"]) / SOFTNESS
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    found = scores / scores.sum(axis=1, keepdims=True)
    share = np.clip((weights @ fit["gap"] - TOUCHING) / (PARTED - TOUCHING), 0.0, 1.0)[:, None]
    both = found[:, closed]
    shut = np.zeros_like(found)
    shut[:, closed] = both / np.maximum(both.sum(axis=1, keepdims=True), 1e-12)
    return np.asarray(share * found + (1.0 - share) * shut)


def _oculus(weights: Array, fit: dict[str, Array]) -> Array:
    return _visemes(weights, fit, "oculus", (0, 1))


def _microsoft(weights: Array, fit: dict[str, Array]) -> Array:
    return _visemes(weights, fit, "microsoft", (0, 21))


def _vrm(weights: Array, fit: dict[str, Array]) -> Array:
    from jambatalk.face.head import ARKIT_NAMES

    blinks = [ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
    return np.concatenate([_oculus(weights, fit) @ fit["vrm"], weights[:, blinks]], axis=1)


SHAPE_SETS: dict[str, ShapeSet] = {
    "arkit": ShapeSet((), "ARKit's 52 shapes, as the network gives them"),
    "oculus": ShapeSet(tuple(OCULUS), "the 15 visemes of Oculus and OpenXR", _oculus),
    "vrm": ShapeSet(
        (*VRM, "blinkLeft", "blinkRight"), "the five vowels of VRM and its blinks", _vrm
    ),
    "microsoft": ShapeSet(
        tuple(f"viseme_{k}" for k in range(len(MICROSOFT))), "Microsoft's viseme ids", _microsoft
    ),
}
"""Name -> set. The only list: help, errors and the table in docs are made from it."""


@lru_cache(maxsize=1)
def fitted() -> dict[str, Array]:
    """The numbers that come with the package, float64 by name."""
    with np.load(str(files("jambatalk") / "assets" / "shape_sets.npz")) as found:
        return {name: found[name].astype(np.float64) for name in found.files}


class ShapeConverter:
    """Weights of ARKit's shapes to those of another set, frame by frame.

    Args:
        names: the shapes of the weights that come in; those of ARKit that are missing count as 0.
        to: one of ``SHAPE_SETS``.

    Raises:
        InputError: there is no such set, or none of the names is ARKit's.
    """

    def __init__(self, names: Sequence[str], to: str) -> None:
        from jambatalk.face.head import ARKIT_NAMES

        if to not in SHAPE_SETS:
            raise InputError(f"no shapes {shown(to)}: choose from {', '.join(SHAPE_SETS)}")
        self._set = SHAPE_SETS[to]
        self.names = self._set.names or tuple(names)
        known = {name: i for i, name in enumerate(names)}
        self._columns = [(k, known[name]) for k, name in enumerate(ARKIT_NAMES) if name in known]
        if self._set.convert is not None and not self._columns:
            raise InputError(
                f"{to} visemes are read off ARKit's shapes, but this motion has "
                f"{', '.join(map(str, list(names)[:3])) or 'vertices'}"
            )

    def __call__(self, weights: Array) -> NDArray[np.float32]:
        """(T, K) -> (T, len(names)) float32 in 0..1; the weights themselves for ``arkit``."""
        if self._set.convert is None:
            return np.asarray(weights, np.float32)
        arkit = np.zeros((len(weights), 52))
        for k, column in self._columns:
            arkit[:, k] = weights[:, column]
        return self._set.convert(arkit, fitted()).clip(0.0, 1.0).astype(np.float32)


def viseme_events(motion: Motion, to: str = "microsoft") -> list[tuple[float, str]]:
    """(seconds, viseme) at each change of what the mouth shows most, from the first frame on.

    Args:
        motion: with ARKit's shapes, or already with those of ``to``.
        to: one of ``SHAPE_SETS`` that holds visemes.

    Raises:
        InputError: the motion moves vertices, or the set holds none.
    """
    if SHAPE_SETS.get(to, SHAPE_SETS["arkit"]).convert is None:
        raise InputError(f"{shown(to)} are no visemes, expected oculus, vrm or microsoft")
    if motion.weights is None:
        raise InputError("visemes are read off ARKit's shapes, but this motion moves vertices")
    names = SHAPE_SETS[to].names
    weights = (
        motion.weights
        if motion.names == names
        else ShapeConverter(motion.names, to)(motion.weights)
    )
    shows = weights.argmax(axis=1)
    starts = np.flatnonzero(np.diff(shows, prepend=-1))
    events: list[tuple[float, str]] = []
    for start, end in zip(starts, [*starts[1:], len(shows)]):
        name = names[shows[start]]
        if events and ((end - start) / motion.fps < SHORTEST_EVENT or events[-1][1] == name):
            continue
        events.append((float(start) / motion.fps, name))
    return events
