"""Tracking one video, once: the result is kept, and found again as long as file, tracker and this code are the same.

Run as a program it tracks one file in a process of its own (see ``track_apart``).
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.video_mediapipe import MediaPipeTracker
from jambatalk.data.video_read import Pictures, video_seconds
from jambatalk.data.video_tracker import Tracked, Tracker
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.files import replacing

Array = NDArray[Any]
TAKE_VERSION = 1  # raise when tracks would come out otherwise, so that those kept are made anew
Progress = Callable[[float], None]
"""Called with the share of a video that is done, 0..1."""


@dataclass(frozen=True)
class Take:
    """What was tracked in one video of N pictures.

    times: (N,) seconds of the file's clock, increasing. landmarks, scores, found, faces: as in ``Tracked``, but landmarks in
    pixels of the file. size: (width, height) of the file's pictures, upright. stated_fps: 0 when the file does not say.
    undecodable: packets of pictures that were damaged.
    """

    times: Array
    landmarks: Array
    scores: Array
    found: Array
    faces: Array
    size: Array
    stated_fps: float
    undecodable: int


def track(path: Path, tracker: Tracker, progress: Progress | None = None) -> Take:
    """Track a video in this process. InputError when it cannot be read."""
    pictures, times = Pictures(path), []
    seconds = video_seconds(path)

    def frames() -> Iterator[Array]:
        for time, picture in pictures:
            times.append(time)
            yield picture
            if progress is not None and seconds and len(times) % 25 == 0:
                progress(min(1.0, (time - times[0]) / seconds))

    def clock() -> Iterator[float]:
        # Asked for a picture's time only after that picture was given.
        at = 0
        while at < len(times):
            yield times[at]
            at += 1

    tracked: Tracked = tracker.track(frames(), clock())
    if len(tracked.found) != len(times):
        raise InputError(f"{path.name} has {len(times)} pictures, the tracker answered for {len(tracked.found)}")
    return Take(
        times=np.array(times),
        landmarks=tracked.landmarks * np.float32(pictures.shrunk),
        scores=tracked.scores,
        found=tracked.found,
        faces=tracked.faces,
        size=np.array(pictures.size),
        stated_fps=pictures.fps,
        undecodable=pictures.undecodable,
    )


def track_once(path: Path, tracker: Tracker, cache: Path | None, progress: Progress | None = None) -> Take:
    """The take of a video, from the folder ``cache`` when it is there. MediaPipe runs in a process of its own."""
    kept = None if cache is None else cache / f"{cache_key(path, tracker)}.npz"
    if kept is not None and (take := _read(kept)) is not None:
        return take
    if isinstance(tracker, MediaPipeTracker):
        if kept is None:
            return track(path, tracker, progress)
        track_apart(path, tracker, kept, progress)
        if (take := _read(kept)) is None:
            raise InputError(f"cannot read {kept}, which was just written")
        return take
    take = track(path, tracker, progress)
    if kept is not None:
        save(take, kept)
    return take


def cache_key(path: Path, tracker: Tracker) -> str:
    """A file name that changes with the video, the tracker and this code."""
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    text = f"{TAKE_VERSION} {path.name} {stat.st_size} {stat.st_mtime_ns} {tracker.key}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def save(take: Take, path: Path) -> None:
    """Write a take, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **asdict(take))


def _read(path: Path) -> Take | None:
    # One cut short by a full disk is no reason to stop: it is made anew.
    with suppress(OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile), np.load(path, allow_pickle=False) as stored:
        values = {field.name: stored[field.name] for field in fields(Take)}
        for name in ("stated_fps", "undecodable"):
            values[name] = values[name].item()
        return Take(**values)
    return None


def track_apart(path: Path, tracker: MediaPipeTracker, out: Path, progress: Progress | None = None) -> None:
    """Track a video in a new process and write the take to ``out``.

    MediaPipe writes remarks to standard error from C++, where nothing in Python can hold them back, and a damaged video may
    bring a decoder down: apart, neither reaches the command. InputError tells what the process said.
    """
    command = [sys.executable, "-m", "jambatalk.data.video_take", str(path), str(tracker.model), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        reason = ""
        try:
            for line in process.stdout:
                kind, _, rest = line.rstrip("\n").partition(" ")
                if kind == "done" and progress is not None:
                    progress(float(rest))
                elif kind in ("bad", "missing"):
                    reason = f"{kind} {rest}"
        except BaseException:
            process.kill()
            raise
    if reason.startswith("missing "):
        raise MissingExtraError(reason.removeprefix("missing "))
    if process.returncode:
        fallback = f"{path.name}: tracking it ended with status {process.returncode}; the file is likely damaged"
        raise InputError(reason.removeprefix("bad ") or fallback)


def main(arguments: list[str]) -> int:
    """PATH MODEL OUT: track, telling the progress on standard output."""
    path, model, out = (Path(argument) for argument in arguments)
    try:
        save(track(path, MediaPipeTracker(model), lambda share: print(f"done {share:.4f}", flush=True)), out)
    except InputError as error:
        print("bad", str(error).replace("\n", " "), flush=True)
        return 2
    except MissingExtraError as error:
        print("missing", str(error).replace("\n", " "), flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
