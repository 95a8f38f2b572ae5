"""What hearing a pretrained encoder's clip in windows costs: error against context, time and memory
against length.

    python benchmarks/quality/encoder_seams.py [--folder MODEL | --random base] [--sharp 1] [--align
    features --fps 30]
        [--seconds 120] [--window 30] [--contexts 0 1 2 3 5] [--lengths 30 60 180 600] [--json
        out/encoder_seams.json]

Error: of the network's features (before the projection), windows against the whole clip at once, on
the sound of the demo; ``rms`` is relative to how much the features vary over time, ``max`` to the
largest of them. ``edge`` is the rms within 0.2 s of a seam, ``inner`` that of the rest. A network
without trained weights has nearly even attention: every frame hears all others alike. ``--sharp 8``
multiplies its queries by 8: each frame then listens to few others, anywhere in the clip. Memory:
the largest resident size of a process of its own that encodes so many seconds, windows and whole.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import jambatalk
from jambatalk.atomic import write_json
from jambatalk.audio import Speech
from jambatalk.models.config import PretrainedConfig
from jambatalk.models.encoders.pretrained import XLSR_53_LARGE, PretrainedEncoder

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"

BASE: dict[str, Any] = {
    "model_type": "wav2vec2"
}  # transformers' defaults are the size of wav2vec2-base
RANDOM: dict[str, dict[str, Any]] = {
    "base": BASE,
    "large": XLSR_53_LARGE,
    "hubert": {"model_type": "hubert"},
    "wavlm": {"model_type": "wavlm"},
    "data2vec": {"model_type": "data2vec-audio"},
    "small": BASE
    | {
        "num_hidden_layers": 3,
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_attention_heads": 3,
    },
}


def sound(seconds: float) -> torch.Tensor:
    """(1, n): the demo's speech, repeated."""
    samples = torch.from_numpy(Speech.load(DEMO).samples)
    count = round(seconds * 16000)
    return samples.repeat(-(-count // len(samples)))[None, :count]


def encoder(options: argparse.Namespace) -> PretrainedEncoder:
    torch.manual_seed(0)
    source = (
        {"name": options.folder} if options.folder else {"architecture": RANDOM[options.random]}
    )
    config = PretrainedConfig(
        **source, align=options.align, window=options.window, context=options.contexts[-1]
    )
    model = PretrainedEncoder(config, options.fps, 1).eval()
    features = model.project.in_features
    model.project = torch.nn.Identity()  # type: ignore[assignment]
    model.project.weight = torch.empty(0)  # type: ignore[assignment]
    model.width = features
    for name, value in model.network.named_parameters():
        if "q_proj" in name:
            value.data *= options.sharp
    return model


def seams(model: PretrainedEncoder, options: argparse.Namespace) -> list[dict[str, float]]:
    samples = sound(options.seconds)
    model.config = replace(model.config, window=1e6)
    whole = model(samples)[0]
    spread = (whole - whole.mean(0)).square().mean().sqrt()
    rows = []
    for context in options.contexts:
        model.config = replace(model.config, window=options.window, context=context)
        _, keep, _ = model._plan(model.reader.length(samples.shape[1]), len(whole))
        error = model(samples)[0] - whole
        frames = torch.arange(len(whole))
        inside = (frames >= keep // 2) & (frames < len(whole) // keep * keep)
        near = ((frames + options.fps // 5) % keep < 2 * (options.fps // 5)) & inside
        rows.append(
            {
                "context": context,
                "rms": float(error.square().mean().sqrt() / spread),
                "edge": float(error[near].square().mean().sqrt() / spread),
                "inner": float(error[~near].square().mean().sqrt() / spread),
                "max": float(error.abs().max() / whole.abs().max()),
            }
        )
    return rows


def peak(seconds: float, window: float, arguments: list[str]) -> dict[str, float] | None:
    """Time and memory of a process of its own; None if it fails."""
    command = [sys.executable, __file__, *arguments, "--one", str(seconds), "--window", str(window)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def one(options: argparse.Namespace) -> None:
    import resource

    model, samples = encoder(options), sound(options.one)
    model(samples[:, :8000])
    began = time.perf_counter()
    model(samples)
    seconds = time.perf_counter() - began
    unit = 1e6 if sys.platform.startswith("linux") else 1e9  # kilobytes there, bytes on macOS
    print(
        json.dumps(
            {"seconds": seconds, "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}
        )
    )


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", default="", help="a model of transformers, with trained weights"
    )
    parser.add_argument("--random", default="base", choices=list(RANDOM))
    parser.add_argument("--sharp", type=float, default=1.0)
    parser.add_argument("--align", default="features")
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--window", type=float, default=30.0)
    parser.add_argument("--contexts", type=float, nargs="*", default=[0.0, 1.0, 2.0, 3.0, 5.0])
    parser.add_argument("--lengths", type=float, nargs="*", default=[30.0, 60.0, 180.0, 600.0])
    parser.add_argument(
        "--whole-up-to",
        type=float,
        default=180.0,
        help="seconds that are also encoded in one piece",
    )
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, default=Path("out/encoder_seams.json"))
    options = parser.parse_args()
    if options.one is not None:
        options.contexts = [3.0]
        return one(options)
    rows: dict[str, Any] = {
        "options": {k: str(v) for k, v in vars(options).items()},
        "seams": [],
        "lengths": [],
    }
    if options.contexts:
        rows["seams"] = seams(encoder(options), options)
        print(
            f"window {options.window:g} s, clip {options.seconds:g} s\ncontext      rms     edge "
            "   inner      max"
        )
        for row in rows["seams"]:
            print(
                f"{row['context']:5.1f} s  {row['rms']:.1e}  {row['edge']:.1e}  "
                f"{row['inner']:.1e}  {row['max']:.1e}"
            )
    passed = [
        "--random",
        options.random,
        "--folder",
        options.folder,
        "--align",
        options.align,
        "--fps",
        str(options.fps),
    ]
    if options.lengths:
        print("\n length    windows: s per s      GB    whole: s per s      GB")
    for seconds in options.lengths:
        pieces = peak(seconds, options.window, passed)
        whole = peak(seconds, 1e6, passed) if seconds <= options.whole_up_to else None
        rows["lengths"].append({"length": seconds, "windows": pieces, "whole": whole})
        cells = [
            f"{r['seconds'] / seconds:16.3f}  {r['gb']:6.2f}" if r else f"{'-':>16}  {'-':>6}"
            for r in (pieces, whole)
        ]
        print(f"{seconds:5.0f} s  {cells[0]}  {cells[1]}", flush=True)
    write_json(options.json, rows)


if __name__ == "__main__":
    main()
