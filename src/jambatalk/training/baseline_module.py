"""What one step of training a baseline computes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jambatalk.baselines.base import Baseline
from jambatalk.training.vertex_module import VertexBatch, numpy_follows_torch


class BaselineModule(nn.Module):
    """The baseline and the terms of its own loss, over the clips of a batch, those of one length at a time."""

    def __init__(self, network: Baseline) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: VertexBatch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of the baseline's terms and each term by name, means over the batch's clips."""
        groups: dict[tuple[int, int], list[int]] = {}
        for row, lengths in enumerate(zip(batch.sample_counts, batch.lengths, strict=True)):
            groups.setdefault(lengths, []).append(row)
        terms: dict[str, Tensor] = {}
        for (samples, frames), rows in groups.items():
            with numpy_follows_torch():
                found = self.network.loss(batch.samples[rows, :samples], batch.offsets[rows, :frames], batch.subjects[rows], step)
            for name, value in found.items():
                terms[name] = terms.get(name, 0.0) + value * (len(rows) / len(batch.lengths))
        return torch.stack(list(terms.values())).sum(), terms
