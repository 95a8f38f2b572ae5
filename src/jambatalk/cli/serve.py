"""``jambatalk serve``: live sessions and jobs over HTTP."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from jambatalk.cli.console import ArticulationOption, ThreadsOption
from jambatalk.errors import InputError


def serve(
    host: Annotated[str, Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, Option(help="0 takes any free one.")] = 8000,
    token: Annotated[
        str | None,
        Option(
            help="What clients must send; 'random' makes one.  [default: none needed]",
            show_default=False,
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        Option(
            metavar="URL",
            help="Let another site's pages in, such as http://localhost:3000; may be repeated.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="Another name of this server, as behind a proxy."),
    ] = None,
    max_sessions: Annotated[int, Option(help="Live sessions at the same time.")] = 32,
    jobs: Annotated[
        str | None,
        Option(
            metavar="FOLDER",
            help="Where uploads and results are.  [default: one in your state folder]",
        ),
    ] = None,
    workers: Annotated[int, Option(help="Jobs at the same time; 0 takes none.")] = 1,
    max_upload: Annotated[int, Option(metavar="MB", help="Largest upload.")] = 200,
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
            help="Your own character (.glb .gltf .vrm, or a folder of .obj): on the page and in "
            "jobs' results.",
        ),
    ] = None,
    style: Annotated[
        str | None, Option(metavar="NAME", help="Speaking style, where a client asks for none.")
    ] = None,
    articulation: ArticulationOption = 1.0,
    device: Annotated[str, Option(metavar="NAME", help="cpu or cuda.")] = "cpu",
    threads: ThreadsOption = None,
) -> None:
    """Serve live sessions over a WebSocket, and jobs over HTTP, until Ctrl-C.

    A job is a speech file that becomes a video or motion.
    """
    import secrets

    from jambatalk.cli.animate import TalkerOptions, load_warm
    from jambatalk.cli.console import progress_console
    from jambatalk.face.deform import check_speaks
    from jambatalk.face.face import Face
    from jambatalk.server.run import require_live
    from jambatalk.server.settings import ServerSettings
    from jambatalk.study.server import listen

    require_live()
    from jambatalk.server.jobs import JobStore, Runner
    from jambatalk.server.run import LOOPBACK, run

    if token == "random":
        token = secrets.token_urlsafe(16)
    # Names that a browser on this machine has for it; beyond loopback any, unless some are given.
    names = (*LOOPBACK, host, *(name.lower() for name in allow_host or ()))
    settings = ServerSettings(
        token,
        names if host in LOOPBACK or allow_host else None,
        max_sessions,
        upload_bytes=max_upload * 1_000_000,
        origins=tuple(allow_origin or ()),
        character=None if face is None else Path(face).resolve(),
    )
    if not 0 <= workers <= 64:
        raise InputError(f"--workers is {workers}, expected 0 to 64")
    runner = None
    with listen(host, port) as listening, progress_console() as console:
        with console.progress("loading the network"):
            talker = load_warm(TalkerOptions(model, device, "float32", None, style, articulation))
        if face is not None:
            check_speaks(Face.load(face), talker.names)
        if not talker.names:
            raise InputError(
                "this network moves vertices, too many numbers for a live link:"
                " serve one that moves shapes"
            )
        if host not in LOOPBACK and token is None:
            console.log(
                "note: anybody who reaches this address can use it;"
                " --token random asks for a secret"
            )
        if workers:
            store = JobStore(Path(jobs) if jobs is not None else state_folder() / "jobs")
            runner = Runner(
                store, talker.path, workers, settings.longest_sound, character=settings.character
            )
        name = reachable_name(host)
        address = f"{f'[{name}]' if ':' in name else name}:{listening.getsockname()[1]}"
        console.log(
            f"ws://{address}/v1/stream, look-ahead {talker.look_ahead_ms:.0f} ms (Ctrl-C ends)"
        )
        if token is not None:
            console.log(f"token: {token}")
        console.log(f"the page: http://{address}/{f'#token={token}' if token is not None else ''}")
        run(talker, settings, listening, runner=runner)


def reachable_name(host: str) -> str:
    """The address by which other devices reach a server on ``host``: its own, or for all of the
    machine's addresses (0.0.0.0, ::) the one that the machine uses in its network.
    """
    family = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}.get(host)
    if family is None:
        return host
    with socket.socket(family, socket.SOCK_DGRAM) as found:
        try:
            # Chooses a way without sending anything; the addresses are reserved for documentation.
            found.connect(("192.0.2.1" if family == socket.AF_INET else "2001:db8::1", 9))
        except OSError:
            return socket.gethostname()
        return str(found.getsockname()[0])


def state_folder() -> Path:
    """The folder for what programs keep between runs, on this system."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state")
    return base / "jambatalk"
