"""A whole Mamba layer of width 512: ours, transformers' slow path and mambapy's block, with the
same weights.

Prints times, ratios and the largest difference from our output, and writes JSON. What is not
installed is said to be missing.

    python benchmarks/speed/mamba_layer.py [--lengths 300 3000 30000] [--json out/mamba_layer.json]
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jambatalk.atomic import write_json
from jambatalk.models.mamba import Mamba
from jambatalk.ops.backend import use_backend

WIDTH = 512
# The others keep several (B, L, D, N) tensors, 2 GB each at 30,000 steps, and their graphs many
# more.
LONGEST_FORWARD, LONGEST_BACKWARD = 3000, 3000
# transformers slices such a tensor once a step, and each slice's gradient is a tensor of the full
# size: quadratic in L.
LONGEST_SLICED_BACKWARD = 300


def best(run: Callable[[], object], seconds: float = 1.5, least: int = 3) -> float:
    """Least wall seconds of several runs: what the code costs when nothing else is in the way.

    One run over 5 s is enough.
    """
    times: list[float] = []
    while len(times) < least + 1 or sum(times) < seconds:  # the first warms up
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
        if len(times) > 1 and times[-1] > 5:
            break
    return min(times[1:])


def published_names(ours: Mamba) -> dict[str, Tensor]:
    """Our weights under the names and in the shapes of the published implementation."""
    weights = {name: x.detach().clone() for name, x in ours.state_dict().items()}
    weights["conv1d.weight"] = (
        weights.pop("conv.weight").T[:, None].contiguous()
    )  # (kernel, D) -> (D, 1, kernel)
    weights["conv1d.bias"] = weights.pop("conv.bias")
    return weights


def transformers_layer(ours: Mamba) -> Callable[[Tensor], Tensor]:
    from transformers import MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer

    mixer = MambaMixer(
        MambaConfig(hidden_size=WIDTH, state_size=16, conv_kernel=4, expand=2), layer_idx=0
    )
    mixer.load_state_dict(published_names(ours))
    return adopted(mixer, mixer.forward)  # without mamba-ssm its plain torch path


def mambapy_layer(ours: Mamba) -> Callable[[Tensor], Tensor]:
    from mambapy.mamba import MambaBlock, MambaConfig

    block = MambaBlock(MambaConfig(d_model=WIDTH, n_layers=1))
    block.load_state_dict(published_names(ours))
    return adopted(block, block.forward)


def adopted(module: nn.Module, forward: Callable[[Tensor], Any]) -> Callable[[Tensor], Tensor]:
    """The forward as a function that knows its module's parameters."""

    def run(x: Tensor) -> Tensor:
        return forward(x)

    run.parameters = list(module.parameters())  # type: ignore[attr-defined]
    return run


def our_layer(ours: Mamba) -> Callable[[Tensor], Tensor]:
    return adopted(ours, lambda x: ours(x, ours.init_state(len(x)))[0])


def torch_layer(ours: Mamba) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        with use_backend("reference"):
            return ours(x, ours.init_state(len(x)))[0]

    return adopted(ours, forward)


LAYERS = {
    "ours": our_layer,
    "ours, torch loop": torch_layer,
    "transformers slow": transformers_layer,
    "mambapy": mambapy_layer,
}


def measured(layer: Any, x: Tensor, backward: bool) -> tuple[float, Tensor]:
    """(seconds, output)."""
    if not backward:
        with torch.inference_mode():
            return best(lambda: layer(x)), layer(x)

    def run() -> object:
        y = layer(x)
        return torch.autograd.grad(y, layer.parameters, torch.ones_like(y), allow_unused=True)

    return best(run), layer(x).detach()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[300, 3000, 30000])
    parser.add_argument("--json", type=Path, default=Path("out/mamba_layer.json"))
    options = parser.parse_args()
    machine = platform.processor() or platform.machine()
    print(
        f"{machine}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    print(f"Mamba layer of width {WIDTH}, 16 states, convolution over 4 steps, float32, batch 1")
    print(
        f"{'layer':20} {'pass':20} {'length':>7} {'ms':>10} {'ours is faster':>15} "
        f"{'difference':>11} {'GFLOP/s*':>9}"
    )
    torch.manual_seed(0)
    ours = Mamba(WIDTH)
    rows = []
    for length in options.lengths:
        x = torch.randn(1, length, WIDTH)
        for backward in (False, True):
            yardstick: tuple[float, Tensor] | None = None
            for name, make in LAYERS.items():
                label = "forward + backward" if backward else "forward"
                found: dict[str, Any] = {"layer": name, "pass": label, "length": length}
                longest = LONGEST_BACKWARD if backward else LONGEST_FORWARD
                if backward and name.startswith("transformers"):
                    longest = LONGEST_SLICED_BACKWARD
                if name != "ours" and length > longest:
                    print(
                        f"{name:20} {label:20} {length:7} not run: it would take tens of GB or "
                        "many minutes"
                    )
                    continue
                try:
                    layer = make(ours)
                except ImportError as error:
                    print(f"{name:20} {label:20} {length:7} missing: {error}")
                    continue
                seconds, y = measured(layer, x, backward)
                yardstick = yardstick or (seconds, y)
                found["ms"], found["ratio"] = seconds * 1e3, seconds / yardstick[0]
                found["difference"] = float(
                    (y - yardstick[1]).abs().max() / yardstick[1].abs().max()
                )
                products = (
                    2
                    * length
                    * sum(p.numel() for n, p in ours.named_parameters() if "proj.weight" in n)
                )
                found["gflops"] = products * (3 if backward else 1) / seconds / 1e9
                rows.append(found)
                print(
                    f"{name:20} {label:20} {length:7} {found['ms']:10.2f} {found['ratio']:13.1f} "
                    f"x {found['difference']:11.1e}"
                    f" {found['gflops']:9.1f}",
                    flush=True,
                )
                del layer, y
                gc.collect()
    print("* of the four matrix products alone, which every implementation shares")
    write_json(options.json, {"machine": machine, "threads": torch.get_num_threads(), "rows": rows})


if __name__ == "__main__":
    main()
