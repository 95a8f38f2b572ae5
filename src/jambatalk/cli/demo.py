"""``jambatalk demo``: the bundled speech becomes a video."""

from __future__ import annotations

import time
from importlib.resources import files
from typing import Annotated

import typer

from jambatalk.cli.animate import TalkerOptions, load_warm
from jambatalk.cli.console import check_identity, parse_size


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
) -> None:
    """Animate nine seconds of recorded speech that come with the package."""
    from jambatalk.cli.console import counted, screen
    from jambatalk.motion import check_outputs

    pixels = parse_size(size)
    check_identity(identity)
    check_outputs([out])
    with screen() as shown:
        started = time.perf_counter()
        with shown.step("loading the network"):
            from jambatalk.audio import Speech

            speech = Speech.load((files("jambatalk") / "assets" / "demo.flac").read_bytes())
            talker = load_warm(TalkerOptions(device=device))
        began = time.perf_counter()
        with shown.step("animating") as report:
            motion = talker.animate_blocks(
                counted(speech.blocks(), len(speech.samples), report), speech
            )
        animated = time.perf_counter()
        with shown.step(f"writing {out}") as report:
            motion.save(out, size=pixels, identity=identity, progress=report)
        written = time.perf_counter()
    motion_time, write_time = animated - began, written - animated
    pace = f"{speech.seconds / motion_time:.0f} times real time, look-ahead {talker.look_ahead_ms:.0f} ms"
    typer.echo(
        f"{out}: {speech.seconds:.1f} s of speech to motion in {motion_time:.2f} s ({pace}), "
        f"drawn and written in {write_time:.1f} s, ready after {began - started:.1f} s; "
        "now try: jambatalk animate your-own.wav -o talk.mp4 -o talk.glb"
    )
