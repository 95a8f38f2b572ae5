"""Run the live server until it is asked to end."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch

from jambatalk.errors import MissingExtraError
from jambatalk.server.connections import (
    ConnectionLimits,
    abortable_ws_protocol,
    limited_http_protocol,
    raise_file_limit,
)
from jambatalk.server.engine import BATCH_WINDOW, MAX_BATCH, Engine
from jambatalk.server.settings import ServerSettings
from jambatalk.supervised_process import serving

if TYPE_CHECKING:
    from jambatalk.server.jobs import Runner
    from jambatalk.talker import Talker

LOOPBACK = ("127.0.0.1", "localhost", "::1")

SWITCH_INTERVAL = 0.001
"""Seconds for which one thread may keep the interpreter while another waits: the default of 5 ms is
a tenth of a frame."""

EXTRA_SOCKETS, OTHER_CONNECTIONS = 128, 608
"""WebSockets beyond the sessions (their start message is on its way, or they are being refused),
and all other connections: with 32 sessions they stay, with some files of ours, below the 1,024 that
many systems allow."""


def run(
    talker: Talker,
    settings: ServerSettings,
    listening: socket.socket,
    max_batch: int = MAX_BATCH,
    runner: Runner | None = None,
    batch_window: float = BATCH_WINDOW,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; open connections are closed with 1001.

    Args:
        talker: the network and its names.
        settings: limits and secrets.
        listening: a bound socket.
        max_batch, batch_window: see ``Engine``.
        runner: of jobs, if any; running jobs go back to its queue at the end.
    """
    import uvicorn

    from jambatalk.server.app import create_app

    sockets = settings.max_sessions + EXTRA_SOCKETS
    limits = ConnectionLimits(sockets=sockets, total=sockets + OTHER_CONNECTIONS)
    raise_file_limit(limits.total)
    with (
        _quick_threads(),
        Engine(talker, settings.max_sessions, batch_window, max_batch) as engine,
        runner or nullcontext(),
        serving(),
    ):
        # Access logs would hold addresses, warnings a line for each client that speaks no HTTP.
        # Compressing a frame costs more than it saves.
        config = uvicorn.Config(
            create_app(engine, settings, runner),
            access_log=False,
            log_level="error",
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            http=limited_http_protocol(limits),
            ws=abortable_ws_protocol(),
            ws_max_size=settings.message_bytes,
            ws_per_message_deflate=False,
            ws_ping_interval=20.0,
            limit_concurrency=limits.total,
            timeout_graceful_shutdown=3,
        )
        # What was loaded stays: the collector need not look at it again in the middle of a frame.
        gc.collect()
        gc.freeze()
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            gc.unfreeze()


@contextmanager
def _quick_threads() -> Iterator[None]:
    """A batch of hops is too little to be shared out, and no thread may wait for long."""
    interval, threads = sys.getswitchinterval(), torch.get_num_threads()
    torch.set_num_threads(1)
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        torch.set_num_threads(threads)


def require_live() -> None:
    """Raise MissingExtraError unless the libraries of the server are installed."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'the live server needs more libraries: pip install "jambatalk[live]"'
        ) from error
