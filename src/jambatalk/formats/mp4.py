"""Motion as a video with sound (see ``jambatalk.render.video``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jambatalk.motion import Motion


def save(
    motion: Motion,
    path: Path,
    *,
    size: tuple[int, int] = (512, 512),
    fps: float | None = None,
    identity: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write an H.264 video with AAC sound; the options and errors are those of
    ``render.write_video``.
    """
    # Imported on use: drawing needs compiled kernels that the other formats do not.
    from jambatalk.render.video import write_video

    write_video(motion, path, size=size, fps=fps, identity=identity, progress=progress)
