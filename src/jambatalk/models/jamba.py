"""The Jamba stack: Mamba, mixture-of-experts and attention layers in the order of a pattern."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

import jambatalk.models.released  # noqa: F401  (adds the codes m, e and t to LAYERS)
from jambatalk.errors import InputError
from jambatalk.models.block import Layer, make_layer, parse_pattern
from jambatalk.models.config import DecoderConfig
from jambatalk.models.layers import RMSNorm
from jambatalk.models.moe import RouterStats

PIECE = 4096
"""Frames that go through a layer at once outside training: bounds memory on clips of any length."""

PIECES_PER_RELEASE = 16
"""Pieces after which freed memory goes back to the system."""


class JambaDecoder(nn.Module):
    """The whole stack over (B, T, width), with one state per place in the pattern.

    Attributes:
        kinds: what stands at each place, see ``models.block.LAYERS``.
        places: index in ``layers`` of the module at each place: tied layers share one.
        causal: whether no frame depends on later ones.
        fixed_state: whether the state keeps its size however many frames have passed.
    """

    def __init__(self, config: DecoderConfig) -> None:
        """Raises InputError when the pattern or the sizes of its layers do not make sense."""
        super().__init__()
        self.config = config
        self.kinds = parse_pattern(config.pattern)
        made = list(dict.fromkeys(self.kinds)) if config.tied else self.kinds
        try:
            self.layers = nn.ModuleList(make_layer(kind, config) for kind in made)
        except ValueError as error:
            raise InputError(str(error)) from error
        self.places = (
            [made.index(kind) for kind in self.kinds] if config.tied else list(range(len(made)))
        )
        self.norm = RMSNorm(config.width) if config.final_norm else nn.Identity()
        self.causal = all(self.layer(i).causal for i in range(len(made)))
        self.fixed_state = all(self.layer(i).fixed_state for i in range(len(made)))

    def layer(self, index: int) -> Layer:
        """Return the module ``layers[index]``."""
        return cast(Layer, self.layers[index])

    def init_state(self, batch: int, position: Tensor | None = None) -> list[Any]:
        """Return one state per place.

        Args:
            batch: sequences.
            position: (B,) absolute index of the first frame, which only attention uses.
        """
        return [self.layer(i).init_state(batch, position) for i in self.places]

    def forward(self, x: Tensor, state: list[Any]) -> tuple[Tensor, list[Any], list[RouterStats]]:
        """Run x (B, T, width) through the stack.

        Without gradients, clips longer than PIECE go through in pieces that pass the state on:
        memory beyond the output does not grow with the length. Where a layer needs the whole clip,
        the others still work in pieces.

        Returns:
            (B, T, width), the new states, and each mixture's router statistics, bottom to top.
        """
        if torch.is_grad_enabled() or x.shape[1] <= PIECE:
            return self._through(x, state)
        if not self.causal:
            return self._layer_by_layer(x, state)
        y, parts = torch.empty_like(x), []
        for start in _piece_starts(x.shape[1]):
            part = slice(start, start + PIECE)
            y[:, part], state, router = self._through(x[:, part], state)
            parts.append(router)
        return y, state, [RouterStats.joined(list(stats)) for stats in zip(*parts, strict=True)]

    def _through(self, x: Tensor, state: list[Any]) -> tuple[Tensor, list[Any], list[RouterStats]]:
        new_state, router = [], []
        for index, layer_state in zip(self.places, state, strict=True):
            x, layer_state, stats = self.layer(index)(x, layer_state)
            new_state.append(layer_state)
            if stats is not None:
                router.append(stats)
        return self.norm(x), new_state, router

    def _layer_by_layer(
        self, x: Tensor, state: list[Any]
    ) -> tuple[Tensor, list[Any], list[RouterStats]]:
        new_state, router = [], []
        for index, layer_state in zip(self.places, state, strict=True):
            layer = self.layer(index)
            if not layer.causal:
                x, layer_state, stats = layer(x, layer_state)
                found = [stats] if stats is not None else []
            else:
                y, found = torch.empty_like(x), []
                for start in _piece_starts(x.shape[1]):
                    part = slice(start, start + PIECE)
                    y[:, part], layer_state, stats = layer(x[:, part], layer_state)
                    found += [stats] if stats is not None else []
                x = y
            new_state.append(layer_state)
            if found:
                router.append(RouterStats.joined(found))
        return self.norm(x), new_state, router


def _piece_starts(length: int) -> Iterator[int]:
    """Yield where each piece begins; between pieces, return freed memory now and then."""
    for n, start in enumerate(range(0, length, PIECE), 1):
        yield start
        if n % PIECES_PER_RELEASE == 0:
            release_freed_memory()


def release_freed_memory() -> None:
    """Ask glibc to return the holes between its blocks to the system.

    torch's allocations are aligned, and glibc (at least to 2.36) seldom fits an aligned block into
    the hole that an equal one left: over the pieces of one long clip the heap grows by several kB a
    frame though nothing is kept (``benchmarks/long_context.py`` shows the peaks).
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None  # another allocator: it returns memory by itself, or cannot be asked
