"""Animate a recording: python examples/animate_a_file.py [SOUND] [OUT_FOLDER]."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import jambatalk


def main(sound: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    talker = jambatalk.load()
    motion = talker.animate(sound)
    print(f"{motion.seconds:.1f} s, {len(motion)} frames at {motion.fps} per second")
    print(f"jawOpen reaches {motion.column('jawOpen').max():.2f}")

    motion.save(folder / "talk.mp4", size=(256, 256), identity="mei")  # a video with the sound
    motion.save(folder / "talk.glb")  # the head with animated morph targets
    motion.resampled(60).save(folder / "talk.csv")  # what Live Link Face records
    motion.save(folder / "talk.npz")

    again = jambatalk.Motion.load(folder / "talk.npz")
    print(f"read back: {again.weights.shape[0]} frames of {again.weights.shape[1]} shapes")


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else str(files("jambatalk") / "assets" / "demo.flac"),
        Path(sys.argv[2] if len(sys.argv) > 2 else "out/example"),
    )
