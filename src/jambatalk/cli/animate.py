"""``jambatalk animate``: speech files in, talking heads out."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from jambatalk.atomic import file_sha256
from jambatalk.cli.batch import PIPE, Job, Manifests, Plan, plan
from jambatalk.cli.console import (
    ArticulationOption,
    LifeOption,
    ProgressConsole,
    ShapesOption,
    ThreadsOption,
    check_identity,
    check_shapes,
    counted,
    parse_fps,
    parse_size,
    progress_console,
)
from jambatalk.errors import BAD_INPUT, EXPECTED, InputError, one_line
from jambatalk.motion import FORMATS, check_outputs, format_names, format_of

if TYPE_CHECKING:
    from jambatalk.idle import IdleSettings
    from jambatalk.motion import Format, Motion
    from jambatalk.talker import Talker


def animate(
    inputs: Annotated[
        list[str],
        Argument(
            metavar="IN...",
            help="Sound or video files, folders, patterns, saved motions, pipes, or - .",
        ),
    ],
    out: Annotated[
        list[str] | None,
        Option(
            "-o",
            "--out",
            metavar="FILE",
            help=f"File to write ({' '.join(FORMATS)}), folder/, or - for standard output; "
            "may be repeated.",
        ),
    ] = None,
    out_dir: Annotated[
        str | None,
        Option(
            metavar="DIR",
            help="Folder for outputs named after the inputs.  [default: out, without -o]",
        ),
    ] = None,
    format: Annotated[
        str | None,
        Option(
            metavar="LIST",
            help=f"Formats for those, such as mp4,csv: {', '.join(format_names())}.  "
            "[default: mp4]",
        ),
    ] = None,
    fps: Annotated[
        str | None, Option(metavar="N", help="Frames per second.  [default: the network's own]")
    ] = None,
    size: Annotated[
        str, Option(metavar="WxH", help="Video size in pixels: 512 or 512x640.")
    ] = "512",
    identity: Annotated[
        str | None, Option(metavar="NAME", help="Who speaks, one of the head's identities.")
    ] = None,
    device: Annotated[str, Option(metavar="NAME", help="cpu or cuda.")] = "cpu",
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
            help="Your own character (.glb .gltf .vrm, or a folder of .obj), or the mesh "
            "(.obj .ply .npz) of a network that moves vertices.",
        ),
    ] = None,
    style: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Way of speaking, one of the weights' (jambatalk network lists them).",
        ),
    ] = None,
    articulation: ArticulationOption = 1.0,
    life: LifeOption = "auto",
    shapes: ShapesOption = "arkit",
    track: Annotated[
        int | None,
        Option(
            metavar="N",
            min=1,
            help="Sound track, from 1, of a file with several.  [default: the file's own]",
        ),
    ] = None,
    precision: Annotated[
        str, Option(metavar="NAME", help="float32; bfloat16 or float16 on a GPU.")
    ] = "float32",
    threads: ThreadsOption = None,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Of many inputs, also make those that are done.")
    ] = False,
    as_json: Annotated[
        bool, Option("--json", help="Print the result as JSON on standard output.")
    ] = False,
) -> None:
    """Make a talking head of speech: video, 3D animation or weights.

    Of several inputs, a folder or a pattern, what is made already is skipped, unless the input, the
    options or the weights have changed since. An input that cannot be read does not stop the
    others; the exit status is 2 if any failed.
    """
    from jambatalk.idle import IdleSettings

    pixels, rate = parse_size(size), parse_fps(fps)
    check_shapes(shapes)
    IdleSettings.for_output(life, picture=True)
    check_identity(identity)
    if as_json and PIPE in (out or []):
        raise InputError("-o - and --json both write to standard output: choose one of them")
    planned = plan(inputs, out or [], out_dir, format)
    with progress_console() as console:
        worker = _Worker(
            console,
            TalkerOptions(model, device, precision, face, style, articulation),
            rate,
            pixels,
            identity,
            life,
            shapes,
            track,
        )
        results = _run_all(planned, worker, overwrite, alone=not planned.batch and not as_json)
    failed = any(result["status"] == "failed" for result in results)
    if as_json:
        found = {"ok": not failed, "model": worker.description(), "results": results}
        typer.echo(json.dumps(found, indent=2))
    if failed:
        raise typer.Exit(BAD_INPUT)


def _run_all(planned: Plan, worker: _Worker, overwrite: bool, alone: bool) -> list[dict[str, Any]]:
    """Do the jobs; ``alone``: an error is raised, since there is nothing else to do."""
    console, manifests = worker.console, Manifests()
    results = []
    for job in planned.jobs:
        try:
            if job.problem is not None:
                raise InputError(job.problem)
            made_with = worker.made_with(job) if planned.batch else {}
            if planned.batch and not overwrite and manifests.is_done(job, made_with):
                results.append(_result(job, "skipped"))
                continue
            results.append(worker.run(job))
            if planned.batch:
                manifests.record(job, made_with)
        except EXPECTED as error:
            if alone:
                raise
            text = one_line(error)
            named = job.source in text or not planned.batch
            console.log(f"error: {text}" if named else f"error: {job.source}: {text}")
            results.append(_result(job, "failed") | {"error": text})
    if planned.batch:
        counts = Counter(result["status"] for result in results)
        console.log(", ".join(f"{counts[name]} {name}" for name in ("done", "skipped", "failed")))
    return results


@dataclass
class _Worker:
    """Does one job after another with one talker, which is loaded when the first sound was read."""

    console: ProgressConsole
    network: TalkerOptions
    fps: float | None
    size: tuple[int, int]
    identity: str | None
    life: str
    shapes: str = "arkit"
    track: int | None = None
    talker: Talker | None = None

    def run(self, job: Job) -> dict[str, Any]:
        """Do a job and return what happened. Raises InputError or OSError."""
        started = time.perf_counter()
        times: dict[str, float] = {}
        motion = self._loaded(job) if job.is_motion else self._animated(job, times)
        if self.fps is not None:
            motion = motion.resampled(self.fps)
        moved = _Variants(motion)
        options: dict[str, Any] = {"size": self.size, "identity": self.identity}
        for output in job.outputs:
            how = self._how(job, format_of(output))
            began = time.perf_counter()
            with self.console.progress(f"writing {output.name}") as report:
                moved.by(*how).save(output, progress=report, **options)
            times[f"write {output.suffix}"] = time.perf_counter() - began
        if job.stdout is not None:
            how = self._how(job, format_of(Path(f"-{job.stdout}")))
            moved.by(*how).save(sys.stdout.buffer, format=job.stdout[1:], **options)
            sys.stdout.buffer.flush()
        wall = time.perf_counter() - started
        names, pace = ", ".join(job.output_names), self._pace(motion, times)
        self.console.log(f"{job.source} ({motion.seconds:.1f} s) -> {names} in {wall:.1f} s{pace}")
        return _result(job, "done") | {
            "seconds": motion.speech.seconds if motion.speech is not None else motion.seconds,
            "frames": len(motion),
            "fps": motion.fps,
            "times": {name: round(value, 4) for name, value in times.items()},
        }

    def made_with(self, job: Job) -> dict[Path, dict[str, Any]]:
        """For each output, all that it depends on besides the input."""
        common: dict[str, Any] = {"fps": self.fps, "face": self._face_sha256}
        if not job.is_motion:
            common |= {
                "weights": self._weights_sha256,
                "style": self.network.style,
                "articulation": self.network.articulation,
                "precision": self.network.precision,
                "track": self.track,
            }
        made_with = {}
        for output in job.outputs:
            format = format_of(output)
            drawn: dict[str, Any] = {"identity": self.identity} if format.needs_face else {}
            if format.is_picture:
                drawn["size"] = list(self.size)
            fps, idle, shapes = self._how(job, format)
            if not idle.off:
                drawn["life"] = asdict(idle)
            if shapes != "arkit":
                drawn["shapes"] = shapes
            if fps is not None:
                drawn["fps"] = fps
            made_with[output] = common | drawn
        return made_with

    def _how(self, job: Job, format: Format) -> tuple[float | None, IdleSettings, str]:
        """Frame rate (None: the motion's), idle motion and shapes of one output.

        A saved motion keeps its rate, and gets no idle motion that was not asked for, since it may
        have its own; neither do vertices, which have no shapes for it. What shows a face keeps the
        face's own shapes.
        """
        from jambatalk.idle import IdleSettings

        vertices = self.talker is not None and not self.talker.names
        picture = format.is_picture and not job.is_motion and not vertices
        fps = format.fps if self.fps is None and not job.is_motion else None
        shows = format.needs_face or format.module.endswith(".vrma")
        shapes = "arkit" if shows else self.shapes
        return fps, IdleSettings.for_output(self.life, picture), shapes

    @cached_property
    def _weights_sha256(self) -> str | None:
        from jambatalk.models.checkpoint import find_weights
        from jambatalk.talker import DEFAULT_WEIGHTS

        weights = self.network.weights
        return _sha256(DEFAULT_WEIGHTS if weights is None else find_weights(weights))

    @cached_property
    def _face_sha256(self) -> str | None:
        if self.network.face is None:
            return None
        names = Path(self.network.face).with_suffix(".yaml")  # what its shapes mean, if it is there
        return "".join(filter(None, (_sha256(self.network.face), _sha256(names))))

    def description(self) -> dict[str, Any] | None:
        """What made the motions; None if no network was needed."""
        if self.talker is None:
            return None
        streaming = self.talker.model.config.streaming
        return {
            "sha256": self.talker.weights_sha256,
            "look_ahead_ms": self.talker.look_ahead_ms if streaming else None,
            "fps": self.talker.fps,
            "device": self.network.device,
            "style": self.network.style or next(iter(self.talker.styles), None),
        }

    def _loaded(self, job: Job) -> Motion:
        from jambatalk.motion import Motion

        motion = Motion.load(job.source)
        if self.network.face is None:
            return motion
        from jambatalk.face.face import Face

        return replace(motion, face=Face.load(self.network.face))

    def _animated(self, job: Job, times: dict[str, float]) -> Motion:
        from jambatalk.audio import Speech
        from jambatalk.idle import IdleSettings

        began = time.perf_counter()
        with self.console.progress(f"reading {job.source}"):
            speech = Speech.load(job.source, track=self.track)
        for note in speech.notes:
            self.console.log(f"note: {note}")
        times["read"] = time.perf_counter() - began
        if self.talker is None:
            began = time.perf_counter()
            with self.console.progress("loading the network"):
                self.talker = load_warm(self.network)
            times["load"] = time.perf_counter() - began
            weights = self.talker.weights_sha256[:12]
            self.console.log(f"look-ahead {look_ahead(self.talker)}, weights {weights}")
        asked = IdleSettings.for_output(self.life, picture=False)
        _check_vertices(self.talker, job, asked)
        began = time.perf_counter()
        with self.console.progress(f"animating {job.source}") as report:
            # Block by block: hours of sound pass through without ever being in memory at once.
            motion = self.talker.animate_blocks(
                counted(speech.blocks(), len(speech.samples), report), speech
            )
        times["animate"] = time.perf_counter() - began
        if not len(motion):
            raise InputError(f"{job.source} is too short to animate ({speech.seconds:.3f} s)")
        return motion

    def _pace(self, motion: Motion, times: dict[str, float]) -> str:
        if "animate" not in times:
            return ""
        pace = motion.seconds / times["animate"]
        return f" (speech to motion {times['animate']:.2f} s, {pace:.0f} times real time)"


class _Variants:
    """A motion, and the same at another rate, with idle motion, on other shapes: each made once for
    all files that hold it."""

    def __init__(self, motion: Motion) -> None:
        self._motion, self._made = motion, dict[Any, Any]()

    def by(self, fps: float | None, idle: IdleSettings, shapes: str = "arkit") -> Motion:
        """The motion made so; ``fps`` None keeps its rate."""
        from jambatalk.idle import add_idle_motion

        key = (fps, idle, shapes)
        if key not in self._made:
            motion = self._motion if fps is None else self._motion.resampled(fps)
            motion = motion if idle.off else add_idle_motion(motion, idle)
            self._made[key] = motion if shapes == "arkit" else motion.to_shapes(shapes)
        made: Motion = self._made[key]
        return made


def _check_vertices(talker: Talker, job: Job, idle: IdleSettings) -> None:
    """InputError, before the long work, if what a network of vertices makes cannot be written."""
    if talker.names:
        return
    if not idle.off:
        raise InputError(
            "--life moves shapes such as eyeBlinkLeft, but this network moves vertices: "
            "leave it off"
        )
    count = talker.model.config.outputs // 3
    for output in [*job.outputs, *([Path(f"-{job.stdout}")] if job.stdout else [])]:
        format = format_of(output)
        if not format.takes_offsets:
            raise InputError(
                f"{output}: {output.suffix.lower()} holds shape weights, "
                f"but this network moves {count:,} vertices: save it as .npz"
            )
        if format.needs_face and talker.face is None:
            raise InputError(
                f"{output}: this network moves the {count:,} vertices of a mesh, "
                "say which: --face MESH"
            )


def _result(job: Job, status: str) -> dict[str, Any]:
    return {"input": job.source, "outputs": [str(path) for path in job.outputs], "status": status}


def _sha256(path: str | Path) -> str | None:
    """None for a file that cannot be read: loading it will say why."""
    try:
        return file_sha256(path)
    except OSError:
        return None


@dataclass(frozen=True)
class TalkerOptions:
    """Which network to load and where to; None: the weights in the package, and their face."""

    weights: str | None = None
    device: str = "cpu"
    precision: str = "float32"
    face: str | None = None
    style: str | None = None
    articulation: float = 1.0


def load_warm(options: TalkerOptions) -> Talker:
    """Load the network and animate a moment of silence.

    The first sound compiles kernels (or reads them from numba's cache); done here, it does not blur
    the times that follow.
    """
    import numpy as np

    import jambatalk

    face = None
    if options.face is not None:
        from jambatalk.face.face import Face

        face = Face.load(options.face)
    talker = jambatalk.load(
        options.weights,
        options.device,
        options.precision,
        face,
        options.style,
        options.articulation,
    )
    talker.animate_blocks([np.zeros(1600, np.float32)])
    return talker


def look_ahead(talker: Talker) -> str:
    """The look-ahead in words."""
    streaming = talker.model.config.streaming
    return f"{talker.look_ahead_ms:.0f} ms" if streaming else "the whole recording"


def demo(
    out: Annotated[
        str, typer.Option("-o", "--out", metavar="FILE", help="File to write.")
    ] = "out/demo.mp4",
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Video size in pixels: 512 or 512x640.")
    ] = "512",
    identity: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who speaks, one of the head's identities.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu or cuda.")] = "cpu",
    life: LifeOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Animate nine seconds of recorded speech that come with the package."""
    from jambatalk.idle import IdleSettings

    pixels = parse_size(size)
    check_identity(identity)
    check_outputs([out])
    idle = IdleSettings.for_output(life, format_of(Path(out)).is_picture)
    with progress_console() as console:
        started = time.perf_counter()
        with console.progress("loading the network"):
            from jambatalk.audio import Speech

            speech = Speech.load((files("jambatalk") / "assets" / "demo.flac").read_bytes())
            talker = load_warm(TalkerOptions(device=device))
        began = time.perf_counter()
        with console.progress("animating") as report:
            motion = talker.animate_blocks(
                counted(speech.blocks(), len(speech.samples), report), speech
            )
        animated = time.perf_counter()
        with console.progress(f"writing {out}") as report:
            fps = format_of(Path(out)).fps
            made = _Variants(motion).by(fps, idle)
            made.save(out, size=pixels, identity=identity, progress=report)
        written = time.perf_counter()
    motion_time, write_time = animated - began, written - animated
    pace = f"{speech.seconds / motion_time:.0f} times real time"
    # The sound track of the video is as good an input as any; a glb file cannot be read.
    source = "your-own.wav" if out.endswith(".glb") else out
    typer.echo(
        f"{out}: {speech.seconds:.1f} s of speech to motion in {motion_time:.2f} s ({pace}, "
        f"look-ahead {talker.look_ahead_ms:.0f} ms), drawn and written in {write_time:.1f} s, "
        f"ready after {began - started:.1f} s\n"
        f"now try: {command_name()} animate {source} -o talk.csv"
    )


def command_name() -> str:
    """How this shell can start jambatalk: by name where it is on the PATH, else by its path."""
    if shutil.which("jambatalk"):
        return "jambatalk"
    script = Path(sys.executable).with_name("jambatalk.exe" if os.name == "nt" else "jambatalk")
    if not script.exists():
        return f"{sys.executable} -m jambatalk"
    try:
        return os.path.relpath(script)
    except ValueError:  # another drive of Windows
        return str(script)
