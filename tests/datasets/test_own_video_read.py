"""Own recordings as they come: any times, turned phones, late or early sound, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jambatalk.datasets.video.decode import Pictures, read_sound, turned
from jambatalk.errors import InputError
from tiny_video import RATE, SIZE, levels, write_video

EVEN = np.arange(25) * 0.04


def click(at: float, seconds: float, start: float = 0.0) -> np.ndarray:
    """(n,) silence with a loud noise from ``at`` seconds on, the first sample at ``start``."""
    t = start + np.arange(round(seconds * RATE)) / RATE
    return np.where(t >= at, 0.5 * np.sin(2 * np.pi * 440 * (t - at)), 0.0).astype(np.float32)


def onset(samples: np.ndarray) -> float:
    """Seconds of the first sample that is clearly there."""
    return int(np.argmax(np.abs(samples) > 0.1)) / RATE


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_times_are_the_files_own(tmp_path: Path, suffix: str) -> None:
    """A variable rate with a hole comes out as it was written."""
    times = np.array([0.0, 0.033, 0.066, 0.1, 0.15, 0.2, 0.233, 0.7, 0.74, 0.78])
    write_video(
        tmp_path / f"a{suffix}", times, np.linspace(60, 240, 10).astype(int), click(0.2, 0.8)
    )
    pictures = Pictures(tmp_path / f"a{suffix}")
    seen = [(time, float(np.median(picture))) for time, picture in pictures]
    assert np.abs(np.array([time for time, _ in seen]) - times).max() < 0.0015
    assert np.abs(np.array([grey for _, grey in seen]) - np.linspace(60, 240, 10)).max() < 8
    assert (pictures.count, pictures.undecodable, pictures.size) == (10, 0, SIZE)


def test_mpg(tmp_path: Path) -> None:
    """The oldest of them: an MPEG programme stream, whose clock does not start at 0."""
    write_video(tmp_path / "a.mpg", EVEN, np.full(25, 128), click(0.5, 1.0))
    times = [time for time, _ in Pictures(tmp_path / "a.mpg")]
    assert np.allclose(np.diff(times), 0.04, atol=1e-4)
    sound = read_sound(tmp_path / "a.mpg")
    assert onset(sound.cut(times[0], 1.0)) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("turn", "corner"), [(0, (0, 0)), (90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))]
)
def test_phones_held_sideways(tmp_path: Path, turn: int, corner: tuple[int, int]) -> None:
    """The display matrix counts: the mark of the upper left corner is where a player shows it."""
    write_video(tmp_path / "a.mp4", EVEN[:3], np.full(3, 100), None, turn=turn)
    pictures = Pictures(tmp_path / "a.mp4")
    _, first = next(iter(pictures))
    corners = {(y, x): float(first[y * 4, x * 4].mean()) for y in (0, -1) for x in (0, -1)}
    assert max(corners, key=lambda place: corners[place]) == corner
    width, height = SIZE if turn in (0, 180) else SIZE[::-1]
    assert first.shape == (height, width, 3)


def test_mirrored_pictures() -> None:
    """A matrix that mirrors, as some front cameras write."""
    picture = np.arange(6, dtype=np.uint8).reshape(2, 3, 1).repeat(3, 2)
    assert np.array_equal(turned(picture, np.array([[-1, 0], [0, 1]])), picture[:, ::-1])
    assert np.array_equal(turned(picture, np.array([[0, 1], [1, 0]])), picture.swapaxes(0, 1))
    assert turned(picture, None) is picture


@pytest.mark.parametrize(
    ("suffix", "start", "allowed"),
    [(".mkv", 0.4, 0.002), (".mkv", 0.0, 0.002), (".mp4", 0.4, 0.02), (".mov", 0.25, 0.02)],
)
def test_sound_lies_where_its_time_stamps_say(
    tmp_path: Path, suffix: str, start: float, allowed: float
) -> None:
    """Sound that starts later than the pictures: the click stays at its time."""
    path = tmp_path / f"a{suffix}"
    write_video(path, EVEN, np.full(25, 128), click(0.7, 1.0 - start, start), sound_start=start)
    sound = read_sound(path)
    # An encoder's priming, 64 ms of AAC at 16 kHz, may lie before the first sample.
    assert start - 0.065 <= sound.start <= start + 0.001
    assert onset(sound.cut(0.0, 1.0)) == pytest.approx(0.7, abs=allowed)
    assert len(sound.cut(0.5, 2.0)) == 2 * RATE


def test_pictures_that_start_late(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", EVEN + 0.6, np.full(25, 128), click(0.9, 1.6))
    assert next(iter(Pictures(tmp_path / "a.mkv")))[0] == pytest.approx(0.6, abs=0.001)
    assert onset(read_sound(tmp_path / "a.mkv").cut(0.6, 1.0)) == pytest.approx(0.3, abs=0.002)


def test_clipping_is_counted(tmp_path: Path) -> None:
    samples = np.zeros(RATE, np.float32)
    samples[: RATE // 4] = 1.0
    write_video(tmp_path / "a.mkv", EVEN, np.full(25, 128), samples)
    assert read_sound(tmp_path / "a.mkv").clipped == pytest.approx(0.25, abs=0.01)


def test_damage_is_named(tmp_path: Path) -> None:
    write_video(tmp_path / "silent.mp4", EVEN, np.full(25, 128), None)
    with pytest.raises(InputError, match=r"silent\.mp4 has no sound"):
        read_sound(tmp_path / "silent.mp4")
    (tmp_path / "text.mp4").write_text("not a video at all, " * 50)
    with pytest.raises(InputError, match=r"text\.mp4"):
        list(Pictures(tmp_path / "text.mp4"))
    rng = np.random.default_rng(0)
    write_video(
        tmp_path / "whole.mkv",
        np.arange(100) * 0.04,
        levels(rng.uniform(0, 1, 100)),
        click(1.0, 4.0),
    )
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 3])
    with pytest.raises(InputError, match=r"cut\.mkv is cut off: it promises 4"):
        list(Pictures(tmp_path / "cut.mkv"))
    write_video(tmp_path / "moov.mp4", EVEN, np.full(25, 128), click(0.5, 1.0))
    (tmp_path / "moov.mp4").write_bytes((tmp_path / "moov.mp4").read_bytes()[:-300])
    with pytest.raises(InputError, match=r"moov\.mp4"):
        list(Pictures(tmp_path / "moov.mp4"))
