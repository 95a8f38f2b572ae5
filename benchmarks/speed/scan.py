"""The selective scan and the causal convolution: kernels against plain torch, forward and forward +
backward.

Width 1024, 16 states, one sequence. "plain" is the bare recurrence, "fused" adds bias, softplus and
gate. Prints a table with ratios and writes JSON. Beside the times: state updates a second (one is
an exponential, two products and a sum each way) and the memory traffic that could not be less
(every tensor read or written once), to see which of the two bounds a row.

    python benchmarks/speed/scan.py [--lengths 300 3000 30000] [--device cpu] [--json out/scan.json]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from jambatalk.atomic import write_json
from jambatalk.ops.backend import chosen_backend, use_backend
from jambatalk.ops.causal_conv import causal_conv
from jambatalk.ops.selective_scan import selective_scan

WIDTH, STATES, KERNEL = 1024, 16, 4
# The loop's graph keeps every step: at 30,000 steps several (B, D, N) tensors each, 10 GB and more.
LONGEST_LOOP_BACKWARD = 3000


def best(run: Callable[[], object], seconds: float = 1.0, least: int = 3) -> float:
    """Least wall seconds of several runs: what the code costs when nothing else is in the way.

    One run over 5 s is enough.
    """
    times: list[float] = []
    while len(times) < least + 1 or sum(times) < seconds:  # the first warms up
        synchronize()
        started = time.perf_counter()
        run()
        synchronize()
        times.append(time.perf_counter() - started)
        if len(times) > 1 and times[-1] > 5:
            break
    return min(times[1:])


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def scan_inputs(length: int, fused: bool, device: str) -> dict[str, Any]:
    g = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g).to(device)

    delta = normal(1, length, WIDTH)
    extra = (
        {"z": normal(1, length, WIDTH), "delta_bias": normal(WIDTH), "delta_softplus": True}
        if fused
        else {}
    )
    return {
        "u": normal(1, length, WIDTH),
        "delta": delta - 2 if fused else delta.sigmoid() * 0.1,
        "A": -torch.arange(1, STATES + 1, device=device).float().repeat(WIDTH, 1),
        "B": normal(1, length, STATES),
        "C": normal(1, length, STATES),
        "D": normal(WIDTH),
        "state": torch.zeros(1, WIDTH, STATES, device=device),
        **extra,
    }


def conv_inputs(length: int, device: str) -> dict[str, Any]:
    g = torch.Generator().manual_seed(0)
    shapes = {
        "x": (1, length, WIDTH),
        "weight": (KERNEL, WIDTH),
        "bias": (WIDTH,),
        "state": (1, KERNEL - 1, WIDTH),
    }
    return {name: torch.randn(*shape, generator=g).to(device) for name, shape in shapes.items()} | {
        "silu": True
    }


def forward_backward(operation: Callable[..., Any], inputs: dict[str, Any]) -> Callable[[], object]:
    own = {
        name: x.clone().requires_grad_() if isinstance(x, torch.Tensor) else x
        for name, x in inputs.items()
    }
    leaves = [x for x in own.values() if isinstance(x, torch.Tensor)]

    def run() -> object:
        y, _ = operation(**own)
        return torch.autograd.grad(y, leaves, torch.ones_like(y), allow_unused=True)

    return run


def row(
    name: str, length: int, operation: Callable[..., Any], inputs: dict[str, Any], backward: bool
) -> dict[str, Any]:
    """One comparison; the reference only where it fits."""
    run = forward_backward(operation, inputs) if backward else lambda: operation(**inputs)
    with torch.set_grad_enabled(backward):
        fast = best(run)
        slow = None
        if not (backward and length > LONGEST_LOOP_BACKWARD and operation is selective_scan):
            with use_backend("reference"):
                slow = best(run, seconds=0.5, least=2)
    # Tensors of (B, L, D): read and written once; the backward reads the forward's inputs again and
    # writes a gradient for each.
    tensors = 1 + sum(
        isinstance(x, torch.Tensor) and x.shape[-2:] == (length, WIDTH) for x in inputs.values()
    )
    updates = length * WIDTH * (STATES if operation is selective_scan else KERNEL)
    moved = 4 * length * WIDTH * tensors * (3 if backward else 1)
    return {
        "operation": f"{name}, {'forward + backward' if backward else 'forward'}",
        "length": length,
        "kernel_ms": fast * 1e3,
        "torch_ms": None if slow is None else slow * 1e3,
        "ratio": None if slow is None else slow / fast,
        "updates_per_ns": updates / fast / 1e9,
        "GB_per_s": moved / fast / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[300, 3000, 30000])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, default=Path("out/scan.json"))
    options = parser.parse_args()
    kernel, reason = chosen_backend("selective_scan", options.device)
    machine = platform.processor() or platform.machine()
    print(
        f"{machine}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads; {kernel}: {reason}"
    )
    print(f"width {WIDTH}, {STATES} states, convolution over {KERNEL} steps, float32, batch 1")
    head = (
        f"{'operation':36} {'length':>7} {kernel + ' ms':>10} {'torch ms':>10} {'ratio':>7} "
        f"{'updates/ns':>10} {'GB/s':>6}"
    )
    print(head)
    rows = []
    for length in options.lengths:
        for backward in (False, True):
            cases = [
                ("scan, plain", selective_scan, scan_inputs(length, False, options.device)),
                ("scan, fused", selective_scan, scan_inputs(length, True, options.device)),
                ("convolution and silu", causal_conv, conv_inputs(length, options.device)),
            ]
            for name, operation, inputs in cases:
                found = row(name, length, operation, inputs, backward)
                rows.append(found)
                slow = "no memory" if found["torch_ms"] is None else f"{found['torch_ms']:.1f}"
                ratio = "" if found["ratio"] is None else f"{found['ratio']:.1f} x"
                print(
                    f"{found['operation']:36} {length:7} {found['kernel_ms']:10.3f} {slow:>10} "
                    f"{ratio:>7}"
                    f" {found['updates_per_ns']:10.2f} {found['GB_per_s']:6.1f}",
                    flush=True,
                )
    print(
        f"torch's loop forward + backward is not run beyond {LONGEST_LOOP_BACKWARD} steps: its "
        "graph would take over 10 GB."
    )
    write_json(
        options.json,
        {"kernel": kernel, "machine": machine, "threads": torch.get_num_threads(), "rows": rows},
    )


if __name__ == "__main__":
    main()
