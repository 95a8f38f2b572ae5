"""A sheet of one face: from three sides, in the mouths of speech, and every shape that it uses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.deform import AnimatedMesh
from jambatalk.face.face import Face
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.face.lips import lips_of
from jambatalk.face.report import MOUTHS, FaceReport, mouth_weights
from jambatalk.motion import Motion
from jambatalk.render.camera import Camera, frame_face
from jambatalk.render.image import contact_sheet
from jambatalk.render.renderer import Renderer

Array = NDArray[Any]

COLUMNS = 6
MOST = 60
"""Shapes that are drawn one by one."""

LABEL = 26
"""Letters of a label."""

MARKS = {"upper": (80, 220, 255), "lower": (80, 220, 255), "corner": (255, 190, 60)}
"""Colours of the marks on the lips."""


def face_sheet(face: Face, report: FaceReport, size: int = 256) -> Array:
    """Draw the sheet: (H, W, 3) uint8.

    Args:
        face: whose.
        report: what was found in it.
        size: pixels of one picture.
    """
    portrait = frame_face(face)
    front = Renderer(face, (size, size), camera=portrait)
    images, labels = [], []
    for yaw, label in ((0, "at rest"), (35, "its left"), (-35, "its right")):
        camera = portrait.orbit(yaw=yaw)
        images.append(Renderer(face, (size, size), camera=camera).render(face.vertices))
        labels.append(label)
    close = Renderer(face, (size, size), camera=_close(face, portrait))
    images.append(_marked(face, close))
    labels.append("lips as found" if report.mouth else "lips not found")
    if report.problem is None:
        weights = np.stack([mouth_weights(name) for name in MOUTHS])
        talk = AnimatedMesh(Motion(1.0, weights=weights, names=ARKIT_NAMES, face=face))
        for n, name in enumerate(MOUTHS):
            drawn = front if name == "blink" else close
            images.append(drawn.render(talk.vertices(n)))
            labels.append(f"says {name}" if name != "blink" else "blinks")
    for name in [*report.speaking, *report.other][:MOST]:
        shape = face.vertices + face.basis[face.names.index(name)]
        drawn = close if name in report.speaking else front
        images.append(drawn.render(shape))
        labels.append(name[-LABEL:])
    return contact_sheet(images, labels, COLUMNS)


def _close(face: Face, portrait: Camera) -> Camera:
    """A camera near the mouth; the portrait's where no mouth is known."""
    lips = lips_of(face)
    if lips is None:
        return portrait
    width = float(lips.measure(face.vertices)[1])
    x, y, z = (float(v) for v in face.vertices[[lips.upper, lips.lower]].mean(0))
    return portrait.closer((x, y - 0.15 * width, z), 2.6 * width)


def _marked(face: Face, renderer: Renderer) -> Array:
    """The resting mouth with its middle and corners marked."""
    picture = renderer.render(face.vertices)
    lips = lips_of(face)
    if lips is None:
        return picture
    camera, (width, height) = renderer.camera, renderer.size
    for rows, colour in (
        ([lips.upper, lips.lower], MARKS["upper"]),
        ([*lips.right, *lips.left], MARKS["corner"]),
    ):
        seen = (face.vertices[rows] - np.asarray(camera.position)) @ camera.rotation().T
        focal = camera.focal(height)
        for point in seen:
            x = round(0.5 * width - focal * point[0] / point[2])
            y = round(0.5 * height + focal * point[1] / point[2])
            picture[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = colour
    return picture
