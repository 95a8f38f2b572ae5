"""A tracked video as frames at an even rate, freed of head pose, with the sound of the same moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.video_names import Recording
from jambatalk.data.video_pose import angles, mean_rotation, register
from jambatalk.data.video_quality import FileQuality, file_quality
from jambatalk.data.video_read import Sound
from jambatalk.data.video_take import Take
from jambatalk.data.video_timeline import SHORTEST, Span, even_times, observed, resample, spans
from jambatalk.errors import InputError

Array = NDArray[Any]
CENTIMETRE = np.float32(0.01)


@dataclass(frozen=True)
class EvenTake:
    """One recording at an even rate, without head pose: T frames, the first at ``start`` seconds of the file's clock.

    positions: (T, 468, 3) float32 metres. pose: (T, 3) radians from the recording's mean. forward: (T,) cosine of the angle
    between face and camera axis. width: (T,) pixels. spans: the clips in it.
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


def even_take(recording: Recording, take: Take, sound: Sound, canonical: Array, fps: float) -> EvenTake:
    """A tracked video on an even timeline, over the time in which it has both picture and sound.

    InputError when no face was seen, or never long enough for a clip.
    """
    if not take.found.any():
        raise InputError(f"no face was seen in its {len(take.found)} pictures")
    first = float(take.times[0])
    first += max(0.0, np.ceil((sound.start - first) * fps - 1e-3)) / fps
    last = min(float(take.times[-1]), sound.end - 0.25 / fps)  # the last frame may last a little longer than the sound
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
        raise InputError(f"it has picture and sound for {len(wanted) / fps:.2f} s; expected at least {SHORTEST:g} s")
    if not parts:
        raise InputError(f"a face was seen in {take.found.mean():.0%} of its pictures, but never for a second on end")
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
        quality=file_quality(take.times, take.found, take.faces, take.size, take.undecodable, sound.clipped, used),
    )
