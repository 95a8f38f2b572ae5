"""Six frames of the demo in one picture, for the README: python scripts/render_demo_frames.py [docs/images/demo_frames.png]."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import jambatalk
from jambatalk.render import Renderer, contact_sheet, save_png

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"


def telling_frames(gap: np.ndarray, count: int) -> list[int]:
    """Frames in order of time, half of them where the mouth is widest open locally, half where it has closed in between."""
    inner = np.arange(1, len(gap) - 1)
    peaks = [int(i) for i in inner if gap[i] > gap[i - 1] and gap[i] >= gap[i + 1]]
    widest = sorted(sorted(peaks, key=lambda i: -gap[i])[: count // 2])
    chosen = []
    for start, stop in zip(widest, [*widest[1:], len(gap)]):
        chosen += [start, start + int(np.argmin(gap[start:stop]))]
    return chosen[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=Path("docs/images/demo_frames.png"))
    path = parser.parse_args().path
    talker = jambatalk.load()
    motion = talker.animate(DEMO)
    assert motion.weights is not None
    frames = telling_frames(talker.face.lip_gap(motion.weights), 6)
    renderer = Renderer(talker.face, (360, 360))
    images = [renderer.render(talker.face.pose(motion.weights[i])) for i in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(contact_sheet(images, [f"{i / motion.fps:.2f} s" for i in frames], 3), path)
    print(path)


if __name__ == "__main__":
    main()
