"""What the stack asks of a layer."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.models.config import DecoderConfig
from jambatalk.models.moe import RouterStats


class Layer(nn.Module):
    """The contract of a layer type.

    ``init_state(batch, position)``: the state before the first frame (position: (B,) int64 absolute index of that frame,
    for layers that use it). ``forward(x, state)``: (B, T, width) -> (the same shape, new state, router statistics or None);
    the state that came in is left as it was, and chunks that hand the state on give what the whole gives, unless
    ``is_causal`` says that the layer must hear the whole clip in one call.
    """

    @classmethod
    def is_causal(cls, config: DecoderConfig) -> bool:
        return True

    dropout = 0.0  # share of a branch's values dropped in training

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()

    def dropped(self, x: Tensor) -> Tensor:
        """Dropout; in evaluation not even a call, which counts where a step is one frame long."""
        return F.dropout(x, self.dropout) if self.training else x

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        raise NotImplementedError

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        raise NotImplementedError
