"""One hop in torch and in onnxruntime, float32 and int8: file size, speed on one core, and the
error that int8 makes.

    python benchmarks/speed/onnx_step.py [--weights FILE] [--rounds 5] [--json out/onnx_step.json]

Needs jambatalk[onnx]. Times are of the network alone (benchmarks/speed/stream_hop.py has a session
around it), one thread, bound to one core where the system lets it; of several interleaved rounds
the least. Throughput is seconds of sound per second: hop by hop, and for torch also in pieces of
256 hops, which an exported step cannot take. The error is against torch in float32 over the demo
clip, on shape weights in 0..1. Batches: time of one call over the number of streams in it.
"""

from __future__ import annotations

import argparse
import copy
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jambatalk.atomic import write_json
from jambatalk.export.runtime import load_onnx
from jambatalk.models.checkpoint import load_weights
from jambatalk.models.state import pretranspose_linear_weights
from jambatalk.talker import DEFAULT_WEIGHTS
from stream_hop import WARM, exported, keep_to_one_core, speech

PIECE = 256  # hops at once, as Session does
BATCHES = (1, 4, 16)


def hop_times(model: Any, sound: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
    """(milliseconds of each hop, the motion (T, outputs)) for sound (B, n); the motion is that of
    the first stream.
    """
    hop, state = model.config.hop, model.init_state(len(sound))
    times, frames = [], []
    with torch.inference_mode():
        for start in range(0, sound.shape[1] - hop + 1, hop):
            began = time.perf_counter()
            y, state = model(sound[:, start : start + hop], state)
            times.append((time.perf_counter() - began) * 1000)
            frames.append(y[0])
    return np.array(times[WARM:]), torch.cat(frames)


def in_pieces(model: Any, sound: torch.Tensor) -> float:
    """Seconds for the whole sound (1, n), PIECE hops at once."""
    state = model.init_state(1)
    began = time.perf_counter()
    with torch.inference_mode():
        for piece in sound.split(PIECE * model.config.hop, dim=1):
            _, state = model(piece, state)
    return time.perf_counter() - began


def quantised_by_torch(model: torch.nn.Module) -> torch.nn.Module | None:
    """The network with torch's own dynamic int8 linear layers; None where torch has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            large = {
                name
                for name, m in model.named_modules()
                if isinstance(m, torch.nn.Linear) and m.weight.numel() >= 1 << 14
            }
            return torch.ao.quantization.quantize_dynamic(
                copy.deepcopy(model), large, dtype=torch.qint8
            )  # type: ignore[no-any-return]
    except (AttributeError, RuntimeError, ValueError) as error:
        print(f"torch's dynamic quantisation: {type(error).__name__}: {str(error).splitlines()[0]}")
        return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("out/onnx_step.json"))
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, "
        f"{keep_to_one_core()}"
    )
    sound = torch.from_numpy(speech(options.seconds))[None]
    network = pretranspose_linear_weights(load_weights(options.weights)[0])
    models: dict[str, Any] = {"torch float32": network}
    sizes = {"torch float32": sum(p.numel() * 4 for p in network.parameters())}
    if (by_torch := quantised_by_torch(load_weights(options.weights)[0])) is not None:
        by_torch.init_state = (
            network.init_state
        )  # a quantised layer's weight no longer says its shape
        models["torch int8"] = by_torch
    batched: dict[int, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, int8 in (("onnxruntime float32", False), ("onnxruntime int8", True)):
            path = exported(options.weights, Path(folder), int8=int8)
            if path is None:
                raise SystemExit('this benchmark needs pip install "jambatalk[onnx]"')
            models[name], sizes[name] = load_onnx(path)[0], path.stat().st_size
        for batch in BATCHES:
            path = exported(options.weights, Path(folder), batch=batch)
            assert path is not None
            batched[batch] = load_onnx(path)[0]
    rows = measured(models, sizes, sound, options.rounds)
    whole = min(in_pieces(network, sound) for _ in range(options.rounds))
    print(f"torch float32, {PIECE} hops at once: {options.seconds / whole:.0f} x real time")
    print(f"\n{'ms a stream and hop, P50':28}" + "".join(f"{f'batch {b}':>10}" for b in BATCHES))
    streams = {"torch float32": lambda b: network, "onnxruntime float32": lambda b: batched[b]}
    for name, chosen in streams.items():
        rows.append(batch_row(name, chosen, sound, options.rounds))
    write_json(
        options.json, [*rows, {"name": "torch in pieces", "real_time": options.seconds / whole}]
    )


def measured(
    models: dict[str, Any], sizes: dict[str, int], sound: torch.Tensor, rounds: int
) -> list[dict[str, Any]]:
    """Time every model in turns, print the table, return its rows."""
    best: dict[str, np.ndarray] = {}
    motions: dict[str, torch.Tensor] = {}
    for _ in range(rounds):
        for name, model in models.items():
            times, motions[name] = hop_times(model, sound)
            if name not in best or times.mean() < best[name].mean():
                best[name] = times
    first = next(iter(best))
    print(
        f"{'':26} {'MB':>6} {'P50':>6} {'P95':>6} {'P99 ms':>7} {'x real time':>12} "
        f"{'x torch':>8}   error: mean, largest"
    )
    rows = []
    for name, times in best.items():
        difference = (motions[name].clamp(0, 1) - motions[first].clamp(0, 1)).abs()
        row = {
            "name": name,
            "mb": sizes[name] / 1e6 if name in sizes else None,
            **{f"p{p}": float(np.percentile(times, p)) for p in (50, 95, 99)},
            "real_time": float(1000 / models[name].config.fps / times.mean()),
            "ratio": float(best[first].mean() / times.mean()),
            "error_mean": float(difference.mean()),
            "error_largest": float(difference.max()),
        }
        rows.append(row)
        size = f"{row['mb']:6.1f}" if row["mb"] else f"{'-':>6}"
        print(
            f"{name:26} {size} {row['p50']:6.2f} {row['p95']:6.2f} {row['p99']:7.2f} "
            f"{row['real_time']:12.0f} "
            f"{row['ratio']:8.2f}   {row['error_mean']:.1e}, {row['error_largest']:.1e}"
        )
    return rows


def batch_row(
    name: str, chosen: Callable[[int], Any], sound: torch.Tensor, rounds: int
) -> dict[str, Any]:
    """P50 of a hop over the number of streams, printed and returned; ten seconds each."""
    cells = {}
    for batch in BATCHES:
        streams = torch.cat([sound.roll(-i * 16000 * 2, dims=1) for i in range(batch)])[
            :, : 10 * 16000
        ]
        cells[batch] = min(
            float(np.percentile(hop_times(chosen(batch), streams)[0], 50)) / batch
            for _ in range(rounds)
        )
    print(f"{name:28}" + "".join(f"{value:10.3f}" for value in cells.values()))
    return {"name": f"{name} in batches", "milliseconds_a_stream": cells}


if __name__ == "__main__":
    main()
