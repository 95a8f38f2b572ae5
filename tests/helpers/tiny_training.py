"""A training so small that it ends in a second: a face of ten vertices, noise that follows its own
loudness, a tiny network.

Run as a program it trains: ``tiny_training.py RUN '{"steps": 12}'`` with changes to the settings;
``wait`` among them stops
the program for ever after that step, for tests that kill it; ``half_save`` lets the checkpoint of
that number, from 1, be written by half and no further.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from jambatalk.config import from_mapping
from jambatalk.datasets.clip import Clip
from jambatalk.face.face import Face
from jambatalk.motion import Motion
from jambatalk.training.blendshapes import BlendshapeTask
from jambatalk.training.config import BlendshapesConfig, TrainConfig
from jambatalk.training.trainer import Trainer
from small_network import SMALL, speechlike

MODEL = replace(SMALL, outputs=3)
# Dropout is drawn for each process and accumulated part, so only without it is a batch the same
# however it is cut.
NO_DROPOUT = replace(
    MODEL, encoder=replace(MODEL.encoder, dropout=0.0), decoder=replace(MODEL.decoder, dropout=0.0)
)
NAMES = ("jawOpen", "mouthPucker", "mouthSmileLeft")


def tiny_face() -> Face:
    """Ten lip vertices; shape 0 opens the gap between vertices 0 and 1 by 20 mm, the others move
    others."""
    rng = np.random.default_rng(0)
    vertices = rng.standard_normal((10, 3)).astype(np.float32) * 0.01
    vertices[1] = vertices[0]
    basis = np.zeros((3, 10, 3), np.float32)
    basis[0, 1, 1] = -0.02
    basis[1, 2:6, 2] = 0.01
    basis[2, 6:, 0] = 0.005
    return Face(
        vertices,
        np.array([[0, 1, 2]], np.int32),
        {"lips": np.arange(10)},
        NAMES,
        basis,
        gap_vertices=(0, 1),
    )


def tiny_clips(count: int, split: str) -> list[Clip]:
    """The mouth follows the loudness of the sound: something that a network can learn."""
    clips = []
    for i in range(count):
        samples = speechlike(2.0, seed=i)
        level = np.sqrt(np.convolve(samples**2, np.ones(640) / 640, "same")[::640])
        weights = np.stack([level * 8, level * 2, level * 0], 1).clip(0, 1).astype(np.float32)
        clips.append(
            Clip(f"{split}{i}", "one", split, samples, Motion(25, weights=weights, names=NAMES))
        )
    return clips


def tiny_config(**changes: object) -> TrainConfig:
    """Settings of a training of 12 steps."""
    base = TrainConfig(
        model=MODEL,
        steps=12,
        batch_size=4,
        blendshapes=BlendshapesConfig(sequence_length=50, variants=2),
        learning_rate=5e-3,
        warmup_steps=3,
        validate_every=6,
        save_every=4,
        ema_decay=0.9,
        num_val_samples=0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def tiny_trainer(config: TrainConfig, train: list[Clip], val: list[Clip], run: Path) -> Trainer:
    """A Trainer of ``tiny_face``."""
    return Trainer(config, BlendshapeTask(config, tiny_face(), train, val), run)


def losses(run: Path) -> dict[int, float]:
    """The logged loss of every step; a step logged twice fails."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows]
    assert steps == list(range(1, len(rows) + 1))
    return {row["step"]: row["loss"] for row in rows}


if __name__ == "__main__":
    folder, changes = Path(sys.argv[1]), json.loads(sys.argv[2])
    wait = changes.pop("wait", None)
    half_save = changes.pop("half_save", 0)
    if not changes.pop("dropout", True):
        changes["model"] = NO_DROPOUT
    if "blendshapes" in changes:
        changes["blendshapes"] = from_mapping(
            BlendshapesConfig, changes["blendshapes"], "blendshapes"
        )
    trainer = tiny_trainer(
        tiny_config(**changes), tiny_clips(4, "train"), tiny_clips(1, "val"), folder
    )
    trainer.resume()
    write, saves = torch.save, []

    def by_half(state: object, path: Path) -> None:
        saves.append(path)
        write(state, path)
        if len(saves) == half_save:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            (folder / "half").touch()
            time.sleep(3600)

    torch.save = by_half

    def stop_here(step: int, terms: dict[str, float]) -> None:
        while step == wait:
            time.sleep(0.05)

    trainer.run(stop_here)
