"""VOCA: speakers move in their own way, frames depend on their window alone, and the last layer
starts as principal components.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jambatalk.baselines import baseline_config, load_baseline, save_baseline
from jambatalk.baselines.voca import VOCA, VOCAConfig
from jambatalk.config import CONFIGS
from jambatalk.errors import InputError
from jambatalk.models.config import EncoderConfig, MelConfig
from jambatalk.training.config import load_train_config
from small_network import speechlike

PAPER = CONFIGS / "baselines" / "voca-paper.yaml"
ENCODER = EncoderConfig(widths=[16, 24], blocks=1, dropout=0.0)
TINY = VOCAConfig(
    outputs=36,
    width=32,
    mel=MelConfig(bands=16),
    encoder=ENCODER,
    channels=[32, 32, 32, 32],
    hidden=32,
    components=8,
)
PAIR = replace(TINY, subjects=["one", "other"])


def clip(seconds: float = 1.6) -> tuple[Tensor, Tensor]:
    """Sound (1, n) and motion (1, T, 36) that follows its loudness."""
    samples = speechlike(seconds)
    level = np.sqrt(np.convolve(samples**2, np.ones(640) / 640, "same")[320::640])
    way = torch.randn(36, generator=torch.Generator().manual_seed(1)) * 0.1
    return torch.from_numpy(samples)[None], torch.from_numpy(level.astype(np.float32))[
        None, :, None
    ] * way


def trained(
    config: VOCAConfig, samples: Tensor, offsets: Tensor, subjects: Tensor, steps: int
) -> VOCA:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = VOCA(config).train()
    frames = offsets.flatten(0, 1)
    network.output_mean.copy_(frames.mean(0))
    network.output_scale.copy_(frames.std(0))
    network.fit(frames)
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    for step in range(steps):
        optimiser.zero_grad()
        torch.stack(list(network.loss(samples, offsets, subjects, step).values())).sum().backward()
        optimiser.step()
    return network.eval()  # type: ignore[no-any-return]


def error(found: Tensor, true: Tensor) -> float:
    """Share of the static face's squared error."""
    return float((found - true).square().mean() / true.square().mean())


def test_it_overfits_one_clip_and_repeats_itself(tmp_path: Path) -> None:
    samples, offsets = clip()
    speaker = torch.zeros(1, dtype=torch.long)
    network = trained(TINY, samples, offsets, speaker, 80)
    moved = network.animate(samples, offsets.shape[1])
    assert error(moved, offsets) < 0.02
    save_baseline(tmp_path / "voca.safetensors", network, {"made": "for a test"})
    again, notes = load_baseline(tmp_path / "voca.safetensors")
    assert notes == {"made": "for a test"}
    assert torch.equal(again.animate(samples, offsets.shape[1], seed=5), moved)
    one, other = (trained(TINY, samples, offsets, speaker, 3).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_speakers_move_in_their_own_way() -> None:
    """The same sound, twice as large a motion and another direction from the second speaker."""
    samples, offsets = clip()
    both = torch.cat([offsets, -2 * offsets])
    network = trained(PAIR, samples.expand(2, -1), both, torch.tensor([0, 1]), 120)
    moved = network.animate(samples.expand(2, -1), offsets.shape[1], torch.tensor([0, 1]))
    assert error(moved[0], both[0]) < 0.05
    assert error(moved[1], both[1]) < 0.05
    assert torch.equal(
        network.animate(samples, offsets.shape[1]),
        network.animate(samples, offsets.shape[1], torch.tensor([0])),
    )
    with pytest.raises(
        ValueError, match=r"subjects are \[2\], expected indices of the 2 training speakers"
    ):
        network.animate(samples, 10, torch.tensor([2]))


def test_rows_of_a_batch_do_not_meet() -> None:
    torch.manual_seed(0)
    network, samples = VOCA(PAIR).eval(), torch.randn(2, 16000) * 0.1
    together = network.animate(samples, 25, torch.tensor([0, 1]))
    torch.testing.assert_close(
        together[1:], network.animate(samples[1:], 25, torch.tensor([1])), rtol=0, atol=1e-6
    )
    assert (together[0] - together[1]).abs().max() > 1e-4


@torch.no_grad()
def test_a_frame_depends_on_its_window_alone() -> None:
    """Features of frames t - 8 to t + 7 make frame t, and sound after the stated look-ahead does
    not change it.
    """
    torch.manual_seed(0)
    network, frames, at = VOCA(TINY).eval(), 60, 30
    features = (
        torch.randn(1, frames, 32).expand(frames, -1, -1) + torch.eye(frames)[..., None]
    )  # row i: frame i is another
    network.hearing.forward = lambda samples, frames: features  # type: ignore[method-assign, assignment]
    moved = network.animate(torch.zeros(frames, 1), frames)[:, at]
    reached = [row for row in range(frames) if (moved[row] - moved[0]).abs().max() > 1e-5]
    assert reached == list(range(at - 8, at + 8))

    network = VOCA(TINY).eval()
    assert network.look_ahead_ms == (4 + 1 + 7) * 40.0
    samples = torch.randn(1, frames * 640) * 0.1
    first = at * 640 + int(network.look_ahead_ms * 16)
    near, far = samples.clone(), samples.clone()
    far[:, first:] = 0.0
    near[:, first - 640 :] = 0.0
    alone = network.animate(samples, frames)[0, at]
    assert torch.equal(network.animate(far, frames)[0, at], alone)
    assert not torch.equal(network.animate(near, frames)[0, at], alone)


@torch.no_grad()
def test_the_last_layer_starts_as_principal_components() -> None:
    """Three directions of known size: found in order, at their size, and the rest zero."""
    torch.manual_seed(0)
    network = VOCA(TINY)
    ways, _ = torch.linalg.qr(torch.randn(36, 3))
    size = torch.tensor([5.0, 2.0, 0.5])
    frames = torch.randn(4000, 3) * size @ ways.T + 1.5
    network.fit(frames)
    weight = network.basis.weight
    assert weight.norm(dim=0)[:3].tolist() == pytest.approx(size.tolist(), rel=0.05)
    assert ((weight[:, :3] / weight[:, :3].norm(dim=0)) * ways).sum(0).abs().min() > 0.99
    assert weight[:, 3:].abs().max() < 1e-3
    assert network.basis.bias.mean() == pytest.approx(1.5, abs=0.1)
    # What coefficients of unit variance make varies as the training motion does.
    assert network.basis(torch.randn(4000, 8)).var(0).sum() == pytest.approx(
        float(frames.var(0).sum()), rel=0.1
    )
    network.fit(frames[:2])
    assert not network.basis.weight[:, 2:].any()
    with pytest.raises(ValueError, match="no training frames"):
        network.fit(frames[:0])


def test_the_papers_sizes() -> None:
    """Counted by hand from the paper's table: eight speakers, 29 features, 50 components of 5,023
    vertices.
    """
    config = baseline_config(load_train_config(PAPER).baseline, str(PAPER))
    assert isinstance(config, VOCAConfig)
    assert (config.position * 10, config.window, config.encoder.kind) == (
        config.velocity,
        16,
        "pretrained",
    )
    small = replace(config, encoder=ENCODER, fps=25, delay=4, subjects=[str(i) for i in range(8)])
    found = sum(
        p.numel() for name, p in VOCA(small).named_parameters() if not name.startswith("hearing.")
    )
    convolutions = (37 * 3 + 1) * 32 + (32 * 3 + 1) * 32 + (32 * 3 + 1) * 64 + (64 * 3 + 1) * 64
    assert found == 2 * 29 + convolutions + (64 + 8 + 1) * 128 + (128 + 1) * 50 + (50 + 1) * 15069


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 7}, "window is 7, expected an even number of frames"),
        ({"components": 0}, "components is 0, expected at least 1"),
        ({"channels": []}, r"channels is \[\], expected the width of each convolution"),
        ({"windows": 3}, "windows"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        baseline_config({"kind": "voca", **settings}, "here")
