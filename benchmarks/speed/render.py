"""Speed of drawing: milliseconds per frame by size and threads, the whole video path, and the plain
NumPy rasteriser beside it.

    python benchmarks/speed/render.py [--frames 60] [--seconds 20] [--json out/render.json]

Frames are of the default head talking and moving. The NumPy row finds the visible triangle of every
sample and nothing more (no light, no shadow), so it is compared with the same step of the renderer.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from jambatalk.atomic import write_json
from jambatalk.audio import Speech
from jambatalk.face.deform import AnimatedMesh
from jambatalk.face.head import default_head
from jambatalk.motion import Motion
from jambatalk.ops.threads import usable_cores
from jambatalk.render import Renderer, frame_face, write_video
from jambatalk.render import rasterizer as reference
from jambatalk.render.rasterizer import (
    TWO_SIDED,
    bin_triangles,
    project,
    raster_rows,
    sample_offsets,
)

FPS = 25
SIZES = ((256, 256), (512, 512), (1080, 1080))


def talking(seconds: float) -> Motion:
    """The default head opening and closing its mouth, with a slowly moving head and a hum for a
    voice.
    """
    face = default_head()
    t = np.arange(round(seconds * FPS)) / FPS
    weights = np.zeros((len(t), len(face.names)), np.float32)
    weights[:, face.names.index("jawOpen")] = 0.3 - 0.3 * np.cos(2 * np.pi * 3 * t)
    weights[:, face.names.index("mouthSmileLeft")] = weights[
        :, face.names.index("mouthSmileRight")
    ] = 0.3
    pose = np.stack([0.06 * np.sin(2 * t), 0.25 * np.sin(t), 0.05 * np.sin(1.3 * t)], 1).astype(
        np.float32
    )
    hum = 0.1 * np.sin(2 * np.pi * 140 * np.arange(round(seconds * 16000)) / 16000)
    return Motion(
        FPS, weights, face.names, head_pose=pose, speech=Speech(hum.astype(np.float32)), face=face
    )


def milliseconds(work: Callable[[int], object], frames: int) -> tuple[float, float, float]:
    """Median and 95th percentile of the wall time of ``frames`` calls, and their median processor
    time; one more warms up.

    Processor time, summed over threads, is what a busy machine does not inflate as much.
    """
    work(0)
    wall, busy = [], []
    for frame in range(frames):
        started, cpu = time.perf_counter(), time.process_time()
        work(frame)
        wall.append(1000 * (time.perf_counter() - started))
        busy.append(1000 * (time.process_time() - cpu))
    return float(np.median(wall)), float(np.percentile(wall, 95)), float(np.median(busy))


def visible(
    vertices: np.ndarray, triangles: np.ndarray, size: tuple[int, int], plain: bool
) -> np.ndarray:
    """The triangle each of four samples per pixel sees, by the fast or by the plain rasteriser."""
    width, height = size
    camera = frame_face(default_head(), width / height)
    view = np.ascontiguousarray(
        (vertices - np.array(camera.position)) @ camera.rotation().T, np.float32
    )
    screen, near = project(view, camera.focal(height), width, height)
    sides, offsets = np.full(len(triangles), TWO_SIDED, np.uint8), sample_offsets(2)
    if plain:
        return reference.draw(screen, near, triangles, sides, width, height, offsets)[0]
    _, items = bin_triangles(screen, near, triangles, sides, width, height, height)
    ids = np.full((height, width, len(offsets)), -1, np.int32)
    raster_rows(
        screen, near, triangles, items, 0, height, offsets, ids, np.zeros(ids.shape, np.float32)
    )
    return ids


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=60, help="frames measured in each row")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the video")
    parser.add_argument("--json", type=Path, default=Path("out/render.json"))
    options = parser.parse_args()
    motion = talking(max(options.seconds, 1.0))
    face = default_head()
    worn = AnimatedMesh(motion)
    rows: list[dict[str, Any]] = []

    def row(what: str, median: float, high: float, busy: float, ratio: str) -> None:
        rows.append(
            {
                "what": what,
                "median_ms": median,
                "p95_ms": high,
                "processor_ms": busy,
                "ratio": ratio,
            }
        )
        print(f"  {what}: {median:.1f} ms", file=sys.stderr)

    single: dict[tuple[int, int], float] = {}
    for size in SIZES:
        for threads in sorted({1, min(2, usable_cores())}):
            renderer = Renderer(face, size, threads=threads)

            def draw(frame: int, renderer: Renderer = renderer) -> np.ndarray:
                frame %= len(motion)
                return renderer.render(worn.vertices(frame), worn.head_pose(frame))

            median, high, busy = milliseconds(draw, options.frames)
            single.setdefault(size, median)
            row(
                f"frame {size[0]}x{size[1]}, {threads} thread(s)",
                median,
                high,
                busy,
                f"{single[size] / median:.2f} x one thread",
            )
    fast = milliseconds(lambda _: visible(face.vertices, face.triangles, (512, 512), False), 10)
    slow = milliseconds(lambda _: visible(face.vertices, face.triangles, (512, 512), True), 2)
    row("visibility 512x512, this renderer, 1 thread", *fast, "1")
    row("visibility 512x512, plain NumPy", *slow, f"{slow[0] / fast[0]:.0f} x slower")
    with tempfile.TemporaryDirectory() as folder:
        write_video(talking(0.2), Path(folder) / "warm.mp4")
        started, cpu = time.perf_counter(), time.process_time()
        write_video(motion, Path(folder) / "talk.mp4")
        busy = 1000 * (time.process_time() - cpu) / len(motion)
        took = 1000 * (time.perf_counter() - started) / len(motion)
        megabytes = (Path(folder) / "talk.mp4").stat().st_size / 1e6
    row(
        f"video 512x512, drawn + encoded, {options.seconds:g} s",
        took,
        took,
        busy,
        f"{1000 / FPS / took:.2f} x real time at {FPS} fps",
    )

    machine = {
        "processors": usable_cores(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "triangles": len(face.triangles),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "video_megabytes": megabytes,
        "video_fps": 1000 / took,
    }
    table = Table(
        title=f"Drawing a head of {len(face.triangles)} triangles on {usable_cores()} processors, "
        f"load {machine['load']}"
    )
    for name in ("what", "median ms", "P95 ms", "processor ms", "ratio"):
        table.add_column(name, justify="left" if name in ("what", "ratio") else "right")
    for one in rows:
        table.add_row(
            one["what"],
            *(f"{one[key]:.1f}" for key in ("median_ms", "p95_ms", "processor_ms")),
            one["ratio"],
        )
    Console(width=120).print(table)
    write_json(options.json, {"machine": machine, "rows": rows})


if __name__ == "__main__":
    main()
