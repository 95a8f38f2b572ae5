"""A whole training in small: clips, settings, training, a checkpoint that animates.

The clips are made up: the shipped network's own motions of pieces of the demo's recording. A tiny
network learns them for a few steps; it is no good, but everything around it is as in earnest.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import jambatalk
from jambatalk.datasets.clip import Clip
from jambatalk.models.config import DecoderConfig, EncoderConfig, ModelConfig
from jambatalk.training.blendshapes import BlendshapeTask
from jambatalk.training.config import BlendshapesConfig, TrainConfig
from jambatalk.training.trainer import Trainer

SECONDS = 2


def make_clips(talker: jambatalk.Talker, speech: jambatalk.Speech) -> list[Clip]:
    """Cut the recording into pieces and let the shipped network move each."""
    length = SECONDS * 16000
    pieces = [speech.samples[i : i + length] for i in range(0, 4 * length, length)]
    return [
        Clip(
            f"piece{i}",
            "demo",
            "train" if i else "val",
            piece,
            talker.animate(jambatalk.Speech.load(piece, rate=16000)),
        )
        for i, piece in enumerate(pieces)
    ]


def main(folder: Path) -> None:
    talker = jambatalk.load()
    recording = files("jambatalk") / "assets" / "demo.flac"
    clips = make_clips(talker, jambatalk.Speech.load(recording))
    config = TrainConfig(
        steps=20,
        batch_size=4,
        learning_rate=5e-3,
        warmup_steps=3,
        validate_every=10,
        save_every=10,
        num_val_samples=0,
        blendshapes=BlendshapesConfig(sequence_length=25, variants=1),
        model=ModelConfig(
            encoder=EncoderConfig(widths=[16, 24], blocks=1),
            decoder=DecoderConfig(pattern="M E T", width=32, mlp_hidden=48, expert_hidden=32),
        ),
    )
    task = BlendshapeTask(config, talker.face, clips[1:], clips[:1])
    trainer = Trainer(config, task, folder)
    trainer.resume()  # goes on where an earlier call was stopped
    trainer.run(lambda step, terms: print(f"step {step:3}  loss {terms['loss']:.4f}"))
    trainer.export(folder / "tiny.safetensors")

    motion = jambatalk.load(folder / "tiny.safetensors").animate(recording)
    print(f"the tiny network makes {len(motion)} frames")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/example-training"))
