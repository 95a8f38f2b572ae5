"""The default weights' protocol with systems that know the answers, on readings and a performance
made up here.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import EvalClip, sound_clip
from jambatalk.evaluation.protocols.default_weights import (
    HELD_OUT,
    AlignedSpeech,
    CapturedClip,
    load_performance,
    load_readings,
    score_performance,
    score_readings,
    score_silence,
)
from jambatalk.evaluation.systems import System, real_time_factor, static_system
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.motion import Motion
from jambatalk.streaming.resampler import resample_frames
from jambatalk.text.phones import Timed

RATE = 16000


@pytest.fixture(scope="module")
def head() -> Face:
    return default_head()


def talk(seconds: float, seed: int) -> tuple[np.ndarray, tuple[Timed, ...]]:
    """Noise that is soft in every /b/ and loud in every /ɑ/, with their times."""
    phones, time = [], 0.2
    rng = np.random.default_rng(seed)
    samples = 0.001 * rng.standard_normal(round(seconds * RATE))
    while time + 0.6 < seconds:
        end = time + float(rng.uniform(0.3, 0.5))
        phones += [Timed("b", time, time + 0.1), Timed("ɑ", time + 0.1, end)]
        samples[round((time + 0.1) * RATE) : round(end * RATE)] *= 100
        time = end
    return samples.astype(np.float32), tuple(phones)


def listener(face: Face, late_frames: int = 0) -> System:
    """Opens the jaw where the last 40 ms were loud, ``late_frames`` late."""

    def animate(clip: EvalClip, seed: int) -> Motion:
        samples = clip.samples
        loud = np.array(
            [
                np.abs(samples[t * 640 : (t + 1) * 640]).mean() > 0.02
                for t in range(len(samples) // 640)
            ]
        )
        weights = np.zeros((len(loud), len(face.names)), np.float32)
        weights[:, face.names.index("jawOpen")] = 0.3 * np.roll(loud, late_frames)
        return Motion(25.0, weights, face.names)

    return System("listener", animate)


@pytest.fixture(scope="module")
def readings() -> list[AlignedSpeech]:
    return [AlignedSpeech(str(i), *talk(5.0, i)) for i in range(3)]


def test_a_listener_closes_rightly_and_in_time(head: Face, readings: list[AlignedSpeech]) -> None:
    found = score_readings(listener(head), readings, head, wrong_sound=False)
    assert (
        found["readings.bilabials"]
        == found["readings.vowels"]
        == sum(len(r.phones) for r in readings) / 2
    )
    assert found["readings.closures"] == 1.0
    assert found["readings.false_closures"] == 0.0
    assert abs(found["readings.sound_lag_ms"]) <= 20
    late = score_readings(listener(head, 2), readings, head, wrong_sound=False)
    assert late["readings.sound_lag_ms"] - found["readings.sound_lag_ms"] == pytest.approx(
        80, abs=12
    )  # two frames


def test_wrong_sound_and_a_static_face_are_told_apart(
    head: Face, readings: list[AlignedSpeech]
) -> None:
    wrong = score_readings(listener(head), readings, head, wrong_sound=True)
    assert wrong["readings.false_closures"] > 0.1
    static = score_readings(static_system(head), readings, head, wrong_sound=False)
    assert static["readings.closures"] == static["readings.false_closures"] == 1.0
    assert math.isnan(static["readings.sound_lag_ms"])


def test_silence_and_what_follows_speech(head: Face, readings: list[AlignedSpeech]) -> None:
    found = score_silence(listener(head), readings, head)
    assert {key: value for key, value in found.items() if value != 0.0} == {}
    open_jaw = np.zeros((1, len(head.names)), np.float32)
    open_jaw[0, head.names.index("jawOpen")] = 0.1
    gaping = System(
        "gaping",
        lambda clip, seed: Motion(
            25.0, np.repeat(open_jaw, len(clip.samples) // 640, axis=0), head.names
        ),
    )
    width = float(head.lip_gap(open_jaw)[0]) * 1e3
    found = score_silence(gaping, readings, head)
    for name in ("silence", "noise", "after", "after_noise"):
        assert found[f"{name}.largest"] == pytest.approx(width, rel=1e-4)
        assert found[f"{name}.tremble"] == pytest.approx(0.0, abs=1e-6)


def test_a_performers_jaw_at_another_rate(head: Face) -> None:
    samples, _ = talk(8.0, 5)
    weights = listener(head).weights(sound_clip(samples), head)
    jaw = resample_frames(weights[:, [head.names.index("jawOpen")]], 25.0, 30.0)[:, 0]
    performance = CapturedClip("made", samples, jaw, 30.0, (samples[::-1],))
    found = score_performance(listener(head), performance, head, wrong_sound=False)
    assert found["performance.jaw"] > 0.9
    assert found["performance.gap"] > 0.9
    assert abs(found["performance.lag_ms"]) < 20
    assert (
        score_performance(listener(head), performance, head, wrong_sound=True)["performance.jaw"]
        < 0.5
    )
    assert (
        score_performance(static_system(head), performance, head, wrong_sound=False)[
            "performance.jaw"
        ]
        == 0.0
    )


def test_speed_is_time_over_sound(head: Face) -> None:
    assert (
        0
        < real_time_factor(static_system(head), sound_clip(np.zeros(RATE, np.float32)), repeats=1)
        < math.inf
    )


def test_reading_a_performance(tmp_path: Path) -> None:
    values = np.zeros((60, 3), np.float16)
    values[:, 1] = np.linspace(0, 1, 60)
    np.save(tmp_path / f"{HELD_OUT}.npy", values)
    (tmp_path / "columns.json").write_text(json.dumps(["brow", "mouth_stretch_c", "cheek"]))
    for name in (HELD_OUT, "other"):
        soundfile.write(tmp_path / f"{name}.flac", np.zeros(2 * RATE, np.float32), RATE)
    found = load_performance(tmp_path)
    assert found.jaw == pytest.approx(values[:, 1].astype(float))
    assert (len(found.samples), len(found.others)) == (2 * RATE, 1)
    (tmp_path / "columns.json").write_text(json.dumps(["brow", "jaw"]))
    with pytest.raises(
        InputError, match=r"shape \(60, 3\), expected \(T, 2\) with a column mouth_stretch_c"
    ):
        load_performance(tmp_path)
    with pytest.raises(InputError, match=r"cannot read .*nowhere"):
        load_performance(tmp_path / "nowhere")


class Stubborn:
    """An aligner that finds its way only with 0.1 s of silence before the sound."""

    def align(self, samples: np.ndarray, text: str) -> tuple[tuple[Timed, ...], tuple[Timed, ...]]:
        if len(samples) != 1.1 * RATE:
            raise InputError("the text does not fit")
        return (
            Timed("sil", 0.0, 0.1),
            Timed("m", 0.1, 0.4),
            Timed("æ", 0.4, 1.0),
            Timed("sil", 1.0, 1.1),
        ), ()


def test_reading_sentences(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", np.zeros(RATE, np.float32), RATE)
    with pytest.raises(InputError, match=r"transcription: expected a folder of \.wav files"):
        load_readings(tmp_path, Stubborn())  # type: ignore[arg-type]
    (tmp_path / "transcription").write_text("<s> ma </s> (one)\n")
    (reading,) = load_readings(tmp_path, Stubborn())  # type: ignore[arg-type]
    assert [phone.text for phone in reading.phones] == ["m", "æ", "sil"]
    assert reading.phones[0].start == pytest.approx(0.0)
    assert reading.end == pytest.approx(0.9)
    (tmp_path / "transcription").write_text("one: ma\n")
    with pytest.raises(InputError, match="has the line 'one: ma'"):
        load_readings(tmp_path, Stubborn())  # type: ignore[arg-type]
