"""Headers that decoders misread, or that were written before the length was known."""

from __future__ import annotations

import io
import os
import struct
import threading

import numpy as np
import pytest
import soundfile

from jambatalk.audio import Speech
from jambatalk.errors import InputError
from sounds import encode, frequency, tone

WAVE = tone(1.2, 16000)


def wav(samples: np.ndarray = WAVE, rate: int = 16000, kind: str = "PCM_16", **options) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, subtype=kind, **{"format": "WAV", **options})
    return out.getvalue()


def with_sizes(riff: int, data: int) -> bytes:
    plain = wav()
    return plain[:4] + struct.pack("<I", riff) + plain[8:40] + struct.pack("<I", data) + plain[44:]


def exact(data: bytes, expected: np.ndarray = WAVE) -> None:
    samples = Speech.load(data).samples
    assert len(samples) == len(expected)
    np.testing.assert_allclose(samples, expected, atol=1e-4)


@pytest.mark.parametrize(
    "size",
    [
        0,
        2_000_000_000,
        1_000_000_000,
        0x7FFFFFFF,
        0x7FFFFFFF - 44,
        0x80000000,
        0xFFFFFFFF,
        0xFFFFFFFF - 36,
        0x40000000,
        0x10000000 - 44,
    ],
)
def test_sizes_that_were_written_before_they_were_known(size):
    exact(with_sizes(min(size + 36, 0xFFFFFFFF), size))
    exact(with_sizes(0, size))


@pytest.mark.parametrize("size", [400_000, 48_000_000, 123_456_789])
def test_other_sizes_are_promises(size):
    with pytest.raises(InputError, match="is cut off: it promises"):
        Speech.load(with_sizes(size + 36, size))


@pytest.mark.parametrize(("bits", "valid"), [(32, 24), (32, 20), (32, 16), (24, 20), (16, 12)])
def test_fewer_valid_bits_than_a_sample_takes(bits, valid):
    values = np.round(WAVE * 2 ** (valid - 1)).astype(np.int64) << (32 - valid)
    content = b"".join(int(v).to_bytes(4, "little", signed=True)[4 - bits // 8 :] for v in values)
    size = bits // 8
    fmt = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 16000, 16000 * size, size, bits, 22, valid, 4)
    fmt += struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt
    chunks += b"data" + struct.pack("<I", len(content)) + content
    samples = Speech.load(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks).samples
    np.testing.assert_allclose(samples, WAVE, atol=2.0 ** (2 - valid))


def test_big_endian_wav():
    content = (WAVE * 32767).astype(">i2").tobytes()
    fmt = struct.pack(">IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
    size = struct.pack(">I", 36 + len(content))
    data = b"RIFX" + size + b"WAVEfmt " + fmt + b"data" + struct.pack(">I", len(content)) + content
    exact(data)
    with pytest.raises(InputError, match=r"is cut off: it promises 1\.2 s and holds 0\.6 s"):
        Speech.load(data[: 44 + len(content) // 2])


def test_a_tag_before_riff():
    tag = b"ID3\x04\0\0\0\0\x01\x0a" + bytes(138)
    exact(tag + wav())
    exact(tag + with_sizes(2_000_000_036, 2_000_000_000))
    assert Speech.load(tag + encode("mp3", tone(1.0, 44100))).seconds == pytest.approx(1, abs=0.1)


def test_wav_files_in_a_row():
    exact(wav() + wav(WAVE * 0.5), np.concatenate([WAVE, WAVE * 0.5]))
    three = Speech.load(wav() + wav(tone(1.0, 44100, 880.0), 44100) + wav(WAVE)).samples
    assert len(three) == pytest.approx(16000 * 3.4, abs=2)
    assert frequency(three[20000:34000]) == pytest.approx(880, abs=3)
    exact(wav() + b"LIST\x04\0\0\0INFO")
    exact(wav() + b"RIFF and then text that is none of it")


def ogg(rate: int, hertz: float, kind: str = "VORBIS") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, tone(1.0, rate, hertz), rate, format="OGG", subtype=kind)
    return out.getvalue()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((44100, "VORBIS"), (44100, "VORBIS")),
        ((16000, "VORBIS"), (44100, "VORBIS")),
        ((44100, "VORBIS"), (48000, "OPUS")),
        ((48000, "OPUS"), (48000, "OPUS")),
    ],
)
def test_chained_ogg(first, second):
    samples = Speech.load(ogg(first[0], 440, first[1]) + ogg(second[0], 880, second[1])).samples
    assert len(samples) == pytest.approx(32000, abs=400)
    assert frequency(samples[2000:14000]) == pytest.approx(440, abs=3)
    assert frequency(samples[18000:30000]) == pytest.approx(880, abs=3)


@pytest.mark.parametrize("kind", ["NIST", "W64", "RF64", "WAVEX", "AIFF", "CAF", "AU", "VOC"])
def test_relatives_of_wav(kind):
    exact(wav(format=kind))
    exact(wav(kind="PCM_16", format=kind))


@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_cut_off_w64(kept):
    data = wav(format="W64")
    with pytest.raises(InputError, match="is cut off"):
        Speech.load(data[: int(len(data) * kept)])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_with_names(tmp_path):
    fifo = tmp_path / "p.wav"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(wav(),))
    writer.start()
    exact(fifo)
    writer.join()
    read, write = os.pipe()  # what a shell's <(...) opens
    with os.fdopen(write, "wb") as file:
        file.write(wav()[: 44 + 2 * 8000])
        file.close()
        with pytest.raises(InputError, match=f"/dev/fd/{read} is cut off"):
            Speech.load(f"/dev/fd/{read}")
    os.close(read)
    with pytest.raises(InputError, match="is a device"):
        Speech.load("/dev/zero")
    with pytest.raises(InputError, match="cannot read"):
        Speech.load("a\0b.wav")
