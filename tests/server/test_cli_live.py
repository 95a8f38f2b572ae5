"""``jambatalk live``, pacing and the microphone: with a real socket, a made-up clock and a made-up
sound card."""

from __future__ import annotations

import json
import socket
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from jambatalk import load
from jambatalk.audio.microphone import Microphone, choose, devices
from jambatalk.cli.console import handle_errors
from jambatalk.cli.live import Run, live
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.senders.base import Pacer
from jambatalk.session import Frame
from small_network import speechlike

app = typer.Typer()
app.command()(handle_errors(live))


class Clock:
    def __init__(self):
        self.now, self.slept = 100.0, []

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_pacing_has_no_drift_and_catches_up():
    clock = Clock()
    pacer = Pacer(clock=clock.time, sleep=clock.sleep)
    pacer.start()
    for i in range(100):
        clock.now += 0.003  # work
        assert pacer.wait(i / 25) == pytest.approx(0.003 if i == 0 else 0)
    assert clock.now == pytest.approx(100 + 99 / 25)
    clock.now += 0.1
    assert [round(pacer.wait(i / 25), 6) > 0 for i in range(100, 104)] == [True, True, False, False]
    assert clock.now == pytest.approx(100 + 103 / 25)


def test_pacing_follows_another_clock_within_its_slack():
    clock = Clock()
    pacer = Pacer(0.1, clock.time, clock.sleep)
    for i in range(2000):  # a sound card that runs one percent fast
        arrived = 100 + i / 25 / 1.01
        clock.now = max(clock.now, arrived)
        pacer.wait(i / 25, arrived)
    assert clock.now - (100 + 1999 / 25 / 1.01) <= 0.1 + 1e-6


def test_a_file_over_a_real_socket_is_the_offline_motion(small_weights, tmp_path):
    soundfile.write(tmp_path / "a.wav", speechlike(1.0), 16000, subtype="FLOAT")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        for receiver in (one, two):
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(10)
        result = run(
            "--file",
            tmp_path / "a.wav",
            "--model",
            small_weights,
            "--json",
            "--to",
            f"udp-json://127.0.0.1:{one.getsockname()[1]}",
            "--to",
            f"livelink://127.0.0.1:{two.getsockname()[1]}",
        )
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        frames = []
        while len(frames) < told["frames"]:
            text = json.loads(one.recv(8000))
            frames += [text] if text["type"] == "frame" else []
        assert len(two.recv(2000)) > 264
    motion = load(small_weights).animate(tmp_path / "a.wav")
    sent = np.array([frame["weights"] for frame in frames])
    np.testing.assert_allclose(sent[: len(motion)], motion.weights, atol=1e-5)
    assert [frame["time"] for frame in frames[: len(motion)]] == pytest.approx(
        [i / 25 for i in range(len(motion))]
    )
    assert len(frames) > len(motion)
    assert not sent[-1].any()
    assert [link["sent"] for link in told["links"]] == [told["frames"]] * 2


class Told:
    """A link that keeps what it is told; Ctrl-C comes with the third frame."""

    def __init__(self, stop=None):
        self.frames, self.stop = [], stop
        self.target, self.sent, self.failed = SimpleNamespace(url="told"), 0, 0

    def send(self, frame):
        self.frames.append(frame)
        if len(self.frames) == self.stop:
            raise KeyboardInterrupt


def test_ctrl_c_brings_the_face_to_rest(small_weights):
    clock, link = Clock(), Told(stop=3)
    one = Run(
        load(small_weights).stream(), [link], 25.0, Pacer(clock=clock.time, sleep=clock.sleep)
    )
    with one.rested():
        one.play(SimpleNamespace(samples=speechlike(2.0), rate=16000), None, False, False)
    assert one.interrupted
    assert len(link.frames) > 3
    assert not link.frames[-1].weights.any()
    assert [frame.time for frame in link.frames[3:]] == sorted(
        frame.time for frame in link.frames[3:]
    )


def test_a_loop_is_turn_after_turn(small_weights):
    clock, link = Clock(), Told()
    one = Run(
        load(small_weights).stream(), [link], 25.0, Pacer(clock=clock.time, sleep=clock.sleep)
    )
    one.play(SimpleNamespace(samples=speechlike(0.4), rate=16000), 1.0, True, False)
    turns = [frame.turn for frame in link.frames]
    assert turns == sorted(turns)
    assert set(turns) == {0, 1, 2}
    assert clock.now == pytest.approx(101.0, abs=0.05)  # the made-up clock


class Card(SimpleNamespace):
    """A made-up sounddevice."""

    PortAudioError = RuntimeError

    def __init__(self):
        inputs = [("Speakers", 0), ("USB mic", 1), ("USB headset", 2)]
        super().__init__(default=SimpleNamespace(device=[2, 0]), InputStream=self._stream)
        self.found = [
            {"name": n, "max_input_channels": c, "default_samplerate": 48000.0} for n, c in inputs
        ]

    def query_devices(self):
        return self.found

    def _stream(self, callback, **options):
        self.callback, self.options = callback, options
        return SimpleNamespace(start=lambda: None, close=lambda: None)

    def say(self, count, seconds, overflow=False):
        when, status = (
            SimpleNamespace(inputBufferAdcTime=seconds),
            SimpleNamespace(input_overflow=overflow),
        )
        self.callback(np.full((count, 1), 0.1, np.float32), count, when, status)


@pytest.fixture
def card(monkeypatch):
    made = Card()
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    return made


def test_microphones_by_name_and_number(card):
    assert [device.index for device in devices()] == [1, 2]
    assert choose(None).index == 2
    assert choose("1").index == 1
    assert choose("headset").index == 2
    for wanted in ("usb", "0", "nothing"):
        with pytest.raises(InputError, match="--device-name"):
            choose(wanted)
    assert "1: USB mic" in run("--list-devices").stdout
    card.found = card.found[:1]
    with pytest.raises(InputError, match="no microphone"):
        choose(None)


def test_lost_sound_is_a_gap(card):
    with Microphone("USB mic") as mic:
        card.say(960, 7.0)
        card.say(960, 7.02)
        card.say(960, 7.10, overflow=True)  # 60 ms are missing
        assert [mic.read(1).at for _ in range(3)] == [0, 960, 4800]
        for i in range(150):
            card.say(960, 7.12 + i / 50)
        assert mic.overflows == 1
        assert mic.dropped == 50 * 960
        assert mic.read(1).at == 5760
        while mic.read(0.01) is not None:
            pass
        card.say(960, 11.0)
        assert mic.read(1).at == 5760 + 150 * 960  # what nobody read is a gap, too
        assert mic.read(0.01) is None


def test_gaps_reach_the_session():
    pieces = [
        SimpleNamespace(samples=np.zeros(480, np.float32), at=at, arrived=None)
        for at in (0, 480, 4800)
    ]
    told, link, clock = [], Told(), Clock()

    class Session:
        def push(self, samples, at):
            told.append(at)
            return [Frame(at / 48000, np.zeros(1, np.float32), ("jawOpen",))]

    microphone = SimpleNamespace(rate=48000, read=lambda timeout: pieces[len(told)])
    Run(Session(), [link], 25.0, Pacer(0.1, clock.time, clock.sleep)).listen(microphone, 0.1)
    assert told == [0, 480, 4800]
    assert len(link.frames) == 3


def test_without_sounddevice_or_portaudio(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r'pip install "jambatalk\[mic\]"'):
        devices()


def test_without_targets_they_are_listed():
    result = run("--mic")
    assert result.exit_code == 0
    assert "livelink://" in result.stdout
    assert "vmc://" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--mic", "--file", "a.wav"),
        ("--mic", "--loop"),
        ("--mic", "--play"),
        ("--file", "missing.wav"),
        ("--file", "a", "--fps", "x"),
        ("--file", "a", "--seconds", "0"),
        ("--file", "a", "--seconds", "nan"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments):
    result = run(*arguments, "--to", "vmc://127.0.0.1")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_a_bad_target(small_weights, tmp_path):
    soundfile.write(tmp_path / "a.wav", speechlike(0.2), 16000)
    result = run("--file", tmp_path / "a.wav", "--model", small_weights, "--to", "fax://me:1")
    assert result.exit_code == 2
    assert "fax://" in result.stderr
