"""What a live stream costs on one core: a session is pushed one frame of sound at a time, for a
minute of speech.

    python benchmarks/speed/stream_hop.py [--weights FILE ...] [--rounds 3] [--json
    out/stream_hop.json]

Rows: the shipped network in torch and, with jambatalk[onnx], the same exported to ONNX. The process
keeps to one core where the system lets it, with one thread. "At work" leaves out the time in which
the system ran another process on that core (the clock of Windows is too coarse for it). Of several
rounds, interleaved, each row shows the one with the least P99: what the code costs when nothing
else is in the way. Goal: P99 of at most 5 ms for a frame of 40 ms.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import numba
import numpy as np
import torch

import jambatalk
from jambatalk.atomic import write_json
from jambatalk.audio import Speech
from jambatalk.errors import MissingExtraError
from jambatalk.talker import DEFAULT_WEIGHTS, Talker

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"
WARM = 25  # hops that are not counted: caches, and memory that the allocator asks for once


def keep_to_one_core() -> str:
    """Bind this process to one core where the system can; says what was done."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    if not hasattr(os, "sched_setaffinity"):
        return "one thread, core chosen by the system"
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return f"one thread, bound to core {core}"


def speech(seconds: float) -> np.ndarray:
    """The demo clip again and again, (n,) at 16 kHz."""
    samples = Speech.load(DEMO).samples
    count = int(seconds * 16000)
    return np.tile(samples, -(-count // len(samples)))[:count]


def pushed(talker: Talker, samples: np.ndarray) -> np.ndarray:
    """(n, 2) milliseconds of each push of one hop into a session: on the clock, and of this thread
    at work.

    They differ by the time in which the system ran something else on the core.
    """
    session, hop, times = talker.stream(), talker.model.config.hop, []
    for start in range(0, len(samples) - hop + 1, hop):
        began, worked = time.perf_counter(), time.thread_time()
        session.push(samples[start : start + hop])
        times.append([time.perf_counter() - began, time.thread_time() - worked])
    return np.array(times[WARM:]) * 1000


def exported(weights: Path, folder: Path, int8: bool = False, batch: int = 1) -> Path | None:
    """An ONNX export of ``weights`` in ``folder``; None without the extra."""
    from jambatalk.export.export import export_step

    path = folder / f"{weights.stem}-{batch}{'-int8' if int8 else ''}.onnx"
    try:
        export_step(weights, path, batch, int8)
    except MissingExtraError as error:
        print(f"without onnxruntime: {error}")
        return None
    return path


def onnx_talker(path: Path) -> Talker:
    """A talker whose network is an exported step."""
    from jambatalk.export.runtime import load_onnx

    model, names, _ = load_onnx(path)
    return Talker(model, names, path)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, nargs="*", default=[DEFAULT_WEIGHTS])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("out/stream_hop.json"))
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, "
        f"{keep_to_one_core()}"
    )
    samples = speech(options.seconds)
    talkers: dict[str, Talker] = {}
    with tempfile.TemporaryDirectory() as folder:
        for weights in options.weights:
            talkers[f"{weights.stem}, torch"] = jambatalk.load(weights)
            if path := exported(weights, Path(folder)):
                talkers[f"{weights.stem}, onnxruntime"] = onnx_talker(path)
        best: dict[str, np.ndarray] = {}
        for _ in range(options.rounds):
            for name, talker in talkers.items():
                times = pushed(talker, samples)
                if name not in best or np.percentile(times[:, 0], 99) < np.percentile(
                    best[name][:, 0], 99
                ):
                    best[name] = times
    print(
        f"{'milliseconds a frame':26} {'P50':>7} {'P95':>7} {'P99':>7} {'worst':>7}   "
        f"{'P99 at work':>11}   {'40 ms / P99':>11}"
    )
    rows = []
    first = np.percentile(next(iter(best.values()))[:, 0], 50)
    for name, times in best.items():
        clock = times[:, 0]
        p50, p95, p99 = np.percentile(clock, [50, 95, 99])
        work = np.percentile(times[:, 1], 99)
        print(
            f"{name:26} {p50:7.2f} {p95:7.2f} {p99:7.2f} {clock.max():7.2f}   {work:11.2f}   "
            f"{40 / p99:11.1f}   "
            f"P50 {first / p50:.2f} x as fast as {next(iter(best))}"
        )
        rows.append(
            {
                "name": name,
                "p50": p50,
                "p95": p95,
                "p99": p99,
                "worst": clock.max(),
                "p99_at_work": work,
                "ratio": first / p50,
            }
        )
    write_json(options.json, rows)


if __name__ == "__main__":
    main()
