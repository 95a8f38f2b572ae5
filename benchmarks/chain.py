"""Speech to motion, the whole chain: ``base`` against the released model's layout at equal sound, on this machine.

The released layouts have random weights of the true sizes (wav2vec 2.0 large, 24 layers) and run with our kernels; with
JAMBATALK_KERNELS=reference in the environment all rows use plain torch loops for the scan. The last row is the authors'
"real-time" program: the last second recomputed ten times a second, one frame kept of each.

    pip install "jambatalk[encoders]"
    python benchmarks/chain.py [--seconds 10] [--json out/chain.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import jambatalk
from jambatalk.audio import Speech
from jambatalk.nn.model import SpeechToMotion, parameter_count
from jambatalk.nn.pretrained import XLSR_53_LARGE
from jambatalk.presets import load_preset

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"


def best(run, times: int) -> float:  # type: ignore[no-untyped-def]
    """Least wall seconds of several runs."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def released(preset: str) -> SpeechToMotion:
    """The released layout with random weights."""
    config = load_preset(preset)
    return SpeechToMotion(replace(config, encoder=replace(config.encoder, name="", architecture=XLSR_53_LARGE))).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path, default=Path("out/chain.json"))
    options = parser.parse_args()
    voice = Speech.load(DEMO).samples
    count = int(options.seconds * 16000)
    samples = np.tile(voice, -(-count // len(voice)))[:count]
    sound, window = torch.from_numpy(samples)[None], torch.from_numpy(samples[:16000])[None]
    rows: list[tuple[str, int, float]] = []
    with torch.inference_mode():
        talker = jambatalk.load()
        talker.animate(Speech(samples))
        rows.append(("base", parameter_count(talker.model), best(lambda: talker.animate(Speech(samples)), 5)))
        windows = 0.0
        for preset in ("released-vocaset", "released-biwi6"):
            model = released(preset)
            model.whole(window)
            rows.append((preset, parameter_count(model), best(lambda model=model: model.whole(sound), 2)))
            if preset == "released-vocaset":
                # Ten windows of one second for every second of sound.
                windows = best(lambda model=model: model.whole(window), 3) * 10 * options.seconds
                rows.append(("released-vocaset, windows", parameter_count(model), windows))
            del model
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads, float32")
    print(f"{'network':28} {'parameters':>12} {'s per s of sound':>17} {'x real time':>12} {'against base':>13}")
    for name, parameters, seconds in rows:
        each = seconds / options.seconds
        print(f"{name:28} {parameters:12,} {each:17.4f} {1 / each:12.1f} {seconds / rows[0][2]:11.0f} x")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([dict(zip(("network", "parameters", "seconds"), row)) for row in rows], indent=2))


if __name__ == "__main__":
    main()
