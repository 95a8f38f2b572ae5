"""The live server's application: the WebSocket, and what a client needs to know beforehand. Needs the extra ``live``."""

from __future__ import annotations

import hmac
import pathlib
import tempfile
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Header, HTTPException, Path, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.websockets import WebSocketClose

from jambatalk.live.asyncapi import document
from jambatalk.live.engine import Engine
from jambatalk.live.metrics import ServerMetrics
from jambatalk.live.page_files import add_page
from jambatalk.live.settings import ServerSettings
from jambatalk.live.socket import SocketLimits, serve_stream
from jambatalk.live.speak import add_speak
from jambatalk.version import __version__

if TYPE_CHECKING:
    from jambatalk.live.jobs import Runner

Authorization = Annotated[str | None, Header()]

HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


def create_app(engine: Engine, settings: ServerSettings, runner: Runner | None = None) -> FastAPI:
    """The application around an engine and the workers of jobs, whose ``metrics`` it sets; without workers there are no jobs."""
    metrics = ServerMetrics()
    engine.metrics = metrics
    limits = SocketLimits(
        settings.token, settings.message_bytes, settings.start_timeout, settings.idle_timeout, settings.send_timeout,
        settings.longest_session,
    )  # fmt: skip
    app = FastAPI(
        title="jambatalk", version=__version__, docs_url=None, redoc_url=None,
        description="Speech in, frames of a talking face out. The live part is the WebSocket /v1/stream, see docs/live.md.",
    )  # fmt: skip
    app.state.metrics = metrics
    jobs: dict[str, Any] | None = None
    said = {"description": "One sentence says why.", "content": {"application/json": {"example": {"error": "..."}}}}
    refusals: dict[int | str, dict[str, Any]] = {401: said, 403: said, 404: said, 422: said}

    @app.exception_handler(AnyHTTPException)
    async def one_sentence(request: Any, error: AnyHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, HEADERS | dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Any, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"error": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, 422, HEADERS)

    def check(authorization: str | None) -> None:
        if settings.token is None:
            return
        kind, _, given = (authorization or "").partition(" ")
        # Headers come as Latin-1: what is not ASCII is compared as bytes, and is wrong.
        if kind.lower() != "bearer" or not hmac.compare_digest(given.encode("utf-8", "replace"), settings.token.encode()):
            raise HTTPException(401, "this server needs its token: the header Authorization: Bearer TOKEN")

    @app.get("/healthz", summary="Whether the server keeps up")
    async def health() -> JSONResponse:
        behind = engine.behind
        return JSONResponse({"ok": True, "sessions": engine.open_sessions, "behind_ms": round(1000 * behind, 1)}, headers=HEADERS)

    @app.get("/metrics", summary="Counters for Prometheus", response_class=PlainTextResponse, responses=refusals)
    async def counters(authorization: Authorization = None) -> Response:
        check(authorization)
        if runner is not None:
            metrics.jobs_held(runner.store.counts())
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8", headers=HEADERS)

    @app.get("/v1/info", summary="What this server speaks", responses=refusals)
    async def info(authorization: Authorization = None) -> JSONResponse:
        check(authorization)
        talker = engine.talker
        return JSONResponse(
            {
                "version": __version__, "names": list(talker.names), "fps": talker.fps, "look_ahead_ms": talker.look_ahead_ms,
                "styles": list(talker.styles), "identities": identities(), "weights_sha256": talker.weights_sha256,
                "token_required": settings.token is not None,
                "limits": {
                    "sessions": settings.max_sessions, "message_bytes": settings.message_bytes,
                    "session_seconds": settings.longest_session, "idle_seconds": settings.idle_timeout,
                },
                "jobs": jobs, "speak": True,
            },
            headers=HEADERS,
        )  # fmt: skip

    @app.get(
        "/v1/faces/{name}.glb", summary="A head as glTF with its shapes as morph targets", response_class=Response,
        responses=refusals | {200: {"content": {"model/gltf-binary": {}}}},
    )  # fmt: skip
    def face(name: Annotated[str, Path(max_length=64)], authorization: Authorization = None) -> Response:
        check(authorization)
        if name not in identities():
            raise HTTPException(404, f"there is no such face, choose from {', '.join(identities())}")
        return Response(head_glb(name), media_type="model/gltf-binary", headers=HEADERS | {"Cache-Control": "max-age=3600"})

    @app.get("/asyncapi.json", summary="The WebSocket /v1/stream as an AsyncAPI document")
    async def protocol() -> JSONResponse:
        return JSONResponse(document(), headers=HEADERS)

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await serve_stream(websocket, engine, limits, metrics)

    if runner is not None:
        from jambatalk.live.jobs.job import KINDS
        from jambatalk.live.jobs.routes import add_jobs

        runner.metrics = metrics
        jobs = {
            "formats": list(KINDS), "upload_bytes": settings.upload_bytes, "sound_seconds": settings.longest_sound,
            "waiting": runner.store.most, "keep_seconds": runner.store.keep,
        }  # fmt: skip
        add_jobs(app, runner, settings, identities(), list(engine.talker.styles), check, HEADERS)
    add_speak(app, check, HEADERS)
    add_page(app, check)
    app.add_middleware(SameOrigin, hosts=settings.hosts)
    return app


class SameOrigin:
    """Refuses what another site's page asks for: browsers name it in ``Origin``, programs send none."""

    def __init__(self, app: Any, hosts: tuple[str, ...] | None) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        reason = None
        if self.hosts is not None and _name(host) not in self.hosts:
            reason = "this name does not belong to the server"
        elif origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            reason = "another site's page may not use this server"
        if reason is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await JSONResponse({"error": reason}, 403, HEADERS)(scope, receive, send)
        else:
            await WebSocketClose(1008, reason)(scope, receive, send)


def _name(host: str) -> str:
    """``[::1]:80`` -> ``::1``, ``localhost:80`` -> ``localhost``."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def identities() -> list[str]:
    """Names of the default head's people, the default first."""
    from jambatalk.face.head import default_head

    return ["default", *default_head().identities]


@lru_cache(maxsize=16)
def head_glb(identity: str) -> bytes:
    """The default head with all its shapes and a head joint, at rest."""
    import numpy as np

    from jambatalk.face.head import default_head
    from jambatalk.motion import Motion

    head = default_head()
    motion = Motion(25.0, np.zeros((1, len(head.names)), np.float32), head.names, head_pose=np.zeros((1, 3), np.float32))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "head.glb"
        motion.save(path, identity=None if identity == "default" else identity)
        return path.read_bytes()
