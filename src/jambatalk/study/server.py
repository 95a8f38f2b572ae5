"""The study's server: one page, its media, and four small calls. It keeps no log of who asked for
what.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from jambatalk.errors import InputError, MissingExtraError
from jambatalk.study.plan import MEDIA_FOLDER, Study
from jambatalk.study.store import Answer, Full, Store
from jambatalk.study.trials import HEADPHONES, Trial, trials_for, trials_per_rater
from jambatalk.supervised_process import serving

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

PAGE = {"/": ("page.html", "text/html"), "/page.css": ("page.css", "text/css")} | {
    f"/{name}.js": (f"{name}.js", "text/javascript")
    for name in ("page", "player", "outbox", "server")
}
LARGEST_BODY = 8192
COOKIE = "study_token"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
RATER = re.compile(r"[0-9a-f]{32}")
LONGEST_MS, MOST_PLAYS = 24 * 3600 * 1000, 10_000
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self'; connect-src 'self'; "
    "media-src 'self' blob:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors "
    "'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Refused(Exception):
    """A request that cannot be served: HTTP status and one sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def study_app(
    study: Study,
    store: Store,
    *,
    token: str | None = None,
    most: int = 10_000,
    hosts: Sequence[str] | None = None,
) -> Starlette:
    """Build the application.

    Args:
        study: what is shown.
        store: where the answers go.
        token: what visitors must send as the header X-Study-Token, or as the cookie that the first
            call with it sets, which videos need; None: nothing.
        most: raters that may join.
        hosts: names under which browsers may reach the server; None: any. A page of another site
            is refused in any case.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Route

    consent = hashlib.sha256(study.settings.consent.encode()).hexdigest()
    parts = {
        path: (files("jambatalk.study").joinpath("page").joinpath(name).read_bytes(), kind)
        for path, (name, kind) in PAGE.items()
    }

    def check(request: Request, needs_token: bool = True) -> None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if hosts is not None and _host_name(host) not in hosts:
            raise Refused(421, "this address is not one of the study's: see --allow-host")
        if origin is not None and _host_of_origin(origin) != host.lower():
            raise Refused(403, "other sites' pages may not take part in this study")
        given = request.headers.get("x-study-token") or request.cookies.get(COOKIE, "")
        if token is None or not needs_token or hmac.compare_digest(given.encode(), token.encode()):
            return
        raise Refused(401, "this study needs the link it was announced with")

    def answered(endpoint: Any) -> Any:
        """An endpoint whose refusals become answers."""

        async def run(request: Request) -> Response:
            try:
                response = await endpoint(request)
            except Refused as refused:
                return JSONResponse({"error": str(refused)}, refused.status, HEADERS)
            return cast("Response", response)

        return run

    async def page(request: Request) -> Response:
        check(request, needs_token=False)
        content, kind = parts[request.url.path]
        return Response(content, media_type=kind, headers=HEADERS | {"Cache-Control": "no-cache"})

    async def media(request: Request) -> Response:
        check(request)
        name = request.path_params["name"]
        # A look-up in the list of what may be shown: no path is ever made of what a visitor sends.
        if name not in study.files:
            return JSONResponse({"error": "there is no such file"}, 404, HEADERS)
        kind = {".mp4": "video/mp4", ".webm": "video/webm", ".wav": "audio/wav"}[Path(name).suffix]
        cached = HEADERS | {"Cache-Control": "private, max-age=86400, immutable"}
        return FileResponse(study.folder / MEDIA_FOLDER / name, media_type=kind, headers=cached)

    def about(body: dict[str, Any]) -> dict[str, Any]:
        settings = study.settings
        return {
            "id": study.id,
            "title": settings.title,
            "consent": settings.consent,
            "consent_sha256": consent,
            "kind": settings.kind,
            "choices": settings.choices,
            "questions": dict(zip(settings.question_ids, settings.questions)),
            "headphones": settings.headphones,
            "volume": study.volume,
            "ratings": trials_per_rater(study) + settings.checks,
        }

    def join(body: dict[str, Any]) -> dict[str, Any]:
        if body.get("consent") != consent:
            raise Refused(409, "the consent text must be accepted as it is shown")
        try:
            rater = store.join(
                _rater(body), consent, most, lambda number: trials_for(study, number)
            )
        except Full:
            raise Refused(403, "this study has all the raters it needs") from None
        return {
            "trials": [trial.public() for trial in rater.trials],
            "answered": sorted(rater.answers),
        }

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        rater = store.rater(_rater(body))
        if rater is None:
            raise Refused(404, "this rater is not known")
        trial = next((one for one in rater.trials if one.id == body.get("trial")), None)
        if trial is None:
            raise Refused(404, "this rater has no such trial")
        values = _values(study, trial, body.get("answer"))
        took, plays = _whole(body, "took_ms", LONGEST_MS), _whole(body, "plays", MOST_PLAYS)
        if not store.add(rater.id, Answer(trial.id, values, took, plays)):
            raise Refused(404, "this rater is not known")
        return {"stored": trial.id}

    def forget(body: dict[str, Any]) -> dict[str, Any]:
        store.forget(_rater(body))
        return {"deleted": True}

    def call(action: Any) -> Any:
        async def run(request: Request) -> Response:
            check(request)
            body = await _body(request) if request.method == "POST" else {}
            found = await run_in_threadpool(action, body)
            response = JSONResponse(found, headers=HEADERS | {"Cache-Control": "no-store"})
            if token is not None:
                # A video element cannot send the header. The cookie is the same for all visitors.
                response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return response

        return run

    return Starlette(
        routes=[
            *(Route(path, answered(page)) for path in PAGE),
            Route("/media/{name}", answered(media)),
            Route("/api/study", answered(call(about))),
            *(
                Route(f"/api/{name}", answered(call(do)), methods=["POST"])
                for name, do in (("join", join), ("answer", answer), ("forget", forget))
            ),
        ]
    )


def _host_name(host: str) -> str:
    """``[::1]:80`` -> ``::1``, ``localhost:80`` -> ``localhost``; empty for anything else."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _host_of_origin(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that was sent. Other sites' forms cannot send this content type, so that they
    cannot answer for anybody.
    """
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise Refused(415, "expected application/json")
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > LARGEST_BODY:
            raise Refused(413, f"expected at most {LARGEST_BODY} bytes")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise Refused(400, "expected JSON") from None
    if not isinstance(found, dict):
        raise Refused(400, "expected a JSON object")
    return found


def _rater(body: dict[str, Any]) -> str:
    rater = body.get("rater")
    if not isinstance(rater, str) or not RATER.fullmatch(rater):
        raise Refused(400, "a rater is 32 hexadecimal digits")
    return rater


def _values(study: Study, trial: Trial, given: Any) -> dict[str, Any]:
    settings = study.settings
    wanted: dict[str, tuple[Any, ...]] = {"tone": (1, 2, 3)}
    if trial.kind != HEADPHONES:
        wanted = dict.fromkeys(settings.question_ids, settings.choices)
    if not isinstance(given, dict) or set(given) != set(wanted):
        raise Refused(400, f"expected an answer to each of {', '.join(wanted)}")
    for name, choices in wanted.items():
        # 1.0 and True equal 1 in Python, but are no choices.
        if type(given[name]) is not type(choices[0]) or given[name] not in choices:
            raise Refused(400, f"{name} must be one of {', '.join(map(str, choices))}")
    return given


def _whole(body: dict[str, Any], name: str, most: int) -> int:
    value = body.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise Refused(400, f"{name} must be a whole number from 0 to {most}")
    return value


def require_server() -> None:
    """MissingExtraError unless the libraries of the server are there."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'serving a study needs starlette and uvicorn: pip install "jambatalk[study]"'
        ) from error


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any that is free. InputError when that is not
    possible.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port is {port}, expected 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        found = socket.socket(family, kind, protocol)
        try:
            # A server that was killed a moment ago must be able to come back on the same port.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(128)
        except OSError:
            found.close()
            raise
        return found
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot listen on {host} port {port}: {reason}") from error


def serve(
    store: Store,
    study: Study,
    listening: socket.socket,
    *,
    token: str | None = None,
    most: int = 10_000,
    hosts: Sequence[str] | None = None,
) -> None:
    """Serve until interrupted; requests under way are finished. Arguments as of ``study_app``.

    Raises:
        MissingExtraError: the libraries of the server are missing.
    """
    require_server()
    import uvicorn

    # Access logs would hold addresses; the one header that names the software serves nobody.
    config = uvicorn.Config(
        study_app(study, store, token=token, most=most, hosts=hosts),
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
        lifespan="off",
    )
    with serving():
        uvicorn.Server(config).run(sockets=[listening])
