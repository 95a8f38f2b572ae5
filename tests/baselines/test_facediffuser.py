"""FaceDiffuser: the diffusion against its closed forms, seeds that differ, and what it learns."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from jambatalk.baselines import baseline_config, load_baseline, save_baseline
from jambatalk.baselines.facediffuser import (
    Diffusion,
    FaceDiffuser,
    FaceDiffuserConfig,
    cosine_signal,
)
from jambatalk.config import CONFIGS
from jambatalk.errors import InputError
from jambatalk.models.config import EncoderConfig, PretrainedConfig
from jambatalk.models.speech_to_motion import parameter_count
from jambatalk.training.config import load_train_config
from made_talk import HOP, TINY, made_talk

SHARED = {key: TINY[key] for key in ("outputs", "mel", "encoder", "width")}
CONFIG = FaceDiffuserConfig(
    hidden=48, dropout=0.0, steps=50, sample_steps=6, subjects=["a", "b"], **SHARED
)
PAPER = CONFIGS / "baselines" / "facediffuser-paper.yaml"


def moving(config: FaceDiffuserConfig = CONFIG) -> FaceDiffuser:
    """A network in evaluation mode whose last layer is no longer zero and whose speakers differ."""
    torch.manual_seed(0)
    network = FaceDiffuser(config).eval()
    nn.init.normal_(network.head.weight, std=0.3)
    nn.init.normal_(network.style.weight)
    return network


def test_schedule_is_the_cosine() -> None:
    signal = cosine_signal(500)
    share = [math.cos((i / 500 + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(501)]
    expected = torch.tensor(share[1:], dtype=torch.float64) / share[0]
    assert torch.allclose(signal[:-1], expected[:-1], rtol=1e-9)
    assert 0 < signal[-1] < 1e-6  # the last step keeps a thousandth of what is left
    assert bool((signal.diff() < 0).all())


@pytest.mark.parametrize("step", [0, 100, 250, 480])
def test_noised_data_have_the_mean_and_variance_of_their_step(step: int) -> None:
    diffusion, clean = Diffusion(500), torch.tensor([[2.0, -1.0, 0.0]])
    torch.manual_seed(step)
    noised = diffusion.noised(
        clean.expand(40_000, 3), torch.full((40_000,), step), torch.randn(40_000, 3)
    )
    signal = float(cosine_signal(500)[step])
    assert torch.allclose(noised.mean(0), math.sqrt(signal) * clean[0], atol=0.03)
    assert torch.allclose(noised.var(0), torch.full((3,), 1 - signal), rtol=0.05)


def test_each_clip_of_a_batch_is_noised_to_its_own_step() -> None:
    diffusion, clean, noise = Diffusion(50), torch.ones(2, 4, 3), torch.zeros(2, 4, 3)
    noised = diffusion.noised(clean, torch.tensor([0, 49]), noise)
    assert torch.allclose(noised[0], diffusion.signal[0].sqrt().float())
    assert torch.allclose(noised[1], diffusion.signal[49].sqrt().float())


def test_a_perfect_estimate_is_what_sampling_gives() -> None:
    torch.manual_seed(0)
    clean = torch.randn(2, 5, 3)
    for count in (0, 1, 7):
        sampled = Diffusion(50).sample(
            lambda noised, step: clean, torch.randn(2, 5, 3), lambda: torch.randn(2, 5, 3), count
        )
        assert torch.equal(sampled, clean)


def test_all_steps_are_the_chain_of_the_paper() -> None:
    """Ho et al.'s posterior from betas, step by step."""
    steps, diffusion = 30, Diffusion(30)
    noises = torch.randn(
        steps + 1, 1, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )

    def estimate(noised: Tensor, step: int) -> Tensor:
        return torch.tanh(noised) + step / steps

    signal = [1.0, *cosine_signal(steps).tolist()]
    x = noises[0]
    for i in range(steps, 0, -1):
        beta = 1 - signal[i] / signal[i - 1]
        mean = math.sqrt(signal[i - 1]) * beta / (1 - signal[i]) * estimate(x, i - 1)
        mean = mean + math.sqrt(1 - beta) * (1 - signal[i - 1]) / (1 - signal[i]) * x
        x = mean + math.sqrt(beta * (1 - signal[i - 1]) / (1 - signal[i])) * noises[steps + 1 - i]
    for count in (0, steps):
        sampled = diffusion.sample(estimate, noises[0], iter(noises[1:]).__next__, count)
        assert torch.allclose(sampled, x, rtol=1e-9)


@pytest.mark.parametrize("count", [0, 50])
def test_sampling_gives_the_distribution_whose_best_estimate_it_is_given(count: int) -> None:
    """Of data N(1.5, 0.6^2) the mean of the clean given the noised is known."""
    diffusion, mean, spread = Diffusion(300), 1.5, 0.6
    torch.manual_seed(1)

    def estimate(noised: Tensor, step: int) -> Tensor:
        signal = float(diffusion.signal[step])
        gain = math.sqrt(signal) * spread**2 / (signal * spread**2 + 1 - signal)
        return mean + gain * (noised - math.sqrt(signal) * mean)

    sampled = diffusion.sample(
        estimate, torch.randn(20_000, 1), lambda: torch.randn(20_000, 1), count
    )
    assert abs(float(sampled.mean()) - mean) < 0.02
    assert abs(float(sampled.std()) / spread - 1) < (0.03 if count == 0 else 0.1)


def test_the_way_back_is_spread_evenly() -> None:
    diffusion = Diffusion(500)
    assert diffusion.way_back() == list(range(499, -1, -1))
    assert diffusion.way_back(1) == [499]
    some = diffusion.way_back(25)
    assert some[0] == 499
    assert some[-1] == 0
    assert {a - b for a, b in itertools.pairwise(some)} <= {20, 21}
    with pytest.raises(ValueError, match=r"501 sampling steps asked for, expected 1 to 500"):
        diffusion.way_back(501)


def test_learns_a_clip_and_its_seeds_differ_by_less_than_it_moves() -> None:
    torch.manual_seed(0)
    sound, offsets = made_talk(1, 40)
    network = FaceDiffuser(CONFIG)
    network.output_mean.copy_(offsets[0].mean(0))
    network.output_scale.copy_(offsets[0].std(0))
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    who = torch.zeros(4, dtype=torch.long)
    for step in range(120):
        terms = network.loss(sound.expand(4, -1), offsets.expand(4, -1, -1), who, step)
        optimiser.zero_grad()
        terms["position"].backward()
        optimiser.step()
    network.eval()
    first, again, other = (network.animate(sound, 40, seed=seed) for seed in (1, 1, 2))
    static = offsets.square().mean()
    assert set(terms) == {"position"}
    assert (first - offsets).square().mean() < 0.05 * static
    assert torch.equal(first, again)
    apart = float((first - other).square().mean().sqrt())
    assert 0 < apart < 0.5 * float((offsets - offsets.mean(1, keepdim=True)).square().mean().sqrt())


def test_seeds_differ_and_rows_do_not_depend_on_each_other() -> None:
    network = moving()
    sound, _ = made_talk(3, 20)
    who = torch.tensor([0, 1, 0])
    together = network.animate(sound, 20, who, seed=5)
    for row in range(3):
        alone = network.animate(sound[row : row + 1], 20, who[row : row + 1], seed=5)
        assert torch.allclose(alone[0], together[row], atol=1e-4)
    assert torch.equal(together, network.animate(sound, 20, who, seed=5))
    assert not torch.allclose(together, network.animate(sound, 20, who, seed=6), atol=1e-2)
    assert not torch.allclose(
        together[1], network.animate(sound, 20, seed=5)[1], atol=1e-2
    )  # the other speaker


def test_later_sound_changes_nothing_before() -> None:
    network = moving()
    sound, _ = made_talk(1, 30)
    changed = sound.clone()
    changed[:, 20 * HOP :] = 0.3
    one, two = network.animate(sound, 30), network.animate(changed, 30)
    certain = 20 - CONFIG.delay - 1
    assert torch.allclose(one[:, :certain], two[:, :certain], atol=1e-5)
    assert not torch.allclose(one[:, 20:], two[:, 20:], atol=1e-3)
    assert network.look_ahead_ms == (CONFIG.delay + 1) * 40


def test_fewer_steps_are_a_setting_and_no_other_network() -> None:
    whole = moving(replace(CONFIG, sample_steps=0))
    same = moving(replace(CONFIG, sample_steps=CONFIG.steps))
    sound, _ = made_talk(1, 10)
    assert torch.equal(whole.animate(sound, 10), same.animate(sound, 10))
    assert not torch.allclose(whole.animate(sound, 10), moving().animate(sound, 10), atol=1e-3)


def test_starts_at_the_mean_face() -> None:
    network = FaceDiffuser(CONFIG).eval()
    network.output_mean.fill_(0.25)
    assert torch.equal(network.animate(torch.randn(1, 5 * HOP), 5), torch.full((1, 5, 12), 0.25))


def test_file_gives_the_same_motion(tmp_path: Path) -> None:
    network = moving()
    save_baseline(tmp_path / "weights.safetensors", network, {"steps": 1})
    loaded, notes = load_baseline(tmp_path / "weights.safetensors")
    sound, _ = made_talk(2, 12)
    assert notes == {"steps": 1}
    assert loaded.config == network.config
    assert torch.equal(loaded.animate(sound, 12, seed=3), network.animate(sound, 12, seed=3))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sample_steps": 501}, "sample_steps is 501, expected 1 to 500, or 0 for all"),
        ({"hidden": 0}, "hidden is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        baseline_config({"kind": "facediffuser", **wrong}, "here")


def test_paper_sizes() -> None:
    config = baseline_config(load_train_config(PAPER).baseline, "baseline")
    assert isinstance(config, FaceDiffuserConfig)
    assert isinstance(config.encoder, PretrainedConfig)
    assert (config.width, config.hidden, config.layers, config.steps, config.sample_steps) == (
        512,
        512,
        2,
        500,
        0,
    )
    network = FaceDiffuser(replace(config, encoder=EncoderConfig(widths=[16]), fps=50))
    decoder = parameter_count(network) - parameter_count(network.hearing)
    gru = 3 * 512 * (3 * 512 + 512 + 2) + 3 * 512 * (2 * 512 + 2)
    assert decoder == (15069 * 1024 + 1024) + (9 + 1) + (500 * 512 + 512) + 2 * 1536 + gru + 512 + (
        512 * 15069 + 15069
    )
