"""``jambatalk doctor``: is everything here, and does it work on this machine?"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jambatalk.cli.animate import look_ahead
from jambatalk.errors import BAD_INPUT, InputError, one_line
from jambatalk.version import __version__

if TYPE_CHECKING:
    from jambatalk.talker import Talker

PACKAGES = ("torch", "numpy", "numba", "av", "soxr", "soundfile", "safetensors", "typer", "rich")


def doctor(
    model: Annotated[
        str | None,
        typer.Option(metavar="WEIGHTS", help="Weights to check.  [default: those in the package]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Report the environment and test every part of the product on this machine."""
    facts = _environment()
    checks = _self_test(model, facts)
    well = all(check["ok"] for check in checks)
    if as_json:
        typer.echo(json.dumps({"ok": well, "environment": facts, "checks": checks}, indent=2))
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            typer.echo(f"{name:{width}}  {value}")
        for check in checks:
            typer.echo(f"[{'ok' if check['ok'] else 'FAILED'}] {check['name']}: {check['found']}")
        typer.echo("all well" if well else "something is wrong, see FAILED above")
    if not well:
        raise typer.Exit(BAD_INPUT)


def _environment() -> dict[str, Any]:
    """Facts that tell one machine from another."""
    import torch

    from jambatalk.ops.backend import OPS, chosen_backend
    from jambatalk.ops.kernel_cache import kernel_cache_folder
    from jambatalk.ops.threads import cpu_quota, thread_limit, usable_cores

    device = "cuda" if torch.cuda.is_available() else "cpu"
    kernels = {op: chosen_backend(op, device) for op in OPS}
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if torch.cuda.is_available()
        else []
    )
    limit, reason = thread_limit()
    quota = cpu_quota()
    return {
        "jambatalk": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": f"{usable_cores()} of {os.cpu_count()}"
        + (f", CPU quota {quota:g}" if quota is not None else ""),
        "threads": f"at most {limit} ({reason}), torch {torch.get_num_threads()}",
        "devices": ", ".join(["cpu", *gpus]),
        "packages": ", ".join(f"{name} {_version_of(name)}" for name in PACKAGES),
        "numba cache": kernel_cache_folder(),
        **{
            f"{op.replace('_', ' ')} kernel": f"{name} ({reason})"
            for op, (name, reason) in kernels.items()
        },
    }


def _version_of(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _self_test(model: str | None, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the checks in order; one that fails does not hide the others."""
    talkers: list[Talker] = []

    def weights() -> str:
        import jambatalk
        from jambatalk.models.speech_to_motion import SpeechToMotion, parameter_count

        talkers.append(jambatalk.load(model))
        facts["weights"] = (
            f"{talkers[0].path} (sha256 {talkers[0].weights_sha256}, look-ahead "
            f"{look_ahead(talkers[0])})"
        )
        network = talkers[0].model
        counted = (
            f"{parameter_count(network):,} parameters"
            if isinstance(network, SpeechToMotion)
            else "an exported step"
        )
        facts["network"] = counted
        return _compared(talkers[0])

    def talker() -> Talker:
        if not talkers:
            raise InputError("not tested, since the weights did not load")
        return talkers[0]

    return [
        _check("weights", weights),
        _check("chunks equal the whole", lambda: _chunks(talker())),
        _check("picture", _picture),
        _check("video and sound", _video),
    ]


def _check(name: str, test: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"name": name, "ok": True, "found": test()}
    except Exception as error:  # whatever is wrong here is the finding
        return {"name": name, "ok": False, "found": one_line(error)}


def _compared(talker: Talker) -> str:
    """The weights' hash against the one recorded beside them (``<name>.sha256``)."""
    record = Path(talker.path).with_suffix(".sha256")
    if not record.exists():
        return "loaded; no hash is recorded beside them"
    recorded = record.read_text(encoding="utf-8").split()[0]
    if recorded != talker.weights_sha256:
        raise InputError(
            f"sha256 is {talker.weights_sha256[:12]}…, recorded is {recorded[:12]}…: the file was "
            "changed or damaged"
        )
    return "loaded, sha256 as recorded"


def _chunks(talker: Talker) -> str:
    """One second of a voice-like sound, in pieces of 37 ms and at once."""
    import numpy as np

    from jambatalk.audio import SAMPLE_RATE, Speech

    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    pulses = np.sign(np.sin(2 * np.pi * 120 * t)) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t))
    samples = (0.2 * pulses).astype(np.float32)
    if not talker.model.config.streaming:
        count = len(talker.animate(Speech(samples)))
        return f"this network needs the whole recording: {count} frames of one second"
    whole = talker.animate(Speech(samples)).weights
    session = talker.stream()
    step = round(0.037 * SAMPLE_RATE)
    frames = [
        frame for i in range(0, SAMPLE_RATE, step) for frame in session.push(samples[i : i + step])
    ] + session.flush()
    pieces = np.stack([frame.weights for frame in frames])
    assert whole is not None
    if pieces.shape != whole.shape:
        raise InputError(f"{len(pieces)} frames in pieces, {len(whole)} at once")
    worst = float(np.abs(pieces - whole).max())
    if not worst <= 1e-4:
        raise InputError(f"weights differ by up to {worst:.2g}, expected at most 0.0001")
    return f"{len(whole)} frames, largest difference {worst:.1g}"


def _picture() -> str:
    from jambatalk.face.head import default_head
    from jambatalk.render.renderer import Renderer

    face = default_head()
    picture = Renderer(face, (128, 128)).render(face.vertices)
    if picture.shape != (128, 128, 3) or float(picture.std()) < 5:
        raise InputError("the picture of the default head is empty")
    return "128x128 pixels drawn"


def _video() -> str:
    """Two frames of H.264 and a little AAC, in memory."""
    import io

    import av
    import numpy as np

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        pictures = file.add_stream("libx264", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 64, "yuv420p"
        sound = file.add_stream("aac", rate=48000)
        sound.layout = "mono"
        for level in (60, 180):
            file.mux(
                pictures.encode(
                    av.VideoFrame.from_ndarray(
                        np.full((64, 64, 3), level, np.uint8), format="rgb24"
                    )
                )
            )
        file.mux(pictures.encode(None))
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 48000
        file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
    return f"H.264 and AAC, {len(out.getvalue())} bytes"
