"""The page of ``jambatalk serve``: its built files, the sample it plays, and how light falls into a head's folds."""

from __future__ import annotations

import base64
import hashlib
import pathlib
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Path, Request
from fastapi.responses import JSONResponse, Response

PAGE = pathlib.Path(__file__).parent / "page"
ASSETS = pathlib.Path(__file__).parents[1] / "assets"

TYPES = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".json": "application/json", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8", ".flac": "audio/flac",
}  # fmt: skip

# All that the page needs is on this server. ``self`` holds for its WebSocket too; blob: is for what it records.
POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "media-src 'self' blob:",
    "connect-src 'self'", "worker-src 'self' blob:", "manifest-src 'self'", "base-uri 'none'", "form-action 'none'",
    "frame-ancestors 'none'",
))  # fmt: skip
HEADERS = {
    "Content-Security-Policy": POLICY, "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip
NOT_BUILT = "this installation has no page: in a source checkout build it with npm ci && npm run build in web/"

Authorization = Annotated[str | None, Header()]


def add_page(app: FastAPI, check: Callable[[str | None], None]) -> None:
    """Add /, /assets/..., /v1/demo.flac and /v1/faces/{name}/shade. check: raises where the Authorization header is wrong."""

    said = {"description": "One sentence says why.", "content": {"application/json": {"example": {"error": "..."}}}}
    refusals: dict[int | str, dict[str, Any]] = dict.fromkeys((401, 403, 404, 422), said)
    sound: dict[int | str, dict[str, Any]] = {200: {"content": {"audio/flac": {}}}, 304: {"description": "The same"}, 403: said}

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
        "/v1/demo.flac", summary="Nine seconds of recorded speech, the page's sample", response_class=Response, responses=sound
    )
    def demo(request: Request) -> Response:
        return _reply(request, (ASSETS / "demo.flac").read_bytes(), TYPES[".flac"])

    @app.get("/v1/faces/{name}/shade", summary="How the room's light reaches a head's vertices, baked", responses=refusals)
    def shade(name: Annotated[str, Path(max_length=64)], authorization: Authorization = None) -> JSONResponse:
        from jambatalk.live.app import identities

        check(authorization)
        if name not in identities():
            raise HTTPException(404, f"there is no such face, choose from {', '.join(identities())}")
        return JSONResponse(baked_shade(name), headers=HEADERS | {"Cache-Control": "max-age=3600"})


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
    headers = HEADERS | {"ETag": tag}
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

    from jambatalk.face.head import default_head
    from jambatalk.render.anatomy import measure
    from jambatalk.render.geometry import vertex_normals, weld
    from jambatalk.render.materials import INSIDE, OCCLUSION, lookup, table
    from jambatalk.render.mouth_light import eye_shade
    from jambatalk.render.occlusion import bake
    from jambatalk.render.raster import SKIP, TWO_SIDED

    face = default_head(None if identity == "default" else identity)
    assert face.materials is not None
    assert face.gap_vertices is not None
    vertices = np.ascontiguousarray(face.vertices, np.float32)
    triangles = np.ascontiguousarray(face.triangles, np.int32)
    materials = np.ascontiguousarray(face.materials, np.int32)
    casts = np.array([name not in ("lash", "brow") for name in face.material_names])[materials]
    sides = np.where(casts, TWO_SIDED, SKIP).astype(np.uint8)
    owner = weld(vertices, triangles, materials, lookup(face.material_names))
    looks = table(face.material_names)[materials]
    depth = np.ones(len(vertices), np.float32)
    depth[triangles.reshape(-1)] = np.repeat(looks[:, OCCLUSION], 3)
    shade = np.ones((len(vertices), 4), np.float32)
    wide = np.ascontiguousarray(vertices + 0.6 * face.basis[face.names.index("jawOpen")], np.float32)
    for column, shape in enumerate((vertices, wide)):
        shade[:, column] = bake(shape, vertex_normals(shape, triangles, owner), triangles, sides) ** depth
    behind = np.zeros(len(vertices), bool)
    behind[triangles[looks[:, INSIDE] > 0].reshape(-1)] = True
    behind[face.regions["inner_lips"]] = False
    shade[:, 2] = behind
    eyes, light = eye_shade(face, triangles, materials)
    shade[eyes, 3] = np.minimum(light, 0.99)
    body = measure(face)
    return {
        "vertices": base64.b64encode(np.rint(255 * np.clip(shade, 0, 1)).astype(np.uint8).tobytes()).decode(),
        "gap": [int(vertex) for vertex in face.gap_vertices], "lips": [int(v) for v in face.regions["inner_lips"]],
        "anatomy": {
            "top": body.top, "chin": body.chin, "centre": list(body.centre), "width": body.width, "unit": body.eyes_to_lips,
        },
    }  # fmt: skip
