"""The network as one step over flat tensors: the same numbers, names that hold, a state that can be
kept and put back.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jambatalk.models.checkpoint import load_weights
from jambatalk.models.config import DecoderConfig, MelConfig, ModelConfig
from jambatalk.models.features import LogMel, RunningNorm, normalize_reference
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.models.state import (
    StreamingStep,
    named_state,
    pretranspose_linear_weights,
    rebuilt_state,
    state_bytes,
)
from small_network import speechlike


@pytest.fixture(scope="module")
def model(small_weights: Path) -> SpeechToMotion:
    return load_weights(small_weights)[0]


def _hops(model: SpeechToMotion, seconds: float, batch: int = 1) -> torch.Tensor:
    """(T, B, hop) speech-like sound, another in each row."""
    sounds = torch.stack([torch.from_numpy(speechlike(seconds, seed)) for seed in range(batch)])
    return sounds.view(batch, -1, model.config.hop).transpose(0, 1)


@pytest.mark.parametrize("batch", [1, 3])
def test_steps_equal_the_whole(model: SpeechToMotion, batch: int) -> None:
    hops, step = _hops(model, 2.0, batch), StreamingStep(model)
    with torch.inference_mode():
        whole, last = model(hops.transpose(0, 1).flatten(1), model.init_state(batch))
        state, frames = step.init_state(batch), []
        for hop in hops:
            frame, *state = step(hop, *state)
            frames.append(frame)
    torch.testing.assert_close(torch.stack(frames, 1), whole, rtol=0, atol=1e-5)
    for name, ours, theirs in zip(step.names, state, named_state(last).values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5, msg=name)


def test_names_say_where_each_tensor_lives(model: SpeechToMotion) -> None:
    step = StreamingStep(model)
    names = dict(zip(step.names, step.init_state(2), strict=True))
    assert {
        "samples",
        "norm.mean",
        "norm.level",
        "encoder.0",
        "decoder.0.ssm",
        "decoder.2.keys",
    } <= set(names)
    assert all(tensor.shape[0] == 2 for tensor in names.values())
    assert names["decoder.2.position"].dtype == torch.int64
    assert step.structured(step.init_state(2)).decoder[0].ssm is not None


def test_state_goes_flat_and_back(model: SpeechToMotion) -> None:
    state = model.init_state(2)
    flat = [torch.randn(t.shape).to(t.dtype) for t in named_state(state).values()]
    again = named_state(rebuilt_state(state, flat))
    assert list(again) == list(named_state(state))
    assert all(a is b for a, b in zip(again.values(), flat, strict=True))
    for wrong in (flat[:-1], [*flat, flat[0]]):
        with pytest.raises(ValueError, match=f"{len(wrong)} state tensors, expected {len(flat)}"):
            rebuilt_state(state, wrong)
    with pytest.raises(TypeError, match="str"):
        named_state(["not a tensor"])


def test_state_bytes_are_those_of_its_tensors_and_stay(model: SpeechToMotion) -> None:
    step = StreamingStep(model)
    first = state_bytes(step.init_state())
    assert first == sum(
        t.untyped_storage().nbytes() for t in named_state(model.init_state()).values()
    )
    state = step.init_state()
    with torch.inference_mode():
        for hop in _hops(model, 1.0):
            _, *state = step(hop, *state)
    assert state_bytes(state) == first


def test_kept_state_can_be_taken_up_again(model: SpeechToMotion) -> None:
    """A step does not change its input state: an earlier state gives the same frames again."""
    step, hops = StreamingStep(model), _hops(model, 2.0)
    with torch.inference_mode():
        state = step.init_state()
        for hop in hops[:20]:
            _, *state = step(hop, *state)
        kept, runs = [t.clone() for t in state], []
        for start in (state, kept):
            frames, now = [], start
            for hop in hops[20:]:
                frame, *now = step(hop, *now)
                frames.append(frame)
            runs.append(torch.cat(frames))
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0)


@pytest.mark.parametrize("length", [0, 1, 4, 300])
def test_norm_kernel_equals_its_reference(length: int) -> None:
    config = MelConfig(bands=24)
    norm = RunningNorm(config)
    torch.nn.init.normal_(norm.start)
    x = torch.randn(3, length, 24) * 4 - 8
    y, after = norm(x, norm.init_state(3))
    wanted, state = normalize_reference(x, norm.init_state(3), norm.start, config)
    # Both round in float32 at every frame: 300 frames in a row differ by 3e-5.
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(after.mean, state.mean, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(after.level, state.level, rtol=1e-4, atol=1e-6)


def test_log_mel_is_the_log_of_band_power_above_a_floor() -> None:
    """Against the formula in float64, from digital silence to loud sound."""
    config = MelConfig()
    mel = LogMel(config)
    sound = torch.cat([torch.zeros(1600), torch.randn(3200) * 1e-4, torch.randn(3200) * 0.3])[None]
    y, _ = mel(sound, mel.init_state(1))
    padded = torch.cat([torch.zeros(1, config.window - config.hop), sound], 1).double()
    frames = padded.unfold(1, config.window, config.hop) * torch.hann_window(
        config.window, dtype=torch.float64
    )
    power = torch.fft.rfft(frames, config.fft).abs().square() / config.window
    unit = mel.filters.double() * (config.window * config.floor)
    torch.testing.assert_close(unit.max(), torch.tensor(1.0, dtype=torch.float64), rtol=0.1, atol=0)
    torch.testing.assert_close(
        y.double(), torch.log(power @ unit + config.floor), rtol=0, atol=2e-4
    )
    assert float(y[0, 0].max()) == pytest.approx(-20.723, abs=1e-3)


def test_layout_for_hops_keeps_values_and_shapes(small_weights: Path) -> None:
    model, changed = (
        load_weights(small_weights)[0],
        pretranspose_linear_weights(load_weights(small_weights)[0]),
    )
    for (name, ours), theirs in zip(changed.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert changed.head.weight.t().is_contiguous()
    sound = torch.from_numpy(speechlike(2.0))[None]
    with torch.inference_mode():
        torch.testing.assert_close(
            changed(sound, changed.init_state())[0],
            model(sound, model.init_state())[0],
            rtol=0,
            atol=1e-5,
        )


def test_networks_without_a_hop_are_refused() -> None:
    causal = ModelConfig(
        decoder=DecoderConfig(pattern="M T", width=32, heads=2, kv_heads=1, attention="causal")
    )
    with pytest.raises(ValueError, match="state has no fixed size"):
        StreamingStep(SpeechToMotion(causal))
    full = ModelConfig(
        look_ahead="full",
        decoder=DecoderConfig(pattern="T", width=32, heads=2, kv_heads=1, attention="full"),
    )
    with pytest.raises(ValueError, match="whole clip"):
        StreamingStep(SpeechToMotion(full))
