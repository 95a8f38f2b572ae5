"""What training minimises, measured on the face: lengths in millimetres on the default head."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.nn.moe import RouterStats
from jambatalk.training.router import router_terms
from jambatalk.training.shapes_config import LossConfig

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
        chosen = np.unique(np.concatenate([face.regions[r] for r in MOUTH_REGIONS if r in face.regions]))
        chosen = chosen[:: -(-len(chosen) // MOST_VERTICES)]
        basis = torch.from_numpy(np.ascontiguousarray(face.basis[:, chosen])).float() * 1000.0
        self.register_buffer("basis_mm", basis.reshape(len(face.names), -1))  # (K, n * 3)
        upper, lower = face.gap_vertices
        gap = torch.from_numpy(np.ascontiguousarray(face.basis[:, upper, 1] - face.basis[:, lower, 1])).float()
        self.register_buffer("gap_mm", gap * 1000.0)  # (K,)

    def forward(
        self, predicted: Tensor, true: Tensor, router: list[RouterStats], importance: Tensor | None = None,
        more: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        """The weighted sum and each term by name.

        importance: (B,) weight of each sequence's motion terms; None: all 1. more: terms computed elsewhere, named as their
        weights in LossConfig.
        """
        s = self.settings
        share = predicted.new_ones(len(predicted), 1, 1) if importance is None else importance[:, None, None]
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
        total = torch.stack([getattr(s, name) * value for name, value in terms.items() if hasattr(s, name)]).sum()
        return total, terms
