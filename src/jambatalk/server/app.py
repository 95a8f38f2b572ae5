"""The live server's application: its description and all its routes.

Needs the extra ``live``. The WebSocket is in ``websocket``, uploads are in ``jobs.routes``, text to
motion in ``text_to_motion``, the page and the heads in ``page_files``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from jambatalk.face.head import identities
from jambatalk.server import page_files, text_to_motion
from jambatalk.server.access import HEADERS, add_access, check_token, refusals
from jambatalk.server.engine import Engine
from jambatalk.server.metrics import ServerMetrics
from jambatalk.server.protocol import asyncapi_document
from jambatalk.server.settings import ServerSettings
from jambatalk.server.websocket import serve_stream
from jambatalk.version import __version__

if TYPE_CHECKING:
    from jambatalk.server.jobs import Runner

public = APIRouter()
private = APIRouter(dependencies=[Depends(check_token)], responses=refusals())


def create_app(engine: Engine, settings: ServerSettings, runner: Runner | None = None) -> FastAPI:
    """Build the application.

    Args:
        engine: of the live sessions; its ``metrics`` are set.
        settings: limits and secrets.
        runner: of the jobs; None for a server without jobs. Its ``metrics`` are set.
    """
    app = FastAPI(
        title="jambatalk",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        description="Speech in, frames of a talking face out. The live part is the WebSocket"
        " /v1/stream, see docs/how-to/live.md.",
    )
    app.state.engine, app.state.settings, app.state.runner = engine, settings, runner
    app.state.metrics = engine.metrics = metrics = ServerMetrics()
    routers = [public, private]
    if runner is not None:
        from jambatalk.server.jobs import routes

        runner.metrics = metrics
        routers.append(routes.router)
    for router in (*routers, text_to_motion.router, page_files.router):
        app.include_router(router)
    add_access(app, settings)
    return app


@public.get("/healthz", summary="Whether the server keeps up")
async def health(request: Request) -> JSONResponse:
    engine: Engine = request.app.state.engine
    delay = round(1000 * engine.queue_delay, 1)
    answer = {"ok": True, "sessions": engine.open_sessions, "behind_ms": delay}
    return JSONResponse(answer, headers=HEADERS)


@public.get("/asyncapi.json", summary="The WebSocket /v1/stream as an AsyncAPI document")
async def protocol() -> JSONResponse:
    return JSONResponse(asyncapi_document(), headers=HEADERS)


@public.websocket("/v1/stream")
async def stream(websocket: WebSocket) -> None:
    state = websocket.app.state
    await serve_stream(websocket, state.engine, state.settings, state.metrics)


@private.get("/metrics", summary="Counters for Prometheus", response_class=PlainTextResponse)
async def counters(request: Request) -> Response:
    metrics, runner = request.app.state.metrics, request.app.state.runner
    if runner is not None:
        metrics.jobs_held(runner.store.counts())
    kind = "text/plain; version=0.0.4; charset=utf-8"
    return Response(metrics.text(), media_type=kind, headers=HEADERS)


@private.get("/v1/info", summary="What this server offers")
async def info(request: Request) -> JSONResponse:
    state = request.app.state
    talker, settings = state.engine.talker, state.settings
    answer = {
        "version": __version__,
        "names": list(talker.names),
        "fps": talker.fps,
        "look_ahead_ms": talker.look_ahead_ms,
        "styles": list(talker.styles),
        "identities": identities(),
        "character": None if settings.shown_character is None else settings.shown_character.name,
        "weights_sha256": talker.weights_sha256,
        "token_required": settings.token is not None,
        "limits": {
            "sessions": settings.max_sessions,
            "message_bytes": settings.message_bytes,
            "session_seconds": settings.longest_session,
            "idle_seconds": settings.idle_timeout,
        },
        "jobs": job_limits(state.runner, settings),
        "speak": True,
    }
    return JSONResponse(answer, headers=HEADERS)


def job_limits(runner: Runner | None, settings: ServerSettings) -> dict[str, Any] | None:
    """What uploads may be; None for a server without jobs."""
    if runner is None:
        return None
    from jambatalk.server.jobs.store import KINDS

    return {
        "formats": list(KINDS),
        "upload_bytes": settings.upload_bytes,
        "sound_seconds": settings.longest_sound,
        "waiting": runner.store.most,
        "keep_seconds": runner.store.keep,
    }
