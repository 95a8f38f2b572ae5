"""Speed and memory of the whole chain on this machine; prints a table with ratios and writes JSON.

Rows: speech -> motion against real time and against the same network with the plain torch kernels;
a streaming hop; animate to mp4; import plus first result in a fresh process; peak memory of a fresh
process that animates 60 s.

    python benchmarks/speed/speed.py [--json out/speed.json]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import jambatalk
from jambatalk.atomic import write_json
from jambatalk.audio import Speech
from jambatalk.ops.backend import use_backend
from jambatalk.talker import Talker

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"

FRESH = """
import sys, time
started = time.perf_counter()
import jambatalk
talker = jambatalk.load()
motion = talker.animate(sys.argv[1])
print(time.perf_counter() - started)
"""

VIDEO = """
import sys, time
import jambatalk
started = time.perf_counter()
jambatalk.load().animate(sys.argv[1]).save(sys.argv[2])
print(time.perf_counter() - started)
"""


def minute() -> Speech:
    """60 s of real speech: the demo clip again and again."""
    samples = Speech.load(DEMO).samples
    return Speech(np.tile(samples, -(-60 * 16000 // len(samples)))[: 60 * 16000])


def best(run, times: int = 3) -> float:  # type: ignore[no-untyped-def]
    """Least wall seconds of several runs: what the code costs when nothing else is in the way."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def hop_times(talker: Talker, samples: np.ndarray) -> np.ndarray:
    """Milliseconds of each push of one hop."""
    session, hop, times = talker.stream(), talker.model.config.hop, []
    for start in range(0, len(samples) - hop, hop):
        began = time.perf_counter()
        session.push(samples[start : start + hop])
        times.append((time.perf_counter() - began) * 1000)
    return np.array(times[25:])


def fresh(code: str, *arguments: str) -> tuple[float, float]:
    """(seconds that the code printed, peak resident MB) of a new process."""
    watched = (
        f"{code}\nimport resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", watched, *arguments], capture_output=True, text=True, check=True
    )
    seconds, peak = done.stdout.split()
    return float(seconds), float(peak) / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("out/speed.json"))
    options = parser.parse_args()
    talker, speech = jambatalk.load(), minute()
    talker.animate(speech)  # compiles what is not cached
    offline = best(lambda: talker.animate(speech))
    with use_backend("reference"):
        reference = best(lambda: talker.animate(speech), times=1)
    hops = hop_times(talker, speech.samples)
    with tempfile.TemporaryDirectory() as folder:
        import soundfile

        wav = str(Path(folder) / "minute.wav")
        soundfile.write(wav, speech.samples, 16000)
        first, _ = fresh(FRESH, str(DEMO))
        video, peak = fresh(VIDEO, wav, str(Path(folder) / "minute.mp4"))
    rows = [
        ("speech to motion, 60 s", f"{offline:.2f} s", f"{60 / offline:.0f} x real time"),
        (
            "the same, plain torch kernels",
            f"{reference:.2f} s",
            f"{reference / offline:.1f} x the numba kernels' time",
        ),
        (
            "streaming hop of 40 ms, P50",
            f"{np.percentile(hops, 50):.2f} ms",
            f"{40 / np.percentile(hops, 50):.1f} x real time",
        ),
        (
            "streaming hop of 40 ms, P99",
            f"{np.percentile(hops, 99):.2f} ms",
            f"{40 / np.percentile(hops, 99):.1f} x real time",
        ),
        ("60 s to 512x512 mp4, fresh process", f"{video:.1f} s", f"{60 / video:.2f} x real time"),
        ("peak memory of that", f"{peak:.0f} MB", ""),
        ("import, load and first result", f"{first:.1f} s", ""),
    ]
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch "
        f"{torch.__version__}"
    )
    for name, value, ratio in rows:
        print(f"{name:36} {value:>10}   {ratio}")
    write_json(options.json, {name: [value, ratio] for name, value, ratio in rows})


if __name__ == "__main__":
    main()
