"""Write five seconds of the demo as a moving picture, for the README."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import av
from PIL import Image

import jambatalk

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"
PEOPLE = (None, "mei", "kofi")
SECONDS = 5
PIXELS = 256


def film(person: str | None, folder: Path) -> list[Image.Image]:
    """The demo spoken by one of the head's identities, every second frame."""
    out = folder / f"{person}.mp4"
    identity = ["--identity", person] if person else []
    command = [sys.executable, "-m", "jambatalk", "animate", str(DEMO), "-o", str(out)]
    subprocess.run([*command, *identity, "--life", "on", "--size", str(PIXELS)], check=True)
    with av.open(str(out)) as video:
        rate = float(video.streams.video[0].average_rate or 25)
        frames = [frame.to_image() for frame in video.decode(video=0)]
    return frames[: round(SECONDS * rate) : 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=Path("docs/images/demo.webp"))
    path = parser.parse_args().path
    with tempfile.TemporaryDirectory() as folder:
        films = [film(person, Path(folder)) for person in PEOPLE]
    pictures = []
    for frames in zip(*films, strict=True):
        picture = Image.new("RGB", (PIXELS * len(frames), PIXELS))
        for i, frame in enumerate(frames):
            picture.paste(frame, (PIXELS * i, 0))
        pictures.append(picture)
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=80, loop=0, quality=60, method=6
    )
    print(path, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
