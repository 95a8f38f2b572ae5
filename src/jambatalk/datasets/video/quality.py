"""How good a recording is for training, in numbers, and what to do better in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.datasets.av_sync import REACH, loudness, peak
from jambatalk.datasets.video.tracking import STABLE

Array = NDArray[Any]

NARROWEST = 150.0
"""Pixels of a face's width below which lips are a few pixels high."""
LEAST_TRACKED = 0.95
FARTHEST_TURN = 25.0
"""Degrees away from the camera beyond which one corner of the mouth is seen badly."""
MOST_JITTER = 0.3
"""Millimetres by which landmarks that do not move tremble; GRID, evenly lit at 120 pixels, has
0.14.
"""
SLOWEST = 24.0
"""Pictures a second below which a /b/ falls between two of them."""
MOST_DROPPED = 0.02
MOST_CLIPPED = 0.001
QUIETEST, SMALLEST_RANGE = -40.0, 20.0
"""Decibels: level of the loud parts under full scale, and their distance from the quiet parts."""
LATEST = 0.06
"""Seconds of lag in all recordings together."""
LEAST_CORRELATION = 0.2
ENOUGH = 30.0
"""Seconds from which on lag and correlation say something."""


@dataclass(frozen=True)
class ClipQuality:
    """One clip.

    seconds; tracked: share of its frames in which a face was seen; longest_gap: seconds without
    one. turn: degrees, (pitch, yaw, roll), between the 2nd and the 98th percentile. away: degrees,
    95th percentile of the angle to the camera's axis. face_width: pixels, median. jitter: mm. lag:
    seconds of lip gap behind loudness at the highest correlation, correlation: at lag 0; None when
    the clip is still or silent. level, quiet: dB below full scale of the loud (95th percentile) and
    quiet (10th) parts. gap: mm, the 95th percentile of the measured lip gap above its 10th.
    """

    seconds: float
    tracked: float
    longest_gap: float
    turn: tuple[float, float, float]
    away: float
    face_width: float
    jitter: float
    lag: float | None
    correlation: float | None
    level: float
    quiet: float
    gap: float


@dataclass(frozen=True)
class FileQuality:
    """One video. fps: pictures a second (median of their distances); dropped: share of pictures
    missing between others; even: False for a variable rate; several_faces: share of pictures;
    clipped: share of samples at full scale; used: seconds that became clips.
    """

    width: int
    height: int
    seconds: float
    fps: float
    even: bool
    dropped: float
    undecodable: int
    tracked: float
    longest_gap: float
    several_faces: float
    clipped: float
    used: float


def curve(gap: Array, level: Array, fps: float) -> Array | None:
    """(2 n + 1,) correlation of gap (T,) with level (T,) for lags of -n to n frames; positive: the
    gap comes late.
    """
    reach = round(REACH * fps)
    if len(gap) < 4 * reach or gap.std() < 1e-5 or level.std() < 1e-3:
        return None
    values = []
    for lag in range(-reach, reach + 1):
        seen, loud = (
            gap[max(0, lag) : len(gap) + min(0, lag)],
            level[max(0, -lag) : len(level) + min(0, -lag)],
        )
        if seen.std() < 1e-9 or loud.std() < 1e-9:
            return None
        values.append(float(np.corrcoef(seen, loud)[0, 1]))
    return np.array(values)


def jitter(positions: Array) -> float:
    """Trembling of landmarks that do not move, in the unit of ``positions`` (T, 468, 3), x and y:
    from second differences.
    """
    if len(positions) < 3:
        return 0.0
    second = np.diff(positions[:, list(STABLE), :2].astype(np.float64), n=2, axis=0)
    return float(np.sqrt((second**2).mean() / 6.0))  # 1 + 4 + 1: of white noise


def longest_run(missing: Array) -> int:
    """Length of the longest run of True in (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def clip_quality(
    positions: Array,
    gap: Array,
    tracked: Array,
    pose: Array,
    forward: Array,
    width: Array,
    samples: Array,
    fps: float,
) -> ClipQuality:
    """positions (T, 468, 3) and gap (T,) metres, tracked (T,), pose (T, 3) radians, forward (T,)
    cosine of the angle to the camera, width (T,) pixels, samples (n,) at 16 kHz.
    """
    level = loudness(samples, len(gap), fps)
    found = curve(gap, level, fps)
    lag = None if found is None else peak(found, fps)[0]
    turn = np.degrees(np.percentile(pose, 98, axis=0) - np.percentile(pose, 2, axis=0))
    return ClipQuality(
        seconds=len(gap) / fps,
        tracked=float(tracked.mean()),
        longest_gap=longest_run(~tracked) / fps,
        turn=(float(turn[0]), float(turn[1]), float(turn[2])),
        away=float(np.degrees(np.arccos(np.clip(np.percentile(forward, 5), -1, 1)))),
        face_width=float(np.median(width)),
        jitter=1e3 * jitter(positions),
        lag=lag,
        correlation=None if found is None else float(found[len(found) // 2]),
        level=float(np.percentile(level, 95)),
        quiet=float(np.percentile(level, 10)),
        gap=1e3 * float(np.percentile(gap, 95) - np.percentile(gap, 10)),
    )


def file_quality(
    times: Array,
    found: Array,
    faces: Array,
    size: Array,
    undecodable: int,
    clipped: float,
    used: float,
) -> FileQuality:
    """times (N,) seconds, found (N,), faces (N,) of a file's pictures."""
    steps = np.diff(times)
    step = float(np.median(steps)) if len(steps) else 0.0
    missing = np.maximum(np.round(steps / step) - 1, 0).sum() if step else 0.0
    known = times[found]
    holes = (
        np.diff(np.concatenate([times[:1], known, times[-1:]]))
        if len(known)
        else np.ptp(times)[None]
    )
    return FileQuality(
        width=int(size[0]),
        height=int(size[1]),
        seconds=float(np.ptp(times) + step),
        fps=1.0 / step if step else 0.0,
        even=bool(len(steps) == 0 or (np.abs(steps - step) < 0.1 * step + 1e-3).mean() > 0.95),
        dropped=float(missing / (len(times) + missing)),
        undecodable=undecodable,
        tracked=float(found.mean()),
        longest_gap=float(max(0.0, holes.max(initial=0.0) - step)),
        several_faces=float((faces > 1).mean()),
        clipped=clipped,
        used=used,
    )


def clip_warnings(quality: ClipQuality) -> list[str]:
    """What is not as it should be, one sentence each: what was seen and what is expected."""
    warnings = []
    if quality.face_width < NARROWEST:
        warnings.append(
            f"the face is {quality.face_width:.0f} pixels wide; expected at least {NARROWEST:.0f}: "
            "come closer"
        )
    if quality.tracked < LEAST_TRACKED:
        warnings.append(
            f"the face was seen in {quality.tracked:.0%} of the frames; expected at least "
            f"{LEAST_TRACKED:.0%}"
        )
    if quality.away > FARTHEST_TURN:
        warnings.append(
            f"the head is turned {quality.away:.0f} degrees away from the camera; expected at most "
            f"{FARTHEST_TURN:.0f}"
        )
    if quality.jitter > MOST_JITTER:
        warnings.append(
            f"landmarks tremble by {quality.jitter:.2f} mm; expected at most {MOST_JITTER} mm: "
            "more light, more focus"
        )
    if quality.level < QUIETEST:
        warnings.append(
            f"the sound is quiet ({quality.level:.0f} dB); expected at least {QUIETEST:.0f} dB: "
            "microphone closer"
        )
    elif quality.level - quality.quiet < SMALLEST_RANGE:
        warnings.append(
            f"speech is only {quality.level - quality.quiet:.0f} dB louder than the pauses; "
            "expected at least "
            f"{SMALLEST_RANGE:.0f} dB: a quieter room, and pauses between sentences"
        )
    return warnings


def file_warnings(quality: FileQuality) -> list[str]:
    """The same for what concerns a whole video."""
    warnings = []
    if quality.fps < SLOWEST:
        warnings.append(f"{quality.fps:.1f} pictures a second; expected at least {SLOWEST:.0f}")
    if quality.dropped > MOST_DROPPED:
        warnings.append(
            f"{quality.dropped:.1%} of the pictures were dropped; expected at most "
            f"{MOST_DROPPED:.0%}"
        )
    if quality.undecodable:
        warnings.append(f"{quality.undecodable} damaged pieces were skipped")
    if quality.clipped > MOST_CLIPPED:
        warnings.append(
            f"{quality.clipped:.2%} of the sound is clipped; expected at most {MOST_CLIPPED:.1%}: "
            "record less loud"
        )
    if quality.several_faces > 0.02:
        warnings.append(
            f"several faces in {quality.several_faces:.0%} of the pictures; the one that was "
            "largest first is followed"
        )
    if quality.seconds - quality.used > 2.0 + 0.1 * quality.seconds:
        warnings.append(
            f"{quality.used:.1f} of {quality.seconds:.1f} s became clips; the face was away or "
            "turned in the others"
        )
    return warnings


def overall(
    clips: Mapping[str, ClipQuality], curves: Sequence[Array], fps: float
) -> tuple[dict[str, Any], list[str]]:
    """Figures over all clips, weighted by their length, and the warnings that only many clips
    allow.
    """
    seconds = np.array([clip.seconds for clip in clips.values()])
    mean = np.mean(curves, axis=0) if len(curves) else None
    lag, best = (None, None) if mean is None else peak(mean, fps)
    at_zero = None if mean is None else float(mean[len(mean) // 2])

    def over(name: str) -> float:
        return float(np.average([getattr(clip, name) for clip in clips.values()], weights=seconds))

    figures = {
        "clips": len(clips),
        "seconds": float(seconds.sum()),
        "tracked": over("tracked"),
        "longest_gap": max(clip.longest_gap for clip in clips.values()),
        "turn": [max(clip.turn[axis] for clip in clips.values()) for axis in range(3)],
        "face_width": over("face_width"),
        "jitter": over("jitter"),
        "lag": lag,
        "correlation": at_zero,
        "best_correlation": best,
        "level": over("level"),
    }
    warnings = []
    if seconds.sum() >= ENOUGH and lag is not None and best is not None:
        if best < LEAST_CORRELATION:
            warnings.append(
                f"the lips do not follow the sound (correlation {best:.2f}): is it the speaker's "
                "own voice?"
            )
        elif abs(lag) > LATEST:
            side = "after" if lag > 0 else "before"
            warnings.append(
                f"the lips move {abs(1e3 * lag):.0f} ms {side} the sound: the recorder puts them "
                "apart"
            )
    return figures, warnings


def as_dict(quality: ClipQuality | FileQuality) -> dict[str, Any]:
    """For JSON, rounded to what the figures are worth."""
    return {key: rounded(value) for key, value in asdict(quality).items()}


def rounded(value: Any) -> Any:
    """Floats to four decimals, inside lists and tuples too."""
    if isinstance(value, (list, tuple)):
        return [rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value


def quality_lines(report: Mapping[str, Any]) -> list[str]:
    """The report of ``data prepare video`` in lines: a line for every file and clip with a fault,
    and one for all.
    """
    lines = [
        f"{name}: {warnings}"
        for part in ("files", "clips")
        for name, one in report[part].items()
        for warnings in one["warnings"]
    ]
    whole, lag = report["all"], ""
    if whole["lag"] is not None:
        side = "behind" if whole["lag"] >= 0 else "before"
        lag = (
            f", lips {abs(1e3 * whole['lag']):.0f} ms {side} the sound "
            f"(correlation {whole['correlation']:.2f})"
        )
    lines.append(
        f"in all: {whole['clips']} clips, {whole['seconds'] / 60:.1f} minutes, face in "
        f"{whole['tracked']:.1%} of the frames, "
        f"{whole['face_width']:.0f} pixels wide, trembling {whole['jitter']:.2f} mm{lag}"
    )
    return lines + list(report["warnings"])
