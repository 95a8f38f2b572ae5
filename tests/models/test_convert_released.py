"""Checkpoints of the released code become weights: mapped completely, or refused by name."""

from __future__ import annotations

import gc
import json
import os
import pickle
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open

pytest.importorskip("transformers", reason="transformers is not installed")

import transformers

import jambatalk
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.models.checkpoint import load_weights
from jambatalk.models.convert_released import (
    PRESETS,
    Conversion,
    convert_released,
    load_lip_reader,
    read_released,
)
from jambatalk.models.lip_reader import LipReader
from released_tiny import SPEECH, VERTICES, WIDTH, tiny_checkpoint
from small_network import speechlike

KEYS = Path(__file__).parents[2] / "../shared/golden/released_checkpoint_keys.json"


def saved(tmp_path, tensors, name="authors.pth", **options):
    torch.save(tensors, tmp_path / name, **options)
    return tmp_path / name


def convert(tmp_path, tensors, preset="released-vocaset", **options) -> Conversion:
    return convert_released(
        saved(tmp_path, tensors), tmp_path / "out.safetensors", preset, **options
    )


def stored(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("biwi", [False, True])
@torch.no_grad()
def test_animates_as_the_authors_pipeline_does(tmp_path, biwi):
    """Sound to features by transformers and the authors' few lines; decoder and head are tied to
    theirs in tests/nn.
    """
    tensors = tiny_checkpoint(biwi)
    done = convert(tmp_path, tensors, "released-biwi6" if biwi else "released-vocaset")
    assert done.tensors == len(tensors)
    samples = speechlike(1.0)
    motion = jambatalk.load(tmp_path / "out.safetensors").animate(Speech(samples))
    frames = 24 if biwi else 29
    assert motion.offsets.shape == (frames, VERTICES, 3)
    assert motion.fps == (25 if biwi else 30)

    theirs = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SPEECH)).eval()
    own = {
        k.removeprefix("audio_encoder."): v
        for k, v in tensors.items()
        if k.startswith("audio_encoder.")
    }
    theirs.load_state_dict(own)
    x = transformers.Wav2Vec2FeatureExtractor()(
        samples, sampling_rate=16000, return_tensors="pt"
    ).input_values
    x = theirs.feature_extractor(x)
    if not biwi:
        x = F.interpolate(x, size=frames, mode="linear", align_corners=True)
    x = theirs.encoder(theirs.feature_projection(x.transpose(1, 2))[0])[0]
    if biwi:
        x = x[:, : 2 * frames].reshape(1, frames, -1)
    x = F.linear(x, tensors["audio_feature_map.weight"], tensors["audio_feature_map.bias"])
    decoder = load_weights(tmp_path / "out.safetensors")[0].decoder
    x = decoder(x, decoder.init_state(1))[0]
    expected = F.linear(x, tensors["vertice_map_r.weight"], tensors["vertice_map_r.bias"])[
        0
    ].numpy()
    assert (
        np.abs(motion.offsets.reshape(frames, -1) - expected).max() <= 1e-5 * np.abs(expected).max()
    )
    assert np.abs(np.diff(motion.offsets, axis=0)).max() > 1e-4  # it does move


def test_every_tensor_is_in_the_file(tmp_path):
    tensors = tiny_checkpoint()
    done = convert(tmp_path, tensors)
    found = stored(tmp_path / "out.safetensors")
    assert len(found) == len(tensors) + 2  # mean and scale of the outputs are ours
    assert done.lip_reader == sum(name.startswith("lip_reader.") for name in found)
    sums = sorted(float(value.double().sum()) for name, value in tensors.items())
    kept = sorted(
        float(v.double().sum())
        for name, v in found.items()
        if name not in ("output_mean", "output_scale")
    )
    assert np.allclose(sums, kept)
    with safe_open(tmp_path / "out.safetensors", framework="pt") as file:
        notes = json.loads(file.metadata()["notes"])
    assert notes["converted from"] == "authors.pth"
    assert notes["preset"] == "released-vocaset"


def test_the_lip_reader_has_a_home(tmp_path):
    tensors = tiny_checkpoint()
    convert(tmp_path, tensors)
    reader = load_lip_reader(tmp_path / "out.safetensors")
    assert isinstance(reader, LipReader)
    for name, value in reader.state_dict().items():
        assert torch.equal(value, tensors[name]), name
    assert reader(torch.randn(1, 30, 9), 30)[1].shape == (1, 50, 5)
    assert reader.text(torch.randn(1, 16000))[1].shape == (1, 49, 5)
    assert not any(p.requires_grad for p in reader.text_encoder.parameters())


def test_without_the_lip_reader(tmp_path):
    tensors = tiny_checkpoint()
    assert convert(tmp_path, tensors, lip_reader=False).lip_reader == 0
    assert not any(name.startswith("lip_reader.") for name in stored(tmp_path / "out.safetensors"))
    with pytest.raises(InputError, match="holds no lip reader"):
        load_lip_reader(tmp_path / "out.safetensors")
    bare = {
        k: v
        for k, v in tensors.items()
        if not k.startswith(("lip_map.", "transformer.", "lm_head.", "text_encoder."))
    }
    assert convert(tmp_path, bare, lip_reader=False).tensors == len(bare)


def test_half_precision(tmp_path):
    tensors = tiny_checkpoint()
    convert(tmp_path, tensors, half=True)
    assert {
        v.dtype
        for k, v in stored(tmp_path / "out.safetensors").items()
        if not k.startswith("output_")
    } == {torch.float16}
    half = jambatalk.load(tmp_path / "out.safetensors").animate(Speech(speechlike(1.0))).offsets
    convert(tmp_path, tensors)
    whole = jambatalk.load(tmp_path / "out.safetensors").animate(Speech(speechlike(1.0))).offsets
    assert 0 < np.abs(half - whole).max() < 0.02 * np.abs(whole).max()
    tensors["audio_feature_map.bias"][3] = 1e6
    with pytest.raises(InputError, match=r"too large for float16 in audio_feature_map\.bias"):
        convert(tmp_path, tensors, half=True)


def _old_names(tensors):
    old = {
        "parametrizations.weight.original0": "weight_g",
        "parametrizations.weight.original1": "weight_v",
    }
    return {
        re.sub("|".join(old), lambda found: old[found[0]], name): value
        for name, value in tensors.items()
    }


@pytest.mark.parametrize(
    "change",
    [
        _old_names,
        lambda tensors: {f"module.{name}": value for name, value in tensors.items()},
        lambda tensors: {"state_dict": tensors, "epoch": 100},
        lambda tensors: {"model_state_dict": tensors, "optimizer": {"lr": 1e-4}},
        lambda tensors: {
            "model": {f"module.{name}": value for name, value in _old_names(tensors).items()}
        },
        lambda tensors: {name: value.double() for name, value in tensors.items()},
        lambda tensors: {
            name: value.bfloat16().float() if name == "mamba.D" else value
            for name, value in tensors.items()
        },
    ],
)
def test_other_ways_to_save_the_same(tmp_path, change):
    tensors = tiny_checkpoint()
    convert(tmp_path, tensors)
    expected = stored(tmp_path / "out.safetensors")
    changed = change(tensors)
    convert(tmp_path, changed)
    found = stored(tmp_path / "out.safetensors")
    assert list(found) == list(expected)
    tolerance = 0.01 if "mamba.D" in changed else 0
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=tolerance), name


def test_the_old_file_format_and_shared_memory(tmp_path):
    tensors = tiny_checkpoint()
    tensors["mamba.D"] = tensors["mamba.A_log"][:, 0]  # a view of another tensor's memory
    path = saved(tmp_path, tensors, _use_new_zipfile_serialization=False)
    convert_released(path, tmp_path / "out.safetensors", "released-vocaset")
    assert torch.equal(
        stored(tmp_path / "out.safetensors")["decoder.layers.0.mixer.D"], tensors["mamba.D"]
    )


def refusal(tmp_path, tensors, preset="released-vocaset") -> str:
    with pytest.raises(InputError) as caught:
        convert(tmp_path, tensors, preset)
    assert sorted(os.listdir(tmp_path)) == ["authors.pth"]  # nothing half-written
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_tensors_are_named(tmp_path):
    tensors = tiny_checkpoint()
    del tensors["audio_encoder.encoder.layers.1.attention.q_proj.bias"]
    assert "it lacks audio_encoder.encoder.layers.1.attention.q_proj.bias" in refusal(
        tmp_path, tensors
    )
    for name in [
        name
        for name in tensors
        if name.startswith("transformer_decoder.") and "linear1.weight" not in name
    ]:
        if "lrl_rope" not in name:
            del tensors[name]
    message = refusal(tmp_path, tensors)
    assert message.count("transformer_decoder.") == 4
    assert message.endswith("and 11 more")


@pytest.mark.parametrize(
    "name", ["mamba.A_log", "vertice_map_r.weight", "lip_map.weight", "text_encoder.lm_head.weight"]
)
def test_tensors_that_tell_sizes_are_named_too(tmp_path, name):
    tensors = tiny_checkpoint()
    del tensors[name]
    assert refusal(tmp_path, tensors).endswith(
        f"is not a complete checkpoint of the released code: it lacks {name}"
    )


def test_leftovers_are_named(tmp_path):
    tensors = tiny_checkpoint()
    tensors |= {f"style.{i}.weight": torch.ones(2) for i in range(7)}
    message = refusal(tmp_path, tensors)
    assert (
        "tensors that the released code does not have: style.0.weight, style.1.weight, " in message
    )
    assert message.endswith("style.4.weight and 2 more")


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        (
            "mamba.conv1d.weight",
            (32, 2, 4),
            r"mamba\.conv1d\.weight is \(32, 2, 4\), expected \(32, 1, 4\)",
        ),
        ("mamba_moe.moe.gate.w_gating", (2, 16), r"is \(2, 16\), expected \(16, 2\)"),
        ("audio_feature_map.weight", (16, 128), r"is \(16, 128\), expected \(16, 64\)"),
        ("lm_head.bias", (4,), r"lm_head\.bias is \(4,\), expected \(5,\)"),
        (
            "audio_encoder.encoder.layers.0.final_layer_norm.weight",
            (63,),
            r"is \(63,\), expected \(64,\)",
        ),
    ],
)
def test_other_shapes_are_named(tmp_path, name, shape, expected):
    tensors = tiny_checkpoint()
    tensors[name] = torch.zeros(shape)
    assert re.search(expected, refusal(tmp_path, tensors))


def test_values_are_checked(tmp_path):
    tensors = tiny_checkpoint()
    tensors["vertice_map_r.bias"][2] = torch.nan
    assert "not finite in vertice_map_r.bias" in refusal(tmp_path, tensors)
    tensors["vertice_map_r.bias"] = torch.zeros(3 * VERTICES, dtype=torch.int64)
    assert "not real numbers: vertice_map_r.bias (torch.int64)" in refusal(tmp_path, tensors)


def test_the_layout_is_told_or_asked_for(tmp_path):
    tensors = tiny_checkpoint()
    assert "moves 7 vertices: name its layout by --preset released-vocaset (5,023" in refusal(
        tmp_path, tensors, None
    )
    assert "preset 'base' is not a released layout" in refusal(tmp_path, tensors, "base")
    assert "audio_feature_map.weight is (16, 64), expected (16, 128)" in refusal(
        tmp_path, tensors, "released-biwi6"
    )
    assert PRESETS == {15069: "released-vocaset", 11685: "released-biwi6"}
    for outputs, preset in PRESETS.items():
        tensors = tiny_checkpoint(biwi=preset == "released-biwi6")
        tensors["vertice_map_r.weight"] = torch.zeros(outputs, WIDTH)
        tensors["vertice_map_r.bias"] = torch.zeros(outputs)
        done = convert(tmp_path, tensors, None)
        assert done.preset == preset
        assert done.config.outputs == outputs
        assert done.config.decoder.pattern == (
            "m e t e m e" if preset == "released-vocaset" else "m e m e t e m e m e"
        )
        (tmp_path / "out.safetensors").unlink()


def test_a_full_disk_is_told(tmp_path):
    resource = pytest.importorskip("resource", reason="limits on file sizes are set by Unix")
    path = saved(tmp_path, tiny_checkpoint())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*out\.safetensors"):
            convert_released(path, tmp_path / "out.safetensors", "released-vocaset")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert sorted(os.listdir(tmp_path)) == ["authors.pth"]


def test_two_names_for_one_tensor(tmp_path):
    tensors = tiny_checkpoint()
    assert "holds 4 tensors twice" in refusal(tmp_path, tensors | _old_names(tensors))


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("harm",))


@pytest.mark.parametrize("new", [True, False])
def test_hostile_files_are_refused_unread(tmp_path, monkeypatch, new):
    monkeypatch.chdir(tmp_path)
    path = saved(
        tmp_path, tiny_checkpoint() | {"extra": Evil()}, _use_new_zipfile_serialization=new
    )
    with pytest.raises(
        InputError, match=r"is refused: it asks to run (posix|nt)\.mkdir, expected tensors alone"
    ):
        read_released(path)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match=r"plain\.pth is (refused|damaged)"):
        read_released("plain.pth")
    assert not (tmp_path / "harm").exists()


def test_damaged_and_foreign_files(tmp_path):
    path = saved(tmp_path, tiny_checkpoint())
    data = path.read_bytes()
    for name, content in (
        ("cut", data[: len(data) // 2]),
        ("cut near the end", data[:-40]),
        ("empty", b""),
        ("text", b"hello " * 50),
        ("holes", data[:100] + bytes(50) + data[150:]),
    ):
        (tmp_path / f"{name}.pth").write_bytes(content)
        with pytest.raises(InputError, match=r"\.pth is damaged or no checkpoint of torch"):
            read_released(tmp_path / f"{name}.pth")
    with pytest.raises(InputError, match="no checkpoint at"):
        read_released(tmp_path / "missing.pth")
    with pytest.raises(InputError, match="holds list, expected the tensors of a network by name"):
        read_released(saved(tmp_path, [1, 2], "list.pth"))
    with pytest.raises(InputError, match="holds more than tensors: epoch, note"):
        read_released(saved(tmp_path, {"a": torch.ones(2), "epoch": 3, "note": "x"}, "mixed.pth"))


def test_an_unsafe_torch_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, {"a": torch.ones(2)})
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(InputError, match=r"safely needs torch 2\.6 or later, this is 2\.5\.1"):
        read_released(path)


def test_an_interrupted_conversion_leaves_nothing(tmp_path):
    def stop(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path, tiny_checkpoint(), progress=stop)
    assert sorted(os.listdir(tmp_path)) == ["authors.pth"]
    seen = []
    convert(tmp_path, tiny_checkpoint(), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.shared
def test_the_tiny_layout_has_the_released_names():
    if not KEYS.is_file():
        pytest.skip("../shared/golden/released_checkpoint_keys.json is not there")
    keys = json.loads(KEYS.read_text())
    for corpus in ("vocaset", "BIWI"):
        names, mine = (
            {re.sub(r"\.\d+\.", ".N.", name) for name in group}
            for group in (keys[corpus], tiny_checkpoint())
        )
        assert names == mine


@pytest.mark.shared
@pytest.mark.parametrize(
    ("corpus", "lip_reader", "frames", "tensors"),
    [("vocaset", True, 29, 1077), ("BIWI", False, 24, 465)],
)
def test_full_size_checkpoints_convert_and_animate(tmp_path, corpus, lip_reader, frames, tensors):
    """Random tensors of every released name and shape, 3.2 GB of them; the file is small, for all
    repeat a few numbers.
    """
    if not KEYS.is_file():
        pytest.skip("../shared/golden/released_checkpoint_keys.json is not there")
    shapes = json.loads(KEYS.read_text())[corpus]
    assert len(shapes) == 1077
    generator = torch.Generator().manual_seed(0)
    checkpoint = {}
    for name, shape in shapes.items():
        # One row (or column of one number) that all the others repeat: stride 0, so it takes no
        # room.
        small = torch.randn([1] * (len(shape) - 1) + shape[-1:], generator=generator) * 0.02
        checkpoint[name] = small.expand(shape)
    path = saved(tmp_path, checkpoint)
    del checkpoint
    assert path.stat().st_size < 20e6
    done = convert_released(
        path, tmp_path / "out.safetensors", lip_reader=lip_reader, half=lip_reader
    )
    assert done.tensors == tensors
    assert done.preset == ("released-vocaset" if corpus == "vocaset" else "released-biwi6")
    gc.collect()
    motion = jambatalk.load(tmp_path / "out.safetensors").animate(Speech(speechlike(1.0)))
    assert motion.offsets.shape == (frames, 5023 if corpus == "vocaset" else 3895, 3)
    assert np.isfinite(motion.offsets).all()
    assert np.abs(motion.offsets).max() > 0
    (tmp_path / "out.safetensors").unlink()
