"""Train the BiGRU baseline that the default weights are compared with.

    python tools/train_bigru.py --data DIR [--data DIR ...] -o out/bigru.safetensors [--steps N]
    [--cache DIR]

DIR is anything that ``jambatalk train`` reads; the train splits of all of them are used. Seeded:
the same data on the same machine with the same number of threads give the same weights.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from jambatalk.baselines.bigru_blendshapes import (
    BiGRUConfig,
    BiGRUTraining,
    save_bigru,
    train_bigru,
)
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.registry import load_clips
from jambatalk.errors import InputError
from jambatalk.face.head import default_head
from jambatalk.models.speech_to_motion import parameter_count

SHOWN = 100  # steps between two lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        required=True,
        help="a corpus' folder; may be given several times",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="where the weights go (.safetensors)"
    )
    parser.add_argument("--steps", type=int, default=BiGRUTraining.steps)
    parser.add_argument("--seed", type=int, default=BiGRUTraining.seed)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--cache", type=Path, help="folder in which carried motion is kept")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    training = replace(BiGRUTraining(), steps=options.steps, seed=options.seed)
    started, losses = time.perf_counter(), []

    def progress(step: int, loss: float) -> None:
        losses.append(loss)
        if step % SHOWN == 0 or step == training.steps:
            recent = losses[-SHOWN:]
            taken = time.perf_counter() - started
            print(
                f"step {step} of {training.steps}: loss {sum(recent) / len(recent):.3f}, "
                f"{taken:.0f} s",
                flush=True,
            )

    try:
        face = default_head()
        clips: list[Clip] = []
        for folder in options.data:
            clips += load_clips(folder, "train", face, options.cache)
        seconds = sum(len(clip.samples) for clip in clips) / 16000
        print(f"{len(clips)} clips, {seconds / 60:.1f} minutes")
        config = replace(BiGRUConfig(), outputs=len(face.names))
        started = time.perf_counter()
        network = train_bigru(clips, face, config, training, progress)
        notes = {
            "clips": len(clips),
            "corpora": sorted({clip.corpus for clip in clips}),
            "training": asdict(training),
        }
        save_bigru(options.output, network, face.names, notes)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {options.output}: {parameter_count(network) / 1e6:.2f} million parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
