"""Every accepted format comes out as the tone that went in."""

from __future__ import annotations

import io
import os
import threading

import numpy as np
import pytest

from jambatalk.audio import SAMPLE_RATE, Speech
from sounds import FORMATS, encode, frequency, tone


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", FORMATS)
def test_formats_keep_pitch_length_and_level(name, channels, tmp_path):
    rate = FORMATS[name][2]
    path = tmp_path / f"tone.{name.rstrip('0123456789')}"
    path.write_bytes(encode(name, tone(2.0, rate), channels))
    speech = Speech.load(path)
    assert speech.samples.dtype == np.float32
    assert speech.rate == SAMPLE_RATE
    assert speech.seconds == pytest.approx(2.0, abs=0.1)
    middle = speech.samples[4000:28000]
    assert frequency(middle) == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("name", ["mp4", "mkv"])
def test_the_sound_track_of_a_video(name):
    speech = Speech.load(encode(name, tone(1.5, FORMATS[name][2]), video=True))
    assert speech.seconds == pytest.approx(1.5, abs=0.1)
    assert frequency(speech.samples) == pytest.approx(440, abs=1)


def test_lossless_formats_are_exact_at_16_khz(tmp_path):
    import soundfile

    values = (np.random.default_rng(0).uniform(-0.5, 0.5, 16000) * 32768).astype(np.int16)
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / f"x.{suffix}", values, SAMPLE_RATE)
        np.testing.assert_array_equal(
            Speech.load(tmp_path / f"x.{suffix}").samples, values.astype(np.float32) / 32768
        )


def test_bytes_file_objects_and_paths_agree(tmp_path):
    data = encode("flac", tone(0.7, 44100))
    path = tmp_path / "tone.flac"
    path.write_bytes(data)
    expected = Speech.load(str(path)).samples
    with path.open("rb") as file:
        np.testing.assert_array_equal(Speech.load(file).samples, expected)
        assert not file.closed
    for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), path):
        np.testing.assert_array_equal(Speech.load(source).samples, expected)


def test_a_pipe_that_cannot_seek():
    data = encode("mp4", tone(1.0, 48000), video=True)  # mp4 keeps its index at the end
    read, write = os.pipe()
    writer = threading.Thread(target=lambda: os.fdopen(write, "wb").write(data))
    writer.start()
    with os.fdopen(read, "rb") as pipe:
        speech = Speech.load(pipe)
    writer.join()
    assert frequency(speech.samples) == pytest.approx(440, abs=1)


def test_standard_input(monkeypatch):
    data = encode("wav", tone(0.5, 44100))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert Speech.load("-").seconds == pytest.approx(0.5, abs=1e-3)


def test_a_name_that_looks_like_an_address(tmp_path):
    """A local file called like a protocol is opened as the file it is."""
    if os.name == "nt":
        pytest.skip("Windows allows no colon in file names")
    path = tmp_path / "http:tone.wav"
    path.write_bytes(encode("wav", tone(0.5, 44100)))
    assert Speech.load(path).seconds == pytest.approx(0.5, abs=1e-3)


def test_8_khz_stereo():
    speech = Speech.load(encode("wav8", tone(1.0, 8000), channels=2))
    assert len(speech.samples) == 16000
    assert frequency(speech.samples) == pytest.approx(440, abs=1)


def test_streamed_wav_without_a_length():
    """Programs that write to a pipe leave the size open (all ones); such files are whole."""
    data = bytearray(encode("wav", tone(0.5, 44100)))
    at = data.index(b"data")
    data[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    assert Speech.load(bytes(data)).seconds == pytest.approx(0.5, abs=1e-3)


def test_mp3_with_tags_and_without_a_length_header():
    plain = encode("mp3", tone(1.0, 44100), options={"write_xing": "0", "id3v2_version": "0"})
    assert b"Info" not in plain
    assert b"Xing" not in plain
    tag = b"TAG" + b"a title".ljust(125, b"\0")
    for data in (plain, plain + tag, encode("mp3", tone(1.0, 44100)) + tag):
        assert Speech.load(data).seconds == pytest.approx(1.0, abs=0.1)
