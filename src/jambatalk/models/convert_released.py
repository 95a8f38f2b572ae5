"""The authors' released checkpoints as our weights: every tensor mapped by name, nothing guessed
and nothing left over.
"""

from __future__ import annotations

import dataclasses
import pickle
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jambatalk.config import from_mapping
from jambatalk.errors import InputError, reading
from jambatalk.models.checkpoint import FORMAT, TRAINING_ONLY, read_checkpoint, save_tensors
from jambatalk.models.config import ModelConfig, PretrainedConfig
from jambatalk.models.encoders.pretrained import XLSR_53_LARGE
from jambatalk.models.lip_reader import LipReader, LipReaderConfig
from jambatalk.models.presets import load_preset
from jambatalk.models.released import converted, decoder_names
from jambatalk.models.speech_to_motion import SpeechToMotion

PRESETS = {3 * 5023: "released-vocaset", 3 * 3895: "released-biwi6"}
"""The layout by the values that a checkpoint moves: the coordinates of its corpus' mesh."""

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training programs keep the tensors, when not alone in the file."""

PREFIX = "module."
"""What torch's DataParallel puts before every name."""

RENAMED = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}
"""Older names of the positional convolution's tensors."""

ENCODER, SPEECH_HEAD, MOTION_HEAD = "audio_encoder.", "audio_feature_map.", "vertice_map_r."
LIP_READER = ("lip_map.", "transformer.", "lm_head.", "text_encoder.")
TEXT = "text_encoder.wav2vec2."

SHOWN = 5
"""Names that a message lists before it only counts."""


@dataclass(frozen=True)
class Conversion:
    """What was converted: tensors written, of which ``lip_reader`` for training alone, and the
    network's settings.
    """

    preset: str
    config: ModelConfig
    tensors: int
    lip_reader: int


def convert_released(
    checkpoint: str | Path,
    out: str | Path,
    preset: str | None = None,
    lip_reader: bool = True,
    half: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Read a checkpoint of the released code, write our weights.

    preset: the layout; None distinguishes VOCASET and BIWI_6 by their vertices. Sizes come from the
    tensors, so smaller networks of the same layout convert too. lip_reader: keep its tensors, which
    only training uses. half: write float16. progress: called with (done, in all), counted in
    numbers. Raises InputError, naming the tensors that are missing, left over, of another shape or
    not finite; then nothing is written. MissingExtraError without transformers.
    """
    tensors = read_released(checkpoint)
    if not lip_reader:
        tensors = {
            name: value for name, value in tensors.items() if not name.startswith(LIP_READER)
        }
    config, preset = network_settings(tensors, preset, str(checkpoint))
    with torch.device("meta"):  # names and shapes of a billion numbers, without the numbers
        model = SpeechToMotion(config)
        config = model.config
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        made = {"output_mean": torch.zeros, "output_scale": torch.ones}
        names = _network_names(config, [name for name in shapes if name not in made])
        notes: dict[str, Any] = {"converted from": Path(checkpoint).name, "preset": preset}
        if lip_reader:
            settings, vertices = lip_reader_settings(tensors, str(checkpoint))
            reader = {
                f"{TRAINING_ONLY}{n}": v
                for n, v in LipReader(vertices, settings).state_dict().items()
            }
            shapes |= {name: tuple(value.shape) for name, value in reader.items()}
            names |= {name.removeprefix(TRAINING_ONLY): name for name in reader}
            notes["lip_reader"] = {"vertices": vertices, "config": dataclasses.asdict(settings)}
    _check(tensors, names, shapes, str(checkpoint))
    total, done = sum(value.numel() for value in tensors.values()), 0
    result = {name: make(shapes[name], device="cpu") for name, make in made.items()}
    kind = torch.float16 if half else torch.float32
    for theirs, ours in names.items():
        value = tensors.pop(theirs)
        result[ours] = _written(theirs, value, kind, str(checkpoint))
        done += value.numel()
        if progress is not None:
            progress(done, total)
    save_tensors(out, result, config, (), notes)
    kept = sum(name.startswith(TRAINING_ONLY) for name in result)
    return Conversion(preset, config, len(names), kept)


def read_released(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .pth file by the authors' names, left on disk until they are used; nothing
    in it is executed.

    Plain state dicts, those inside a training program's mapping, and those with DataParallel's
    prefix are taken.
    """
    if not Path(path).is_file():
        raise InputError(f"no checkpoint at {path}")
    found = _unpickled(path)
    for key in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found:
        raise InputError(
            f"{path} holds {type(found).__name__}, expected the tensors of a network by name"
        )
    if bad := [str(name) for name, value in found.items() if not isinstance(value, Tensor)]:
        raise InputError(f"{path} holds more than tensors: {_listed(bad)}")
    tensors = {_modern(str(name)): value for name, value in found.items()}
    if len(tensors) < len(found):
        raise InputError(
            f"{path} holds {len(found) - len(tensors)} tensors twice, under an older and a newer "
            "name"
        )
    return tensors


def network_settings(
    tensors: Mapping[str, Tensor], preset: str | None, where: str
) -> tuple[ModelConfig, str]:
    """(the network that the tensors belong to, the preset that its layout follows)."""
    shape = _Shapes(tensors, where)
    outputs, width = shape[f"{MOTION_HEAD}weight"]
    if preset is None:
        if outputs not in PRESETS:
            known = " or ".join(
                f"{name} ({count // 3:,} vertices)" for count, name in PRESETS.items()
            )
            raise InputError(
                f"{where} moves {outputs / 3:,.5g} vertices: name its layout by --preset {known}"
            )
        preset = PRESETS[outputs]
    elif preset not in PRESETS.values():
        raise InputError(
            f"preset {preset!r} is not a released layout, expected {' or '.join(PRESETS.values())}"
        )
    config = load_preset(preset)
    encoder = config.encoder
    assert isinstance(encoder, PretrainedConfig)
    inner, d_state = shape["mamba.A_log"]
    experts, _, expert_hidden = shape["mamba_moe.moe.experts.w1"]
    decoder = replace(
        config.decoder,
        width=width,
        d_state=d_state,
        d_conv=shape["mamba.conv1d.weight"][-1],
        expand=inner // width,
        expert_d_state=shape["mamba_moe.mamba.A_log"][-1],
        expert_d_conv=shape["mamba_moe.mamba.conv1d.weight"][-1],
        experts=experts,
        expert_hidden=expert_hidden,
        mlp_hidden=shape["transformer_decoder.linear1.weight"][0],
        rope_rank=shape["transformer_decoder.lrl_rope.proj.0.weight"][0],
    )
    if width % decoder.heads:
        raise InputError(
            f"{where} is {width} wide, but the {decoder.heads} heads of {preset} need a multiple "
            "of that"
        )
    encoder = replace(encoder, architecture=speech_architecture(shape, ENCODER))
    try:
        return replace(config, outputs=outputs, decoder=decoder, encoder=encoder), preset
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def lip_reader_settings(tensors: Mapping[str, Tensor], where: str) -> tuple[LipReaderConfig, int]:
    """(settings of the lip reader in a checkpoint, how many vertices its lips have)."""
    shape = _Shapes(tensors, where)
    width, inputs = shape["lip_map.weight"]
    default = LipReaderConfig()
    settings = replace(
        default,
        width=width,
        heads=default.heads
        if width % default.heads == 0
        else 1,  # not in the tensors; the authors use no other
        layers=shape.count("transformer.encoder.layers."),
        hidden=shape["transformer.encoder.layers.0.linear1.weight"][0],
        letters=shape["lm_head.weight"][0],
        text=speech_architecture(shape, TEXT)
        | {"vocab_size": shape["text_encoder.lm_head.weight"][0]},
    )
    return settings, inputs // 3


def load_lip_reader(path: str | Path) -> LipReader:
    """Load the lip reader that ``convert_released`` kept. InputError when there is none."""
    parts, tensors = read_checkpoint(path, FORMAT)
    kept = parts["notes"].get("lip_reader")
    if kept is None:
        raise InputError(f"{path} holds no lip reader")
    with reading(path, "a file with a lip reader"):
        with torch.device("meta"):
            settings = from_mapping(LipReaderConfig, kept["config"], str(path))
            reader = LipReader(kept["vertices"], settings)
        own = {k.removeprefix(TRAINING_ONLY): v for k, v in tensors.items() if TRAINING_ONLY in k}
        reader.load_state_dict(own, assign=True)
    return reader.eval()


def speech_architecture(shape: _Shapes, prefix: str) -> dict[str, Any]:
    """transformers' configuration of the wav2vec 2.0 network whose tensors' names begin with
    ``prefix``.
    """
    convolutions = [
        shape[f"{prefix}feature_extractor.conv_layers.{i}.conv.weight"]
        for i in range(shape.count(f"{prefix}feature_extractor.conv_layers."))
    ]
    hidden, grouped, reach = shape[
        f"{prefix}encoder.pos_conv_embed.conv.parametrizations.weight.original1"
    ]
    # wav2vec 2.0 has 64 numbers to a head in all its sizes; the tensors do not show it.
    heads = max(hidden // 64, 1)
    return XLSR_53_LARGE | {
        "hidden_size": hidden,
        "num_hidden_layers": shape.count(f"{prefix}encoder.layers."),
        "num_attention_heads": heads,
        "intermediate_size": shape[
            f"{prefix}encoder.layers.0.feed_forward.intermediate_dense.weight"
        ][0],
        "conv_dim": [size[0] for size in convolutions],
        "conv_kernel": [size[-1] for size in convolutions],
        "num_conv_pos_embeddings": reach,
        "num_conv_pos_embedding_groups": hidden // grouped,
    }


class _Shapes:
    """Shapes of tensors by name; a name that is not there is an InputError."""

    def __init__(self, tensors: Mapping[str, Tensor], where: str) -> None:
        self._tensors, self._where = tensors, where

    def __getitem__(self, name: str) -> tuple[int, ...]:
        if name not in self._tensors:
            raise InputError(
                f"{self._where} is not a complete checkpoint of the released code: it lacks {name}"
            )
        return tuple(self._tensors[name].shape)

    def count(self, prefix: str) -> int:
        """How many different numbers follow ``prefix``."""
        return len(
            {name[len(prefix) :].split(".")[0] for name in self._tensors if name.startswith(prefix)}
        )


def _unpickled(path: str | Path) -> Any:
    # Before 2.6 a crafted file could run code even so (CVE-2025-32434).
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        raise InputError(
            f"reading {path} safely needs torch 2.6 or later, this is {torch.__version__}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about the pickle's version: what cannot be read is refused anyway
            return _loaded(path)
    except pickle.UnpicklingError as error:
        if what := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise InputError(
                f"{path} is refused: it asks to run {what[1]}, expected tensors alone (a state "
                "dict saved by torch.save)"
            ) from error
        raise InputError(f"{path} is damaged or no checkpoint of torch") from error
    except Exception as error:  # damaged archives fail in as many ways as there are damages
        raise InputError(f"{path} is damaged or no checkpoint of torch") from error


def _loaded(path: str | Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap can only" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # torch's format before 1.6


def _modern(name: str) -> str:
    name = name.removeprefix(PREFIX)
    for old, new in RENAMED.items():
        if name.endswith(f".pos_conv_embed.conv.{old}"):
            return name.removesuffix(old) + new
    return name


def _network_names(config: ModelConfig, ours: Iterable[str]) -> dict[str, str]:
    """The authors' name -> our name, for every one of our names."""
    decoder = {mine: theirs for theirs, mine in decoder_names(config.decoder.pattern).items()}
    parts = {"encoder.network.": ENCODER, "encoder.project.": SPEECH_HEAD, "head.": MOTION_HEAD}
    names = {}
    for name in ours:
        prefix = next((prefix for prefix in parts if name.startswith(prefix)), None)
        names[decoder[name] if prefix is None else parts[prefix] + name.removeprefix(prefix)] = name
    return names


def _check(
    tensors: Mapping[str, Tensor],
    names: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    where: str,
) -> None:
    if missing := [name for name in names if name not in tensors]:
        raise InputError(
            f"{where} is not a complete checkpoint of the released code: it lacks "
            f"{_listed(missing)}"
        )
    if extra := [name for name in tensors if name not in names]:
        raise InputError(
            f"{where} holds tensors that the released code does not have: {_listed(extra)}"
        )
    wrong = []
    for theirs, ours in names.items():
        seen, expected = tuple(tensors[theirs].shape), shapes[ours]
        if theirs.endswith("conv1d.weight"):
            expected = (expected[1], 1, expected[0])
        elif theirs.endswith("w_gating"):
            expected = expected[::-1]
        if seen != expected:
            wrong.append(f"{theirs} is {seen}, expected {expected}")
    if wrong:
        raise InputError(f"{where} has tensors of another shape: {_listed(wrong, '; ')}")
    if other := [
        f"{name} ({tensors[name].dtype})" for name in names if not tensors[name].is_floating_point()
    ]:
        raise InputError(f"{where} has tensors that are not real numbers: {_listed(other)}")


def _written(name: str, value: Tensor, kind: torch.dtype, where: str) -> Tensor:
    """One tensor as it is stored: our layout, memory of its own."""
    result = converted(name, value).to(kind).contiguous()
    if result.untyped_storage().nbytes() != result.numel() * result.element_size():
        result = result.clone()
    if not torch.isfinite(result).all():
        cause = "too large for float16" if torch.isfinite(value).all() else "not finite"
        raise InputError(f"{where} holds values that are {cause} in {name}")
    return result


def _listed(names: list[str], between: str = ", ") -> str:
    """The first few names, and how many more there are."""
    more = len(names) - SHOWN
    return between.join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
