"""Where a pretrained network comes from: a hub, a folder, or a random start from its architecture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn

from jambatalk.nn.pretrained_config import FAMILIES, PretrainedConfig

UNTOLD = ("transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype", "id2label", "label2id", "use_cache")
"""Parts of transformers' configurations that say nothing about the encoder's arithmetic."""

_unfilled = ContextVar("_unfilled", default=False)


@contextmanager
def unfilled_networks() -> Iterator[None]:
    """Networks made of their architecture inside this have names and shapes, but no numbers: for weights that follow.

    A random start of 315 million numbers takes seconds and 1.3 GB; ``load_state_dict(..., assign=True)`` brings the numbers.
    """
    token = _unfilled.set(True)
    try:
        yield
    finally:
        _unfilled.reset(token)


def build_network(config: PretrainedConfig) -> tuple[nn.Module, dict[str, Any]]:
    """(the transformers module, its whole architecture as plain values).

    Layers above the chosen one are left out, and with them the final normalisation. Raises MissingExtraError without
    transformers, InputError when ``name`` cannot be loaded or the architecture is not one of ``FAMILIES``.
    """
    from jambatalk.errors import InputError

    transformers = transformers_library()
    architecture = dict(config.architecture) if config.architecture else read_architecture(transformers, config.name)
    family = architecture.get("model_type")
    if family not in FAMILIES:
        raise InputError(f"speech encoder of type {family!r}, expected one of {', '.join(FAMILIES)}")
    settings = settings_of(transformers, architecture)
    if getattr(settings, "add_adapter", False):
        raise InputError("speech encoders with an adapter (add_adapter) are not supported: it changes the frame rate")
    filled = plain_architecture(settings)
    depth = "encoder_layers" if family == "whisper" else "num_hidden_layers"
    if config.layer > getattr(settings, depth):
        raise InputError(f"layer is {config.layer}, but the speech encoder has {getattr(settings, depth)} layers")
    if config.layer >= 0:
        setattr(settings, depth, config.layer)
    network = _random(transformers, settings) if config.architecture else _loaded(transformers, settings, config.name)
    if config.layer >= 0:
        _without_final_norm(network, family, settings)
    return network.float().eval(), filled


def transformers_library() -> Any:
    """The module ``transformers``. MissingExtraError says how to install it."""
    try:
        import transformers
    except ImportError as error:
        from jambatalk.errors import MissingExtraError

        raise MissingExtraError('pretrained speech encoders need transformers: pip install "jambatalk[encoders]"') from error
    return transformers


def read_architecture(transformers: Any, name: str) -> dict[str, Any]:
    """The configuration of a hub id or folder as plain values, with do_normalize. InputError when there is none."""
    from jambatalk.errors import InputError

    try:
        architecture = plain_architecture(transformers.AutoConfig.from_pretrained(name))
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"no speech encoder at {name!r}, expected a hub id or a folder of transformers ({why[:200]})") from error
    try:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(name)
    except (OSError, ValueError, KeyError):
        extractor = None  # the folder holds the network alone
    # Whether the network was trained on sound of zero mean and unit variance stands only in its feature extractor.
    architecture["do_normalize"] = bool(getattr(extractor, "do_normalize", True))
    return architecture


def settings_of(transformers: Any, architecture: dict[str, Any]) -> Any:
    """The configuration object of transformers for a mapping. InputError when it does not make sense."""
    from jambatalk.errors import InputError

    values = {key: value for key, value in architecture.items() if key != "model_type"}
    try:
        return transformers.AutoConfig.for_model(architecture["model_type"], **values)
    except Exception as error:  # the validation of transformers has error classes of its own, other ones in each version
        raise InputError(f"architecture of the speech encoder: {' '.join(str(error).split())[:300]}") from error


def plain_architecture(settings: Any) -> dict[str, Any]:
    """A configuration object as plain values that JSON can hold."""
    values = json.loads(settings.to_json_string(use_diff=False))
    return {key: value for key, value in values.items() if key not in UNTOLD and value is not None}


def _random(transformers: Any, settings: Any) -> nn.Module:
    from jambatalk.errors import InputError

    try:
        with torch.device("meta") if _unfilled.get() else nullcontext():
            return _made(transformers, settings)
    except (ValueError, ArithmeticError) as error:
        raise InputError(f"architecture of the speech encoder: {' '.join(str(error).split())[:300]}") from error


def _made(transformers: Any, settings: Any) -> nn.Module:
    if settings.model_type == "whisper":
        return transformers.models.whisper.modeling_whisper.WhisperEncoder(settings)
    return transformers.AutoModel.from_config(settings)


def _loaded(transformers: Any, settings: Any, name: str) -> nn.Module:
    from jambatalk.errors import InputError

    try:
        network = transformers.AutoModel.from_pretrained(name, config=settings)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"the speech encoder {name!r} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    return network.encoder if settings.model_type == "whisper" else network


def _without_final_norm(network: nn.Module, family: str, settings: Any) -> None:
    if family == "whisper":
        network.layer_norm = nn.Identity()
    elif getattr(settings, "do_stable_layer_norm", False):
        network.encoder.layer_norm = nn.Identity()  # type: ignore[union-attr, assignment]
