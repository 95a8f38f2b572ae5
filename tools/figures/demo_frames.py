"""Six frames of the demo in one picture, for the README: python tools/figures/demo_frames.py
[docs/images/demo_frames.png].
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import jambatalk
from jambatalk.render import Renderer, contact_sheet, frame_face, save_png

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"


def telling_frames(lips: np.ndarray, count: int) -> list[int]:
    """``count`` frames, in order of time, that look as unlike each other as possible:
    farthest-point choice on (T, n) lips.
    """
    chosen = [int(np.argmax(((lips - lips.mean(0)) ** 2).sum(1)))]
    while len(chosen) < count:
        nearest = np.min([((lips - lips[i]) ** 2).sum(1) for i in chosen], axis=0)
        chosen.append(int(np.argmax(nearest)))
    return sorted(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=Path("docs/images/demo_frames.png"))
    path = parser.parse_args().path
    talker = jambatalk.load()
    motion = talker.animate(DEMO)
    assert motion.weights is not None
    posed = talker.face.pose(motion.weights)
    frames = telling_frames(posed[:, talker.face.regions["lips"]].reshape(len(motion), -1), 6)
    eyes, mouth = talker.face.regions["eyes"], talker.face.regions["lips"]
    x, y, z = (talker.face.vertices[eyes].mean(0) + talker.face.vertices[mouth].mean(0)) / 2
    renderer = Renderer(
        talker.face,
        (360, 360),
        camera=frame_face(talker.face).closer((float(x), float(y), float(z)), 0.24),
    )
    images = [renderer.render(posed[i]) for i in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(contact_sheet(images, [f"{i / motion.fps:.2f} s" for i in frames], 3), path)
    print(path)


if __name__ == "__main__":
    main()
