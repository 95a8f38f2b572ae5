"""Settings of a training made small: everything that a long run does, in seconds, on the same data.

Speech networks are a tiny one with random numbers, written on the spot, so that neither a hub nor
gigabytes are needed. What comes out means nothing but that it works.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jambatalk.baselines import baseline_class
from jambatalk.config import overlay
from jambatalk.models.encoders.pretrained import transformers_library

STEPS = 4
WIDTH = 32
"""Of decoders; a multiple of every preset's number of heads."""
SPEECH_WIDTH = 16
"""Of the speech network."""
LETTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'")
SMALL = ("width", "inner", "hidden")
"""Endings of the names of those sizes of baselines that are made small."""


def write_speech_network(folder: Path) -> Path:
    """Write a wav2vec2-CTC network of random numbers as transformers does; nothing where it is.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    if (folder / "vocab.json").is_file():
        return folder
    transformers = transformers_library()
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = transformers.Wav2Vec2ForCTC(
            transformers.Wav2Vec2Config(
                hidden_size=SPEECH_WIDTH,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=24,
                conv_dim=[8] * 7,
                num_conv_pos_embeddings=16,
                num_conv_pos_embedding_groups=4,
                feat_extract_norm="layer",
                do_stable_layer_norm=True,
                conv_bias=True,
                vocab_size=len(LETTERS),
                pad_token_id=0,
                mask_time_length=2,
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    vocabulary = {letter: place for place, letter in enumerate(LETTERS)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    return folder


def trial_settings(values: Mapping[str, Any], speech: Path) -> dict[str, Any]:
    """Make the settings of one training small.

    Args:
        values: As a suite has them, ``extends`` of the training's own file merged.
        speech: The folder of ``write_speech_network``.
    """
    vertices = values.get("vertices", {})
    reading = vertices.get("lip_reading", {})
    small: dict[str, Any] = {
        "steps": STEPS,
        "warmup_steps": 0,
        "batch_size": min(int(values.get("batch_size", 1)), 2),
        "validate_every": 2,
        "save_every": 2,
        "save_minutes": 0.0,
        "num_val_samples": 0,
        "vertices": {},
    }
    if reading.get("text") != "corpus":
        small["vertices"] = {"seconds": 0.6}
    if reading.get("recognizer", "/").count("/"):  # "letters" needs no network
        small["vertices"]["lip_reading"] = {
            "recognizer": str(speech),
            "heads": 2,
            "layers": 1,
            "hidden": 16,
        }
    if values.get("baseline"):
        return overlay(overlay(values, small), {"baseline": _baseline(values["baseline"], speech)})
    model = values.get("model", {})
    if str(model.get("extends", "")).startswith("paper-"):
        sizes = {"width": WIDTH, "mlp_hidden": WIDTH, "expert_hidden": WIDTH}
        small["model"] = {"encoder": {"name": str(speech)}, "decoder": sizes}
    return overlay(values, small)


def _baseline(values: Mapping[str, Any], speech: Path) -> dict[str, Any]:
    small: dict[str, Any] = {**baseline_class(str(values.get("kind", ""))).quick}
    if values.get("encoder", {}).get("kind") != "pretrained":
        return small
    for name, value in values.items():
        if type(value) is int and value > WIDTH and name.endswith(SMALL):
            small[name] = WIDTH
    small["encoder"] = {"name": str(speech)}
    if values.get("recognizer"):
        small |= {"recognizer": str(speech), "letters": len(LETTERS)}
        small |= {"read_width": SPEECH_WIDTH, "read_heads": 2, "read_layers": 1}
    if values.get("prior_steps"):
        small["prior_steps"] = STEPS // 2
    return small
