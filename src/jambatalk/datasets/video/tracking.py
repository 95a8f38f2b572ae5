"""What finds a face in pictures, and which of several faces is followed."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jambatalk.atomic import atomic_write
from jambatalk.datasets.video.decode import Pictures, video_seconds
from jambatalk.errors import InputError, MissingExtraError, reading
from jambatalk.face.head import ARKIT_NAMES

# Forehead, temples, bridge of the nose, corners of the eyes, and before the ears; MediaPipe's
# numbers.
STABLE = (
    10,
    151,
    9,
    8,
    168,
    6,
    197,
    195,
    5,
    67,
    297,
    109,
    338,
    103,
    332,
    54,
    284,
    21,
    251,
    162,
    389,
    127,
    356,
    234,
    454,
    33,
    263,
    133,
    362,
)


Array = NDArray[Any]
LANDMARKS = 468

FOUND_AGAIN = 1.0
"""Seconds without the followed face after which another one may be taken for it."""


@dataclass(frozen=True)
class Tracked:
    """A face in N pictures.

    landmarks: (N, 468, 3) float32 pixels of the picture: x right, y down, z away from the camera,
    on x's scale; NaN where no
        face was found. scores: (N, S) float32 on the tracker's ``score_names``, 0..1, NaN likewise.
        found: (N,) bool.
    faces: (N,) int, faces seen in each picture, the followed one included.
    """

    landmarks: Array
    scores: Array
    found: Array
    faces: Array


class Tracker(Protocol):
    """Finds the face of one person in a row of pictures.

    key: changes whenever the tracker would give other results; cached tracks are kept under it.
    score_names: names of the scores, ARKit's where they mean the same. canonical: (468, 3)
    centimetres, the face that landmarks are registered to: x to its own left, y up, z forward.
    """

    key: str
    score_names: tuple[str, ...]
    canonical: Array

    def track(self, frames: Iterable[Array], times: Iterable[float]) -> Tracked:
        """frames: (H, W, 3) uint8 RGB. times: seconds of each, increasing. Both are read picture by
        picture.
        """
        ...


class Follower:
    """Chooses, picture by picture, which of the faces seen is the one being followed.

    First the largest, the more so the nearer to the middle; then whichever is nearest to where the
    face was last. A face that jumps by more than its own width is another one: it is not taken
    before ``FOUND_AGAIN`` seconds have passed.
    """

    def __init__(self) -> None:
        self._last: tuple[float, Array, float] | None = None  # seconds, centre, width

    def choose(self, faces: list[Array], size: tuple[int, int], time: float) -> int | None:
        """Index of the face to take, None for none. faces: (n, 3) landmarks in pixels each. size:
        (width, height).
        """
        boxes = [(face[:, :2].mean(axis=0), float(np.ptp(face[:, 0]))) for face in faces]
        if not boxes:
            return None
        if self._last is not None and time - self._last[0] <= FOUND_AGAIN:
            _, place, width = self._last
            distances = [float(np.linalg.norm(centre - place)) for centre, _ in boxes]
            best = int(np.argmin(distances))
            if distances[best] > max(width, boxes[best][1]):
                return None
        else:
            middle = np.array(size) / 2
            off = [float(np.linalg.norm(centre - middle)) / max(size) for centre, _ in boxes]
            best = int(np.argmax([width * (1.0 - o) for (_, width), o in zip(boxes, off)]))
        self._last = (time, *boxes[best])
        return best


# MediaPipe's face landmarker as a tracker (extra ``capture``).


MODEL_VARIABLE = "JAMBATALK_FACE_LANDMARKER"
MODEL_NAMES = ("face_landmarker_v2_with_blendshapes.task", "face_landmarker.task")
WHERE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"
GEOMETRY = "geometry_pipeline_metadata_landmarks.binarypb"

SCORE_NAMES = tuple(name for name in ARKIT_NAMES if name != "tongueOut")
"""MediaPipe scores all of ARKit's shapes but this one."""

FACES = 3
"""Faces looked for. With one, MediaPipe smooths landmarks forwards in time, which makes the mouth
late.
"""


def find_model(raw: Path, given: Path | None = None) -> Path:
    """The landmarker's model: the one given, or named by the environment, or lying in or beside
    ``raw``. InputError if none.
    """
    named = given or (Path(os.environ[MODEL_VARIABLE]) if os.environ.get(MODEL_VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise InputError(f"{named}, the model of the face landmarker, does not exist")
        return named
    folder = raw if raw.is_dir() else raw.parent
    for place in (folder, folder.resolve().parent):
        for name in MODEL_NAMES:
            if (place / name).is_file():
                return place / name
    raise InputError(
        f"tracking needs the face landmarker's model: get face_landmarker.task from {WHERE} "
        f"and put it beside the recordings, or name it with --model or {MODEL_VARIABLE}"
    )


class MediaPipeTracker:
    """Tracks with MediaPipe. Raises MissingExtraError without the package, InputError for a model
    that is none.
    """

    def __init__(self, model: Path) -> None:
        self.model = model
        self.canonical = read_canonical(model)
        digest = hashlib.sha256(model.read_bytes()).hexdigest()[:12]
        self.key = f"mediapipe-{_version()}-{digest}"
        self.score_names: tuple[str, ...] = SCORE_NAMES

    def track(self, frames: Iterable[Array], times: Iterable[float]) -> Tracked:
        mediapipe, vision, base = _packages()
        options = vision.FaceLandmarkerOptions(
            base_options=base(model_asset_path=str(self.model)),
            running_mode=vision.RunningMode.VIDEO,
            num_faces=FACES,
            output_face_blendshapes=True,
        )
        with closing(vision.FaceLandmarker.create_from_options(options)) as landmarker:
            return gather(_seen(mediapipe, landmarker, frames, times))


def _seen(
    mediapipe: Any, landmarker: Any, frames: Iterable[Array], times: Iterable[float]
) -> Iterator[tuple[float, tuple[int, int], list[tuple[Array, Array]]]]:
    """For each picture its time, (width, height), and the landmarks in pixels and scores of every
    face.
    """
    last = -1
    for frame, time in zip(frames, times):
        stamp = max(last + 1, round(time * 1000))  # whole milliseconds that must increase
        last = stamp
        height, width = frame.shape[:2]
        # The image does not keep its array alive: ``frame`` must live until the detection is over.
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=frame)
        found = landmarker.detect_for_video(image, stamp)
        scale = np.array([width, height, width], np.float32)
        faces = []
        for points, scores in zip(found.face_landmarks, found.face_blendshapes):
            landmarks = np.array([(p.x, p.y, p.z) for p in points[:LANDMARKS]], np.float32) * scale
            named = {score.category_name: score.score for score in scores}
            faces.append(
                (landmarks, np.array([named.get(name, 0.0) for name in SCORE_NAMES], np.float32))
            )
        yield time, (width, height), faces


def gather(seen: Iterable[tuple[float, tuple[int, int], list[tuple[Array, Array]]]]) -> Tracked:
    """One person out of all the faces seen."""
    follower = Follower()
    nothing = (
        np.full((LANDMARKS, 3), np.nan, np.float32),
        np.full(len(SCORE_NAMES), np.nan, np.float32),
    )
    rows, found, faces = [], [], []
    for time, size, those in seen:
        chosen = follower.choose([landmarks for landmarks, _ in those], size, time)
        rows.append(nothing if chosen is None else those[chosen])
        found.append(chosen is not None)
        faces.append(len(those))
    return Tracked(
        np.array([row[0] for row in rows], np.float32).reshape(-1, LANDMARKS, 3),
        np.array([row[1] for row in rows], np.float32).reshape(-1, len(SCORE_NAMES)),
        np.array(found, bool),
        np.array(faces, np.int64),
    )


def _packages() -> tuple[Any, Any, Any]:
    try:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision
    except ImportError as error:
        raise MissingExtraError(
            'tracking faces needs mediapipe: pip install "jambatalk[capture]"'
        ) from error
    return mediapipe, vision, BaseOptions


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mediapipe")
    except PackageNotFoundError as error:
        raise MissingExtraError(
            'tracking faces needs mediapipe: pip install "jambatalk[capture]"'
        ) from error


def read_canonical(model: Path) -> Array:
    """(468, 3) float64 centimetres: the canonical face, which the model file has. InputError
    when it does not.
    """
    with reading(model, f"a model of MediaPipe's face landmarker, see {WHERE}"):
        with zipfile.ZipFile(model) as archive:
            data = archive.read(GEOMETRY)
        mesh = next(
            value for number, value in _fields(data) if number == 1 and isinstance(value, bytes)
        )
        floats: list[float] = []
        for number, value in _fields(mesh):
            if number == 3 and isinstance(
                value, bytes
            ):  # the vertex buffer, packed or number by number
                floats.extend(struct.unpack(f"<{len(value) // 4}f", value))
        vertices = np.array(floats).reshape(-1, 5)[:, :3]  # x, y, z, u, v
    if vertices.shape != (LANDMARKS, 3):
        raise InputError(
            f"{model} describes a face of {len(vertices)} points, expected {LANDMARKS}"
        )
    return vertices


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(number, value) of each field of a protocol buffer; fixed-width numbers as their bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            yield tag >> 3, varint()
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"wire type {kind}")
        size = {1: 8, 5: 4}.get(kind) or varint()
        yield tag >> 3, data[at : at + size]
        at += size


# Tracking one video, once: the result is kept, and found again as long as file, tracker and this
# code are the same.
#
# Run as a program it tracks one file in a process of its own (see ``track_apart``).


TAKE_VERSION = 1  # raise when tracks would come out otherwise, so that those kept are made anew
Progress = Callable[[float], None]
"""Called with the share of a video that is done, 0..1."""


@dataclass(frozen=True)
class Take:
    """What was tracked in one video of N pictures.

    times: (N,) seconds of the file's clock, increasing. landmarks, scores, found, faces: as in
    ``Tracked``, but landmarks in pixels of the file. size: (width, height) of the file's pictures,
    upright. stated_fps: 0 when the file does not say. undecodable: packets of pictures that were
    damaged.
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
        raise InputError(
            f"{path.name} has {len(times)} pictures, the tracker answered for {len(tracked.found)}"
        )
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


def track_once(
    path: Path, tracker: Tracker, cache: Path | None, progress: Progress | None = None
) -> Take:
    """The take of a video, from the folder ``cache`` when it is there. MediaPipe runs in a process
    of its own.
    """
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
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **asdict(take))


def _read(path: Path) -> Take | None:
    # One cut short by a full disk does not stop the run: it is made anew.
    with (
        suppress(OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile),
        np.load(path, allow_pickle=False) as stored,
    ):
        values = {field.name: stored[field.name] for field in fields(Take)}
        for name in ("stated_fps", "undecodable"):
            values[name] = values[name].item()
        return Take(**values)
    return None


def track_apart(
    path: Path, tracker: MediaPipeTracker, out: Path, progress: Progress | None = None
) -> None:
    """Track a video in a new process and write the take to ``out``.

    MediaPipe writes remarks to standard error from C++, where nothing in Python can hold them back,
    and a damaged video may bring a decoder down: apart, neither reaches the command. InputError
    holds what the process wrote.
    """
    command = [
        sys.executable,
        "-m",
        "jambatalk.datasets.video.tracking",
        str(path),
        str(tracker.model),
        str(out),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
    ) as process:
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
        fallback = (
            f"{path.name}: tracking it ended with status {process.returncode}; "
            "the file is likely damaged"
        )
        raise InputError(reason.removeprefix("bad ") or fallback)


def main(arguments: list[str]) -> int:
    """PATH MODEL OUT: track, telling the progress on standard output."""
    path, model, out = (Path(argument) for argument in arguments)
    try:
        save(
            track(
                path, MediaPipeTracker(model), lambda share: print(f"done {share:.4f}", flush=True)
            ),
            out,
        )
    except InputError as error:
        print("bad", str(error).replace("\n", " "), flush=True)
        return 2
    except MissingExtraError as error:
        print("missing", str(error).replace("\n", " "), flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
