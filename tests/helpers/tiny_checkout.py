"""A checkout in miniature: what the commands of README and docs expect to find, but tiny."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import soundfile
import torch
import trimesh
from scipy.spatial import ConvexHull

import jambatalk
from jambatalk.config import CONFIGS
from jambatalk.face.head import default_head
from released_tiny import tiny_checkpoint
from tiny_grid import write_grid

CLIPS = (
    ("a1", "s1", "train"),
    ("a2", "s1", "train"),
    ("a3", "s1", "train"),
    ("a4", "s1", "train"),
    ("b1", "s1", "val"),
    ("c1", "s1", "test_seen"),
)


def write_checkout(here: Path) -> None:
    """Write speech, a folder of interviews, the corpus ``GRID``, released weights and settings."""
    (here / "interviews").mkdir(parents=True)
    speech, rate = soundfile.read(Path(jambatalk.__file__).parent / "assets" / "demo.flac")
    soundfile.write(here / "hello.wav", speech[: 2 * rate], rate)
    soundfile.write(here / "interviews" / "one.wav", speech[rate : int(1.6 * rate)], rate)
    torch.save(tiny_checkpoint(vertices=5023), here / "vocaset.pth")
    _write_template(here / "template.ply", 5023)
    write_grid(here / "GRID", default_head(), CLIPS)
    for path in CONFIGS.rglob("*.yaml"):
        copy = here / "configs" / path.relative_to(CONFIGS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        # The shipped settings, but two steps and two voices instead of many.
        settings = re.sub(r"(?m)^( *)steps: \d+", r"\1steps: 2", path.read_text(encoding="utf-8"))
        settings = re.sub(r"(?m)^( *)variants: \d+", r"\1variants: 2", settings)
        copy.write_text(settings, encoding="utf-8")


def _write_template(path: Path, vertices: int) -> None:
    """A sphere-like mesh with so many vertices, as large as a head."""
    directions = np.random.default_rng(0).standard_normal((vertices, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    trimesh.Trimesh(0.1 * directions, ConvexHull(directions).simplices, process=False).export(path)
