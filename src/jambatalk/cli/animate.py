"""``jambatalk animate``: speech files in, talking heads out."""

from __future__ import annotations

import glob
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from jambatalk.cli.console import ThreadsOption, check_identity, parse_fps, parse_size
from jambatalk.errors import BAD_INPUT, EXPECTED, InputError, one_line
from jambatalk.motion import (
    FORMATS,
    check_outputs,
    format_names,
    format_of,
    is_motion_file,
    suffix_of,
)

if TYPE_CHECKING:
    from jambatalk.cli.console import ProgressConsole
    from jambatalk.idle import IdleSettings
    from jambatalk.motion import Motion
    from jambatalk.talker import Talker

# A talker that is ready to work: loaded, and its kernels compiled.


@dataclass(frozen=True)
class TalkerOptions:
    """Which network to load and where to; None: the weights in the package, and the face that goes with them."""

    weights: str | None = None
    device: str = "cpu"
    precision: str = "float32"
    face: str | None = None
    style: str | None = None


def load_warm(network: TalkerOptions) -> Talker:
    """Load the network and let it hear a moment of silence.

    The first sound compiles kernels (or reads them from numba's cache); done here, it does not blur the times that follow.
    """
    import numpy as np

    import jambatalk

    face = None
    if network.face is not None:
        from jambatalk.face.mesh import load_mesh

        face = load_mesh(network.face)
    talker = jambatalk.load(network.weights, network.device, network.precision, face, network.style)
    talker.animate_blocks([np.zeros(1600, np.float32)])
    return talker


def look_ahead(talker: Talker) -> str:
    """The look-ahead in words."""
    return (
        f"{talker.look_ahead_ms:.0f} ms" if talker.model.config.streaming else "the whole recording"
    )


def animate(
    inputs: Annotated[
        list[str],
        Argument(
            metavar="IN...", help="Sound or video files, folders, patterns, saved motions, or - ."
        ),
    ],
    out: Annotated[
        list[str] | None,
        Option(
            "-o",
            "--out",
            metavar="FILE",
            help=f"File to write ({' '.join(FORMATS)}) or folder/; may be repeated.",
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
            help=f"Formats for those, such as mp4,csv: {', '.join(format_names())}.  [default: mp4]",
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
        Option(metavar="WEIGHTS", help="Weights to use.  [default: those in the package]"),
    ] = None,
    face: Annotated[
        str | None,
        Option(
            metavar="MESH", help="Template mesh (.obj .ply .npz) for a network that moves vertices."
        ),
    ] = None,
    style: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Way of speaking, one of the weights' (jambatalk network lists them).",
        ),
    ] = None,
    life: Annotated[
        str,
        Option(
            metavar="LAYERS",
            help="Blinks, gaze, head motion, breath: on, off, or such as blinks=0.5,head=0,seed=7.",
        ),
    ] = "off",
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

    Of several inputs, a folder or a pattern, those whose outputs are newer than themselves are skipped, and one that cannot be
    read does not stop the others; the exit status is 2 if any failed.
    """
    from jambatalk.cli.console import screen
    from jambatalk.idle import IdleSettings

    pixels, rate, layers = parse_size(size), parse_fps(fps), IdleSettings.parse(life)
    check_identity(identity)
    planned = plan(inputs, out or [], out_dir, format)
    with screen() as shown:
        options = {"size": pixels, "identity": identity}
        worker = _Worker(
            shown, TalkerOptions(model, device, precision, face, style), rate, options, layers
        )
        results = []
        for job in planned.jobs:
            if planned.batch and not overwrite and job.is_done():
                results.append(_result(job, "skipped"))
                continue
            try:
                results.append(worker.run(job))
            except EXPECTED as error:
                if not planned.batch and not as_json:
                    raise
                shown.line(
                    f"error: {job.source}: {one_line(error)}"
                    if planned.batch
                    else f"error: {one_line(error)}"
                )
                results.append(_result(job, "failed") | {"error": one_line(error)})
        failed = sum(result["status"] == "failed" for result in results)
        if planned.batch:
            counts = {
                s: sum(result["status"] == s for result in results)
                for s in ("done", "skipped", "failed")
            }
            shown.line(", ".join(f"{count} {status}" for status, count in counts.items()))
    if as_json:
        typer.echo(
            json.dumps(
                {"ok": not failed, "model": worker.description(), "results": results}, indent=2
            )
        )
    if failed:
        raise typer.Exit(BAD_INPUT)


@dataclass
class _Worker:
    """Does one job after another with one talker, which is loaded when the first sound has been read."""

    screen: ProgressConsole
    network: TalkerOptions
    fps: float | None
    options: dict[str, Any]
    life: IdleSettings
    talker: Talker | None = field(default=None)

    def run(self, job: Job) -> dict[str, Any]:
        """Do a job; gives what happened. Raises InputError or OSError."""
        from jambatalk.idle import add_idle_motion

        started = time.perf_counter()
        times: dict[str, float] = {}
        motion = self._loaded(job) if job.is_motion else self._animated(job, times)
        if self.fps is not None:
            motion = motion.resampled(self.fps)
        if not self.life.off:
            motion = add_idle_motion(motion, self.life)
        for output in job.outputs:
            began = time.perf_counter()
            with self.screen.step(f"writing {output.name}") as report:
                motion.save(output, progress=report, **self.options)
            times[f"write {output.suffix}"] = time.perf_counter() - began
        wall = time.perf_counter() - started
        names = ", ".join(str(output) for output in job.outputs)
        self.screen.line(
            f"{job.source} ({motion.seconds:.1f} s) -> {names} in {wall:.1f} s{self._speed(motion, times)}"
        )
        return _result(job, "done") | {
            "seconds": motion.speech.seconds if motion.speech is not None else motion.seconds,
            "frames": len(motion),
            "fps": motion.fps,
            "times": {name: round(value, 4) for name, value in times.items()},
        }

    def description(self) -> dict[str, Any] | None:
        """What made the motions; None if no network was needed."""
        if self.talker is None:
            return None
        return {
            "sha256": self.talker.weights_sha256,
            "look_ahead_ms": self.talker.look_ahead_ms
            if self.talker.model.config.streaming
            else None,
            "fps": self.talker.fps,
            "device": self.network.device,
            "style": self.network.style or next(iter(self.talker.styles), None),
        }

    def _loaded(self, job: Job) -> Motion:
        from jambatalk.motion import Motion

        motion = Motion.load(job.source)
        if self.network.face is None:
            return motion
        from jambatalk.face.mesh import load_mesh

        return replace(motion, face=load_mesh(self.network.face))

    def _animated(self, job: Job, times: dict[str, float]) -> Motion:
        from jambatalk.audio import Speech
        from jambatalk.cli.console import counted

        began = time.perf_counter()
        with self.screen.step(f"reading {job.source}"):
            speech = Speech.load(job.source)
        times["read"] = time.perf_counter() - began
        if self.talker is None:
            began = time.perf_counter()
            with self.screen.step("loading the network"):
                self.talker = load_warm(self.network)
            times["load"] = time.perf_counter() - began
            self.screen.line(
                f"look-ahead {look_ahead(self.talker)}, weights {self.talker.weights_sha256[:12]}"
            )
        _check_outputs(self.talker, job, self.life)
        began = time.perf_counter()
        with self.screen.step(f"animating {job.source}") as report:
            # Block by block: hours of sound pass through without ever being in memory at once.
            motion = self.talker.animate_blocks(
                counted(speech.blocks(), len(speech.samples), report), speech
            )
        times["animate"] = time.perf_counter() - began
        if not len(motion):
            raise InputError(f"{job.source} is too short to animate ({speech.seconds:.3f} s)")
        return motion

    def _speed(self, motion: Motion, times: dict[str, float]) -> str:
        if "animate" not in times:
            return ""
        return f" (speech to motion {times['animate']:.2f} s, {motion.seconds / times['animate']:.0f} times real time)"


def _check_outputs(talker: Talker, job: Job, life: IdleSettings) -> None:
    """InputError, before the long work, if what a network of vertices makes cannot be written as asked."""
    if talker.names:
        return
    if not life.off:
        raise InputError(
            "--life moves shapes such as eyeBlinkLeft, but this network moves vertices: leave it off"
        )
    count = talker.model.config.outputs // 3
    for output in job.outputs:
        format = format_of(output)
        if not format.takes_offsets:
            raise InputError(
                f"{output}: {output.suffix.lower()} holds shape weights, "
                f"but this network moves {count:,} vertices: save it as .npz"
            )
        if format.needs_face and talker.face is None:
            raise InputError(
                f"{output}: this network moves the {count:,} vertices of a mesh, say which: --face MESH"
            )


def _result(job: Job, status: str) -> dict[str, Any]:
    return {
        "input": job.source,
        "outputs": [str(output) for output in job.outputs],
        "status": status,
    }


# From what was typed (files, folders, patterns, ``-``; outputs) to jobs: one input and the files to make of it.


SOUND_SUFFIXES = frozenset(
    (
        ".wav",
        ".flac",
        ".mp3",
        ".ogg",
        ".oga",
        ".opus",
        ".m4a",
        ".aac",
        ".aif",
        ".aiff",
        ".aifc",
        ".amr",
        ".ac3",
        ".au",
        ".caf",
        ".wma",
        ".wv",
        ".weba",
        ".webm",
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".avi",
        ".mpg",
        ".mpeg",
        ".ts",
        ".3gp",
        ".flv",
    )
)
"""What is taken from a folder; files named one by one may be called anything."""

DEFAULT_FOLDER = "out"


@dataclass(frozen=True)
class Job:
    """One input (a path, or ``-`` for standard input) and its outputs."""

    source: str
    outputs: tuple[Path, ...]

    @property
    def is_motion(self) -> bool:
        """Whether the input is a motion that was saved, rather than sound."""
        return is_motion_file(self.source)

    def is_done(self) -> bool:
        """Whether every output exists and is no older than the input."""
        if self.source == "-" or not os.path.exists(self.source):
            return False
        made = os.path.getmtime(self.source)
        return all(output.exists() and output.stat().st_mtime >= made for output in self.outputs)


@dataclass(frozen=True)
class Plan:
    """All jobs; ``batch`` is true for several inputs, a folder or a pattern: then what is done is skipped."""

    jobs: tuple[Job, ...]
    batch: bool


def plan(
    inputs: Sequence[str], outputs: Sequence[str], out_dir: str | None, formats: str | None
) -> Plan:
    """Pair every input with its outputs.

    inputs: files, folders (their sound and video files, not deeper), patterns such as ``*.wav`` or ``**/*.mp3``, ``-``.
    outputs: file names for a single input, or folders (existing, or written with a slash at the end).
    out_dir, formats: a folder and a list such as ``mp4,csv`` for names made from the inputs (``talk`` for ``-``); without any
    output the folder is ``out``, so that results never mix with, or replace, what was recorded.
    InputError for what does not fit together or cannot be written, before any work is done.
    """
    sources, batch = _sources(inputs)
    suffixes = _suffixes(formats)
    folders = [Path(name) for name in outputs if _is_folder(name)] + (
        [Path(out_dir)] if out_dir is not None else []
    )
    files = [Path(name) for name in outputs if not _is_folder(name)]
    if formats is not None and files and not folders:
        raise InputError(
            f"--format goes with --out-dir; -o {files[0]} already says its format by its name"
        )
    if files and batch:
        raise InputError(
            f"-o {files[0]} is one file, but there are {len(sources)} inputs: give a folder, such as -o {files[0].stem}/"
        )
    check_outputs(files)
    if not files and not folders:
        folders = [Path(DEFAULT_FOLDER)]
    jobs = tuple(
        Job(
            source,
            (
                *files,
                *(folder / f"{_stem(source)}{suffix}" for folder in folders for suffix in suffixes),
            ),
        )
        for source in sources
    )
    _check_clashes(jobs)
    check_outputs(output for job in jobs for output in job.outputs)
    return Plan(jobs, batch)


def _sources(inputs: Sequence[str]) -> tuple[list[str], bool]:
    found: list[str] = []
    batch = len(inputs) > 1
    for name in inputs:
        if name != "-" and os.path.isdir(name):
            inside = sorted(
                str(p)
                for p in Path(name).iterdir()
                if p.is_file() and p.suffix.lower() in SOUND_SUFFIXES
            )
            if not inside:
                raise InputError(f"{name} holds no sound or video files")
            found += inside
            batch = True
        elif any(sign in name for sign in "*?[") and not os.path.exists(name):
            # Windows shells leave patterns to the program.
            matches = sorted(
                path for path in glob.glob(name, recursive=True) if os.path.isfile(path)
            )
            if not matches:
                raise InputError(f"no file matches {name}")
            found += matches
            batch = True
        else:
            found.append(name)
    return list(dict.fromkeys(found)), batch


def _suffixes(formats: str | None) -> list[str]:
    try:
        return list(dict.fromkeys(suffix_of(name) for name in (formats or "mp4").split(",")))
    except InputError as error:
        raise InputError(f"--format {formats!r}: {error}") from error


def _is_folder(name: str) -> bool:
    return name.endswith(("/", os.sep)) or os.path.isdir(name)


def _stem(source: str) -> str:
    return "talk" if source == "-" else Path(source).stem


def _check_clashes(jobs: Sequence[Job]) -> None:
    inputs = {_key(job.source) for job in jobs if job.source != "-"}
    seen: dict[str, str] = {}
    for job in jobs:
        for output in job.outputs:
            key = _key(output)
            if key in inputs:
                raise InputError(
                    f"{output} is an input, it would be overwritten: choose another name with -o"
                )
            if key in seen:
                raise InputError(
                    f"both {seen[key]} and {job.source} would be written to {output}: rename one, or use other folders"
                )
            seen[key] = job.source


def _key(path: str | Path) -> str:
    return os.path.normcase(os.path.abspath(path))
