"""The renderer: vertices in, picture out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.deform import HeadTurn, affine
from jambatalk.face.face import Face
from jambatalk.ops.threads import run_bands, thread_limit
from jambatalk.render.camera import Camera, frame_face
from jambatalk.render.geometry import vertex_normals, weld
from jambatalk.render.lighting import LightRig, backdrop, to_linear, tone_table
from jambatalk.render.materials import lighting_of, materials_of, table
from jambatalk.render.occlusion import MouthLight, flat_view
from jambatalk.render.rasterizer import (
    ONE_SIDED,
    SKIP,
    TWO_SIDED,
    Masks,
    bin_triangles,
    project,
    raster_rows,
    sample_offsets,
)
from jambatalk.render.shading import (
    AMBIENT,
    ATTRIBUTES,
    COLOUR,
    DIRECT,
    NORMAL,
    TEXTURE,
    Bins,
    Canvas,
    Layers,
    Lighting,
    SeenMesh,
    shade_bands,
    tonemap_image,
)
from jambatalk.render.textures import ALPHA, BLEND, MASK, looks_of

Array = NDArray[Any]

BAND = 8  # rows drawn at a time: their z-buffer stays in the processor's cache
SHADOW_SIZE = 384
PLAIN = (0.78, 0.74, 0.71)  # sRGB of a face that brings no colours: unglazed clay


class Renderer:
    """Draws one face, seen by one camera. Several Python threads may use one renderer.

    Args:
        face: what to draw; its neutral vertices set the framing and the occlusion in its folds.
        size: (width, height) in pixels, each 1 to 8192.
        camera: None frames the head and a little shoulder.
        supersample: 1 (no anti-aliasing) to 4; samples per pixel are its square.
        lights: None for ``LightRig()``.
        background: (H, W, 3) float32 linear light, None for ``backdrop``.
        threads: None uses all cores, at most 8; the picture is the same for any number.
    """

    def __init__(
        self,
        face: Face,
        size: tuple[int, int] = (512, 512),
        *,
        camera: Camera | None = None,
        supersample: int = 2,
        lights: LightRig | None = None,
        background: Array | None = None,
        threads: int | None = None,
    ) -> None:
        width, height = size
        if not (1 <= width <= 8192 and 1 <= height <= 8192):
            raise InputError(
                f"the picture's size is {width}x{height}, expected 1 to 8192 pixels each way"
            )
        if not 1 <= supersample <= 4:
            raise InputError(f"supersample is {supersample}, expected 1 to 4")
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}, expected at least 1")
        self.face, self.size, self.threads = (
            face,
            (int(width), int(height)),
            threads or min(8, thread_limit()[0]),
        )
        self.camera = camera or frame_face(face, width / height)
        self._offsets = sample_offsets(supersample)
        self._curve = tone_table()
        self._lights = (lights or LightRig()).rows()
        if background is None:
            background = backdrop(*self.size)
        elif background.shape != (height, width, 3):
            raise InputError(
                f"the background has shape {background.shape}, expected ({height}, {width}, 3)"
            )
        self._background = np.ascontiguousarray(background, np.float32)
        self._blank = tonemap_image(self._background, self._curve)

        vertices = np.ascontiguousarray(face.vertices, np.float32)
        self._check(vertices)
        self._triangles = np.ascontiguousarray(face.triangles, np.int32)
        count = len(self._triangles)
        self._materials = (
            np.zeros(count, np.int32)
            if face.materials is None
            else np.ascontiguousarray(face.materials, np.int32)
        )
        if count and (self._triangles.min() < 0 or self._triangles.max() >= len(vertices)):
            raise InputError(
                f"a triangle names vertex {self._triangles.max()}, "
                f"but the face has {len(vertices)} vertices"
            )
        if self._materials.shape != (count,) or (
            count and self._materials.max() >= len(face.material_names)
        ):
            raise InputError(
                f"face.materials does not name one of {len(face.material_names)} materials "
                f"for each of {count} triangles"
            )
        materials = materials_of(lighting_of(face))
        self._table = table(lighting_of(face))
        self._two_sided = np.array(
            [surface.two_sided for surface in face.surfaces] or [one.two_sided for one in materials]
        )
        looks = looks_of(face)
        alpha = looks.table[:, ALPHA][self._materials]
        self._masks = Masks(alpha == MASK, self._materials, looks)
        blended = alpha == BLEND
        glass = np.array([one.glass for one in materials])[self._materials]
        sides = np.where(self._two_sided, TWO_SIDED, ONE_SIDED).astype(np.uint8)[self._materials]
        self._solid_sides = np.where(glass | blended, SKIP, sides).astype(np.uint8)
        self._glass_sides = np.where(glass, sides, SKIP).astype(np.uint8)
        casts = np.array([one.casts_shadow for one in materials])[self._materials]
        # Both sides: light also passes a mesh's open rim from behind.
        see_through = glass | blended | (alpha == MASK)
        self._shadow_sides = np.where(see_through | ~casts, SKIP, TWO_SIDED).astype(np.uint8)
        self._layers = [
            (np.unique(self._triangles[of]), np.where(of, sides, SKIP).astype(np.uint8))
            for of in (
                blended & (self._materials == number)
                for number in np.unique(self._materials[blended])
            )
        ]
        self._owner = weld(vertices, self._triangles, self._materials, materials)

        self._colours = np.zeros((len(vertices), ATTRIBUTES), np.float32)
        plain = np.broadcast_to(np.array((1.0,) * 3 if face.surfaces else PLAIN), vertices.shape)
        self._colours[:, COLOUR : COLOUR + 3] = to_linear(
            plain if face.colours is None else face.colours
        )
        self._colours[:, TEXTURE:] = looks.uv
        self._turn = HeadTurn(face)
        self._mouth = MouthLight(
            face, self._owner, self._triangles, self._materials, self._shadow_sides
        )
        low, high = vertices.min(0), vertices.max(0)
        self._ball = 0.5 * (low + high), max(0.5 * float(np.linalg.norm(high - low)), 1e-3)

    def _check(self, vertices: Array) -> None:
        expected = self.face.vertices.shape
        if vertices.shape != expected:
            raise InputError(f"vertices have shape {vertices.shape}, but the face has {expected}")
        if not len(vertices) or not np.isfinite(vertices).all():
            raise InputError(
                "the vertices are not all finite numbers"
                if len(vertices)
                else "the face has no vertices"
            )

    def render(self, vertices: Array, head_pose: Array | None = None) -> Array:
        """Draw one frame.

        Args:
            vertices: (V, 3) metres.
            head_pose: (3,) radians (pitch, yaw, roll), or None.

        Returns:
            (H, W, 3) uint8 sRGB.
        """
        width, height = self.size
        vertices = np.ascontiguousarray(vertices, np.float32)
        self._check(vertices)
        attributes = self._colours.copy()
        attributes[:, AMBIENT], attributes[:, DIRECT] = self._mouth(vertices)
        if head_pose is not None:
            vertices = self._turn(vertices, head_pose)
        rotation = self.camera.rotation()
        view = affine(
            vertices,
            np.column_stack([rotation, -rotation @ self.camera.position]).astype(np.float32),
        )
        attributes[:, NORMAL : NORMAL + 3] = vertex_normals(view, self._triangles, self._owner)
        focal = self.camera.focal(height)
        screen, near = project(view, focal, width, height)
        solid = Bins(
            *bin_triangles(screen, near, self._triangles, self._solid_sides, width, height, BAND)
        )
        glass = Bins(
            *bin_triangles(screen, near, self._triangles, self._glass_sides, width, height, BAND)
        )
        layers = self._blended(screen, near)
        to_light, depths = self._shadow_map(view, rotation)
        mesh = SeenMesh(screen, near, self._triangles, self._materials, attributes)
        lighting = Lighting(self._table, self._two_sided, self._lights, to_light, depths)
        picture = np.empty((height, width, 3), np.uint8)
        canvas = Canvas(self._background, self._blank, self._curve, picture)

        def draw(first: int, step: int) -> None:
            shade_bands(
                first,
                step,
                BAND,
                mesh,
                solid,
                glass,
                layers,
                self._masks,
                self._offsets,
                focal,
                lighting,
                canvas,
            )

        run_bands(draw, min(self.threads, len(solid.starts) - 1))
        return picture

    def _blended(self, screen: Array, near: Array) -> Layers:
        """The transparent materials by bands of rows, those further away first."""
        width, height = self.size
        starts, items, end = [], [np.zeros(0, np.int32)], 0
        for _, sides in sorted(self._layers, key=lambda layer: float(near[layer[0]].mean())):
            start, item = bin_triangles(screen, near, self._triangles, sides, width, height, BAND)
            starts.append(start + end)
            items.append(item)
            end += len(item)
        bands = (height + BAND - 1) // BAND
        table = np.array(starts, np.int64).reshape(-1, bands + 1)
        return Layers(table, np.concatenate(items))

    def _shadow_map(self, view: Array, rotation: Array) -> tuple[Array, Array]:
        """What the key light sees.

        Returns:
            (3, 4) view space -> texel and nearness, and the (S, S) map of nearness.
        """
        centre = rotation @ (self._ball[0] - np.asarray(self.camera.position))
        # A fifth more room than the neutral head needs, for an open jaw and a turned head.
        to_light = flat_view(self._lights[0, :3], centre, 1.2 * self._ball[1], SHADOW_SIZE)
        seen = affine(view, to_light)
        screen = np.round(seen[:, :2] * 256).astype(np.int64)
        near = np.ascontiguousarray(seen[:, 2], np.float32)
        rows = 64
        starts, items = bin_triangles(
            screen, near, self._triangles, self._shadow_sides, SHADOW_SIZE, SHADOW_SIZE, rows
        )
        depths = np.zeros((SHADOW_SIZE, SHADOW_SIZE, 1), np.float32)
        offsets = sample_offsets(1)

        def draw(first: int, step: int) -> None:
            ids = np.empty((rows, SHADOW_SIZE, 1), np.int32)
            for b in range(first, len(starts) - 1, step):
                top = b * rows
                raster_rows(
                    screen,
                    near,
                    self._triangles,
                    items[starts[b] : starts[b + 1]],
                    top,
                    top + rows,
                    offsets,
                    ids,
                    depths[top : top + rows],
                )

        run_bands(draw, min(self.threads, len(starts) - 1))
        return to_light, depths[:, :, 0]
