"""Own recordings become clips: from files that are written here and a tracker that reads their
brightness.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jambatalk.datasets.av_sync import loudness
from jambatalk.datasets.dataset import open_prepared
from jambatalk.datasets.prepare import prepare
from jambatalk.datasets.readers.grid import GridCorpus
from jambatalk.datasets.readers.video import VideoOptions, Videos, read_videos
from jambatalk.datasets.registry import load_clips
from jambatalk.datasets.video.quality import quality_lines
from jambatalk.datasets.video.tracking import track_once
from jambatalk.errors import InputError
from jambatalk.face.head import default_head
from jambatalk.training.blendshapes import BlendshapeTask
from jambatalk.training.config import BlendshapesConfig, TrainConfig
from jambatalk.training.trainer import Trainer
from small_network import SMALL
from tiny_video import GreyTracker, levels, mouth, voice, write_video


def write(
    path: Path,
    seconds: float = 4.0,
    seed: int = 0,
    fps: float = 25.0,
    sound_start: float = 0.0,
    picture_start: float = 0.0,
) -> None:
    """A video whose mouth and sound follow ``mouth`` at the file's own times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.round(picture_start + np.arange(round(seconds * fps)) / fps, 3)
    spoken = np.arange(0, seconds + 2, 0.01)
    samples = voice(
        spoken, mouth(spoken, seed), seconds + picture_start - sound_start, sound_start, seed
    )
    write_video(path, times, levels(mouth(times, seed)), samples, sound_start)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people and five files that cannot be used."""
    raw = tmp_path_factory.mktemp("videos") / "raw"
    for n in range(3):
        write(raw / f"anna_{n}.mkv", seed=n)
    write(raw / "ben" / "first.mp4", fps=30.0, seed=5)
    write(raw / "ben" / "phone.mkv", fps=59.94, seed=6)
    times = np.arange(50) * 0.04
    write_video(raw / "mute.mp4", times, levels(mouth(times)), None)
    write_video(
        raw / "nobody.mkv", times, levels(np.full(50, np.nan)), voice(times, mouth(times), 2.0)
    )
    write_video(
        raw / "short.mkv", times[:15], levels(mouth(times[:15])), voice(times, mouth(times), 0.6)
    )
    (raw / "damaged.mp4").write_bytes(b"\0\0\0\x18ftypisom" + b"\xff" * 3000)
    return raw


@pytest.fixture(scope="module")
def tracker() -> GreyTracker:
    return GreyTracker(default_head(), turning=15.0)


@pytest.fixture(scope="module")
def videos(folder: Path, tracker: GreyTracker, tmp_path_factory: pytest.TempPathFactory) -> Videos:
    return read_videos(folder, cache=tmp_path_factory.mktemp("cache"), tracker=tracker)


def test_clips_hold_what_was_said_and_seen(videos: Videos, tracker: GreyTracker) -> None:
    """The measured gap is the mouth's at every frame's time, the worn one follows it, and so does
    the sound.
    """
    face = default_head()
    assert [(c.id, c.subject) for c in videos.clips] == [
        ("anna_0", "anna"),
        ("anna_1", "anna"),
        ("anna_2", "anna"),
        ("ben_first", "ben"),
        ("ben_phone", "ben"),
    ]
    for clip, seed in zip(videos.clips, (0, 1, 2, 5, 6)):
        assert clip.frames == pytest.approx(100, abs=1)
        assert len(clip.samples) == clip.frames * 640
        truth = mouth(np.arange(clip.frames) / 25, seed)
        assert clip.gap is not None
        assert clip.tracked is not None
        assert clip.tracked.all()
        assert np.abs(clip.gap - tracker.gap(truth)).max() < 0.0012
        assert np.corrcoef(clip.gap, tracker.gap(truth))[0, 1] > 0.995
        assert np.corrcoef(face.lip_gap(clip.weights), clip.gap)[0, 1] > 0.98
        assert np.corrcoef(clip.gap, loudness(clip.samples, clip.frames, 25.0))[0, 1] > 0.6
        assert clip.weights.min() >= 0
        assert clip.weights.max() <= 1


def test_head_pose_stands_beside(videos: Videos) -> None:
    """The head turned by 15 degrees to either side; none of it is in the gap, all of it in
    head_pose.
    """
    for clip in videos.clips:
        pose = clip.motion.head_pose
        assert pose is not None
        assert np.degrees(pose[[0, -1], 1]) == pytest.approx([-15, 15], abs=1)
        assert np.abs(np.degrees(pose[:, [0, 2]])).max() < 1
    assert videos.quality["clips"]["anna_0"]["turn"][1] == pytest.approx(29, abs=1)


def test_what_cannot_be_used_is_named(videos: Videos) -> None:
    reasons = dict(videos.problems)
    assert set(reasons) == {"mute.mp4", "nobody.mkv", "short.mkv", "damaged.mp4"}
    assert "has no sound" in reasons["mute.mp4"]
    assert "no face was seen in its 50 pictures" in reasons["nobody.mkv"]
    assert "picture and sound for 0.60 s; expected at least 1 s" in reasons["short.mkv"]
    assert "cannot read damaged.mp4" in reasons["damaged.mp4"]
    assert videos.quality["left_out"] == reasons


def test_splits_and_sources(videos: Videos, folder: Path) -> None:
    """Each person is split on their own; a clip depends on all recordings of its subject, who share
    a neutral face.
    """
    assert sorted(c.split for c in videos.clips if c.subject == "anna") == ["test", "train", "val"]
    assert sorted(c.split for c in videos.clips if c.subject == "ben") == ["train", "val"]
    assert videos.sources["ben_phone"] == (
        folder / "ben" / "phone.mkv",
        folder / "ben" / "first.mp4",
    )


def test_report(videos: Videos) -> None:
    report = json.loads(json.dumps(videos.quality))
    assert report["all"]["clips"] == 5
    assert report["all"]["correlation"] > 0.6
    assert abs(report["all"]["lag"]) < 0.03
    assert report["files"]["ben/phone.mkv"]["fps"] == pytest.approx(59.94, rel=0.03)
    assert report["files"]["anna_0.mkv"]["tracked"] == 1.0
    assert (
        "expected at least 150" in " ".join(report["clips"]["anna_0"]["warnings"])
        or report["clips"]["anna_0"]["face_width"] > 150
    )


@pytest.mark.parametrize(
    ("sound", "picture", "suffix"),
    [(0.5, 0.0, ".mkv"), (0.0, 0.43, ".mkv"), (0.3, 0.0, ".mp4"), (0.0, 0.2, ".mov")],
)
def test_sound_that_starts_elsewhere(
    tmp_path: Path, tracker: GreyTracker, sound: float, picture: float, suffix: str
) -> None:
    """Sound that begins after or before the pictures: both are cut to the time they share, and stay
    in step.
    """
    write(tmp_path / f"a{suffix}", 5.0, 1, sound_start=sound, picture_start=picture)
    (clip,) = read_videos(tmp_path, tracker=tracker).clips
    first = max(sound, picture)
    assert clip.gap is not None
    # The first frame lies on a picture's own time, up to a frame after the sound's start, which may
    # be AAC's priming.
    starts = first + np.arange(-0.07, 0.05, 0.01)
    truths = [tracker.gap(mouth(start + np.arange(clip.frames) / 25, 1)) for start in starts]
    assert max(np.corrcoef(clip.gap, truth)[0, 1] for truth in truths) > 0.99
    level = loudness(clip.samples, clip.frames, 25.0)
    curve = [
        np.corrcoef(clip.gap[5 + lag : -5 + lag or None], level[5:-5])[0, 1]
        for lag in (-3, -2, -1, 0, 1, 2, 3)
    ]
    assert np.argmax(curve) - 3 in (-1, 0, 1)
    assert clip.frames == pytest.approx((5.0 + picture - first) * 25, abs=4)


def test_a_face_that_goes_away(tmp_path: Path, tracker: GreyTracker) -> None:
    """A short absence is bridged and marked, a long one makes two clips."""
    times = np.arange(200) * 0.04
    opening = mouth(times)
    opening[30:34] = opening[100:120] = np.nan
    write_video(tmp_path / "a.mkv", times, levels(opening), voice(times, mouth(times), 8.0))
    first, second = read_videos(tmp_path, VideoOptions(subject="me"), tracker=tracker).clips
    assert (first.id, second.id) == ("me_a-01", "me_a-02")
    assert (first.frames, second.frames) == (100, 80)
    assert first.tracked is not None
    assert np.array_equal(np.flatnonzero(~first.tracked), [30, 31, 32, 33])
    assert first.gap is not None
    assert np.isfinite(first.gap).all()


def test_a_face_that_comes_and_goes(tmp_path: Path, tracker: GreyTracker) -> None:
    """Glimpses of half a second are no clips; the sentence says why."""
    times = np.arange(100) * 0.04
    opening = np.where(np.arange(100) // 12 % 2, mouth(times), np.nan)
    write_video(tmp_path / "a.mkv", times, levels(opening), voice(times, mouth(times), 4.0))
    with pytest.raises(
        InputError, match="seen in 48% of its pictures, but never for a second on end"
    ):
        read_videos(tmp_path, tracker=tracker)


def test_tracking_is_done_once(tmp_path: Path) -> None:
    """Tracks are kept under the video's size and time and the tracker's key; half a file is made
    anew.
    """
    tracker = GreyTracker(default_head())
    write(tmp_path / "raw" / "a.mkv", 2.0)
    path, cache = tmp_path / "raw" / "a.mkv", tmp_path / "cache"
    once = track_once(path, tracker, cache)
    again = track_once(path, tracker, cache)
    assert tracker.calls == 1
    assert np.array_equal(once.landmarks, again.landmarks)
    assert once.times == pytest.approx(np.arange(50) * 0.04, abs=0.001)
    (kept,) = cache.glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:1000])
    track_once(path, tracker, cache)
    tracker.key = "other"
    track_once(path, tracker, cache)
    assert tracker.calls == 3


def test_refusals(tmp_path: Path, tracker: GreyTracker) -> None:
    times = np.arange(30) * 0.04
    write_video(tmp_path / "a.mp4", times, levels(mouth(times)), None)
    with pytest.raises(InputError, match=r"no recording that can be used: a\.mp4: .*no sound"):
        read_videos(tmp_path, tracker=tracker)
    with pytest.raises(InputError, match="500 frames a second, expected 5 to 120"):
        read_videos(tmp_path, VideoOptions(fps=500), tracker=tracker)


def test_prepared_corpus(
    folder: Path, tracker: GreyTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """data prepare video: the prepared folder holds everything, a second run keeps it, a new
    recording makes its subject anew.
    """
    raw = tmp_path / "raw"
    shutil.copytree(folder, raw)
    monkeypatch.setattr("jambatalk.datasets.readers.video.find_model", lambda raw, given: raw)
    monkeypatch.setattr("jambatalk.datasets.readers.video.MediaPipeTracker", lambda model: tracker)
    calls = tracker.calls
    done = prepare("video", raw, tmp_path / "out", jobs=1)
    assert (done.made, done.kept) == (5, 0)
    assert {problem.name for problem in done.failed} == {
        "mute.mp4",
        "nobody.mkv",
        "short.mkv",
        "damaged.mp4",
    }
    corpus = open_prepared(tmp_path / "out")
    assert corpus.splits() == {"train": 2, "val": 2, "test": 1}
    assert json.loads((tmp_path / "out" / "quality.json").read_text()) == json.loads(
        json.dumps(done.quality)
    )
    (clip,) = [clip.clip() for clip in corpus.clips() if clip.name == "anna_1"]
    assert clip.gap is not None
    assert np.corrcoef(default_head().lip_gap(clip.weights), clip.gap)[0, 1] > 0.98
    assert clip.motion.head_pose is not None
    assert np.degrees(clip.motion.head_pose[-1, 1]) == pytest.approx(15, abs=1)
    assert any("in all: 5 clips" in line for line in quality_lines(done.quality or {}))

    again = prepare("video", raw, tmp_path / "out", jobs=1)
    assert (again.made, again.kept) == (0, 5)
    (raw / "anna_2.mkv").unlink()
    changed = prepare("video", raw, tmp_path / "out", jobs=1)
    assert (changed.made, changed.kept) == (2, 2)  # anna's other two have another neutral now
    assert tracker.calls - calls == 7  # every video that could be read, once


@pytest.mark.shared
def test_real_videos(tmp_path: Path) -> None:
    """Three GRID speakers through the command: silent on its own account, lips that follow the
    sound, and training runs.

    Measured with mediapipe 1.2.2: gap against loudness 0.51, 0.48 and 0.47; against GRID-468's own
    tracks, which MediaPipe smoothed forwards in time, 0.97, 0.92 and 0.97.
    """
    pytest.importorskip("mediapipe", reason="needs mediapipe: pip install jambatalk[capture]")
    shared = Path(__file__).parents[2] / ".." / "shared" / "data"
    if not (shared / "video").is_dir() or not (shared / "grid").is_dir():
        pytest.skip("needs ../shared/data/video and grid beside the repository")
    command = [
        sys.executable,
        "-m",
        "jambatalk",
        "data",
        "prepare",
        "video",
        shared / "video",
        tmp_path / "out",
        "--subject",
        "file",
    ]
    ran = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stderr.strip().splitlines()
    assert len(lines) == 6, (
        ran.stderr
    )  # the result, its splits, three warnings about small faces, and the summary
    assert all("pixels wide; expected at least 150" in line for line in lines[2:5])
    corpus = open_prepared(tmp_path / "out")
    assert corpus.splits() == {"train": 1, "val": 1, "test": 1}
    grid, face = GridCorpus(shared / "grid"), default_head()
    known = {entry.id: grid.gap(entry) for entry in grid.select("test_unseen")}
    clips = [one.clip() for one in corpus.clips()]
    for clip in clips:
        assert clip.gap is not None
        assert clip.frames == 75
        level = loudness(clip.samples, clip.frames, clip.fps)
        assert np.corrcoef(clip.gap, level)[0, 1] > 0.38
        assert np.corrcoef(face.lip_gap(clip.weights), level)[0, 1] > 0.36
        assert np.corrcoef(clip.gap, known[clip.subject])[0, 1] > 0.88
    config = TrainConfig(
        model=SMALL,
        steps=3,
        batch_size=2,
        blendshapes=BlendshapesConfig(sequence_length=50, variants=1),
        validate_every=3,
        num_val_samples=0,
    )
    train, val = (load_clips(tmp_path / "out", split, face) for split in ("train", "val"))
    trainer = Trainer(config, BlendshapeTask(config, face, train, val), tmp_path / "run")
    losses: list[float] = []
    trainer.run(lambda step, terms: losses.append(terms["loss"]))
    assert len(losses) == 3
    assert np.isfinite(losses).all()
