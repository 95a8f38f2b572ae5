"""Running the live server."""

from __future__ import annotations

import gc
import socket
import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import torch

from jambatalk.errors import MissingExtraError
from jambatalk.server.connections import ConnectionLimits, allow_connections, cuttable, guarded
from jambatalk.server.engine import BATCH_WINDOW, MAX_BATCH, Engine
from jambatalk.server.settings import ServerSettings

if TYPE_CHECKING:
    from jambatalk.server.jobs import Runner
    from jambatalk.talker import Talker

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Seconds for which one thread may keep the interpreter while another waits: the default of 5 ms is a tenth of a frame.
SWITCH_INTERVAL = 0.001
# WebSockets beyond the sessions: those whose start message is on its way, and those that are told why there is no place. Then all
# other connections: with 32 sessions they stay, with some files of ours, below the 1,024 that many systems allow.
ON_THEIR_WAY, OTHERS = 128, 608


def run(
    talker: Talker,
    settings: ServerSettings,
    listening: socket.socket,
    max_batch: int = MAX_BATCH,
    runner: Runner | None = None,
    batch_window: float = BATCH_WINDOW,
) -> None:
    """Serve until interrupted; connections that are open are told 1001.

    max_batch, batch_window: see ``Engine``. runner: of jobs, if any.
    """
    import uvicorn

    from jambatalk.server.app import create_app

    before, threads = sys.getswitchinterval(), torch.get_num_threads()
    # A batch of hops is too little to be worth sharing out (``ops.backend``).
    torch.set_num_threads(1)
    with (
        Engine(talker, settings.max_sessions, batch_window, max_batch) as engine,
        runner or nullcontext(),
    ):
        app = create_app(engine, settings, runner)
        sockets = settings.max_sessions + ON_THEIR_WAY
        limits = ConnectionLimits(sockets=sockets, total=sockets + OTHERS)
        allow_connections(limits.total)
        # Access logs would hold addresses, warnings a line for each client that speaks no HTTP. Compressing a frame costs more
        # than it saves.
        config = uvicorn.Config(
            app,
            access_log=False,
            log_level="error",
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            http=guarded(limits),
            ws=cuttable(),
            ws_max_size=settings.message_bytes,
            ws_per_message_deflate=False,
            ws_ping_interval=20.0,
            limit_concurrency=limits.total,
            timeout_graceful_shutdown=3,
        )
        # What was loaded stays: the collector need not look at it again in the middle of a frame.
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(SWITCH_INTERVAL)
        try:
            # uvicorn ends in good order on Ctrl-C and then passes it on.
            with suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listening])
        finally:
            sys.setswitchinterval(before)
            torch.set_num_threads(threads)
            gc.unfreeze()


# The libraries of the live server.


def require_live() -> None:
    """MissingExtraError unless the libraries of the server are there."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'the live server needs more libraries: pip install "jambatalk[live]"'
        ) from error
