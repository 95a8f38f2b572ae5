"""``jambatalk live``: a microphone or a file moves faces in other programs, as it is heard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from jambatalk.cli.animate import TalkerOptions, load_warm
from jambatalk.cli.console import ArticulationOption, ThreadsOption, parse_fps
from jambatalk.errors import InputError

if TYPE_CHECKING:
    from jambatalk.audio import Speech
    from jambatalk.senders import Sender
    from jambatalk.senders.base import Pacer
    from jambatalk.session import Frame, Session
    from jambatalk.talker import Talker

STEP_SECONDS = 0.04
SLACK_SECONDS = 0.1


def live(
    mic: Annotated[bool, Option("--mic", help="Listen to the microphone.")] = False,
    file: Annotated[
        str | None, Option("--file", metavar="IN", help="Play a sound or video file, or - .")
    ] = None,
    to: Annotated[
        list[str] | None,
        Option("--to", metavar="URL", help="Receiver; may be repeated; none: list them."),
    ] = None,
    loop: Annotated[bool, Option("--loop", help="Play the file again and again.")] = False,
    play: Annotated[bool, Option("--play", help="Also let the file be heard here.")] = False,
    fps: Annotated[
        str | None, Option(metavar="N", help="Frames per second.  [default: the network's own]")
    ] = None,
    style: Annotated[
        str | None, Option(metavar="NAME", help="Way of speaking, one of the weights'.")
    ] = None,
    life: Annotated[
        str,
        Option(metavar="LAYERS", help="Blinks, gaze, head, breath: on, off, or blinks=0.5,head=0."),
    ] = "off",
    device_name: Annotated[
        str | None, Option(metavar="NAME", help="Microphone, by name or number.")
    ] = None,
    list_devices: Annotated[
        bool, Option("--list-devices", help="List the microphones and end.")
    ] = False,
    seconds: Annotated[
        float | None, Option(metavar="N", help="End after so many seconds of sound.")
    ] = None,
    model: Annotated[
        str | None,
        Option(
            metavar="WEIGHTS",
            help="A weights file, or base or light: those in the package.  [default: base]",
        ),
    ] = None,
    face: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Your own character (.glb .gltf .vrm): receivers get its own shapes, or a VRM's "
            "expressions; livelink:// stays with ARKit's.",
        ),
    ] = None,
    articulation: ArticulationOption = 1.0,
    device: Annotated[str, Option(metavar="NAME", help="cpu or cuda.")] = "cpu",
    threads: ThreadsOption = None,
    as_json: Annotated[
        bool, Option("--json", help="Print the result as JSON on standard output.")
    ] = False,
) -> None:
    """Move faces in Unreal, VRM avatars and anything else that listens, in real time. Ctrl-C brings
    them to rest and ends."""
    if list_devices:
        _list_devices(as_json)
        return
    if not to:
        _list_targets(as_json)
        return
    if mic == (file is not None):
        raise InputError("what is to be heard? Expected either --mic or --file")
    if mic and (loop or play):
        raise InputError(f"{'--loop' if loop else '--play'} goes with --file, not with --mic")
    if seconds is not None and not seconds > 0:
        raise InputError(f"--seconds is {seconds}, expected more than 0")
    from jambatalk.audio import Speech
    from jambatalk.audio.microphone import Microphone
    from jambatalk.cli.console import progress_console
    from jambatalk.face.face import Face
    from jambatalk.idle import IdleSettings
    from jambatalk.senders import open_sender
    from jambatalk.senders.base import Pacer

    frame_rate, layers = parse_fps(fps), IdleSettings.parse(life)
    with ExitStack() as stack:
        with progress_console() as console:
            character = Face.load(face) if face is not None else None
            speech = Speech.load(file) if file is not None else None
            microphone = Microphone(device_name) if mic else None
            with console.progress("loading the network"):
                talker: Talker = load_warm(
                    TalkerOptions(model, device, style=style, articulation=articulation)
                )
            session = talker.stream(
                microphone.rate if microphone is not None else 16000, fps=frame_rate, life=layers
            )
            rate = session.fps
            links = []
            for url in to:
                links.append(open_sender(url, session.names, rate, character))
                stack.callback(links[-1].close)
            run = Run(session, links, rate, Pacer(SLACK_SECONDS if mic else None))
            console.log(
                f"look-ahead {session.look_ahead_ms:.0f} ms, {rate:g} frames per second; Ctrl-C "
                "ends"
            )
        with status_line(run.status), run.rested():
            if microphone is not None:
                with microphone:
                    run.listen(microphone, seconds)
            elif speech is not None:
                run.play(speech, seconds, loop, play)
        result = run.result()
        if microphone is not None:
            result |= {"overflows": microphone.overflows, "dropped_samples": microphone.dropped}
        with progress_console() as console:
            for link in result["links"]:
                console.log(f"{link['to']}: {link['sent']} frames sent, {link['failed']} failed")
            console.log(f"{run.frames} frames, late by {result['late_ms']:.1f} ms on average")
    if as_json:
        typer.echo(json.dumps(result, indent=2))


@dataclass
class Run:
    """Frames from one session to several links, each at its time.

    heard: seconds of sound. latency, worst: of the latest frame, and the longest, in seconds from
    the arrival of the last sound
    that the frame needed to its last packet; of a recording, which is heard ahead of time, from the
    frame's moment.
    """

    session: Session
    links: list[Sender]
    fps: float
    pacer: Pacer
    heard: float = 0.0
    frames: int = 0
    late: float = 0.0  # seconds, added up
    latency: float = 0.0
    worst: float = 0.0
    last: Frame | None = field(default=None)
    interrupted: bool = False

    def send(self, frame: Frame, arrived: float | None = None) -> None:
        """Wait for the frame's time, then send it to everyone; arrived: when a microphone's sound
        for it came."""
        late = self.pacer.wait(frame.time, arrived)
        due = self.pacer.clock() - late if arrived is None else arrived
        for link in self.links:
            link.send(frame)
        self.late, self.latency = self.late + late, self.pacer.clock() - due
        self.worst = max(self.worst, self.latency)
        self.frames, self.last = self.frames + 1, frame

    def status(self) -> str:
        """One line for whoever watches."""
        return (
            f"{self.heard:.1f} s heard, {self.frames} frames sent, "
            f"latency {1000 * self.latency:.0f} ms, at worst {1000 * self.worst:.0f} ms"
        )

    @contextmanager
    def rested(self) -> Iterator[None]:
        """Whatever ends the block, the faces come to rest; Ctrl-C ends it in order."""
        try:
            yield
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            for frame in _to_rest(self.last, self.fps):
                self.send(frame)

    def play(self, speech: Speech, seconds: float | None, loop: bool, aloud: bool) -> None:
        """A recording at its own speed. The network runs it ahead of time, so that frames leave at
        their own moment."""
        samples = speech.samples
        if seconds is not None and not loop:
            samples = samples[: max(round(seconds * speech.rate), 1)]
        length, played = len(samples) / speech.rate, 0.0
        with _aloud(samples, speech.rate, loop, aloud) as delay:
            self.pacer.start(delay)
            while True:
                step = round(STEP_SECONDS * speech.rate)
                for start in range(0, len(samples), step):
                    for frame in self.session.push(samples[start : start + step]):
                        self.send(frame)
                        self.heard = played + frame.time
                        if seconds is not None and played + frame.time >= seconds:
                            return
                for frame in self.session.flush():
                    self.send(frame)
                    self.heard = played + frame.time
                if not loop:
                    return
                played += length
                self.pacer.shift(length)

    def listen(self, microphone: Any, seconds: float | None) -> None:
        """A microphone, until ``seconds`` of sound or Ctrl-C. Frames keep a constant distance; the
        look-ahead is inherent."""
        while True:
            piece = microphone.read(0.1)
            if piece is None:
                continue
            self.heard = (piece.at + len(piece.samples)) / microphone.rate
            for frame in self.session.push(piece.samples, at=piece.at):
                self.send(frame, piece.arrived)
            if seconds is not None and self.heard >= seconds:
                return

    def result(self) -> dict[str, Any]:
        """What happened, for --json."""
        return {
            "ok": True,
            "frames": self.frames,
            "fps": self.fps,
            "interrupted": self.interrupted,
            "late_ms": round(1000 * self.late / max(self.frames, 1), 3),
            "worst_latency_ms": round(1000 * self.worst, 3),
            "links": [
                {"to": link.target.url, "sent": link.sent, "failed": link.failed}
                for link in self.links
            ],
        }


def _to_rest(last: Frame | None, fps: float) -> list[Frame]:
    """From the last frame that was *sent* (the session may be ahead of it) to the neutral face."""
    if last is None or not (last.weights > 0).any():
        return []
    from jambatalk.streaming.overlay import fade_to_neutral

    weights = fade_to_neutral(last.weights, fps)
    poses: Any = (
        fade_to_neutral(last.head_pose, fps)
        if last.head_pose is not None
        else [None] * len(weights)
    )
    return [
        replace(last, time=last.time + i / fps, index=last.index + i, weights=row, head_pose=pose)
        for i, (row, pose) in enumerate(zip(weights, poses, strict=True), 1)
    ]


@contextmanager
def status_line(text: Callable[[], str]) -> Iterator[None]:
    """While the block runs, a line on standard error that follows ``text``; nothing where that is
    no terminal."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with Live(
        get_renderable=lambda: Text(text(), no_wrap=True, overflow="ellipsis"),
        console=console,
        refresh_per_second=5,
        transient=True,
    ):
        yield


@contextmanager
def _aloud(samples: Any, rate: int, loop: bool, wanted: bool) -> Iterator[float]:
    """Plays the sound while the block runs; gives the seconds until it is heard."""
    if not wanted:
        yield 0.0
        return
    from jambatalk.audio.microphone import require_sounddevice

    sounddevice = require_sounddevice()
    try:
        sounddevice.play(samples, rate, loop=loop)
        delay = float(sounddevice.get_stream().latency)
    except sounddevice.PortAudioError as error:
        raise InputError(f"the sound cannot be played here ({error})") from error
    try:
        yield delay
        # After the last frame the sound card still has some to say.
        if not loop:
            sounddevice.wait()
    finally:
        sounddevice.stop()


def _list_targets(as_json: bool) -> None:
    from jambatalk.senders import SENDERS

    if as_json:
        typer.echo(
            json.dumps(
                [{"to": kind.form, "receivers": kind.receivers} for kind in SENDERS.values()],
                indent=2,
            )
        )
        return
    typer.echo("Say where to with --to, once per receiver:")
    for kind in SENDERS.values():
        typer.echo(f"  {kind.form}\n      {kind.receivers}")


def _list_devices(as_json: bool) -> None:
    from jambatalk.audio.microphone import devices

    found = devices()
    if as_json:
        typer.echo(json.dumps([vars(device) for device in found], indent=2))
        return
    for device in found:
        typer.echo(
            f"{device.index}: {device.name} ({device.rate} "
            f"Hz){' (default)' if device.default else ''}"
        )
    if not found:
        typer.echo("no sound inputs")
