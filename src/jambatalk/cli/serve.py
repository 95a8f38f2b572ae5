"""``jambatalk serve``: live sessions for pages, engines and agents."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from jambatalk.errors import InputError


def serve(
    host: Annotated[str, Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, Option(help="0 takes any free one.")] = 8000,
    token: Annotated[
        str | None, Option(help="What clients must bring; 'random' makes one.  [default: none needed]", show_default=False)
    ] = None,
    max_sessions: Annotated[int, Option(help="Live sessions at the same time.")] = 32,
    model: Annotated[str | None, Option(metavar="WEIGHTS", help="Weights to use.  [default: those in the package]")] = None,
    style: Annotated[str | None, Option(metavar="NAME", help="Way of speaking, where a client asks for none.")] = None,
    device: Annotated[str, Option(metavar="NAME", help="cpu or cuda.")] = "cpu",
) -> None:
    """Serve live sessions: sound in over a WebSocket, frames out while somebody is still talking. Ends with Ctrl-C."""
    import secrets

    from jambatalk.cli.ready import Network, ready_talker
    from jambatalk.cli.screen import screen
    from jambatalk.live.required import require_live
    from jambatalk.live.settings import ServerSettings
    from jambatalk.study.server import listen

    require_live()
    from jambatalk.live.server import LOOPBACK, run

    if token == "random":
        token = secrets.token_urlsafe(16)
    # Names that a browser on this machine has for it; beyond loopback the names are the user's own.
    settings = ServerSettings(token, LOOPBACK if host in LOOPBACK else None, max_sessions)
    with listen(host, port) as listening, screen() as shown:
        with shown.step("loading the network"):
            talker = ready_talker(Network(model, device, "float32", None, style))
        if not talker.names:
            raise InputError("this network moves vertices, too many numbers for a live link: serve one that moves shapes")
        if host not in LOOPBACK and token is None:
            shown.line("note: anybody who reaches this address can use it; --token random asks for a secret")
        name = f"[{host}]" if ":" in host else host
        address = f"{name}:{listening.getsockname()[1]}"
        shown.line(f"ws://{address}/v1/stream, look-ahead {talker.look_ahead_ms:.0f} ms (Ctrl-C ends)")
        if token is not None:
            shown.line(f"token: {token}")
        run(talker, settings, listening)
