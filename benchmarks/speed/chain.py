"""Speech to motion, the whole chain: ``base`` against the released model's layout at equal sound,
on this machine.

The released layouts have random weights of the true sizes (wav2vec 2.0 large, 24 layers) and run
with our kernels; with JAMBATALK_KERNELS=reference in the environment all rows use plain torch loops
for the scan. Two rows are live: ``base`` in steps of 40 ms, and the authors' "real-time" program,
which recomputes the last second ten times a second and keeps one frame of each. "a step" is what
such a step takes, and so what a live frame comes late by beyond its look-ahead.

    pip install "jambatalk[encoders]"
    python benchmarks/speed/chain.py [--seconds 10] [--json out/chain.json]
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import jambatalk
from jambatalk.atomic import write_json
from jambatalk.audio import Speech
from jambatalk.models.encoders.pretrained import XLSR_53_LARGE
from jambatalk.models.presets import load_preset
from jambatalk.models.speech_to_motion import SpeechToMotion, parameter_count

STEP = 0.04
DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"


def best(run, times: int) -> float:  # type: ignore[no-untyped-def]
    """Least wall seconds of several runs."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def step_seconds(talker: jambatalk.Talker, samples: np.ndarray) -> float:
    """Median wall seconds of a live step of 40 ms of sound."""
    session, size, seconds = talker.stream(), round(STEP * 16000), []
    for start in range(0, len(samples) - size, size):
        started = time.perf_counter()
        session.push(samples[start : start + size])
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[10:]))


def released(preset: str) -> SpeechToMotion:
    """The released layout with random weights."""
    config = load_preset(preset)
    return SpeechToMotion(
        replace(config, encoder=replace(config.encoder, name="", architecture=XLSR_53_LARGE))
    ).eval()


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
    steps: dict[str, float] = {}
    with torch.inference_mode():
        talker = jambatalk.load()
        talker.animate(Speech(samples))
        rows.append(
            (
                "base",
                parameter_count(talker.model),
                best(lambda: talker.animate(Speech(samples)), 5),
            )
        )
        live = steps["base, live"] = step_seconds(talker, samples)
        rows.append(("base, live", parameter_count(talker.model), live * options.seconds / STEP))
        windows = 0.0
        for preset in ("released-vocaset", "released-biwi6"):
            model = released(preset)
            model.forward_offline(window)
            rows.append(
                (
                    preset,
                    parameter_count(model),
                    best(lambda model=model: model.forward_offline(sound), 2),
                )
            )
            if preset == "released-vocaset":
                # Ten windows of one second for every second of sound.
                name = "released-vocaset, windows"
                steps[name] = best(lambda model=model: model.forward_offline(window), 3)
                windows = steps[name] * 10 * options.seconds
                rows.append((name, parameter_count(model), windows))
            del model
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, float32"
    )
    print(
        f"{'network':28} {'parameters':>12} {'s per s of sound':>17} {'x real time':>12} "
        f"{'against base':>13} {'a step, ms':>11}"
    )
    for name, parameters, seconds in rows:
        each = seconds / options.seconds
        step = f"{1000 * steps[name]:.1f}" if name in steps else ""
        print(
            f"{name:28} {parameters:12,} {each:17.4f} {1 / each:12.1f} "
            f"{seconds / rows[0][2]:11.1f} x {step:>11}"
        )
    taken = {name: seconds for name, _, seconds in rows}
    print(
        f"live: windows take {taken['released-vocaset, windows'] / taken['base, live']:.0f} x "
        "the time of base for the same sound"
    )
    write_json(options.json, [dict(zip(("network", "parameters", "seconds"), row)) for row in rows])


if __name__ == "__main__":
    main()
