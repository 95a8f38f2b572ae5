"""Every stateful module: chunked equals whole, and the future does not move the past."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jambatalk.models.attention import GroupedQueryAttention
from jambatalk.models.config import DecoderConfig, EncoderConfig, MelConfig
from jambatalk.models.encoders.streaming import StreamingEncoder
from jambatalk.models.features import LogMel, RunningNorm
from jambatalk.models.jamba import JambaDecoder
from jambatalk.models.layers import CausalDepthwiseConv, CausalStridedConv
from jambatalk.models.mamba import Mamba

SMALL = DecoderConfig(
    pattern="M E T E M E", width=32, mlp_hidden=48, heads=4, kv_heads=2, window=9, expert_hidden=24
)


class _Attention(GroupedQueryAttention):
    def __init__(self) -> None:
        super().__init__(32, 4, 2, "sliding", window=9, rope_rank=4, rope_normalize=True)
        # The correction starts at zero; the tests want it at work.
        nn.init.normal_(self.rope.up, std=0.3)


class _Convolutions(nn.Module):
    """The streaming encoder after its features."""

    def __init__(self) -> None:
        super().__init__()
        settings = EncoderConfig(widths=[24, 28], kernel=5)
        self.whole = StreamingEncoder(settings, 25, 32, MelConfig(bands=16))

    def init_state(self, batch: int) -> list[Tensor]:
        return self.whole.init_state(batch).encoder

    def forward(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        return self.whole.encode_normalized(x, state)


# name -> (module, input steps per chunk unit, input width, outputs per unit)
MODULES: dict[str, tuple[Any, int, int, int]] = {
    "depthwise": (lambda: CausalDepthwiseConv(32, 5), 1, 32, 1),
    "strided": (lambda: CausalStridedConv(6, 32, kernel=4, stride=2), 2, 6, 1),
    "mamba": (lambda: Mamba(32), 1, 32, 1),
    "attention": (_Attention, 1, 32, 1),
    "encoder": (lambda: _Convolutions(), 4, 16, 1),
    "decoder": (lambda: JambaDecoder(SMALL), 1, 32, 1),
    "causal decoder, post-norm": (
        lambda: JambaDecoder(replace(SMALL, attention="causal", attention_norm="post")),
        1,
        32,
        1,
    ),
    "tied decoder": (
        lambda: JambaDecoder(replace(SMALL, tied=True, gate="softmax", top_k=4)),
        1,
        32,
        1,
    ),
    "released Mamba layers": (
        lambda: JambaDecoder(replace(SMALL, pattern="m e m", tied=True)),
        1,
        32,
        1,
    ),
    "dense twin of the experts": (
        lambda: JambaDecoder(replace(SMALL, pattern="M D", dense_hidden=20)),
        1,
        32,
        1,
    ),
    "experts over attention": (lambda: JambaDecoder(replace(SMALL, pattern="T G")), 1, 32, 1),
    "layers without mixers": (lambda: JambaDecoder(replace(SMALL, pattern="F X T X")), 1, 32, 1),
    "decoder without positions": (lambda: JambaDecoder(replace(SMALL, rope=False)), 1, 32, 1),
    "norm": (lambda: RunningNorm(MelConfig(bands=16)), 1, 16, 1),
}


def _run(module: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    out = module(x, state)
    return out[0], out[1]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("chunk", [1, 2, 3, 8, 25])
def test_chunked_equals_whole(name: str, chunk: int) -> None:
    make, unit, width, _ = MODULES[name]
    torch.manual_seed(3)
    module = make().eval()
    x = torch.randn(2, 40 * unit, width)
    with torch.inference_mode():
        whole, _ = _run(module, x, module.init_state(2))
        state, parts = module.init_state(2), []
        for piece in x.split(chunk * unit, dim=1):
            y, state = _run(module, piece, state)
            parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", MODULES)
def test_future_does_not_move_the_past(name: str) -> None:
    make, unit, width, per_unit = MODULES[name]
    torch.manual_seed(4)
    module = make().eval()
    x = torch.randn(1, 30 * unit, width)
    changed = x.clone()
    changed[:, 20 * unit :] += 1.0
    with torch.inference_mode():
        a, _ = _run(module, x, module.init_state(1))
        b, _ = _run(module, changed, module.init_state(1))
    past = 20 * per_unit
    torch.testing.assert_close(a[:, :past], b[:, :past], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(a[:, past:], b[:, past:])


def test_state_is_not_changed_in_place() -> None:
    """A session may go back to a state it kept: forward must leave its input state alone."""
    for make, unit, width, _ in MODULES.values():
        module = make().eval()
        with torch.inference_mode():
            _, state = _run(module, torch.randn(1, 4 * unit, width), module.init_state(1))
            kept = copy.deepcopy(state)
            x = torch.randn(1, 3 * unit, width)
            first, _ = _run(module, x, state)
            second, _ = _run(module, x, kept)
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_sliding_attention_equals_full_attention_with_a_band_mask() -> None:
    torch.manual_seed(5)
    attention = _Attention()
    x = torch.randn(2, 30, 32)
    y, _ = attention(x, attention.init_state(2))
    q = attention.q(x).view(2, 30, 4, 8).transpose(1, 2)
    k, v = attention.kv(x).view(2, 30, 4, 8).transpose(1, 2).chunk(2, dim=1)
    sin, cos = attention.rope.tables(torch.arange(30), torch.float32)
    q, k = attention.rope.rotate(q, sin, cos), attention.rope.rotate(k, sin, cos)
    k, v = k.repeat_interleave(2, dim=1), v.repeat_interleave(2, dim=1)
    scores = q @ k.transpose(-1, -2) / 8**0.5
    behind = torch.arange(30)[:, None] - torch.arange(30)[None]
    scores = scores.masked_fill((behind < 0) | (behind >= 9), -torch.inf)
    wanted = attention.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(2, 30, 32))
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-6)


def test_plain_rope_scores_depend_on_distance_only() -> None:
    torch.manual_seed(6)
    attention = GroupedQueryAttention(
        32, 4, 2, "sliding", window=9, rope_rank=0, rope_normalize=True
    )
    x = torch.randn(1, 30, 32)
    near, _ = attention(x, attention.init_state(1))
    far, _ = attention(x, attention.init_state(1, torch.tensor([250_000])))
    torch.testing.assert_close(near, far, rtol=1e-4, atol=1e-5)


def test_log_mel_chunked_equals_whole_and_finds_a_tone() -> None:
    mel = LogMel(MelConfig())
    t = torch.arange(16000) / 16000
    tone = 0.1 * torch.sin(2 * torch.pi * 1000 * t)[None]
    whole, _ = mel(tone, mel.init_state(1))
    state, parts = mel.init_state(1), []
    for piece in tone.split(160 * 3, dim=1):
        y, state = mel(piece, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-5)
    centre = mel.filters[:, int(whole[0, 50].argmax())].argmax() * 16000 / 512
    assert abs(float(centre) - 1000) < 50


def test_running_norm_cancels_level_and_microphone() -> None:
    """Features through another gain and equalizer end up the same after some speech."""
    norm = RunningNorm(MelConfig(bands=16))
    g = torch.Generator().manual_seed(0)
    loudness = torch.rand(1, 1500, 1, generator=g) * 6
    x = loudness + torch.randn(1, 1500, 16, generator=g) * 0.3 - 8
    curve = torch.linspace(-2, 2, 16) - 1.5
    a, _ = norm(x, norm.init_state(1))
    b, _ = norm(x + curve, norm.init_state(1))
    assert (x - (x + curve)).abs().mean() > 1
    assert (a[:, -300:] - b[:, -300:]).abs().mean() < 0.1


def speech_mel(frames: int, seed: int, bands: int = 16) -> Tensor:
    """Syllables over pauses: log mel power (1, frames, bands) of an ordinary level."""
    g = torch.Generator().manual_seed(seed)
    loud = 3.5 * torch.sin(torch.arange(frames) * 0.25).clamp_min(-1)[None, :, None]
    return (
        loud + torch.linspace(1, -2, bands) + torch.randn(1, frames, bands, generator=g) * 0.4 - 4.0
    )


def steady_mel(frames: int, level: float, bands: int = 16) -> Tensor:
    """An even noise of this log mel power with another colour than speech."""
    chi = torch.distributions.Gamma(3.0, 3.0)
    torch.manual_seed(5)
    return level + torch.linspace(-2, 2, bands) + torch.log(chi.sample((1, frames, bands)) + 1e-6)


@pytest.mark.parametrize("gain_db", [0, -20, -40])
@pytest.mark.parametrize("before", ["zeros", "dither", "faint room", "room"])
def test_running_norm_gives_speech_the_same_features_after_any_silence(
    before: str, gain_db: float
) -> None:
    """Zeros, dither or a room first, at any level of the speech: within a second the features are
    those of speech alone.

    The mean used to be spent on the silence: the features of the first seconds of speech then hit
    the upper limit.
    """
    norm = RunningNorm(MelConfig(bands=16))
    gain = gain_db / 20 * math.log(10) * 2
    floor = math.log(1e-9)
    speech = torch.log(torch.exp(speech_mel(400, 0) + gain) + 1e-9)
    norm.start.copy_(speech_mel(4000, 1).mean((0, 1)))
    levels = {"zeros": floor, "dither": -18.0, "faint room": -14.5, "room": -11.0}
    quiet = (
        torch.full((1, 500, 16), floor) if before == "zeros" else steady_mel(500, levels[before])
    )
    wanted, _ = norm(speech, norm.init_state(1))
    _, state = norm(quiet, norm.init_state(1))
    found, _ = norm(speech, state)
    assert (found - wanted)[:, 100:].abs().mean() < 1.0  # of a range of 10
    assert (found[:, 100:] >= norm.config.high).float().mean() < 0.02


def test_running_norm_takes_quiet_speech_for_speech() -> None:
    """40 dB less: after the first syllables the features are those of the ordinary level."""
    norm = RunningNorm(MelConfig(bands=16))
    speech = speech_mel(400, 0)
    norm.start.copy_(speech_mel(4000, 1).mean((0, 1)))
    ordinary, _ = norm(speech, norm.init_state(1))
    quiet, _ = norm(speech - 4 * math.log(10), norm.init_state(1))
    assert (ordinary - quiet)[:, 50:].abs().mean() < 0.35
    assert (ordinary - quiet)[:, 5:50].abs().mean() < 1.5


def test_running_norm_does_not_lift_a_steady_noise() -> None:
    """A room alone stays at its own level below speech, however long it lasts."""
    norm = RunningNorm(MelConfig(bands=16))
    norm.start.copy_(speech_mel(4000, 1).mean((0, 1)))
    y, _ = norm(steady_mel(3000, -12.0), norm.init_state(1))
    assert float(y[:, -500:].mean()) < -4.0
