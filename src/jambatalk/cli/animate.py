"""``jambatalk animate``: speech files in, talking heads out."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from jambatalk.cli.plain import BAD_INPUT, EXPECTED, one_line
from jambatalk.cli.ready import Network, look_ahead, ready_talker
from jambatalk.cli.values import check_identity, parse_fps, parse_size
from jambatalk.errors import InputError

if TYPE_CHECKING:
    from jambatalk.cli.jobs import Job
    from jambatalk.cli.screen import Screen
    from jambatalk.life import LifeSettings
    from jambatalk.motion import Motion
    from jambatalk.talker import Talker


def animate(
    inputs: Annotated[
        list[str], Argument(metavar="IN...", help="Sound or video files, folders, patterns, saved motions, or - .")
    ],
    out: Annotated[
        list[str] | None,
        Option("-o", "--out", metavar="FILE", help="File to write (.mp4 .glb .csv .npz .json) or folder/; may be repeated."),
    ] = None,
    out_dir: Annotated[
        str | None, Option(metavar="DIR", help="Folder for outputs named after the inputs.  [default: out, without -o]")
    ] = None,
    format: Annotated[str | None, Option(metavar="LIST", help="Formats for those, such as mp4,csv.  [default: mp4]")] = None,
    fps: Annotated[str | None, Option(metavar="N", help="Frames per second.  [default: the network's own]")] = None,
    size: Annotated[str, Option(metavar="WxH", help="Video size in pixels: 512 or 512x640.")] = "512",
    identity: Annotated[str | None, Option(metavar="NAME", help="Who speaks, one of the head's identities.")] = None,
    device: Annotated[str, Option(metavar="NAME", help="cpu or cuda.")] = "cpu",
    model: Annotated[str | None, Option(metavar="WEIGHTS", help="Weights to use.  [default: those in the package]")] = None,
    face: Annotated[
        str | None, Option(metavar="MESH", help="Template mesh (.obj .ply .npz) for a network that moves vertices.")
    ] = None,
    style: Annotated[
        str | None, Option(metavar="NAME", help="Way of speaking, one of the weights' (jambatalk network lists them).")
    ] = None,
    life: Annotated[
        str, Option(metavar="LAYERS", help="Blinks, gaze, head motion, breath: on, off, or such as blinks=0.5,head=0,seed=7.")
    ] = "off",
    precision: Annotated[str, Option(metavar="NAME", help="float32; bfloat16 or float16 on a GPU.")] = "float32",
    overwrite: Annotated[bool, Option("--overwrite", help="Of many inputs, also make those that are done.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print the result as JSON on standard output.")] = False,
) -> None:
    """Make a talking head of speech: video, 3D animation or weights.

    Of several inputs, a folder or a pattern, those whose outputs are newer than themselves are skipped, and one that cannot be
    read does not stop the others; the exit status is 2 if any failed.
    """
    from jambatalk.cli.jobs import plan
    from jambatalk.cli.screen import screen
    from jambatalk.life import LifeSettings

    pixels, rate, layers = parse_size(size), parse_fps(fps), LifeSettings.parse(life)
    check_identity(identity)
    planned = plan(inputs, out or [], out_dir, format)
    with screen() as shown:
        options = {"size": pixels, "identity": identity}
        worker = _Worker(shown, Network(model, device, precision, face, style), rate, options, layers)
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
                shown.line(f"error: {job.source}: {one_line(error)}" if planned.batch else f"error: {one_line(error)}")
                results.append(_result(job, "failed") | {"error": one_line(error)})
        failed = sum(result["status"] == "failed" for result in results)
        if planned.batch:
            counts = {s: sum(result["status"] == s for result in results) for s in ("done", "skipped", "failed")}
            shown.line(", ".join(f"{count} {status}" for status, count in counts.items()))
    if as_json:
        typer.echo(json.dumps({"ok": not failed, "model": worker.description(), "results": results}, indent=2))
    if failed:
        raise typer.Exit(BAD_INPUT)


@dataclass
class _Worker:
    """Does one job after another with one talker, which is loaded when the first sound has been read."""

    screen: Screen
    network: Network
    fps: float | None
    options: dict[str, Any]
    life: LifeSettings
    talker: Talker | None = field(default=None)

    def run(self, job: Job) -> dict[str, Any]:
        """Do a job; gives what happened. Raises InputError or OSError."""
        from jambatalk.life import enliven

        started = time.perf_counter()
        times: dict[str, float] = {}
        motion = self._loaded(job) if job.is_motion else self._animated(job, times)
        if self.fps is not None:
            motion = motion.resampled(self.fps)
        if not self.life.off:
            motion = enliven(motion, self.life)
        for output in job.outputs:
            began = time.perf_counter()
            with self.screen.step(f"writing {output.name}") as report:
                motion.save(output, progress=report, **self.options)
            times[f"write {output.suffix}"] = time.perf_counter() - began
        wall = time.perf_counter() - started
        names = ", ".join(str(output) for output in job.outputs)
        self.screen.line(f"{job.source} ({motion.seconds:.1f} s) -> {names} in {wall:.1f} s{self._speed(motion, times)}")
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
            "look_ahead_ms": self.talker.look_ahead_ms if self.talker.model.config.streaming else None,
            "fps": self.talker.fps,
            "device": self.network.device,
            "style": self.network.style or next(iter(self.talker.styles), None),
        }

    def _loaded(self, job: Job) -> Motion:
        from jambatalk.export import load_motion

        motion = load_motion(job.source)
        if self.network.face is None:
            return motion
        from jambatalk.face.mesh import load_mesh

        return replace(motion, face=load_mesh(self.network.face))

    def _animated(self, job: Job, times: dict[str, float]) -> Motion:
        from jambatalk.audio import Speech
        from jambatalk.cli.screen import counted

        began = time.perf_counter()
        with self.screen.step(f"reading {job.source}"):
            speech = Speech.load(job.source)
        times["read"] = time.perf_counter() - began
        if self.talker is None:
            began = time.perf_counter()
            with self.screen.step("loading the network"):
                self.talker = ready_talker(self.network)
            times["load"] = time.perf_counter() - began
            self.screen.line(f"look-ahead {look_ahead(self.talker)}, weights {self.talker.weights_sha256[:12]}")
        _check_outputs(self.talker, job, self.life)
        began = time.perf_counter()
        with self.screen.step(f"animating {job.source}") as report:
            # Block by block: hours of sound pass through without ever being in memory at once.
            motion = self.talker.animate_blocks(counted(speech.blocks(), len(speech.samples), report), speech)
        times["animate"] = time.perf_counter() - began
        if not len(motion):
            raise InputError(f"{job.source} is too short to animate ({speech.seconds:.3f} s)")
        return motion

    def _speed(self, motion: Motion, times: dict[str, float]) -> str:
        if "animate" not in times:
            return ""
        return f" (speech to motion {times['animate']:.2f} s, {motion.seconds / times['animate']:.0f} times real time)"


def _check_outputs(talker: Talker, job: Job, life: LifeSettings) -> None:
    """InputError, before the long work, if what a network of vertices makes cannot be written as asked."""
    if talker.names:
        return
    if not life.off:
        raise InputError("--life moves shapes such as eyeBlinkLeft, but this network moves vertices: leave it off")
    count = talker.model.config.outputs // 3
    for output in job.outputs:
        suffix = output.suffix.lower()
        if suffix in (".csv", ".json"):
            raise InputError(
                f"{output}: {suffix} holds shape weights, but this network moves {count:,} vertices: save it as .npz"
            )
        if suffix in (".mp4", ".glb") and talker.face is None:
            raise InputError(f"{output}: this network moves the {count:,} vertices of a mesh, say which: --face MESH")


def _result(job: Job, status: str) -> dict[str, Any]:
    return {"input": job.source, "outputs": [str(output) for output in job.outputs], "status": status}
