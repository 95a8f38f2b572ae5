"""What training minimises, measured on the face: lengths in millimetres on the default head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import Tensor, nn

from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.models.moe import RouterStats
from jambatalk.text.phones import PHONE_INDEX, PHONES, SILENCE
from jambatalk.training.config import LossConfig, VertexLossConfig
from jambatalk.training.lip_reading import RATE, PhoneReading, PhoneReadingConfig

# Loss terms that keep a mixture's router even and calm, over the frames of all processes together.


def router_terms(router: list[RouterStats], like: Tensor) -> dict[str, Tensor]:
    """``balance`` and ``router_z`` as () means over the mixtures, and ``least_expert_use``, for the log.

    Balance is a product of two means over frames, so a mean over processes of each one's own balance would not be the
    balance of the whole batch. Both means are therefore taken over all processes, in a way that gradients follow; the other
    terms are plain means, of which data-parallel training takes the mean anyway. Parts that are accumulated one after the
    other each have their own balance.
    like: a tensor whose device the zeros of a network without mixtures are to have.
    """
    if not router:
        return {"balance": like.new_zeros(()), "router_z": like.new_zeros(())}
    use = _over_processes(torch.stack([stats.use for stats in router]))  # (layers, E)
    probability = _over_processes(
        torch.stack([stats.logits.softmax(-1).mean(0) for stats in router])
    )
    return {
        "balance": (use.shape[1] * (use * probability).sum(1)).mean(),
        "router_z": torch.stack([stats.z for stats in router]).mean(),
        # The share of its layer's frames that the least used expert of any layer gets; 1 / experts is even, 0 is a dead one.
        "least_expert_use": use.min().detach(),
    }


def _over_processes(x: Tensor) -> Tensor:
    """The mean of ``x`` over the processes of data-parallel training; gradients flow back to each of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    mean: Tensor = _Sum.apply(x) / torch.distributed.get_world_size()
    return mean


class _Sum(torch.autograd.Function):
    """The sum over processes. Each process' loss holds the sum, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


# Vertices that speech moves; at most this many of them, evenly taken, keep the loss cheap.
MOUTH_REGIONS = ("lips", "mouth", "jaw")
MOST_VERTICES = 400
# Below this inner-lip gap the extra weight of closures has fallen to 1/e.
CLOSED_MM = 1.5


class MotionLoss(nn.Module):
    """Loss terms between predicted and true shape weights (B, T, K)."""

    basis_mm: Tensor
    gap_mm: Tensor

    def __init__(self, face: Face, settings: LossConfig) -> None:
        super().__init__()
        self.settings = settings
        if face.gap_vertices is None:
            raise InputError("the face names no gap_vertices, which the loss needs")
        chosen = np.unique(
            np.concatenate([face.regions[r] for r in MOUTH_REGIONS if r in face.regions])
        )
        chosen = chosen[:: -(-len(chosen) // MOST_VERTICES)]
        basis = torch.from_numpy(np.ascontiguousarray(face.basis[:, chosen])).float() * 1000.0
        self.register_buffer("basis_mm", basis.reshape(len(face.names), -1))  # (K, n * 3)
        upper, lower = face.gap_vertices
        gap = torch.from_numpy(
            np.ascontiguousarray(face.basis[:, upper, 1] - face.basis[:, lower, 1])
        ).float()
        self.register_buffer("gap_mm", gap * 1000.0)  # (K,)

    def forward(
        self,
        predicted: Tensor,
        true: Tensor,
        router: list[RouterStats],
        importance: Tensor | None = None,
        more: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and each term by name.

        importance: (B,) weight of each sequence's motion terms; None: all 1. more: terms computed elsewhere, named as their
        weights in LossConfig.
        """
        s = self.settings
        share = (
            predicted.new_ones(len(predicted), 1, 1)
            if importance is None
            else importance[:, None, None]
        )
        error = predicted - true
        moved = error @ self.basis_mm  # (B, T, n * 3) millimetres
        gap = true @ self.gap_mm
        closed = 1.0 + s.closure * torch.exp(-gap.clamp_min(0) / CLOSED_MM)
        terms = {
            "vertices": 3.0 * (share * moved.square()).mean(),
            "gap": (share[..., 0] * closed * (error @ self.gap_mm).square()).mean(),
            "velocity": 3.0 * (share * moved.diff(dim=1).square()).mean(),
            "weights": (share * error.square()).mean(),
            **(more or {}),
            **router_terms(router, predicted),
        }
        total = torch.stack(
            [getattr(s, name) * value for name, value in terms.items() if hasattr(s, name)]
        ).sum()
        return total, terms


# The lip reader's two terms for shape weights: phones read off the lips that the weights move (CTC), and a teacher's latent.


SPOKEN = tuple(phone for phone in PHONES if phone != SILENCE)


class LipTerms(nn.Module):
    """Predicted weights (B, T, K) -> the terms ``ctc`` and ``latent``, see ``PhoneReading``."""

    template: Tensor
    basis: Tensor

    def __init__(
        self, face: Face, fps: float, config: PhoneReadingConfig, ctc: bool, latent: bool
    ) -> None:
        """ctc, latent: which of the two is wanted. InputError when the face names no lips."""
        super().__init__()
        if "lips" not in face.regions:
            raise InputError("the face names no region lips, which the lip reader needs")
        lips = np.asarray(face.regions["lips"])
        self.fps, self.ctc, self.latent = fps, ctc, latent
        self.register_buffer(
            "template",
            torch.from_numpy(np.ascontiguousarray(face.vertices[lips], np.float32)).reshape(-1),
        )
        basis = np.ascontiguousarray(face.basis[:, lips], np.float32).reshape(len(face.names), -1)
        self.register_buffer("basis", torch.from_numpy(basis))  # (K, n * 3)
        self.reader = PhoneReading(len(lips), SPOKEN, config)
        self.reader.set_rest(self.template)

    def forward(self, weights: Tensor, phones: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """weights (B, T, K); phones (B, T) int64 indices into PHONES, -1 unknown; teacher (B, T, D) at the weights' rate."""
        targets, lengths = spoken_runs(phones) if self.ctc else (None, None)
        heard = None
        if self.latent:
            # The reader works at twice the rate: each frame is heard twice.
            heard = teacher.repeat_interleave(round(RATE / self.fps), dim=1)
        return self.reader(self.template + weights @ self.basis, self.fps, targets, lengths, heard)


def spoken_runs(phones: Tensor) -> tuple[Tensor, Tensor]:
    """What is spoken in each sequence: (B, P) indices into SPOKEN plus 1, padded with 0, and their number (B,).

    phones: (B, T) indices into PHONES by frame. Runs become one phone each, pauses none. The number is -1 where a phone of the
    sequence is unknown. A phone too short to own a frame is not asked for.
    """
    rows = []
    for sequence in phones.cpu().numpy():
        runs = sequence[np.flatnonzero(np.diff(sequence, prepend=sequence[:1] - 1))]
        rows.append(None if (sequence < 0).any() else runs[runs != PHONE_INDEX[SILENCE]])
    longest = max([1, *(len(row) for row in rows if row is not None)])
    index = np.array([0 if phone == SILENCE else SPOKEN.index(phone) + 1 for phone in PHONES])
    targets = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        if row is not None:
            targets[i, : len(row)] = torch.from_numpy(index[row])
    return targets, torch.tensor([-1 if row is None else len(row) for row in rows])


# What training on vertices minimises, in the square of the corpus' unit.


def vertex_terms(
    predicted: Tensor, true: Tensor, lengths: Sequence[int], lips: Tensor, config: VertexLossConfig
) -> dict[str, Tensor]:
    """The terms ``vertices``, ``velocity`` and ``lips`` that have a weight, each the mean over the clips of a clip's own mean.

    predicted, true: (B, T, 3 V), of which ``lengths`` frames are real. lips: (L,) vertex indices. Padding counts nowhere,
    and every clip as much as any other, so that processes and accumulated parts may share a batch.
    """
    count = predicted.new_tensor(list(lengths))[:, None]  # (B, 1)
    frame = torch.arange(predicted.shape[1], device=predicted.device)
    # Chosen, not multiplied by zero: padding may hold anything.
    error = torch.where((frame < count)[..., None], predicted - true, 0.0)

    def mean(values: Tensor, count: Tensor) -> Tensor:
        """values (B, t, n) -> (): the mean over the first ``count`` (B, 1) of t, then over the clips."""
        squares = values.square().mean(-1)  # (B, t)
        counted = torch.where(frame[: squares.shape[1]] < count, squares, 0.0)
        return (counted.sum(1, keepdim=True) / count.clamp_min(1)).mean()

    terms = {}
    if config.vertices:
        terms["vertices"] = mean(error, count)
    if config.velocity:
        terms["velocity"] = mean(error.diff(dim=1), count - 1)
    if config.lips:
        terms["lips"] = mean(error.unflatten(-1, (-1, 3))[:, :, lips].flatten(2), count)
    return terms
