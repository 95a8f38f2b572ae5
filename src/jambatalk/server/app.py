"""The live server's application: the WebSocket, and what a client needs to know beforehand. Needs the extra ``live``."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import numpy as np
from fastapi import FastAPI, Header, HTTPException, Path, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketClose

from jambatalk.face.head import identities
from jambatalk.server.engine import Engine
from jambatalk.server.metrics import ServerMetrics
from jambatalk.server.protocol import document
from jambatalk.server.settings import ServerSettings
from jambatalk.server.websocket import SocketLimits, serve_stream
from jambatalk.text import Timeline, timeline
from jambatalk.text.phone_motion import PhoneMotion, load_phone_motion
from jambatalk.version import __version__

if TYPE_CHECKING:
    from jambatalk.server.jobs import Runner

# The page of ``jambatalk serve``: its built files, the sample it plays, and how light falls into a head's folds.


PAGE = pathlib.Path(__file__).parent / "page"
ASSETS = pathlib.Path(__file__).parents[1] / "assets"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".flac": "audio/flac",
}

# All that the page needs is on this server. ``self`` holds for its WebSocket too; blob: is for what it records.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NOT_BUILT = "this installation has no page: in a source checkout build it with npm ci && npm run build in web/"

Authorization = Annotated[str | None, Header()]


def add_page(app: FastAPI, check: Callable[[str | None], None]) -> None:
    """Add /, /assets/..., /v1/demo.flac and /v1/faces/{name}/shade. check: raises where the Authorization header is wrong."""

    said = {
        "description": "One sentence says why.",
        "content": {"application/json": {"example": {"error": "..."}}},
    }
    refusals: dict[int | str, dict[str, Any]] = dict.fromkeys((401, 403, 404, 422), said)
    sound: dict[int | str, dict[str, Any]] = {
        200: {"content": {"audio/flac": {}}},
        304: {"description": "The same"},
        403: said,
    }

    @app.get("/", include_in_schema=False)
    def page(request: Request) -> Response:
        return _answer(request, "index.html")

    @app.get("/assets/{name}", include_in_schema=False)
    def asset(request: Request, name: str) -> Response:
        return _answer(request, f"assets/{name}")

    @app.get("/THIRD_PARTY.txt", include_in_schema=False)
    def third_party(request: Request) -> Response:
        return _answer(request, "THIRD_PARTY.txt")

    @app.get(
        "/v1/demo.flac",
        summary="Nine seconds of recorded speech, the page's sample",
        response_class=Response,
        responses=sound,
    )
    def demo(request: Request) -> Response:
        return _reply(request, (ASSETS / "demo.flac").read_bytes(), TYPES[".flac"])

    @app.get(
        "/v1/faces/{name}/shade",
        summary="How the room's light reaches a head's vertices, baked",
        responses=refusals,
    )
    def shade(
        name: Annotated[str, Path(max_length=64)], authorization: Authorization = None
    ) -> JSONResponse:

        check(authorization)
        if name not in identities():
            raise HTTPException(
                404, f"there is no such face, choose from {', '.join(identities())}"
            )
        return JSONResponse(
            baked_shade(name), headers=PAGE_HEADERS | {"Cache-Control": "max-age=3600"}
        )


@lru_cache(maxsize=1)
def page_files() -> dict[str, bytes]:
    """Path -> content of the built page's files. Only what is listed here is ever sent, so no path can lead elsewhere."""
    found = sorted(path for path in PAGE.rglob("*") if path.is_file() and path.suffix in TYPES)
    return {path.relative_to(PAGE).as_posix(): path.read_bytes() for path in found}


def _answer(request: Request, path: str) -> Response:
    content = page_files().get(path)
    if content is None:
        missing = NOT_BUILT if not page_files() else "the page has no such file"
        raise HTTPException(404, missing)
    return _reply(request, content, TYPES[pathlib.PurePosixPath(path).suffix])


def _reply(request: Request, content: bytes, kind: str) -> Response:
    # no-cache asks each time; the tag makes the answer "still the same" a short one.
    tag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
    headers = PAGE_HEADERS | {"ETag": tag}
    if tag in (request.headers.get("if-none-match") or ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


@lru_cache(maxsize=16)
def baked_shade(identity: str) -> dict[str, Any]:
    """What the video renderer bakes for a head, for the page's shader.

    vertices: base64 of (V, 4) uint8 in the order of the glb's vertices: the share of the room's light at rest, the same with
    the mouth open, 255 behind the lips, and what the lids leave of the light on an eye (255 elsewhere). gap: the two vertices
    whose distance is the lips' opening. lips: vertices of the inner lips. anatomy: metres, for the camera.
    """
    import numpy as np

    from jambatalk.face.deform import measure
    from jambatalk.face.head import default_head
    from jambatalk.render.geometry import vertex_normals, weld
    from jambatalk.render.materials import INSIDE, OCCLUSION, materials_of, table
    from jambatalk.render.occlusion import bake, eye_shade
    from jambatalk.render.rasterizer import SKIP, TWO_SIDED

    face = default_head(None if identity == "default" else identity)
    assert face.materials is not None
    assert face.gap_vertices is not None
    vertices = np.ascontiguousarray(face.vertices, np.float32)
    triangles = np.ascontiguousarray(face.triangles, np.int32)
    materials = np.ascontiguousarray(face.materials, np.int32)
    drawn = materials_of(face.material_names)
    casts = np.array([material.casts_shadow for material in drawn])[materials]
    sides = np.where(casts, TWO_SIDED, SKIP).astype(np.uint8)
    owner = weld(vertices, triangles, materials, drawn)
    looks = table(face.material_names)[materials]
    depth = np.ones(len(vertices), np.float32)
    depth[triangles.reshape(-1)] = np.repeat(looks[:, OCCLUSION], 3)
    shade = np.ones((len(vertices), 4), np.float32)
    wide = np.ascontiguousarray(
        vertices + 0.6 * face.basis[face.names.index("jawOpen")], np.float32
    )
    for column, shape in enumerate((vertices, wide)):
        shade[:, column] = (
            bake(shape, vertex_normals(shape, triangles, owner), triangles, sides) ** depth
        )
    behind = np.zeros(len(vertices), bool)
    behind[triangles[looks[:, INSIDE] > 0].reshape(-1)] = True
    behind[face.regions["inner_lips"]] = False
    shade[:, 2] = behind
    eyes, light = eye_shade(face, triangles, materials)
    shade[eyes, 3] = np.minimum(light, 0.99)
    body = measure(face)
    return {
        "vertices": base64.b64encode(
            np.rint(255 * np.clip(shade, 0, 1)).astype(np.uint8).tobytes()
        ).decode(),
        "gap": [int(vertex) for vertex in face.gap_vertices],
        "lips": [int(v) for v in face.regions["inner_lips"]],
        "anatomy": {
            "top": body.top,
            "chin": body.chin,
            "centre": list(body.centre),
            "width": body.width,
            "unit": body.eyes_to_lips,
        },
    }


# Text in, motion out, for a voice whose sound the server never hears: what the page needs to speak with the browser's voice.


FPS = 50.0
LONGEST_TEXT = 1000
LARGEST_BODY = 16_384
BODY_TIMEOUT = 10.0
"""Seconds until a request must be whole."""
AT_ONCE = 2
"""Texts in work at the same time: the live sessions' network must not wait for a flood of them."""


class SpeakRequest(BaseModel):
    """An English text. rate: how fast, 1 is about how synthetic voices speak."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=LONGEST_TEXT)
    rate: float = Field(1.0, ge=0.5, le=3.0, allow_inf_nan=False)


class SpokenWordInfo(BaseModel):
    """Times in seconds; char, length: where the word stands in the text, in UTF-16 code units, as browsers count."""

    text: str
    start: float
    end: float
    char: int
    length: int


class SpokenMotion(BaseModel):
    """weights: a row a frame, on ``names``; frame k is at k / fps seconds."""

    fps: float
    names: list[str]
    weights: list[list[float]]
    seconds: float
    words: list[SpokenWordInfo]


def add_speak(app: FastAPI, check: Callable[[str | None], None], headers: dict[str, str]) -> None:
    """The route. check: raises for a wrong token."""
    said = {
        "description": "One sentence says why.",
        "content": {"application/json": {"example": {"error": "..."}}},
    }
    free = asyncio.Semaphore(AT_ONCE)

    @app.post(
        "/v1/speak",
        response_model=SpokenMotion,
        summary="English text to motion, for a voice elsewhere",
        responses=dict.fromkeys((400, 401, 403, 408, 413, 422), said),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": SpeakRequest.model_json_schema()}},
            }
        },
    )
    async def speak(
        request: Request, authorization: Annotated[str | None, Header()] = None
    ) -> Response:
        check(authorization)
        try:
            body = await asyncio.wait_for(_body(request), BODY_TIMEOUT)
        except asyncio.TimeoutError:
            raise HTTPException(
                408, f"the request was not whole within {BODY_TIMEOUT:.0f} s"
            ) from None
        except ClientDisconnect as error:
            raise HTTPException(400, "the request broke off") from error
        wanted = parse(body)
        async with free:
            found = await asyncio.to_thread(answer, wanted)
        return Response(found, media_type="application/json", headers=headers)


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, f"the request is larger than {LARGEST_BODY:,} bytes")
    return body


def parse(body: bytes) -> SpeakRequest:
    """A request's body. HTTPException 422 says what is wrong with it."""
    try:
        return SpeakRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise HTTPException(
            422, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
        ) from error


@lru_cache(maxsize=1)
def phone_motion() -> PhoneMotion:
    """The phone model of the package."""
    return load_phone_motion()


def answer(wanted: SpeakRequest) -> bytes:
    """The reply as JSON. HTTPException 422 when the text holds nothing that can be said."""
    line = timeline(wanted.text, wanted.rate)
    if not line.words:
        raise HTTPException(422, "text: there is no English word in it, expected at least one")
    return b"".join(_written(line))


def _written(line: Timeline) -> Iterator[bytes]:
    model = phone_motion()
    frames = int(np.ceil(line.seconds * FPS)) + 1
    weights = model.weights(line.phones, frames, FPS)
    moving = np.flatnonzero(weights.max(0) > 5e-4)
    names = [model.names[k] for k in moving]
    words = [
        vars(word) | {"start": round(word.start, 3), "end": round(word.end, 3)}
        for word in line.words
    ]
    head = {"fps": FPS, "names": names, "seconds": round(line.seconds, 3), "words": words}
    yield json.dumps(head)[:-1].encode() + b', "weights": ['
    # Row by row: one call for all of it would keep every other thread waiting.
    for k, row in enumerate(np.round(weights[:, moving].astype(np.float64), 3).tolist()):
        yield (b"," if k else b"") + json.dumps(row, separators=(",", ":")).encode()
    yield b"]}"


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(engine: Engine, settings: ServerSettings, runner: Runner | None = None) -> FastAPI:
    """The application around an engine and the workers of jobs, whose ``metrics`` it sets; without workers there are no jobs."""
    metrics = ServerMetrics()
    engine.metrics = metrics
    limits = SocketLimits(
        settings.token,
        settings.message_bytes,
        settings.start_timeout,
        settings.idle_timeout,
        settings.send_timeout,
        settings.longest_session,
    )
    app = FastAPI(
        title="jambatalk",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        description="Speech in, frames of a talking face out. The live part is the WebSocket /v1/stream, see docs/how-to/live.md.",
    )
    app.state.metrics = metrics
    jobs: dict[str, Any] | None = None
    said = {
        "description": "One sentence says why.",
        "content": {"application/json": {"example": {"error": "..."}}},
    }
    refusals: dict[int | str, dict[str, Any]] = {401: said, 403: said, 404: said, 422: said}

    @app.exception_handler(AnyHTTPException)
    async def one_sentence(request: Any, error: AnyHTTPException) -> JSONResponse:
        return JSONResponse(
            {"error": error.detail}, error.status_code, HEADERS | dict(error.headers or {})
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Any, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse(
            {"error": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, 422, HEADERS
        )

    def check(authorization: str | None) -> None:
        if settings.token is None:
            return
        kind, _, given = (authorization or "").partition(" ")
        # Headers come as Latin-1: what is not ASCII is compared as bytes, and is wrong.
        if kind.lower() != "bearer" or not hmac.compare_digest(
            given.encode("utf-8", "replace"), settings.token.encode()
        ):
            raise HTTPException(
                401, "this server needs its token: the header Authorization: Bearer TOKEN"
            )

    @app.get("/healthz", summary="Whether the server keeps up")
    async def health() -> JSONResponse:
        behind = engine.queue_delay
        return JSONResponse(
            {"ok": True, "sessions": engine.open_sessions, "behind_ms": round(1000 * behind, 1)},
            headers=HEADERS,
        )

    @app.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=PlainTextResponse,
        responses=refusals,
    )
    async def counters(authorization: Authorization = None) -> Response:
        check(authorization)
        if runner is not None:
            metrics.jobs_held(runner.store.counts())
        return Response(
            metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8", headers=HEADERS
        )

    @app.get("/v1/info", summary="What this server speaks", responses=refusals)
    async def info(authorization: Authorization = None) -> JSONResponse:
        check(authorization)
        talker = engine.talker
        return JSONResponse(
            {
                "version": __version__,
                "names": list(talker.names),
                "fps": talker.fps,
                "look_ahead_ms": talker.look_ahead_ms,
                "styles": list(talker.styles),
                "identities": identities(),
                "weights_sha256": talker.weights_sha256,
                "token_required": settings.token is not None,
                "limits": {
                    "sessions": settings.max_sessions,
                    "message_bytes": settings.message_bytes,
                    "session_seconds": settings.longest_session,
                    "idle_seconds": settings.idle_timeout,
                },
                "jobs": jobs,
                "speak": True,
            },
            headers=HEADERS,
        )

    @app.get(
        "/v1/faces/{name}.glb",
        summary="A head as glTF with its shapes as morph targets",
        response_class=Response,
        responses=refusals | {200: {"content": {"model/gltf-binary": {}}}},
    )
    def face(
        name: Annotated[str, Path(max_length=64)], authorization: Authorization = None
    ) -> Response:
        check(authorization)
        if name not in identities():
            raise HTTPException(
                404, f"there is no such face, choose from {', '.join(identities())}"
            )
        return Response(
            head_glb(name),
            media_type="model/gltf-binary",
            headers=HEADERS | {"Cache-Control": "max-age=3600"},
        )

    @app.get("/asyncapi.json", summary="The WebSocket /v1/stream as an AsyncAPI document")
    async def protocol() -> JSONResponse:
        return JSONResponse(document(), headers=HEADERS)

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await serve_stream(websocket, engine, limits, metrics)

    if runner is not None:
        from jambatalk.server.jobs.routes import add_jobs
        from jambatalk.server.jobs.store import KINDS

        runner.metrics = metrics
        jobs = {
            "formats": list(KINDS),
            "upload_bytes": settings.upload_bytes,
            "sound_seconds": settings.longest_sound,
            "waiting": runner.store.most,
            "keep_seconds": runner.store.keep,
        }
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


@lru_cache(maxsize=16)
def head_glb(identity: str) -> bytes:
    """The default head with all its shapes and a head joint, at rest."""
    import numpy as np

    from jambatalk.face.head import default_head
    from jambatalk.motion import Motion

    head = default_head()
    motion = Motion(
        25.0,
        np.zeros((1, len(head.names)), np.float32),
        head.names,
        head_pose=np.zeros((1, 3), np.float32),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "head.glb"
        motion.save(path, identity=None if identity == "default" else identity)
        return path.read_bytes()
