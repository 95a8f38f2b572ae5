"""The Jamba stack: Mamba, mixture-of-experts and attention layers, ordered by a pattern string (see ``nn/layers.py``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from jambatalk.nn.decoder_config import DecoderConfig
from jambatalk.nn.layer import Layer
from jambatalk.nn.layers import LAYERS
from jambatalk.nn.memory import release_freed_memory
from jambatalk.nn.moe import RouterStats
from jambatalk.nn.norm import RMSNorm

__all__ = ["DecoderConfig", "JambaDecoder"]

# Frames that go through a layer at once outside training: bounds the memory of inner widths on clips of any length.
PIECE = 4096
# Pieces after which freed memory goes back to the system.
PIECES_PER_RELEASE = 16


class JambaDecoder(nn.Module):
    """The whole stack over (B, T, width), with one state per place in the pattern."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        letters = config.pattern.split()
        made = list(dict.fromkeys(letters)) if config.tied else letters
        self.layers = nn.ModuleList(LAYERS[letter](config) for letter in made)
        # Index of the module at each place: tied letters share one.
        self.places = [made.index(letter) for letter in letters] if config.tied else list(range(len(letters)))
        self.norm = RMSNorm(config.width) if config.final_norm else nn.Identity()

    def init_state(self, batch: int, position: Tensor | None = None) -> list[Any]:
        """One state per place. ``position`` (B,): absolute index of the first frame, which only attention uses."""
        return [self._layer(i).init_state(batch, position) for i in self.places]

    def forward(self, x: Tensor, state: list[Any]) -> tuple[Tensor, list[Any], list[RouterStats]]:
        """x (B, T, width) -> (B, T, width), the new states, and each mixture's router statistics, bottom to top.

        Without gradients, clips longer than PIECE go through in pieces that hand the state on: memory beyond the output
        does not grow with the length. Where a layer needs the whole clip, the others still work in pieces.
        """
        if torch.is_grad_enabled() or x.shape[1] <= PIECE:
            return self._through(x, state)
        if not self.config.causal:
            return self._layer_by_layer(x, state)
        y, parts = torch.empty_like(x), []
        for start in _piece_starts(x.shape[1]):
            y[:, start : start + PIECE], state, router = self._through(x[:, start : start + PIECE], state)
            parts.append(router)
        return y, state, [RouterStats.joined(list(stats)) for stats in zip(*parts, strict=True)]

    def _layer(self, index: int) -> Layer:
        return cast(Layer, self.layers[index])

    def _through(self, x: Tensor, state: list[Any]) -> tuple[Tensor, list[Any], list[RouterStats]]:
        new_state, router = [], []
        for index, layer_state in zip(self.places, state, strict=True):
            x, layer_state, stats = self._layer(index)(x, layer_state)
            new_state.append(layer_state)
            if stats is not None:
                router.append(stats)
        return self.norm(x), new_state, router

    def _layer_by_layer(self, x: Tensor, state: list[Any]) -> tuple[Tensor, list[Any], list[RouterStats]]:
        letters = self.config.pattern.split()
        new_state, router = [], []
        for place, (letter, layer_state) in enumerate(zip(letters, state, strict=True)):
            layer = self._layer(self.places[place])
            if not LAYERS[letter].is_causal(self.config):
                x, layer_state, stats = layer(x, layer_state)
                found = [stats] if stats is not None else []
            else:
                y, found = torch.empty_like(x), []
                for start in _piece_starts(x.shape[1]):
                    y[:, start : start + PIECE], layer_state, stats = layer(x[:, start : start + PIECE], layer_state)
                    found += [stats] if stats is not None else []
                x = y
            new_state.append(layer_state)
            if found:
                router.append(RouterStats.joined(found))
        return self.norm(x), new_state, router


def _piece_starts(length: int) -> Iterator[int]:
    """Where each piece begins; between pieces, freed memory is given back now and then."""
    for n, start in enumerate(range(0, length, PIECE), 1):
        yield start
        if n % PIECES_PER_RELEASE == 0:
            release_freed_memory()
