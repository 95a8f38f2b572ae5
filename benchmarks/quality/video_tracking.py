"""How well `data prepare video` reads three GRID videos: figures, and a sheet of real and carried
mouths side by side.

    python benchmarks/quality/video_tracking.py --data ../shared/data [--sheet out/mouths.png]
    [--cache DIR]

Lip gap against loudness, and against GRID-468's own tracks of the same videos, with and without
MediaPipe's smoothing. Needs pip install "jambatalk[capture]".
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from jambatalk.datasets.av_sync import loudness
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.readers.grid import GridCorpus
from jambatalk.datasets.readers.video import VideoOptions, Videos, read_videos
from jambatalk.datasets.video import tracking as video_mediapipe
from jambatalk.datasets.video.decode import Pictures
from jambatalk.datasets.video.timeline import register
from jambatalk.datasets.video.tracking import track, track_once
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.face.landmarks import measured_gap
from jambatalk.render import Renderer, frame_face, save_png

STEP, ACROSS, SIZE = 3, 13, 160  # every third frame, so many in a row, pixels


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    n = min(len(a), len(b))
    return float(np.corrcoef(a[:n], b[:n])[0, 1])


def figures(
    videos: Videos,
    folder: Path,
    grid: GridCorpus,
    tracker: video_mediapipe.MediaPipeTracker,
    face: Face,
) -> None:
    """Print a line per clip."""
    known = {entry.id: grid.gap(entry) for entry in grid.select("test_unseen")}
    several = video_mediapipe.FACES
    for clip in videos.clips:
        assert clip.gap is not None
        level = loudness(clip.samples, clip.frames, clip.fps)
        video_mediapipe.FACES = 1  # with a single face wanted, MediaPipe smooths
        take = track(folder / f"{clip.subject}.mpg", tracker)
        video_mediapipe.FACES = several
        smooth = measured_gap(
            register(take.landmarks[take.found], tracker.canonical, clip.fps).positions
        )
        quality = videos.quality["clips"][clip.id]
        told = {
            "gap against loudness": correlation(clip.gap, level),
            "worn gap against loudness": correlation(face.lip_gap(clip.weights), level),
            "gap against GRID-468": correlation(clip.gap, known[clip.subject]),
            "the same smoothed": correlation(smooth, known[clip.subject]),
            "pixels of face": quality["face_width"],
            "mm of trembling": quality["jitter"],
        }
        print(
            f"{clip.subject}: " + ", ".join(f"{name} {value:.4g}" for name, value in told.items())
        )


def mouths(
    clip: Clip,
    folder: Path,
    tracker: video_mediapipe.MediaPipeTracker,
    cache: Path | None,
    face: Face,
) -> np.ndarray:
    """(H, W, 3) uint8: rows of the video's mouths, each above a row of the head's."""
    path = folder / f"{clip.subject}.mpg"
    take = track_once(path, tracker, cache)
    pictures = [picture for _, picture in Pictures(path)]
    camera = frame_face(face).closer(
        tuple(face.vertices[face.regions["lips"]].mean(0).tolist()), 0.10
    )
    renderer = Renderer(face, (SIZE, SIZE), camera=camera)
    pairs = []
    for frame in range(0, clip.frames, STEP):
        x, y = take.landmarks[frame, [61, 291, 13, 14], :2].mean(0).astype(int)
        crop = pictures[frame][max(0, y - 30) : y + 30, max(0, x - 30) : x + 30]
        rows, columns = (np.arange(SIZE) * size // SIZE for size in crop.shape[:2])
        pairs.append(
            np.concatenate(
                [crop[rows][:, columns], renderer.render(face.pose(clip.weights[frame]))[..., :3]]
            )
        )
    pairs += [np.zeros_like(pairs[0])] * (-len(pairs) % ACROSS)
    return np.concatenate(
        [np.concatenate(pairs[i : i + ACROSS], 1) for i in range(0, len(pairs), ACROSS)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with video/ and grid/")
    parser.add_argument("--sheet", type=Path, help="picture to write")
    parser.add_argument("--cache", type=Path, help="folder that keeps tracks")
    arguments = parser.parse_args()
    try:
        folder, face = arguments.data / "video", default_head()
        tracker = video_mediapipe.MediaPipeTracker(video_mediapipe.find_model(folder))
        videos = read_videos(folder, VideoOptions(subject="file"), arguments.cache, face, tracker)
        figures(videos, folder, GridCorpus(arguments.data / "grid"), tracker, face)
        if arguments.sheet is not None:
            sheets = [mouths(clip, folder, tracker, arguments.cache, face) for clip in videos.clips]
            save_png(np.concatenate(sheets), arguments.sheet)
    except (InputError, MissingExtraError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
