"""Every file that holds no sound gives one clear sentence."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from jambatalk.audio import Speech
from jambatalk.errors import InputError
from sounds import FORMATS, encode, frequency, tone


def refused(source) -> str:
    with pytest.raises(InputError) as caught:
        Speech.load(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_folder_empty(tmp_path):
    assert "does not exist" in refused(tmp_path / "no.wav")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "empty.wav").touch()
    assert "is empty (0 bytes)" in refused(tmp_path / "empty.wav")
    assert "empty" in refused(b"")


def test_zero_length_sound():
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, np.zeros(0, np.int16), 16000, format="WAV")
    assert "holds no sound: its length is zero" in refused(out.getvalue())


@pytest.mark.parametrize(
    "text",
    [
        b"hello, this is text\n" * 100,
        b"1\n00:00:01,000 --> 00:00:02,000\nsubtitles\n\n" * 20,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.wav\n",
        b"ffconcat version 1.0\nfile other.wav\n",
        bytes(5000),
        np.random.default_rng(0).integers(0, 256, 50000, np.uint8).tobytes(),
    ],
    ids=["text", "subtitles", "playlist", "concat", "zeros", "noise"],
)
def test_not_sound_at_all(text, tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(text)
    message = refused(path)
    assert "not an audio or video file" in message
    assert "talk.wav" in message


def test_video_without_sound():
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(5):
            file.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                )
            )
        file.mux(stream.encode(None))
    assert "has no sound track" in refused(out.getvalue())


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("name", ["mp3", "flac", "wav", "wavfloat", "aiff"])
def test_cut_off(name, kept):
    data = encode(name, tone(5.0, FORMATS[name][2]))
    assert "is cut off" in refused(data[: int(len(data) * kept)])


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.97])
def test_mp3_without_a_length_header_is_read_to_its_end(kept):
    """A recorded radio stream ends anywhere; nothing says that more was to come."""
    data = encode("mp3", tone(5.0, 44100), options={"write_xing": "0", "id3v2_version": "0"})
    speech = Speech.load(data[: int(len(data) * kept)])
    assert speech.seconds == pytest.approx(5.0 * kept, abs=0.1)
    assert frequency(speech.samples) == pytest.approx(440, abs=2)


def moved_index(data: bytes) -> bytes:
    """An mp4 with its index (moov) before its sound (mdat), as files for the web have it; chunk
    offsets shifted to match.
    """
    boxes, at = {}, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        boxes[data[at + 4 : at + 8]] = bytearray(data[at : at + size])
        at += size
    index = boxes[b"moov"]
    table = index.index(b"stco") + 8
    for i in range(int.from_bytes(index[table : table + 4], "big")):
        where = table + 4 + 4 * i
        index[where : where + 4] = (
            int.from_bytes(index[where : where + 4], "big") + len(index)
        ).to_bytes(4, "big")
    return bytes(boxes[b"ftyp"] + index + boxes.get(b"free", b"") + boxes[b"mdat"])


def test_cut_off_m4a():
    data = encode("m4a", tone(5.0, 44100))
    assert "damaged" in refused(data[: len(data) // 2])  # the index at the end is gone
    front = encode(
        "mp4", tone(5.0, 48000), options={"movflags": "empty_moov+default_base_moof+delay_moov"}
    )
    assert Speech.load(front).seconds == pytest.approx(5.0, abs=0.1)
    index_first = moved_index(encode("mp4", tone(5.0, 48000)))
    assert Speech.load(index_first).seconds == pytest.approx(5.0, abs=0.1)
    assert "is cut off" in refused(index_first[: len(index_first) * 2 // 3])


def test_nan_in_a_float_wav():
    import soundfile

    for bad in (np.nan, np.inf):
        samples = tone(1.0, 16000)
        samples[12345] = bad
        out = io.BytesIO()
        soundfile.write(out, samples, 16000, format="WAV", subtype="FLOAT")
        assert "NaN or infinity" in refused(out.getvalue())


def test_what_is_no_source(monkeypatch):
    assert "cannot read sound from a int" in refused(5)
    assert "text mode" in refused(io.StringIO("x"))
    with pytest.raises(InputError, match="files know their own rate"):
        Speech.load(b"RIFF", rate=16000)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    assert "nothing is piped" in refused("-")


def test_damage_in_the_middle_is_played_over():
    """A few broken packets are no reason to refuse: players skip them too."""
    data = bytearray(encode("mp3", tone(4.0, 44100)))
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    assert Speech.load(bytes(data)).seconds == pytest.approx(4.0, abs=0.3)
