"""What other programs on the same cores cost: live hops, speech to motion, validation and drawing.

    python benchmarks/speed/busy_cores.py [--part live,offline] [--seconds 60] [--json
    out/busy.json]

The other programs are endless loops, one a core, or as many programs that multiply matrices with
torch. Each part runs as the product runs it (``jambatalk.ops.threads`` chooses the threads), and,
for comparison, on one thread and on as many as the process may use. OpenMP's threads wait for each
other, and each for a core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import jambatalk
from jambatalk import session as sessions
from jambatalk.audio import Speech
from jambatalk.ops.threads import set_thread_limit, usable_cores
from jambatalk.render.renderer import Renderer
from jambatalk.render.video import write_video
from jambatalk.talker import Talker

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"
HOP = 640
WARM_HOPS = 20  # before it counts
REPEATS = 3  # of each figure, whose median is shown
LOADS = {
    "nothing else running": None,
    "a loop on each core": "while True: pass",
    "a torch program for each core": "import torch; a = torch.randn(512, 512)\nwhile True: a @ a",
}


def live(talker: Talker, samples: np.ndarray, threads: int | None) -> float:
    """Median milliseconds of a hop of 40 ms; ``threads``: None as sessions choose."""
    before, sessions.SINGLE_THREAD_HOPS = (
        sessions.SINGLE_THREAD_HOPS,
        sessions.SINGLE_THREAD_HOPS if threads is None else 0,
    )
    try:
        session, times = talker.stream(), []
        for k in range(WARM_HOPS + 100):
            at = k * HOP % (len(samples) - HOP)
            began = time.perf_counter()
            session.push(samples[at : at + HOP])
            times.append(1000 * (time.perf_counter() - began))
    finally:
        sessions.SINGLE_THREAD_HOPS = before
    return float(np.median(times[WARM_HOPS:]))


def offline(talker: Talker, samples: np.ndarray, threads: int | None) -> float:
    """Times real time of a whole recording."""
    began = time.perf_counter()
    talker.animate(Speech(samples))
    return len(samples) / 16000 / (time.perf_counter() - began)


def validation(talker: Talker, samples: np.ndarray, threads: int | None) -> float:
    """Times real time of clips of ten seconds, each in one call of the network, as a training
    validates.
    """
    from jambatalk.ops.threads import free_threads

    clips = samples[: len(samples) // 160_000 * 160_000].reshape(-1, 160_000)
    network = talker.model
    began = time.perf_counter()
    with torch.inference_mode(), free_threads():
        for clip in clips:
            network(torch.from_numpy(clip)[None], network.init_state())
    return clips.size / 16000 / (time.perf_counter() - began)


def drawing(talker: Talker, samples: np.ndarray, threads: int | None) -> float:
    """Frames a second of a video of 256 x 256 pixels."""
    motion = talker.animate(Speech(samples[:32000]))
    out = Path(f"out/busy_cores_{os.getpid()}.mp4")
    began = time.perf_counter()
    try:
        write_video(motion, out, size=(256, 256), threads=threads)
    finally:
        out.unlink(missing_ok=True)
    return len(motion) / (time.perf_counter() - began)


PARTS: dict[str, tuple[str, Callable[[Talker, np.ndarray, int | None], float]]] = {
    "live": ("ms a hop", live),
    "offline": ("times real time", offline),
    "validation": ("times real time", validation),
    "drawing": ("frames a second", drawing),
}


@contextmanager
def other_programs(code: str | None) -> Iterator[None]:
    """One program for each core, well under way."""
    count = usable_cores() if code else 0
    others = [subprocess.Popen([sys.executable, "-c", code or ""]) for _ in range(count)]
    try:
        time.sleep(8.0 if code else 0.0)
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    parser.add_argument("--seconds", type=int, default=60, help="of speech, at least 10")
    parser.add_argument("--model", default="default", help="weights file, or: base, light")
    parser.add_argument("--json", type=Path, default=Path("out/busy_cores.json"))
    options = parser.parse_args()
    talker, cores = jambatalk.load(options.model), usable_cores()
    samples = np.resize(Speech.load(DEMO).samples, max(10, options.seconds) * 16000)
    talker.animate(Speech(samples[:160_000]))
    motion = talker.animate(Speech(samples[:16000]))
    Renderer(motion.face, (64, 64)).render(motion.face.vertices)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    print(f"{platform.machine()}, {cores} cores, torch {torch.__version__}, load {os.getloadavg()}")
    choices = {"as chosen": None, "one thread": 1, f"{cores} threads": cores}
    print(f"{'':44}" + "".join(f"{name:>14}" for name in choices))
    rows: list[dict[str, Any]] = []
    for load, code in LOADS.items():
        with other_programs(code):
            for part in options.part.split(","):
                unit, measure = PARTS[part]
                row: dict[str, Any] = {"load": load, "part": part, "unit": unit}
                for name, threads in choices.items():
                    set_thread_limit(threads)
                    row[name] = float(
                        np.median([measure(talker, samples, threads) for _ in range(REPEATS)])
                    )
                set_thread_limit(None)
                rows.append(row)
                values = "".join(f"{row[name]:14.1f}" for name in choices)
                print(f"{f'{load}: {part}, {unit}':44.56}{values}", flush=True)
    options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
