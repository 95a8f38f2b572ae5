"""FaceFormer: its biases and encodings as the paper has them, and what it learns."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from jambatalk.baselines import baseline_config, load_baseline, save_baseline
from jambatalk.baselines.biased_attention import (
    AlignedCrossAttention,
    BiasedStack,
    PeriodicEncoding,
    periodic_bias,
    slopes,
)
from jambatalk.baselines.faceformer import FaceFormer, FaceFormerConfig
from jambatalk.config import CONFIGS
from jambatalk.models.config import EncoderConfig, PretrainedConfig
from jambatalk.models.speech_to_motion import parameter_count
from jambatalk.training.config import load_train_config
from made_talk import HOP, TINY, made_talk

CONFIG = FaceFormerConfig(period=5, layers=2, subjects=["a", "b"], **TINY)
BASELINES = CONFIGS / "baselines"


def moving(config: FaceFormerConfig = CONFIG, seed: int = 0) -> FaceFormer:
    """A network in evaluation mode whose last layer is no longer zero."""
    torch.manual_seed(seed)
    network = FaceFormer(config).eval()
    nn.init.normal_(network.motion_out.weight, std=0.3)
    nn.init.normal_(network.motion_out.bias, std=0.3)
    return network


def test_periodic_bias_of_a_small_case() -> None:
    assert slopes(4).tolist() == [1 / 4, 1 / 16, 1 / 64, 1 / 256]
    no = -math.inf
    expected = torch.tensor(
        [
            [0, no, no, no, no],
            [0, 0, no, no, no],
            [-1, 0, 0, no, no],
            [-1, -1, 0, 0, no],
            [-2, -1, -1, 0, 0],
        ]
    )  # periods away, of two frames each
    bias = periodic_bias(5, 5, 2, 2)
    assert torch.equal(bias[0], expected / 16)
    assert torch.equal(bias[1], expected / 256)
    assert torch.equal(periodic_bias(2, 5, 2, 2), bias[:, 3:])
    both = periodic_bias(5, 5, 2, 2, causal=False)
    assert torch.equal(both, both.transpose(1, 2))
    assert torch.equal(both.tril(), bias.nan_to_num(neginf=0.0).tril())


def test_position_encoding_repeats_after_a_period() -> None:
    encoding = PeriodicEncoding(8, 5)(0, 13)
    assert torch.equal(encoding[5:], encoding[:8])
    assert len(encoding[:5].unique(dim=0)) == 5
    assert torch.allclose(
        encoding[3, :4],
        torch.tensor([3.0, 3.0, 0.3, 0.3]).sin() * torch.tensor([1, 0, 1, 0])
        + torch.tensor([3.0, 3.0, 0.3, 0.3]).cos() * torch.tensor([0, 1, 0, 1]),
    )


def test_cross_attention_depends_on_its_own_frame_alone() -> None:
    torch.manual_seed(0)
    ours, full = AlignedCrossAttention(16), nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        full.in_proj_weight[32:].copy_(ours.value.weight)
        full.in_proj_bias[32:].copy_(ours.value.bias)
        full.out_proj.load_state_dict(ours.output.state_dict())
    sound, other, query = torch.randn(3, 2, 9, 16).unbind()
    other[:, 4] = sound[:, 4]
    assert torch.equal(ours(sound)[:, 4], ours(other)[:, 4])
    assert not torch.allclose(ours(sound)[:, 5], ours(other)[:, 5])
    aligned = torch.full((9, 9), -math.inf).fill_diagonal_(
        0.0
    )  # the paper's alignment bias with k = 1
    assert torch.allclose(full(query, sound, sound, attn_mask=aligned)[0], ours(sound), atol=1e-6)


def test_the_layer_is_a_transformer_decoder_layer_with_biases() -> None:
    torch.manual_seed(0)
    stack = BiasedStack(1, 16, 4, 24, 3, 0.0).eval()
    mine, theirs = (
        stack.layers[0],
        nn.TransformerDecoderLayer(16, 4, 24, 0.0, batch_first=True).eval(),
    )
    pairs = [
        (theirs.self_attn.out_proj, mine.output),
        (theirs.linear1, mine.up),
        (theirs.linear2, mine.down),
    ]
    pairs += [(theirs.multihead_attn.out_proj, mine.cross.output)]
    pairs += list(zip([theirs.norm1, theirs.norm2, theirs.norm3], mine.norms, strict=True))
    with torch.no_grad():
        for norm in mine.norms:
            norm.weight.normal_(), norm.bias.normal_()
        for target, source in pairs:
            target.load_state_dict(source.state_dict())
        theirs.self_attn.in_proj_weight.copy_(mine.project.weight)
        theirs.self_attn.in_proj_bias.copy_(mine.project.bias)
        theirs.multihead_attn.in_proj_weight[32:].copy_(mine.cross.value.weight)
        theirs.multihead_attn.in_proj_bias[32:].copy_(mine.cross.value.bias)
    x, sound = torch.randn(2, 1, 8, 16).unbind()
    aligned = torch.full((8, 8), -math.inf).fill_diagonal_(0.0)
    expected = theirs(x, sound, tgt_mask=periodic_bias(8, 8, 4, 3), memory_mask=aligned)
    assert torch.allclose(stack.whole(x, stack.cross_attention(sound)), expected, atol=1e-5)


def test_frame_by_frame_is_the_whole_prefix_again() -> None:
    network = moving()
    sound, style = torch.randn(2, 14, 32), torch.randn(2, 32)
    spoken = network.autoregress(sound, style)
    motion = torch.zeros(2, 0, 12)
    for frame in range(14):  # without any cache: all frames so far for each new one
        ahead = torch.cat([motion, torch.zeros(2, 1, 12)], dim=1)
        motion = torch.cat(
            [motion, network.teacher_forced(sound[:, : frame + 1], style, ahead)[:, -1:]], dim=1
        )
    assert torch.allclose(spoken, motion, atol=1e-4)
    assert spoken.std(dim=1).min() > 0.05

    probe = torch.randn_like(spoken)  # gradients run through the past, too
    parameters = list(network.decoder.parameters())
    through = torch.autograd.grad((spoken * probe).sum(), parameters)
    again = torch.autograd.grad((motion * probe).sum(), parameters)
    for one, other in zip(through, again, strict=True):
        assert torch.allclose(one, other, atol=1e-4 * max(1.0, float(other.abs().max())))


def test_sound_after_the_look_ahead_changes_nothing() -> None:
    network = moving()
    samples, _ = made_talk(1, 25)
    frame = 9
    heard_until = round((frame * 1000 / 25 + network.look_ahead_ms) * 16)
    assert heard_until == (frame + CONFIG.delay + 1) * HOP
    changed = samples.clone()
    changed[:, heard_until:] = 0.3 * torch.randn_like(changed[:, heard_until:])
    one, other = network.animate(samples, 25), network.animate(changed, 25)
    assert torch.equal(one[:, : frame + 1], other[:, : frame + 1])
    assert not torch.allclose(one[:, frame + 1 :], other[:, frame + 1 :])
    earlier = samples.clone()
    earlier[:, : 5 * HOP] = 0.3 * torch.randn_like(earlier[:, : 5 * HOP])
    assert not torch.allclose(
        one[:, -1], network.animate(earlier, 25)[:, -1], atol=1e-6
    )  # what was, counts


@pytest.mark.parametrize("teacher_forcing", [False, True])
def test_it_overfits_one_clip(teacher_forcing: bool) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    samples, offsets = made_talk(1, 25)
    network = FaceFormer(replace(CONFIG, layers=1, dropout=0.0, teacher_forcing=teacher_forcing))
    assert (
        torch.count_nonzero(network.eval().animate(samples, 25)) == 0
    )  # it starts from the face at rest
    optimiser = torch.optim.Adam(network.train().parameters(), lr=5e-3)
    for step in range(100):
        optimiser.zero_grad()
        sum(network.loss(samples, offsets, torch.tensor([1]), step).values()).backward()  # type: ignore[union-attr]
        optimiser.step()
    error = (network.eval().animate(samples, 25, torch.tensor([1])) - offsets).square().mean()
    assert error < (0.2 if teacher_forcing else 0.05) * offsets.square().mean()


def test_rows_speakers_and_seeds() -> None:
    network = moving()
    samples, offsets = made_talk(3, 12)
    subjects = torch.tensor([0, 1, 0])
    together = network.animate(samples, 12, subjects)
    assert torch.allclose(
        together[1:2], network.animate(samples[1:2], 12, subjects[1:2]), atol=1e-5
    )
    assert torch.equal(together, network.animate(samples, 12, subjects, seed=5))
    assert torch.equal(
        network.animate(samples, 12), network.animate(samples, 12, torch.zeros(3, dtype=torch.long))
    )
    assert not torch.allclose(together[1], network.animate(samples, 12)[1], atol=1e-3)
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(moving(seed=1).train().loss(samples, offsets, subjects, 0)["position"])
    assert torch.equal(*made)
    assert not network.stochastic
    with pytest.raises(ValueError, match=r"subjects \[2\] must lie between 0 and 1"):
        network.animate(samples[:1], 12, torch.tensor([2]))


def test_saved_and_loaded(tmp_path: Path) -> None:
    network = moving()
    network.output_scale.fill_(0.5)
    samples, _ = made_talk(1, 10)
    save_baseline(tmp_path / "faceformer.safetensors", network, {"made": "for a test"})
    again, notes = load_baseline(tmp_path / "faceformer.safetensors")
    assert notes == {"made": "for a test"}
    assert torch.equal(again.animate(samples, 10), network.animate(samples, 10))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"heads": 5}, "width 32 must be even and a multiple of 5 heads"),
        ({"period": 0}, "period is 0, expected at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0, expected at least 0 and less than 1"),
        ({"outputs": 0}, "outputs is 0, expected at least 3"),
    ],
)
def test_wrong_settings(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **wrong)


def test_sizes() -> None:
    assert 1.5e6 < parameter_count(FaceFormer(FaceFormerConfig())) < 1.8e6


def test_the_paper_s_sizes() -> None:
    settings = load_train_config(BASELINES / "faceformer-paper.yaml")
    config = baseline_config(settings.baseline, "faceformer-paper.yaml")
    assert isinstance(config, FaceFormerConfig)
    assert isinstance(config.encoder, PretrainedConfig)
    assert config.encoder.name == "facebook/wav2vec2-base-960h"
    network = FaceFormer(
        replace(config, fps=25, encoder=EncoderConfig())
    )  # the decoder is the same after any encoder
    mesh = 2 * 15069 * 64 + 15069 + 64
    layer = 4 * 64 * 64 + 2 * 64 * 64 + 2 * 128 * 64 + 4 * 64 + 2 * 64 + 128 + 64 + 6 * 64
    assert parameter_count(network) - parameter_count(network.hearing) == mesh + layer + 64
