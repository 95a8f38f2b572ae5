"""Who may use the server (token, host names, origins), and how every refusal looks."""

from __future__ import annotations

import hmac
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.websockets import WebSocketClose

from jambatalk.server.settings import ServerSettings

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
ONE_SENTENCE = {
    "description": "One sentence says why.",
    "content": {"application/json": {"example": {"error": "..."}}},
}


def refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Describe refusals for OpenAPI: those that every route has, and ``codes``."""
    return dict.fromkeys((401, 403, 404, 422, *codes), ONE_SENTENCE)


def check_token(request: Request, authorization: Annotated[str | None, Header()] = None) -> None:
    """Refuse a request without the server's token; a FastAPI dependency."""
    token = request.app.state.settings.token
    if token is None:
        return
    kind, _, given = (authorization or "").partition(" ")
    # Headers come as Latin-1: what is not ASCII is compared as bytes, and is wrong.
    same = hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())
    if kind.lower() != "bearer" or not same:
        raise HTTPException(
            401, "this server needs its token: the header Authorization: Bearer TOKEN"
        )


def add_access(app: FastAPI, settings: ServerSettings) -> None:
    """Check hosts and origins, and give every refusal as ``{"error": "one sentence"}``."""

    @app.exception_handler(AnyHTTPException)
    async def refused(request: Request, error: AnyHTTPException) -> JSONResponse:
        headers = HEADERS | dict(error.headers or {})
        return JSONResponse({"error": error.detail}, error.status_code, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": first_problem(error)}, 422, HEADERS)

    app.add_middleware(HeadAsGet)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Range"],
            expose_headers=["Content-Disposition", "Content-Range", "Location", "Retry-After"],
        )
    app.add_middleware(OriginCheck, hosts=settings.hosts, origins=settings.origins)


def first_problem(error: Any) -> str:
    """The first problem of a pydantic validation, as one sentence."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"


class HeadAsGet:
    """Answers HEAD wherever GET is answered, as monitors and download managers expect."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_head(message: Any) -> None:
            if message["type"] == "http.response.start":
                await send(message)
            elif not message.get("more_body"):
                await send({"type": "http.response.body", "body": b""})

        # With this extension a file is named and not read.
        extensions = scope.get("extensions", {}) | {"http.response.pathsend": {}}
        await self.app(scope | {"method": "GET", "extensions": extensions}, receive, send_head)


class OriginCheck:
    """Refuses what other sites' pages ask for: browsers name them in ``Origin``, programs do not.

    Args:
        hosts: names that the ``Host`` header may have, None for any.
        origins: other sites whose pages may use the server.
    """

    def __init__(self, app: Any, hosts: tuple[str, ...] | None, origins: tuple[str, ...]) -> None:
        self.app, self.hosts, self.origins = app, hosts, origins

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        reason = self._reason(scope) if scope["type"] in ("http", "websocket") else None
        if reason is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await JSONResponse({"error": reason}, 403, HEADERS)(scope, receive, send)
        else:
            await WebSocketClose(1008, reason)(scope, receive, send)

    def _reason(self, scope: Any) -> str | None:
        """Why the request is refused."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", "").lower(), headers.get(b"origin")
        if self.hosts is not None and host_name(f"//{host}") not in self.hosts:
            return "this name does not belong to the server; --allow-host lets it in"
        if origin is None or origin.lower() in self.origins:
            return None
        if not host or origin.lower() not in (f"http://{host}", f"https://{host}"):
            return "another site's page may not use this server; --allow-origin lets it in"
        return None


def host_name(url: str) -> str:
    """``//[::1]:80`` -> ``::1``, ``//localhost:80`` -> ``localhost``; "" where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
