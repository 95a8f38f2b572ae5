"""One hop of sound through the network as a function of plain tensors: what exports and other
runtimes can take.

The network's memory is a tree of dataclasses and lists (``ModelState``). Here it is a flat list of
named tensors, each with the batch in its first axis: ``samples``, ``norm.mean``, ``encoder.0``,
``decoder.0.ssm``, ...
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from jambatalk.models.speech_to_motion import ModelState, SpeechToMotion

State = TypeVar("State")
Model = TypeVar("Model", bound=nn.Module)


def named_state(state: Any) -> dict[str, Tensor]:
    """Every tensor of a state (any tree of dataclasses, lists and tensors) by its dotted name, in a
    fixed order.
    """
    return dict(_walk(state, ""))


def rebuilt_state(like: State, tensors: Sequence[Tensor]) -> State:
    """The tree of ``like`` with ``tensors``, in the order of ``named_state``, in place of its own.

    ValueError when there are too many or too few tensors.
    """
    rest = iter(tensors)
    try:
        built = _rebuild(like, rest)
    except StopIteration:
        raise ValueError(
            f"{len(tensors)} state tensors, expected {len(named_state(like))}"
        ) from None
    if next(rest, None) is not None:
        raise ValueError(f"{len(tensors)} state tensors, expected {len(named_state(like))}")
    return built  # type: ignore[no-any-return]


def state_bytes(state: Any) -> int:
    """Bytes of all tensors of a state: what one session costs, however long it lasts."""
    return sum(tensor.numel() * tensor.element_size() for tensor in named_state(state).values())


class StreamingStep(nn.Module):
    """One hop of the network, all memory explicit: ``step(samples, *state) -> (y, *new state)``.

    samples: (B, hop) float32 at 16 kHz. y: (B, outputs), the motion frame ``delay`` hops back.
    state: the tensors of ``named_state(model.init_state(B))`` in that order; ``names`` holds their
    names. ValueError for a network that needs the whole clip, or whose state grows with the sound.
    """

    def __init__(self, model: SpeechToMotion) -> None:
        super().__init__()
        if not model.config.streaming:
            raise ValueError("it needs the whole clip before it gives motion (look_ahead: full)")
        if not model.fixed_state:
            raise ValueError(
                "its causal attention keeps all frames so far, so its state has no fixed size; "
                "sliding attention has one"
            )
        self.model = model
        self._like = model.init_state(1)  # the tree's shape, for putting flat states back into it
        self.names = tuple(named_state(self._like))

    def init_state(self, batch: int = 1) -> tuple[Tensor, ...]:
        """The state before the first sample, flat."""
        return tuple(named_state(self.model.init_state(batch)).values())

    def structured(self, state: Sequence[Tensor]) -> ModelState:
        """The flat state as the network's own tree."""
        return rebuilt_state(self._like, state)

    def forward(self, samples: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        y, after = self.model(samples, self.structured(state))
        return y[:, 0], *named_state(after).values()


def pretranspose_linear_weights(model: Model) -> Model:
    """Turn the storage of every linear layer's weight, in place; shapes and values stay.

    torch multiplies one frame (a product of height 1) by a weight that lies row by row as (in, out)
    up to twice as fast as by one that lies as (out, in); taller products cost the same either way.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.data = module.weight.data.t().contiguous().t()
    return model


def _walk(node: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(node, torch.Tensor):
        yield prefix, node
        return
    inline = _inline(node)
    for name, child in _children(node):
        if name in inline and dataclasses.is_dataclass(child):
            yield from _walk(child, prefix)
        else:
            yield from _walk(child, f"{prefix}.{name}" if prefix else name)


def _inline(node: Any) -> set[str]:
    """Fields whose own fields are named as if they belonged to this dataclass."""
    if not dataclasses.is_dataclass(node):
        return set()
    return {f.name for f in dataclasses.fields(node) if f.metadata.get("inline")}


def _children(node: Any) -> list[tuple[str, Any]]:
    if isinstance(node, (list, tuple)):
        return [(str(i), child) for i, child in enumerate(node)]
    if dataclasses.is_dataclass(node):
        return [(f.name, getattr(node, f.name)) for f in dataclasses.fields(node)]
    raise TypeError(f"a state holds {type(node).__name__}, expected tensors, lists and dataclasses")


def _rebuild(node: Any, tensors: Iterator[Tensor]) -> Any:
    if isinstance(node, torch.Tensor):
        return next(tensors)
    built = [_rebuild(child, tensors) for _, child in _children(node)]
    if isinstance(node, (list, tuple)):
        return type(node)(built)
    return type(node)(*built)
