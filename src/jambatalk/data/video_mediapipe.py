"""MediaPipe's face landmarker as a tracker (extra ``capture``)."""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.video_tracker import LANDMARKS, Follower, Tracked
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.face.arkit import ARKIT_NAMES

Array = NDArray[Any]
MODEL_VARIABLE = "JAMBATALK_FACE_LANDMARKER"
MODEL_NAMES = ("face_landmarker_v2_with_blendshapes.task", "face_landmarker.task")
WHERE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"
GEOMETRY = "geometry_pipeline_metadata_landmarks.binarypb"

SCORE_NAMES = tuple(name for name in ARKIT_NAMES if name != "tongueOut")
"""MediaPipe scores all of ARKit's shapes but this one."""

FACES = 3
"""Faces looked for. With one, MediaPipe smooths landmarks forwards in time, which makes the mouth late."""


def find_model(raw: Path, given: Path | None = None) -> Path:
    """The landmarker's model: the one given, or named by the environment, or lying in or beside ``raw``. InputError if none."""
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
    """Tracks with MediaPipe. Raises MissingExtraError without the package, InputError for a model that is none."""

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
    """For each picture its time, (width, height), and the landmarks in pixels and scores of every face."""
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
            faces.append((landmarks, np.array([named.get(name, 0.0) for name in SCORE_NAMES], np.float32)))
        yield time, (width, height), faces


def gather(seen: Iterable[tuple[float, tuple[int, int], list[tuple[Array, Array]]]]) -> Tracked:
    """One person out of all the faces seen."""
    follower = Follower()
    nothing = np.full((LANDMARKS, 3), np.nan, np.float32), np.full(len(SCORE_NAMES), np.nan, np.float32)
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
        raise MissingExtraError('tracking faces needs mediapipe: pip install "jambatalk[capture]"') from error
    return mediapipe, vision, BaseOptions


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mediapipe")
    except PackageNotFoundError as error:
        raise MissingExtraError('tracking faces needs mediapipe: pip install "jambatalk[capture]"') from error


def read_canonical(model: Path) -> Array:
    """(468, 3) float64 centimetres: the canonical face, which the model file carries. InputError when it does not."""
    try:
        with zipfile.ZipFile(model) as archive:
            data = archive.read(GEOMETRY)
        mesh = next(value for number, value in _fields(data) if number == 1 and isinstance(value, bytes))
        floats: list[float] = []
        for number, value in _fields(mesh):
            if number == 3 and isinstance(value, bytes):  # the vertex buffer, packed or number by number
                floats.extend(struct.unpack(f"<{len(value) // 4}f", value))
        vertices = np.array(floats).reshape(-1, 5)[:, :3]  # x, y, z, u, v
    except (OSError, KeyError, ValueError, IndexError, StopIteration, zipfile.BadZipFile, struct.error) as error:
        raise InputError(f"{model} is no model of MediaPipe's face landmarker, or a damaged one (see {WHERE})") from error
    if vertices.shape != (LANDMARKS, 3):
        raise InputError(f"{model} describes a face of {len(vertices)} points, expected {LANDMARKS}")
    return vertices


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(number, value) of every field of a protocol buffer; numbers of fixed width as their bytes."""
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
