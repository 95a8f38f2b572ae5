"""Running the live server."""

from __future__ import annotations

import gc
import socket
import struct
import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from jambatalk.live.engine import GATHER, LARGEST_BATCH, Engine
from jambatalk.live.settings import ServerSettings
from jambatalk.live.socket import CUT

if TYPE_CHECKING:
    from jambatalk.live.jobs import Runner
    from jambatalk.talker import Talker

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Seconds for which one thread may keep the interpreter while another waits: the default of 5 ms is a tenth of a frame.
SWITCH_INTERVAL = 0.001


def cuttable(name: str = "websockets-sansio") -> Any:
    """uvicorn's WebSocket protocol of this name ("websockets-sansio", "wsproto"), whose connections can be cut.

    ASGI knows only closing in good order, for which the last bytes must have been taken. The extension ``CUT`` of the scope is a
    function that drops the connection with whatever has not been taken, and may be called at any time, also after it has ended.
    """
    from uvicorn.config import WS_PROTOCOLS
    from uvicorn.importer import import_from_string

    base: Any = import_from_string(WS_PROTOCOLS[name])

    class Cuttable(base):  # type: ignore[misc]
        async def run_asgi(self) -> None:
            self.scope["extensions"][CUT] = self.cut
            await super().run_asgi()

        def cut(self) -> None:
            # Else the system would go on offering what it holds to someone who does not take it.
            with suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    return Cuttable


def run(
    talker: Talker,
    settings: ServerSettings,
    listening: socket.socket,
    largest: int = LARGEST_BATCH,
    runner: Runner | None = None,
    gather: float = GATHER,
) -> None:
    """Serve until interrupted; connections that are open are told 1001.

    largest, gather: see ``Engine``. runner: of jobs, if any.
    """
    import uvicorn

    from jambatalk.live.app import create_app

    before = sys.getswitchinterval()
    with Engine(talker, settings.max_sessions, gather, largest) as engine, runner or nullcontext():
        app = create_app(engine, settings, runner)
        # Access logs would hold addresses. Compressing a frame costs more than it saves.
        config = uvicorn.Config(
            app, access_log=False, log_level="warning", server_header=False, proxy_headers=False, lifespan="off",
            ws=cuttable(), ws_max_size=settings.message_bytes, ws_per_message_deflate=False, ws_ping_interval=20.0,
            timeout_graceful_shutdown=3,
        )  # fmt: skip
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
            gc.unfreeze()
