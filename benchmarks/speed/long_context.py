"""Decoder time and peak memory against the length of the clip, up to 262,144 frames (2.4 hours at
30 fps), in one call.

Each measurement runs in a process of its own, so that peak memory is that of one length alone.
Rows: the decoder of ``light``, that of ``paper-live`` (the width of ``paper-vocaset``, sliding
attention over 4 s in place of full), and the released layout as far as it is bearable (full
attention; run with our kernels and torch's memory-saving attention, while the authors' own code
keeps the whole score matrix besides, counted in the last column).

    python benchmarks/speed/long_context.py [--longest 262144] [--json out/long_context.json]
    python benchmarks/speed/long_context.py --settings grid/small

--settings measures the decoder of training settings instead, with sliding, causal and full
attention.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

from jambatalk.atomic import write_json

LENGTHS = [1024, 4096, 16384, 32768, 65536, 262144]
RELEASED_LONGEST = 32768
NETWORKS = ("light", "paper-live", "released-vocaset")
ATTENTION = ("sliding", "causal", "full")
QUADRATIC_LONGEST = 16384


def measure(network: str, length: int) -> dict[str, float]:
    """Best seconds of a few calls, and peak resident MB, in this process.

    network: a preset, or FILE:ATTENTION for training settings with another attention.
    """
    import torch

    from jambatalk.models.jamba import JambaDecoder
    from jambatalk.models.presets import load_preset
    from jambatalk.training.config import load_train_config

    file, _, attention = network.rpartition(":")
    if file:
        look_ahead = "full" if attention == "full" else "delay"
        changes = [f"model.decoder.attention={attention}", f"model.look_ahead={look_ahead}"]
        config = load_train_config(file, changes).model.decoder
    else:
        config = load_preset(network).decoder
    torch.manual_seed(0)
    decoder = JambaDecoder(config).eval()
    with torch.inference_mode():
        warm = torch.randn(1, 256, config.width)
        decoder(warm, decoder.init_state(1))
        before = peak_mb()
        x = torch.randn(1, length, config.width)
        seconds: list[float] = []
        while len(seconds) < 3 and sum(seconds) < 60:
            started = time.perf_counter()
            y, _, _ = decoder(x, decoder.init_state(1))
            seconds.append(time.perf_counter() - started)
    assert bool(torch.isfinite(y).all())
    return {"seconds": min(seconds), "peak_mb": peak_mb(), "start_mb": before}


def peak_mb() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << 20 if sys.platform == "darwin" else 1 << 10
    )


def in_own_process(network: str, length: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--one", network, str(length)],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--one",
        nargs=2,
        metavar=("NETWORK", "LENGTH"),
        help="measure in this process and print JSON",
    )
    parser.add_argument("--settings", type=Path, help="training settings in YAML")
    parser.add_argument("--longest", type=int, default=LENGTHS[-1])
    parser.add_argument("--json", type=Path, default=Path("out/long_context.json"))
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]))))
        return
    import torch

    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, float32"
    )
    print(
        f"{'decoder':17} {'frames':>8} {'seconds':>9} {'us/frame':>9} {'vs 4096':>8} "
        f"{'peak MB':>8}  score matrix"
    )
    rows = []
    longest = dict.fromkeys(NETWORKS, options.longest) | {"released-vocaset": RELEASED_LONGEST}
    if options.settings:
        longest = dict.fromkeys(ATTENTION, QUADRATIC_LONGEST) | {"sliding": options.longest}
    for network in longest:
        reference = 0.0
        for length in LENGTHS:
            if length > min(options.longest, longest[network]):
                continue
            name = f"{options.settings}:{network}" if options.settings else network
            found = in_own_process(name, length)
            each = found["seconds"] / length * 1e6
            reference = each if length == 4096 else reference
            ratio = f"{each / reference:.2f} x" if reference else ""
            scores = (
                f"{8 * length * length * 4 / 1e9:8.1f} GB" if network.startswith("released") else ""
            )
            print(
                f"{network:17} {length:8,} {found['seconds']:9.2f} {each:9.1f} {ratio:>8} "
                f"{found['peak_mb']:8.0f}  {scores}",
                flush=True,
            )
            rows.append({"network": network, "frames": length, **found})
    write_json(options.json, rows)


if __name__ == "__main__":
    main()
