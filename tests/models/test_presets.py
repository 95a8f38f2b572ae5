"""Presets: each describes a network that can be built and run; variants are diffs that merge;
mistakes are named.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import jambatalk
from jambatalk.config import CONFIGS
from jambatalk.errors import InputError
from jambatalk.models.jamba import JambaDecoder
from jambatalk.models.presets import load_preset, preset_names
from jambatalk.training.config import load_train_config

ORDERS = {"a": "M E T E M E", "b": "E M T E M E", "c": "M E T M E M", "d": "E M T M E M"}


@pytest.mark.parametrize("name", ["base", "light"])
def test_the_weights_that_ship_are_the_presets_of_their_names(name: str) -> None:
    config = jambatalk.load(name).model.config
    assert config == load_preset(name)
    settings = CONFIGS / f"{name}.yaml"
    assert load_train_config(settings).model == config


def test_papers_sizes() -> None:
    vocaset, biwi = load_preset("paper-vocaset"), load_preset("paper-biwi6")
    assert (vocaset.fps, vocaset.outputs, vocaset.decoder.width, vocaset.decoder.heads) == (
        30,
        3 * 5023,
        512,
        8,
    )
    assert (biwi.fps, biwi.outputs, biwi.decoder.width, biwi.decoder.heads) == (
        25,
        3 * 3895,
        1024,
        4,
    )
    assert biwi.decoder.pattern == "M E M E T E M E M E"
    for config in (vocaset, biwi):
        assert config.look_ahead == "full"
        assert config.look_ahead_ms == math.inf
        assert config.decoder.kv_heads < config.decoder.heads
        assert (
            config.decoder.d_state,
            config.decoder.expert_d_state,
            config.decoder.expert_d_conv,
        ) == (16, 8, 8)


def test_layer_orders() -> None:
    for letter, pattern in ORDERS.items():
        config = load_preset(f"order-{letter}")
        assert config.decoder.pattern == pattern
        assert replace(config.decoder, pattern=ORDERS["a"]) == load_preset("paper-vocaset").decoder


@pytest.mark.parametrize("name", preset_names())
def test_every_presets_decoder_runs(name: str) -> None:
    """At a narrow width, everything else as the preset says."""
    config = replace(
        load_preset(name).decoder,
        width=24,
        heads=4,
        kv_heads=2,
        mlp_hidden=32,
        expert_hidden=16,
        window=8,
    )
    torch.manual_seed(0)
    decoder = JambaDecoder(config).eval()
    x = torch.randn(2, 20, 24)
    with torch.inference_mode():
        y, state, router = decoder(x, decoder.init_state(2))
    assert y.shape == x.shape
    assert torch.isfinite(y).all()
    letters = config.pattern.split()
    assert len(state) == len(letters)
    assert len(router) == sum(letter in "Ee" for letter in letters)
    assert len(decoder.layers) == (len(set(letters)) if config.tied else len(letters))


def test_a_file_may_extend_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: paper-vocaset\ndecoder:\n  rope_rank: 4\n")
    config, base = load_preset(path), load_preset("paper-vocaset")
    assert config.decoder == replace(base.decoder, rope_rank=4)
    assert config.encoder == base.encoder


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: papre\n", "extends 'papre'"),
        ("decoder: {patern: M}\n", "unknown setting 'patern'"),
        ("decoder: {pattern: M Y}\n", "layer pattern 'M Y'"),
        ("decoder: {attention: full}\n", "needs the whole clip"),
        ("decoder: {attention: sideways}\n", "'sideways', expected"),
        ("decoder: {heads: 5}\n", "each must be a multiple"),
        ("encoder: {kind: telepathy}\n", "kind: streaming or streaming-whisper or pretrained"),
        (
            "extends: paper-vocaset\nlook_ahead: delay\n",
            "the pretrained encoder needs the whole clip",
        ),
        ("extends: paper-vocaset\ndelay: 3\n", "delay is 3"),
        ("fps: 30\n", "fps 30"),
        ("fps: 0\n", "fps is 0"),
        ("outputs: -3\n", "outputs is -3"),
        ("decoder: {heads: 0}\n", "heads is 0"),
        ("decoder: {width: -4, heads: 1, kv_heads: 1}\n", "width is -4"),
        ("decoder: {dropout: 1.5}\n", "dropout is 1.5"),
        ("look_ahead: some\n", "look_ahead 'some'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_preset(path)


def test_unknown_preset_names_the_choices() -> None:
    with pytest.raises(InputError, match="paper-vocaset"):
        load_preset("paper-vocasett")
