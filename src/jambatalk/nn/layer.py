"""What the stack asks of a layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from jambatalk.nn.decoder_config import DecoderConfig
from jambatalk.nn.moe import RouterStats


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

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        raise NotImplementedError

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        raise NotImplementedError
