"""Small meshes with known answers."""

from __future__ import annotations

import numpy as np

from jambatalk.face.face import Face
from jambatalk.render import Camera

FRONT = Camera(
    (0, 0, 10), (0, 0, 0), fov=float(np.degrees(2 * np.arctan(0.05)))
)  # 1 m at the origin fills the height


def black(width: int, height: int) -> np.ndarray:
    """A backdrop without light."""
    return np.zeros((height, width, 3), np.float32)


def sphere(
    radius: float = 0.3, around: int = 128, centre: tuple[float, float, float] = (0, 0, 0)
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and outward triangles of a ball."""
    rings = around // 2
    theta, phi = np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, around, endpoint=False)
    t, p = np.meshgrid(theta, phi, indexing="ij")
    points = np.stack([np.sin(t) * np.sin(p), np.cos(t), np.sin(t) * np.cos(p)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(rings), np.arange(around), indexing="ij")
    a, b = i * around + j, i * around + (j + 1) % around
    c, d = a + around, b + around
    faces = np.concatenate(
        [np.stack([a, c, d], -1).reshape(-1, 3), np.stack([a, d, b], -1).reshape(-1, 3)]
    )
    return (points * radius + centre).astype(np.float32), faces.astype(np.int32)


def quad(width: float = 1.0, height: float = 1.0, z: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A rectangle facing the viewer."""
    x, y = width / 2, height / 2
    vertices = np.array([[-x, -y, z], [x, -y, z], [x, y, z], [-x, y, z]], np.float32)
    return vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def joined(*parts: tuple[np.ndarray, np.ndarray, str, tuple[float, float, float]]) -> Face:
    """One face of several meshes, each with a material and an sRGB colour."""
    vertices, triangles, materials, colours, names, start = [], [], [], [], [], 0
    for points, faces, material, colour in parts:
        if material not in names:
            names.append(material)
        vertices.append(points)
        triangles.append(faces + start)
        materials.append(np.full(len(faces), names.index(material), np.uint8))
        colours.append(np.broadcast_to(np.float32(colour), points.shape))
        start += len(points)
    return Face(
        np.concatenate(vertices).astype(np.float32),
        np.concatenate(triangles).astype(np.int32),
        colours=np.concatenate(colours),
        materials=np.concatenate(materials),
        material_names=tuple(names),
    )


def puppet(around: int = 48) -> Face:
    """A ball for a head on a wider ball for shoulders, with eyes and lips painted on as regions,
    and a jaw that opens."""
    head, head_faces = sphere(0.1, around)
    body, body_faces = sphere(0.16, around, (0, -0.3, -0.04))
    face = joined(
        (head, head_faces, "skin", (0.8, 0.6, 0.5)), (body, body_faces, "cloth", (0.3, 0.3, 0.4))
    )
    v = face.vertices
    front = (v[:, 2] > 0.05) & (v[:, 1] > -0.1)
    lips = np.flatnonzero(
        front & (np.abs(v[:, 1] + 0.04) < 0.012) & (np.abs(v[:, 0]) < 0.03)
    ).astype(np.int32)
    eyes = np.flatnonzero(
        front & (np.abs(v[:, 1] - 0.03) < 0.01) & (np.abs(np.abs(v[:, 0]) - 0.03) < 0.01)
    ).astype(np.int32)
    jaw = np.zeros((1, len(v), 3), np.float32)
    jaw[0, :, 1] = np.where(front & (v[:, 1] < -0.04), -0.03, 0)
    upper = lips[np.argmax(v[lips, 1])]
    lower = lips[np.argmin(v[lips, 1])]
    return Face(
        v,
        face.triangles,
        {"lips": lips, "eyes": eyes, "inner_lips": lips},
        ("jawOpen",),
        jaw,
        face.colours,
        face.materials,
        face.material_names,
        (int(upper), int(lower)),
        {"tall": (v * np.float32([0, 0.1, 0])).astype(np.float32)},
    )
