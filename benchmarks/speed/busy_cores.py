"""A live hop of 40 ms while other programs use all cores: on one thread, as sessions run it, and on torch's threads.

    python benchmarks/speed/busy_cores.py [--hops 100] [--json out/busy_cores.json]

The other programs are endless loops, one a core, or as many programs that multiply matrices with torch. torch's threads wait for
each other, and each for a core: that is why a session runs its hops on one thread (``jambatalk.ops.backend``).
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import jambatalk
from jambatalk import session as sessions
from jambatalk.atomic import write_json
from jambatalk.audio import Speech
from jambatalk.talker import Talker

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"
WARM = 20  # hops before it counts
LOADS = {
    "nothing else running": None,
    "a loop on each core": "while True: pass",
    "a torch program for each core": "import torch; a = torch.randn(512, 512)\nwhile True: a @ a",
}


def hop_times(talker: Talker, sound: np.ndarray, hops: int, few: int) -> np.ndarray:
    """Milliseconds of each hop; few: hops that a session takes on one thread, 0 for none."""
    before, sessions.FEW = sessions.FEW, few
    try:
        session, times = talker.stream(), []
        for k in range(WARM + hops):
            at = k * 640 % (len(sound) - 640)
            began = time.perf_counter()
            session.push(sound[at : at + 640])
            times.append(1000 * (time.perf_counter() - began))
    finally:
        sessions.FEW = before
    return np.array(times[WARM:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hops", type=int, default=100)
    parser.add_argument("--json", type=Path, default=Path("out/busy_cores.json"))
    options = parser.parse_args()
    talker, sound, cores = jambatalk.load(), Speech.load(DEMO).samples, os.cpu_count() or 1
    print(
        f"{platform.machine()}, {cores} cores, torch {torch.__version__}, {torch.get_num_threads()} threads by default"
    )
    print(f"{'milliseconds a hop':44} {'P50':>8} {'P95':>8} {'worst':>8} {'P50 x one thread':>17}")
    rows: list[dict[str, Any]] = []
    for load, program in LOADS.items():
        others = (
            [subprocess.Popen([sys.executable, "-c", program]) for _ in range(cores)]
            if program
            else []
        )
        try:
            time.sleep(8.0 if program else 0.0)  # until all have begun
            one = 1.0
            for name, few in (
                ("one thread", sessions.FEW),
                (f"torch's {torch.get_num_threads()} threads", 0),
            ):
                times = hop_times(talker, sound, options.hops, few)
                p50, p95 = np.percentile(times, [50, 95])
                one = p50 if few else one
                title = f"{load}, {name}"
                rows.append(
                    {
                        "name": title,
                        "p50": p50,
                        "p95": p95,
                        "worst": times.max(),
                        "ratio": p50 / one,
                    }
                )
                print(
                    f"{title:44} {p50:8.2f} {p95:8.2f} {times.max():8.2f} {p50 / one:15.1f} x",
                    flush=True,
                )
        finally:
            for other in others:
                other.kill()
                other.wait()
    write_json(options.json, rows)


if __name__ == "__main__":
    main()
