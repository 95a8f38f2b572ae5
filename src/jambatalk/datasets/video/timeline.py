"""A tracked video as frames at an even rate, freed of head pose, with the sound of the same
moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.av_sync import cuts_at_pauses
from jambatalk.datasets.video.decode import Sound
from jambatalk.datasets.video.quality import FileQuality, file_quality
from jambatalk.datasets.video.subjects import Recording
from jambatalk.datasets.video.tracking import STABLE, Take
from jambatalk.errors import InputError
from jambatalk.face.fit import smoothed

# Head pose taken out of tracked landmarks: registration by the points of a face that speech does
# not move.


Array = NDArray[Any]


SCALE_SECONDS = 0.12
"""Sigma of the smoothing of the scale: a head's distance from the camera changes slower than
landmarks tremble.
"""


@dataclass(frozen=True)
class Registered:
    """Landmarks without head pose.

    positions: (T, 468, 3) float32 in the unit and the place of the reference. rotation: (T, 3, 3),
    the reference's axes to the camera's (x right, y up, z towards the camera). scale: (T,) pixels
    per unit of the reference.
    """

    positions: Array
    rotation: Array
    scale: Array


def register(landmarks: Array, reference: Array, rate: float) -> Registered:
    """Move landmarks (T, 468, 3) in pixels (x right, y down, z away) onto ``reference`` (468, 3):
    rotation, translation, scale.

    The rotation and translation of every frame are those that bring its ``STABLE`` points closest
    (least squares); the scale is smoothed in time. rate: frames per second. All frames must be
    finite.
    """
    stable = list(STABLE)
    points = landmarks.astype(np.float64) * np.array([1.0, -1.0, -1.0])
    seen, wanted = points[:, stable], reference[stable].astype(np.float64)
    centre, wanted_centre = seen.mean(axis=1, keepdims=True), wanted.mean(axis=0)
    seen, wanted = seen - centre, wanted - wanted_centre
    u, singular, vt = np.linalg.svd(
        np.swapaxes(seen, 1, 2) @ wanted
    )  # (T, 3, 3): camera x reference
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    # The mean of log scales: the same whichever of the two shapes is the larger.
    scale = np.exp(
        smoothed(
            np.log((singular * sign).sum(axis=1) / (wanted**2).sum()),
            np.array([len(points)]),
            SCALE_SECONDS * rate,
        )
    )
    positions = (points - centre) @ rotation / scale[:, None, None] + wanted_centre
    return Registered(positions.astype(np.float32), rotation, scale)


def angles(rotation: Array) -> Array:
    """(T, 3, 3) rotations to (T, 3) radians (pitch, yaw, roll), as ``Motion.head_pose`` has them:
    yaw @ pitch @ roll.
    """
    pitch = -np.arcsin(np.clip(rotation[:, 1, 2], -1.0, 1.0))
    yaw = np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2])
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 1, 1])
    return np.stack([pitch, yaw, roll], axis=1)


def mean_rotation(rotation: Array) -> Array:
    """The rotation nearest to the mean of (T, 3, 3) rotations."""
    u, _, vt = np.linalg.svd(rotation.mean(axis=0))
    return np.asarray((u * np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])) @ vt)


# From pictures at any times to frames at an even rate, and from a long recording to clips.


BRIDGE = 0.3
"""Seconds without a face that are bridged by interpolation; where the face is away for longer, the
clip ends.
"""

SHORTEST, LONGEST = 1.0, 12.0
"""Seconds of a clip, about. Longer recordings are cut in their pauses."""


@dataclass(frozen=True)
class Span:
    """Frames ``first`` to ``last`` (not included) of a recording's even timeline."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first


def even_times(start: float, end: float, fps: float) -> Array:
    """(T,) seconds start, start + 1 / fps, ... up to ``end`` in spite of rounding."""
    return start + np.arange(int(np.floor((end - start) * fps + 1e-3)) + 1) / fps


def resample(values: Array, times: Array, wanted: Array, fps: float) -> Array:
    """Values (N, ...) seen at ``times`` (N,) at the times ``wanted`` (T,), which lie 1 / fps apart.

    A line is fitted under a triangle of 1 / fps on either side, so that a faster camera is averaged
    and not thinned out; where the camera is slower, the line between the two neighbours is taken.
    Zero phase; the ends are held.
    """
    flat = values.reshape(len(values), -1).astype(np.float64)
    out = np.empty((len(wanted), flat.shape[1]))
    after = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    reach = 1.0 / fps
    for i, time in enumerate(wanted):
        if len(times) == 1 or time <= times[0] or time >= times[-1]:
            out[i] = flat[0 if time <= times[0] else -1]
            continue
        a, b = after[i] - 1, after[i]
        first, last = np.searchsorted(times, (time - reach + 1e-6, time + reach - 1e-6))
        if last - first > 2 and first <= a and b < last:
            off = times[first:last] - time
            weight = 1.0 - np.abs(off) / reach
            # A line is fitted, not a mean taken: an uneven rate would lean the mean to its denser
            # side.
            weight *= 1.0 - (weight @ off) / (weight @ off**2) * off
            out[i] = weight @ flat[first:last] / weight.sum()
        else:
            share = (time - times[a]) / (times[b] - times[a])
            out[i] = flat[a] * (1.0 - share) + flat[b] * share
    return out.reshape(len(wanted), *values.shape[1:])


def observed(times: Array, found: Array, wanted: Array, fps: float) -> tuple[Array, Array]:
    """(seen, usable), (T,) bool each: whether a face was seen around a frame, and whether it was at
    least within BRIDGE.

    times, found: (N,) of all pictures. A frame is seen when the pictures with a face around it are
    no farther apart than the camera's usual step (or 1 / fps, if that is longer).
    """
    known = times[found]
    if not len(known):
        return np.zeros(len(wanted), bool), np.zeros(len(wanted), bool)
    step = max(1.0 / fps, float(np.median(np.diff(times))) if len(times) > 1 else 0.0)
    after = np.searchsorted(known, wanted - 1e-6)
    right = np.where(after < len(known), known[np.minimum(after, len(known) - 1)], np.inf)
    left = np.where(after > 0, known[np.maximum(after - 1, 0)], -np.inf)
    exact = right - wanted < 1e-3
    hole = np.where(exact, 0.0, right - left)
    near = np.minimum(right - wanted, wanted - left)
    return (hole <= 1.5 * step) | (near < 0.1 / fps), (hole <= BRIDGE + step) | (near < 0.1 / fps)


def spans(usable: Array, samples: Array, fps: float) -> list[Span]:
    """The clips of a recording: runs of usable frames, long ones cut in the pauses of ``samples``
    (n,) at 16 kHz.

    Runs shorter than SHORTEST are left out.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], usable, [False]]).astype(np.int8)))
    out = []
    for first, last in zip(edges[::2], edges[1::2]):
        if last - first < max(2, int(np.ceil(SHORTEST * fps))):
            continue
        piece = samples[round(first / fps * SAMPLE_RATE) : round(last / fps * SAMPLE_RATE)]
        cuts = cuts_at_pauses(piece, int(last - first), fps, LONGEST)
        out += [Span(int(first) + a, int(first) + b) for a, b in pairwise(cuts)]
    return out


CENTIMETRE = np.float32(0.01)


@dataclass(frozen=True)
class EvenTake:
    """One recording at an even rate, without head pose: T frames, the first at ``start`` seconds of
    the file's clock.

    positions: (T, 468, 3) float32 metres. pose: (T, 3) radians from the recording's mean. forward:
    (T,) cosine of the angle between face and camera axis. width: (T,) pixels. spans: the clips in
    it.
    """

    recording: Recording
    positions: Array
    scores: Array
    pose: Array
    forward: Array
    width: Array
    seen: Array
    spans: tuple[Span, ...]
    samples: Array
    quality: FileQuality


def even_take(
    recording: Recording, take: Take, sound: Sound, canonical: Array, fps: float
) -> EvenTake:
    """A tracked video on an even timeline, over the time in which it has both picture and sound.

    InputError when no face was seen, or never long enough for a clip.
    """
    if not take.found.any():
        raise InputError(f"no face was seen in its {len(take.found)} pictures")
    first = float(take.times[0])
    first += max(0.0, np.ceil((sound.start - first) * fps - 1e-3)) / fps
    last = min(
        float(take.times[-1]), sound.end - 0.25 / fps
    )  # the last frame may last a little longer than the sound
    if last < first:
        raise InputError(
            f"its pictures last from {take.times[0]:.2f} to {take.times[-1]:.2f} s, "
            f"its sound from {sound.start:.2f} to {sound.end:.2f} s: they do not meet"
        )
    wanted = even_times(first, last, fps)
    known = take.times[take.found]
    seen, usable = observed(take.times, take.found, wanted, fps)
    rate = 1.0 / max(float(np.median(np.diff(known))) if len(known) > 1 else 1.0 / fps, 1e-3)
    fixed = register(take.landmarks[take.found], canonical, rate)
    samples = sound.cut(first, len(wanted) / fps)
    parts = tuple(spans(usable, samples, fps))
    if len(wanted) < SHORTEST * fps:
        raise InputError(
            f"it has picture and sound for {len(wanted) / fps:.2f} s; expected at least "
            f"{SHORTEST:g} s"
        )
    if not parts:
        raise InputError(
            f"a face was seen in {take.found.mean():.0%} of its pictures, but never for a second "
            "on end"
        )
    u, _, vt = np.linalg.svd(resample(fixed.rotation, known, wanted, fps))
    rotation = u @ vt
    visible = take.landmarks[take.found][:, :, 0]
    used = sum(map(len, parts)) / fps
    return EvenTake(
        recording=recording,
        positions=(resample(fixed.positions, known, wanted, fps) * CENTIMETRE).astype(np.float32),
        scores=resample(take.scores[take.found], known, wanted, fps).astype(np.float32),
        pose=angles(mean_rotation(rotation).T @ rotation).astype(np.float32),
        forward=rotation[:, 2, 2],
        width=resample(np.ptp(visible, axis=1), known, wanted, fps),
        seen=seen,
        spans=parts,
        samples=samples,
        quality=file_quality(
            take.times, take.found, take.faces, take.size, take.undecodable, sound.clipped, used
        ),
    )
