"""``jambatalk live --mic`` from end to end: a made-up sound card that speaks in real time, and a
real UDP receiver."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from jambatalk import load
from jambatalk.cli.console import handle_errors
from jambatalk.cli.live import live
from small_network import speechlike

RATE, BLOCK = 16000, 320

app = typer.Typer()
app.command()(handle_errors(live))


class Card:
    """A made-up module sounddevice whose one input gives ``sound`` in blocks of 20 ms, at their
    time.

    overflow_at: block before which 60 ms were lost. vanish_at: block from which on nothing comes;
    tells: whether the end of the
    stream is told then. busy: cannot be opened.
    """

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        self.sound, self.default = speechlike(4.0), SimpleNamespace(device=[0, 0])
        self.overflow_at, self.vanish_at, self.tells, self.busy = -1, 10**9, True, False
        self.closed = threading.Event()

    def query_devices(self) -> list[dict[str, Any]]:
        return [{"name": "Made-up mic", "max_input_channels": 1, "default_samplerate": float(RATE)}]

    def InputStream(
        self, callback: Any, finished_callback: Any, samplerate: int, blocksize: int, **options: Any
    ) -> Any:
        assert (samplerate, blocksize, options["dtype"]) == (RATE, BLOCK, "float32")
        if self.busy:
            raise self.PortAudioError("Device unavailable")

        def speak() -> None:
            began, lost = time.perf_counter(), 0
            for k in range(len(self.sound) // BLOCK):
                if k == self.vanish_at:
                    break
                lost += 960 if k == self.overflow_at else 0
                first = k * BLOCK + lost
                if self.closed.wait(max(began + (first + BLOCK) / RATE - time.perf_counter(), 0.0)):
                    break
                data = self.sound[first : first + BLOCK, None]
                if len(data) == BLOCK:
                    times, status = (
                        SimpleNamespace(inputBufferAdcTime=7.0 + first / RATE),
                        k == self.overflow_at,
                    )
                    callback(data, BLOCK, times, SimpleNamespace(input_overflow=status))
            if self.tells:
                finished_callback()

        self.thread = threading.Thread(target=speak, daemon=True)
        return SimpleNamespace(start=self.thread.start, close=self._close)

    def _close(self) -> None:
        self.closed.set()
        self.thread.join()


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    made = Card()
    monkeypatch.setitem(sys.modules, "sounddevice", made)  # type: ignore[arg-type]
    return made


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(0.5)
        yield listening


def listen(
    receiver: socket.socket, weights: Path, *arguments: str, **environment: str
) -> tuple[Result, list[dict[str, Any]]]:
    """(what the command said, the frames that came)"""
    to = f"udp-json://127.0.0.1:{receiver.getsockname()[1]}"
    result = CliRunner().invoke(
        app, ["--mic", "--model", str(weights), "--to", to, *arguments], env=environment
    )
    frames: list[dict[str, Any]] = []
    while True:
        try:
            message = json.loads(receiver.recv(65536))
        except TimeoutError:
            return result, frames
        if message["type"] == "frame":
            frames.append(message)


def test_it_ends_by_itself_and_comes_to_rest(
    card: Card, receiver: socket.socket, small_weights: Path
) -> None:
    result, frames = listen(receiver, small_weights, "--seconds", "1", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert card.closed.is_set()
    assert told["frames"] == told["links"][0]["sent"] == len(frames)
    assert (told["overflows"], told["dropped_samples"], told["interrupted"]) == (0, 0, False)
    session = load(small_weights).stream()
    expected = np.array([frame.weights for frame in session.push(card.sound[:RATE])])
    assert len(frames) > len(expected) > 5
    np.testing.assert_allclose(
        [frame["weights"] for frame in frames[: len(expected)]], expected, atol=1e-5
    )
    assert any(frames[len(expected) - 1]["weights"])
    assert not any(frames[-1]["weights"])
    assert 0 <= told["late_ms"] <= told["worst_latency_ms"]
    assert "frames sent, latency" not in result.stderr  # no terminal


@pytest.mark.parametrize("tells", [True, False])
def test_a_device_that_vanishes_is_one_sentence(
    card: Card,
    receiver: socket.socket,
    small_weights: Path,
    tells: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jambatalk.audio.microphone.SILENT_SECONDS", 0.5)
    card.vanish_at, card.tells = 40, tells
    result, frames = listen(receiver, small_weights, "--seconds", "60")
    assert result.exit_code == 2
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if "look-ahead" not in line]
    assert len(errors) == 1
    assert errors[0].startswith("error: the microphone 'Made-up mic' delivers no more sound")
    assert len(frames) > 10
    assert not any(frames[-1]["weights"])  # the face does not stay with its mouth open


def test_lost_sound_is_survived(card: Card, receiver: socket.socket, small_weights: Path) -> None:
    card.overflow_at = 20
    result, frames = listen(receiver, small_weights, "--seconds", "1.2", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["overflows"] == 1
    # Time goes on over the gap: a frame for each moment, none twice.
    assert [frame["time"] for frame in frames] == pytest.approx(
        [i / 25 for i in range(len(frames))]
    )
    assert len(frames) > 20


def test_a_device_that_cannot_be_opened(
    card: Card, receiver: socket.socket, small_weights: Path
) -> None:
    card.busy = True
    result, frames = listen(receiver, small_weights, "--seconds", "1")
    assert result.exit_code == 2
    assert (
        "error: the microphone 'Made-up mic' cannot be opened (Device unavailable)" in result.stderr
    )
    assert not frames


def test_a_terminal_shows_a_line_that_moves(
    card: Card, receiver: socket.socket, small_weights: Path
) -> None:
    result, frames = listen(
        receiver, small_weights, "--seconds", "1", COLUMNS="100", FORCE_COLOR="1", TERM="xterm"
    )
    assert result.exit_code == 0, result.output
    assert " s heard, " in result.stderr
    assert "frames sent, latency" in result.stderr
    assert result.stdout == ""
    assert frames
