"""Beginning with trained weights, also where the new data move other shapes or the network has gained styles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from jambatalk.baselines.base import Baseline
from jambatalk.baselines.checkpoint import load_baseline
from jambatalk.checkpoint import load_weights
from jambatalk.errors import InputError
from jambatalk.nn.contact import ContactConfig
from jambatalk.nn.encoder import EncoderConfig
from jambatalk.nn.model import ModelConfig
from jambatalk.training.network import Network


def start_network(path: Path, network: Network, names: tuple[str, ...]) -> None:
    """Give ``network``, whose output statistics are those of the new data, the weights in ``path``.

    It moves then as the network in ``path`` does, but for shapes that rest in the new data. The statistics stay: a shape that
    the old data never moved, and the old units could not express, can be learned. Styles that the old network lacks begin as
    its one way of speaking; a contact that it lacks stays as it is. InputError when it is of another architecture or moves
    other shapes.
    """
    if isinstance(network, Baseline):
        baseline, _ = load_baseline(path)
        if baseline.config != network.config:
            raise InputError(f"{path} is another baseline than the settings describe: the same settings expected")
        network.load_state_dict(baseline.state_dict())
        return
    old, old_names, _ = load_weights(path)
    fits = old.config.styles in ([], network.config.styles) and old.config.contact in (ContactConfig(), network.config.contact)
    if _bare(old.config) != _bare(network.config) or old_names != names or not fits:
        raise InputError(f"{path} is another network than the settings describe: same model settings and face expected")
    tensors = old.state_dict()
    scale = network.output_scale
    moves = scale > 0
    safe = torch.where(moves, scale, torch.ones_like(scale))
    with torch.no_grad():
        weight = old.head.weight * (old.output_scale / safe)[:, None]
        bias = (old.output_mean + old.output_scale * old.head.bias - network.output_mean) / safe
    tensors |= {
        "head.weight": torch.where(moves[:, None], weight, torch.zeros_like(weight)),
        "head.bias": torch.where(moves, bias, torch.zeros_like(bias)),
        "output_mean": network.output_mean, "output_scale": scale,
    }  # fmt: skip
    network.load_state_dict({**network.state_dict(), **tensors})


def _bare(config: ModelConfig) -> ModelConfig:
    """The settings that weights have to agree on: dropout is of the training, styles may be added."""
    encoder = replace(config.encoder, dropout=0.0) if isinstance(config.encoder, EncoderConfig) else config.encoder
    return replace(config, styles=[], contact=ContactConfig(), encoder=encoder, decoder=replace(config.decoder, dropout=0.0))
