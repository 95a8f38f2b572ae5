"""The motion's clock is the file's: gaps are silence, a late track begins late, priming is cut."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from av.stream import Disposition

import jambatalk.audio.decode as decode
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from sounds import encode, frequency, remuxed, tone


def edges(samples: np.ndarray) -> tuple[float, float]:
    """Seconds of the first and the last loud sample."""
    loud = np.flatnonzero(np.abs(samples) > 0.1)
    return loud[0] / 16000, loud[-1] / 16000


@pytest.mark.parametrize(
    ("codec", "container"),
    [
        ("mp4", "mp4"),
        ("mp4", "mov"),
        ("mp4", "matroska"),
        ("mp4", "mpegts"),
        ("mkv", "nut"),
        ("mp4", "asf"),
    ],
)
def test_a_track_that_begins_after_the_pictures(codec, container):
    data = encode(codec, tone(2.0, 48000), video=True)
    plain = Speech.load(remuxed(data, container)).samples
    late = Speech.load(remuxed(data, container, late=0.7)).samples
    assert edges(late)[0] - edges(plain)[0] == pytest.approx(0.7, abs=0.025)
    assert edges(late)[1] - edges(plain)[1] == pytest.approx(0.7, abs=0.025)
    assert np.abs(late[:10000]).max() < 0.01


def test_priming_of_aac_is_no_delay():
    """The encoder's first 1024 samples come before the sound, whenever the track begins."""
    data = encode("mp4", tone(2.0, 48000), video=True)
    assert edges(Speech.load(data).samples)[0] == pytest.approx(0.0, abs=0.002)
    late = Speech.load(remuxed(data, "mp4", late=0.7)).samples
    assert edges(late)[0] == pytest.approx(0.7, abs=0.002)


@pytest.mark.parametrize("container", ["matroska", "webm", "ogg", "mp4", "nut", "mpegts"])
@pytest.mark.parametrize("gap", [(0.5, 1.1), (1.0, 1.04), (0.2, 1.9)])
def test_gaps_of_calls_become_silence(container, gap):
    whole = encode("webm", tone(3.0, 48000))
    samples = Speech.load(remuxed(whole, container, gap=gap)).samples
    assert len(samples) / 16000 == pytest.approx(3.0, abs=0.03)
    assert edges(samples)[1] == pytest.approx(3.0, abs=0.03)
    inside = samples[round((gap[0] + 0.012) * 16000) : round((gap[1] - 0.012) * 16000)]
    assert np.abs(inside).max() < 0.32
    if gap[1] - gap[0] > 0.1:
        assert np.sqrt(np.mean(inside**2)) < 0.05
    assert frequency(samples[round(2.0 * 16000) :]) == pytest.approx(440, abs=2)


def test_single_lost_packets_add_up_to_nothing():
    """Twenty packets of 20 ms lost one by one: the end stays within a frame of motion."""
    out = io.BytesIO()
    with (
        av.open(io.BytesIO(encode("webm", tone(4.0, 48000)))) as given,
        av.open(out, "w", format="matroska") as made,
    ):
        stream = made.add_stream_from_template(given.streams.audio[0])
        for number, packet in enumerate(given.demux()):
            if packet.dts is not None and number % 10 != 5:
                packet.stream = stream
                made.mux(packet)
    samples = Speech.load(out.getvalue()).samples
    assert edges(samples)[1] == pytest.approx(4.0, abs=0.04)


def test_a_damaged_time_stamp_is_not_a_pause():
    encode("webm", tone(3.0, 48000))

    class Frame:
        samples, sample_rate, format = 160, 16000, av.AudioFormat("flt")

        def __init__(self, time):
            self.time = time

        def to_ndarray(self):
            return np.zeros((1, 160), np.float32)

    with pytest.raises(InputError, match="hole of 7200 s"):
        list(decode.on_the_clock([Frame(0.0), Frame(7200.01)], "x.mkv", 0.0, 0.0))
    many = [Frame(3000.0 * k) for k in range(20)]
    with pytest.raises(InputError, match="time stamps are damaged"):
        for _ in decode.on_the_clock(many, "x.mkv", 0.0, 0.0):
            pass
    back = [Frame(5.0), Frame(5.01), Frame(0.0), Frame(0.01)]  # a recorder that was started anew
    assert sum(len(block) for block, _ in decode.on_the_clock(back, "x.ogg", 5.0, 5.0)) == 640
    jump = [Frame(5.0), Frame(5.01), Frame(90.0)]
    blocks = decode.on_the_clock(jump, "x.ts", 5.0, 5.0, restarts=True)
    assert sum(len(block) for block, _ in blocks) == 480


def two_tracks(default: int | None = None, silent_first: bool = False) -> bytes:
    """A Matroska file with tones of 440 and 880 Hz on two tracks; the default one is marked."""
    out = io.BytesIO()
    with av.open(out, "w", format="matroska", options={"default_mode": "passthrough"}) as file:
        streams = [file.add_stream("pcm_s16le", rate=16000) for _ in range(2)]
        for number, (stream, language) in enumerate(zip(streams, ("deu", "eng"))):
            stream.layout = "mono"
            stream.metadata["language"] = language
            if number == default:
                stream.disposition = Disposition.default
        for number, stream in enumerate(streams):
            level = 0.0 if silent_first and number == 0 else 0.3
            values = (tone(1.0, 16000, 440.0 * (1 + number), level) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(values[None], format="s16", layout="mono")
            frame.sample_rate = 16000
            file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    return out.getvalue()


def test_one_of_several_tracks_is_named():
    for given, number, hertz in ((None, 1, 440), (0, 1, 440), (1, 2, 880)):
        speech = Speech.load(two_tracks(given))
        assert frequency(speech.samples) == pytest.approx(hertz, abs=2)
        language = ("deu", "eng")[number - 1]
        assert f"2 sound tracks, number {number} ({language}) is used" in speech.notes[0]
    for track, hertz in ((1, 440), (2, 880)):
        speech = Speech.load(two_tracks(1), track=track)
        assert frequency(speech.samples) == pytest.approx(hertz, abs=2)
        assert speech.notes == ()
    for track in (0, 3):
        with pytest.raises(InputError, match=f"no sound track {track}: it has 2"):
            Speech.load(two_tracks(), track=track)
    assert Speech.load(encode("mkv", tone(1.0, 48000))).notes == ()


def test_a_silent_first_track_hints_at_the_others():
    notes = Speech.load(two_tracks(0, silent_first=True)).notes
    assert "number 1 (deu) is used" in notes[0]
    assert "this track is silent" in notes[1]
    assert "1 to 2 with --track" in notes[1]
