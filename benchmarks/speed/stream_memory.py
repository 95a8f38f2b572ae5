"""An hour of speech through one session of the shipped network: resident memory as it goes.

Prints a table, writes JSON.

    python benchmarks/speed/stream_memory.py [--minutes 60] [--json out/stream_memory.json]

Ratios are against the memory after the first minute. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import jambatalk
from jambatalk.atomic import write_json
from jambatalk.audio import Speech

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"


def resident_mb() -> float:
    """Resident memory of this process now."""
    fields = Path("/proc/self/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--json", type=Path, default=Path("out/stream_memory.json"))
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        sys.exit("this benchmark reads /proc, which only Linux has")
    session = jambatalk.load().stream()
    samples = Speech.load(DEMO).samples
    minute = np.tile(samples, -(-60 * 16000 // len(samples)))[: 60 * 16000]
    rows: list[dict[str, float]] = []
    started = time.perf_counter()
    for done in range(1, options.minutes + 1):
        for start in range(0, len(minute), 1600):
            session.push(minute[start : start + 1600])
        if done == 1 or done % 10 == 0 or done == options.minutes:
            now = resident_mb()
            first = rows[0]["resident_mb"] if rows else now
            rows.append(
                {
                    "minutes": done,
                    "resident_mb": now,
                    "ratio": now / first,
                    "seconds": time.perf_counter() - started,
                }
            )
            print(
                f"{done:4d} min   {now:7.1f} MB   {now / first:.3f} x the first minute's   "
                f"{rows[-1]['seconds']:.0f} s"
            )
    write_json(options.json, rows)


if __name__ == "__main__":
    main()
