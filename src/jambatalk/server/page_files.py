"""The page of ``jambatalk serve``: its built files, its sample, and the heads that it draws."""

from __future__ import annotations

import base64
import hashlib
import pathlib
import tempfile
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import JSONResponse, Response

from jambatalk.face.head import identities
from jambatalk.server.access import HEADERS, ONE_SENTENCE, check_token, refusals

PAGE = pathlib.Path(__file__).parent / "page"
ASSETS = pathlib.Path(__file__).parents[1] / "assets"

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".flac": "audio/flac",
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self' blob:",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""All that the page needs is on this server. ``self`` covers its WebSocket too; blob: is for what
it records, and for the textures inside a character that somebody drops on it."""

PAGE_HEADERS = HEADERS | {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
AN_HOUR = {"Cache-Control": "max-age=3600"}
NOT_BUILT = (
    "this installation has no page: in a source checkout build it with npm ci && npm run build"
    " in web/"
)

router = APIRouter()
Name = Annotated[str, Path(max_length=64)]


@router.get("/", include_in_schema=False)
def page(request: Request) -> Response:
    return _page_file(request, "index.html")


@router.get("/assets/{name}", include_in_schema=False)
def asset(request: Request, name: str) -> Response:
    return _page_file(request, f"assets/{name}")


@router.get("/THIRD_PARTY.txt", include_in_schema=False)
def third_party(request: Request) -> Response:
    return _page_file(request, "THIRD_PARTY.txt")


@router.get(
    "/v1/demo.flac",
    summary="Nine seconds of recorded speech, the page's sample",
    response_class=Response,
    responses={
        200: {"content": {"audio/flac": {}}},
        304: {"description": "The same"},
        403: ONE_SENTENCE,
    },
)
def demo(request: Request) -> Response:
    return _cached(request, (ASSETS / "demo.flac").read_bytes(), MEDIA_TYPES[".flac"])


@router.get(
    "/v1/faces/{name}.glb",
    summary="A head as glTF with its shapes as morph targets",
    response_class=Response,
    responses=refusals() | {200: {"content": {"model/gltf-binary": {}}}},
    dependencies=[Depends(check_token)],
)
def face(name: Name) -> Response:
    _check_identity(name)
    return Response(head_glb(name), media_type="model/gltf-binary", headers=HEADERS | AN_HOUR)


@router.get(
    "/v1/faces/{name}/shade",
    summary="How the room's light reaches a head's vertices, baked",
    responses=refusals(),
    dependencies=[Depends(check_token)],
)
def shade(name: Name) -> JSONResponse:
    _check_identity(name)
    return JSONResponse(baked_shade(name), headers=PAGE_HEADERS | AN_HOUR)


@router.get(
    "/v1/character",
    summary="The character that this server was started with",
    response_class=Response,
    responses=refusals() | {200: {"content": {"model/gltf-binary": {}}}},
    dependencies=[Depends(check_token)],
)
def character(request: Request) -> Response:
    path = request.app.state.settings.shown_character
    if path is None:
        raise HTTPException(404, "this server was started without a character of its own")
    return Response(path.read_bytes(), media_type="model/gltf-binary", headers=HEADERS)


def _check_identity(name: str) -> None:
    if name not in identities():
        raise HTTPException(404, f"there is no such face, choose from {', '.join(identities())}")


@lru_cache(maxsize=1)
def page_files() -> dict[str, bytes]:
    """Read the built page: path -> content. Only these are ever sent: no path leads elsewhere."""
    found = sorted(p for p in PAGE.rglob("*") if p.is_file() and p.suffix in MEDIA_TYPES)
    return {path.relative_to(PAGE).as_posix(): path.read_bytes() for path in found}


def _page_file(request: Request, path: str) -> Response:
    content = page_files().get(path)
    if content is None:
        raise HTTPException(404, "the page has no such file" if page_files() else NOT_BUILT)
    return _cached(request, content, MEDIA_TYPES[pathlib.PurePosixPath(path).suffix])


def _cached(request: Request, content: bytes, media_type: str) -> Response:
    # no-cache asks each time; the tag makes the answer "still the same" a short one.
    tag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
    headers = PAGE_HEADERS | {"ETag": tag}
    if tag in (request.headers.get("if-none-match") or ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


@lru_cache(maxsize=16)
def head_glb(identity: str) -> bytes:
    """A head with all its shapes and a head joint, at rest."""
    import numpy as np

    from jambatalk.face.head import default_head
    from jambatalk.motion import Motion

    names = default_head().names
    weights, pose = np.zeros((1, len(names)), np.float32), np.zeros((1, 3), np.float32)
    motion = Motion(25.0, weights, names, head_pose=pose)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "head.glb"
        motion.save(path, identity=None if identity == "default" else identity, split=False)
        return path.read_bytes()


@lru_cache(maxsize=16)
def baked_shade(identity: str) -> dict[str, Any]:
    """What the video renderer bakes for a head, for the page's shader.

    Returns:
        vertices: base64 of (V, 4) uint8 in the order of the glb's vertices: the share of the
            room's light at rest, the same with the mouth open, 255 behind the lips, and what the
            lids leave of the light on an eye (255 elsewhere).
        gap: the two vertices whose distance is the lips' opening.
        lips: vertices of the inner lips.
        anatomy: metres, for the camera.
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
    jaw_open = face.basis[face.names.index("jawOpen")]
    wide = np.ascontiguousarray(vertices + 0.6 * jaw_open, np.float32)
    for column, shape in enumerate((vertices, wide)):
        normals = vertex_normals(shape, triangles, owner)
        shade[:, column] = bake(shape, normals, triangles, sides) ** depth
    behind = np.zeros(len(vertices), bool)
    behind[triangles[looks[:, INSIDE] > 0].reshape(-1)] = True
    behind[face.regions["inner_lips"]] = False
    shade[:, 2] = behind
    eyes, light = eye_shade(face, triangles, materials)
    shade[eyes, 3] = np.minimum(light, 0.99)
    body = measure(face)
    rows = np.rint(255 * np.clip(shade, 0, 1)).astype(np.uint8)
    return {
        "vertices": base64.b64encode(rows.tobytes()).decode(),
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
