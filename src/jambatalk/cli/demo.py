"""``jambatalk demo``: the bundled speech becomes a video."""

from __future__ import annotations

import os
import shutil
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from jambatalk.cli.animate import TalkerOptions, load_warm
from jambatalk.cli.console import (
    ThreadsOption,
    check_identity,
    counted,
    parse_size,
    progress_console,
)
from jambatalk.motion import check_outputs


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
    threads: ThreadsOption = None,
) -> None:
    """Animate nine seconds of recorded speech that come with the package."""
    pixels = parse_size(size)
    check_identity(identity)
    check_outputs([out])
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
            motion.save(out, size=pixels, identity=identity, progress=report)
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
