"""Draw the default head in the mouths of speech and a few expressions, from the front and in
three-quarter view.

    python tools/figures/head_sheet.py [-o docs/images/head_sheet.png] [--identity mei] [--people
    docs/images/head_people.png]

The sheet is how the head is judged: look at it at full size after every change of ``tools/head/``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from jambatalk.face.face import Face
from jambatalk.face.head import IDENTITIES, default_head
from jambatalk.render import Camera, Renderer, contact_sheet, frame_face, save_png

IMAGES = Path(__file__).parents[2] / "docs" / "images"
COLUMNS = 6
# Weights of each pose; a name without a side sets both sides.
POSES: dict[str, dict[str, float]] = {
    "neutral": {},
    "aa": {"jawOpen": 0.45, "mouthLowerDown": 0.25},
    "oo": {"jawOpen": 0.10, "mouthPucker": 0.90, "mouthFunnel": 0.30},
    "ee": {
        "jawOpen": 0.09,
        "mouthStretch": 0.40,
        "mouthSmile": 0.40,
        "mouthUpperUp": 0.30,
        "mouthLowerDown": 0.50,
    },
    "m/b/p": {"mouthPress": 0.40, "mouthRollLower": 0.25, "mouthRollUpper": 0.20},
    "f/v": {"jawOpen": 0.07, "mouthRollLower": 0.50, "mouthUpperUp": 0.40},
    "sh": {"jawOpen": 0.08, "mouthFunnel": 0.60, "mouthUpperUp": 0.25, "mouthLowerDown": 0.40},
    "th": {"jawOpen": 0.17, "tongueOut": 0.42, "mouthLowerDown": 0.35, "mouthUpperUp": 0.15},
    "smile": {
        "mouthSmile": 0.65,
        "mouthUpperUp": 0.30,
        "jawOpen": 0.04,
        "cheekSquint": 0.40,
        "eyeSquint": 0.30,
    },
    "blink": {"eyeBlink": 1.0},
    "brows up": {"browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.4},
    "look": {"eyeLookOutLeft": 0.8, "eyeLookInRight": 0.8, "eyeLookUp": 0.4},
}


def pose_weights(face: Face, pose: dict[str, float]) -> np.ndarray:
    """(52,) weights of a pose."""
    weights = np.zeros(len(face.names), np.float32)
    for name, value in pose.items():
        sides = [name] if name in face.names else [f"{name}Left", f"{name}Right"]
        weights[face.columns(sides)] = value
    return weights


def turned(face: Face, yaw: float) -> Camera:
    """The portrait camera turned about the middle of the skull, which keeps the head in the middle
    of the picture.
    """
    front = frame_face(face)
    x, y, z = front.target
    return Camera(front.position, (x, y, z - 0.075), front.fov).orbit(yaw=yaw)


def pose_sheet(face: Face, size: int) -> np.ndarray:
    """(H, W, 3) uint8: every pose from the front and, below it, in three-quarter view."""
    views = {
        suffix: Renderer(face, (size, size), camera=turned(face, yaw))
        for suffix, yaw in (("", 0.0), (" 3/4", 38.0))
    }
    names = list(POSES)
    images, labels = [], []
    for start in range(0, len(names), COLUMNS):
        for suffix, renderer in views.items():
            for name in names[start : start + COLUMNS]:
                images.append(renderer.render(face.pose(pose_weights(face, POSES[name]))))
                labels.append(name + suffix)
    return contact_sheet(images, labels, COLUMNS)


def people_sheet(size: int) -> np.ndarray:
    """(H, W, 3) uint8: the head and its identities, at rest and speaking."""
    images, labels = [], []
    for pose, yaw in (({}, 0.0), (POSES["ee"], 30.0)):
        for name in (None, *IDENTITIES):
            face = default_head(name)
            renderer = Renderer(face, (size, size), camera=turned(face, yaw))
            images.append(renderer.render(face.pose(pose_weights(face, pose))))
            labels.append(name or "default")
    return contact_sheet(images, labels, 1 + len(IDENTITIES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=IMAGES / "head_sheet.png")
    parser.add_argument(
        "--people",
        type=Path,
        default=IMAGES / "head_people.png",
        help="where the sheet of identities goes",
    )
    parser.add_argument(
        "--identity", choices=IDENTITIES, help="whose poses to draw; the head itself by default"
    )
    parser.add_argument("--size", type=int, default=320, help="pixels of one picture")
    options = parser.parse_args()
    save_png(pose_sheet(default_head(options.identity), options.size), options.output)
    save_png(people_sheet(options.size), options.people)
    print(f"wrote {options.output} and {options.people}")


if __name__ == "__main__":
    main()
