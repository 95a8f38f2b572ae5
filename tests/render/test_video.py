"""Videos: the right frames, the right sound, and nothing left behind when something breaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.face.deform import AnimatedMesh
from jambatalk.motion import Motion
from jambatalk.render import Renderer, write_video
from jambatalk.render.video import RATE, Soundtrack, even_size
from render_meshes import puppet


def beeps(seconds: float, every: float) -> Speech:
    """A short burst at 0, every, 2 * every ... seconds."""
    t = np.arange(int(seconds * 16000)) / 16000
    return Speech(
        np.where(t % every < 0.05, 0.5 * np.sin(2 * np.pi * 800 * t), 0).astype(np.float32)
    )


def talking(frames: int = 10, fps: float = 25, seconds: float | None = None) -> Motion:
    """The puppet opening its mouth wider and wider."""
    weights = np.linspace(0, 1, frames, dtype=np.float32)[:, None]
    speech = beeps(frames / fps if seconds is None else seconds, 0.2)
    return Motion(fps, weights, ("jawOpen",), speech=speech, face=puppet(24))


def decoded(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """All pictures, and the samples as players place them: by time stamp, from 0."""
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        pieces = []
        if container.streams.audio:
            container.seek(0)
            for frame in container.decode(audio=0):
                start = round(float(frame.pts * frame.time_base) * RATE)
                samples = frame.to_ndarray()[0]
                pieces.append(samples[max(0, -start) :])
    return pictures, np.concatenate(pieces) if pieces else np.zeros(0)


def test_pictures_and_sound(tmp_path):
    motion, path = talking(15), tmp_path / "talk.mp4"
    calls: list[tuple[int, int]] = []
    write_video(motion, path, size=(64, 48), progress=lambda done, of: calls.append((done, of)))
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, sound.codec_context.name) == ("h264", "aac")
        assert (video.frames, video.average_rate, video.width, video.height) == (15, 25, 64, 48)
        assert video.codec_context.pix_fmt == "yuv420p"
        assert (
            video.codec_context.colorspace,
            video.codec_context.color_primaries,
            video.codec_context.color_trc,
        ) == (1, 1, 1)
        assert float(video.duration * video.time_base) == pytest.approx(0.6)
        assert float(sound.duration * sound.time_base) == pytest.approx(0.6, abs=1024 / RATE)
        assert float(sound.start_time * sound.time_base) == pytest.approx(0, abs=1e-6)
    assert calls == [(n + 1, 15) for n in range(15)]
    assert [p.name for p in tmp_path.iterdir()] == ["talk.mp4"]
    # The index comes before the pictures, so that a browser can start at once.
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_the_pictures_are_the_rendered_ones_in_order(tmp_path):
    motion, path = talking(6), tmp_path / "talk.mp4"
    write_video(motion, path, size=(96, 96), threads=2)
    pictures, _ = decoded(path)
    worn = AnimatedMesh(motion)
    renderer = Renderer(motion.face, (96, 96))
    rendered = [renderer.render(worn.vertices(n)).astype(float) for n in range(6)]
    for n, picture in enumerate(pictures):
        errors = [np.abs(picture - other).mean() for other in rendered]
        assert int(np.argmin(errors)) == n
        assert errors[n] < 4


def test_sound_is_in_step_with_the_pictures(tmp_path):
    path = tmp_path / "talk.mp4"
    write_video(talking(30), path, size=(32, 32))
    _, sound = decoded(path)
    for beep in (0.2, 0.4, 0.6, 0.8, 1.0):
        window = np.abs(sound[round((beep - 0.05) * RATE) : round((beep + 0.05) * RATE)])
        onset = np.argmax(window > 0.2) / RATE - 0.05
        assert abs(onset) < 0.004


@pytest.mark.parametrize("seconds", [0.1, 2.0])
def test_sound_is_cut_or_filled_to_the_pictures(tmp_path, seconds):
    path = tmp_path / "talk.mp4"
    write_video(talking(15, seconds=seconds), path, size=(32, 32))
    _, sound = decoded(path)
    assert len(sound) / RATE == pytest.approx(0.6, abs=1024 / RATE)


def test_another_frame_rate(tmp_path):
    path = tmp_path / "talk.mp4"
    write_video(talking(10), path, size=(32, 32), fps=29.97)
    with av.open(str(path)) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(29.97)
        assert container.streams.video[0].frames == 12


def test_without_speech_the_video_is_silent(tmp_path):
    path = tmp_path / "talk.mkv"
    write_video(replace(talking(3), speech=None), path, size=(33, 31))
    with av.open(str(path)) as container:
        assert not container.streams.audio
        assert (container.streams.video[0].width, container.streams.video[0].height) == (34, 32)


def test_vertex_offsets_and_identities(tmp_path):
    face = puppet(24)
    offsets = np.zeros((3, len(face.vertices), 3), np.float32)
    offsets[2, :, 1] = 0.05
    motion = Motion(25, offsets=offsets, face=face)
    worn = AnimatedMesh(motion, "tall")
    assert worn.vertices(2) - worn.vertices(0) == pytest.approx(offsets[2], abs=1e-6)
    assert worn.vertices(0)[:, 1] == pytest.approx(1.1 * face.vertices[:, 1], abs=1e-6)
    write_video(motion, tmp_path / "talk.mp4", size=(32, 32), identity="tall")
    assert len(decoded(tmp_path / "talk.mp4")[0]) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_nothing(tmp_path, error):
    def stop(done: int, of: int) -> None:
        if done == 4:
            raise error

    with pytest.raises(error):
        write_video(talking(20), tmp_path / "talk.mp4", size=(32, 32), progress=stop)
    assert not list(tmp_path.iterdir())


def test_a_failed_run_keeps_the_old_file(tmp_path):
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"old")
    motion = talking(5)
    broken = motion.weights.copy()
    broken[3] = np.nan
    with pytest.raises(InputError, match="not all finite"):
        write_video(replace(motion, weights=broken), path, size=(32, 32))
    assert [p.name for p in tmp_path.iterdir()] == ["talk.mp4"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"weights": np.zeros((0, 1), np.float32)}, {}, "no frames"),
        ({"names": ("noseWiggle",)}, {}, "noseWiggle"),
        (
            {"weights": None, "names": (), "offsets": np.zeros((2, 7, 3), np.float32)},
            {},
            "moves 7 vertices",
        ),
        ({}, {"identity": "nobody"}, "nobody"),
        ({}, {"fps": 0}, "fps is 0"),
        ({}, {"fps": float("nan")}, "fps is nan"),
        ({}, {"size": (0, 32)}, "0x32"),
    ],
)
def test_bad_input(tmp_path, change, options, message):
    with pytest.raises(InputError, match=message):
        write_video(replace(talking(4), **change), tmp_path / "talk.mp4", **options)
    assert not list(tmp_path.iterdir())


def test_an_unknown_suffix(tmp_path):
    with pytest.raises(InputError, match="expected a name ending in"):
        write_video(talking(4), tmp_path / "talk.xyz")


def test_even_size():
    assert even_size((1, 512)) == (2, 512)
    assert even_size((641, 359)) == (642, 360)


def test_the_soundtrack_is_the_speech_whatever_the_pieces():
    speech = beeps(2.5, 0.3)
    whole = Soundtrack(speech).read(3 * RATE)
    rng, pieces, track, have = np.random.default_rng(0), [], Soundtrack(speech), 0
    while have < 3 * RATE:
        pieces.append(track.read(min(int(rng.integers(1, 9000)), 3 * RATE - have)))
        have += len(pieces[-1])
    assert np.array_equal(np.concatenate(pieces), whole)
    assert not whole[round(2.6 * RATE) :].any()
    loud = [
        np.sqrt(np.mean(s[: len(s) // 100 * 100].reshape(100, -1) ** 2, axis=1))
        for s in (whole[: 2 * RATE], speech.samples[:32000])
    ]
    assert loud[0] == pytest.approx(loud[1], abs=0.01)


def test_motion_save_writes_a_video(tmp_path):
    talking(4).save(tmp_path / "talk.mp4", size=(40, 30), fps=50)
    with av.open(str(tmp_path / "talk.mp4")) as container:
        video = container.streams.video[0]
        assert (video.frames, video.width, video.height, video.average_rate) == (8, 40, 30, 50)
