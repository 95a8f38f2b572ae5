"""Fitting the phone model: clips with timed phones and motion in, ``PhoneMotion`` out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jambatalk.datasets.clip import Clip
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.streaming.resampler import resample_frames
from jambatalk.text.phone_motion import RATE, PhoneMotion, PhoneNet, pausing
from jambatalk.text.phones import BILABIALS, LABIODENTALS, Timed, feature_track
from jambatalk.training.config import LossConfig
from jambatalk.training.losses import MotionLoss

Array = NDArray[Any]

RESTING_GAP = 0.0005
"""Meters; lips that are farther apart in a pause are about to speak, or breathing."""


@dataclass(frozen=True)
class PhoneFitConfig:
    """How the phone model is fitted; everything random follows from ``seed``."""

    seed: int = 0
    """Of everything random."""
    steps: int = 1500
    """Optimizer steps."""
    batch_size: int = 32
    """Clips per step."""
    seconds: float = 2.56
    """Of each clip, cut at a random place."""
    width: int = 64
    """Features per frame of the network."""
    dropout: float = 0.15
    """In training."""
    learning_rate: float = 3e-3
    """At its highest."""
    weight_decay: float = 0.05
    """Of all weights."""
    pace: float = 0.15
    """Clips are made slower or faster by up to this share."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Weights of the loss terms."""


def fit_phone_motion(
    clips: Sequence[Clip],
    face: Face,
    config: PhoneFitConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PhoneMotion:
    """Fit the model.

    Args:
        clips: Motion as weights of ``face``'s blendshapes, and phones (IPA).
        face: The mesh with its blendshapes.
        config: How it is fitted.
        progress: Called with (steps done, steps in all).

    Raises:
        InputError: A clip has no phones, or no clip has a bilabial or a pause.
    """
    c = config or PhoneFitConfig()
    for clip in clips:
        if not clip.phones:
            raise InputError(f"clip {clip.id} has no timed phones: align its text first")
    torch.manual_seed(c.seed)
    net = PhoneNet(len(face.names), c.width, dropout=c.dropout)
    every = np.concatenate([clip.weights for clip in clips])
    net.mean.copy_(torch.from_numpy(every.mean(0)))
    net.scale.copy_(torch.from_numpy(every.std(0)))
    net.closed.copy_(torch.from_numpy(closed_pose(clips, face)))
    net.rest.copy_(torch.from_numpy(resting_pose(clips, face)))
    loss = MotionLoss(face, c.loss)
    optimizer = torch.optim.AdamW(net.parameters(), lr=c.learning_rate, weight_decay=c.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, c.learning_rate, total_steps=c.steps)
    rng = np.random.default_rng(c.seed)
    steps = round(c.seconds * RATE)
    net.train()
    for step in range(c.steps):
        pairs = [
            _piece(clips[int(i)], rng, steps, c.pace)
            for i in rng.integers(len(clips), size=c.batch_size)
        ]
        features, true = (torch.from_numpy(np.stack(values)) for values in zip(*pairs))
        total, _ = loss(net(features), true, [])
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, c.steps)
    corpora = sorted({clip.corpus for clip in clips})
    return PhoneMotion(
        net, face.names, {"clips": len(clips), "corpora": corpora, "seed": c.seed, "steps": c.steps}
    )


def closed_pose(clips: Sequence[Clip], face: Face) -> Array:
    """Average the poses (K,) at bilabials: of each the frame with the smallest inner-lip gap.

    Raises:
        InputError: No clip has a bilabial.
    """
    poses = []
    for clip in clips:
        gap = face.lip_gap(clip.weights)
        for phone, start, end in clip.phones:
            first, last = int(np.ceil(start * clip.fps)), int(np.floor(end * clip.fps))
            last = min(last, clip.frames - 1)
            if phone in BILABIALS and first <= last:
                poses.append(clip.weights[first + int(np.argmin(gap[first : last + 1]))])
    if not poses:
        raise InputError("no clip has a /p/, /b/ or /m/, expected some to learn closed lips from")
    pose: Array = np.mean(poses, axis=0).astype(np.float32)
    return pose


def tucked_pose(clips: Sequence[Clip]) -> Array | None:
    """Average the poses (K,) in the middle of labiodentals; None when no clip has one."""
    poses = [
        clip.weights[min(round((start + end) / 2 * clip.fps), clip.frames - 1)]
        for clip in clips
        for phone, start, end in clip.phones
        if phone in LABIODENTALS
    ]
    return np.mean(poses, axis=0).astype(np.float32) if poses else None


def resting_pose(clips: Sequence[Clip], face: Face) -> Array:
    """Average the poses (K,) in pauses with closed lips. InputError when there are none."""
    poses = []
    for clip in clips:
        quiet = (pausing(clip.phones, clip.frames, clip.fps) == 1) & (
            face.lip_gap(clip.weights) < RESTING_GAP
        )
        poses.append(clip.weights[quiet])
    if not sum(map(len, poses)):
        raise InputError(
            "no clip has a pause with closed lips, expected some to learn from how the mouth rests"
        )
    pose: Array = np.concatenate(poses).mean(axis=0).astype(np.float32)
    return pose


def _piece(clip: Clip, rng: np.random.Generator, steps: int, pace: float) -> tuple[Array, Array]:
    """Features (steps, F) and weights (steps, K) of a random stretch at a random pace.

    A stretch that is too short is held at its end.
    """
    scale = 1.0 + pace * rng.uniform(-1.0, 1.0)
    phones = [Timed(p, a * scale, b * scale) for p, a, b in clip.phones]
    weights = resample_frames(clip.weights, clip.fps / scale, RATE)
    count = max(len(weights), steps)
    features = feature_track(phones, count, RATE)
    weights = weights[np.minimum(np.arange(count), len(weights) - 1)]
    start = int(rng.integers(count - steps + 1))
    return features[start : start + steps], weights[start : start + steps]
