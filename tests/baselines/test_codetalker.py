"""CodeTalker: a book of codes that is used, motion that comes out of codes alone, and a second
stage that leaves them alone.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from jambatalk.baselines import baseline_config, load_baseline, save_baseline
from jambatalk.baselines.codetalker import CodeTalker, CodeTalkerConfig
from jambatalk.baselines.motion_prior import Codebook
from jambatalk.config import CONFIGS
from jambatalk.models.config import EncoderConfig, PretrainedConfig
from jambatalk.models.speech_to_motion import parameter_count
from jambatalk.training.config import load_train_config
from made_talk import HOP, TINY, made_talk

PRIOR = {
    "prior_width": 32,
    "prior_heads": 2,
    "prior_layers": 1,
    "prior_inner": 64,
    "components": 2,
    "codes": 32,
    "code_width": 8,
}
CONFIG = CodeTalkerConfig(
    period=5,
    layers=1,
    subjects=["a", "b"],
    dropout=0.0,
    prior_steps=100,
    renew_after=10,
    **PRIOR,
    **TINY,
)
BASELINES = CONFIGS / "baselines"


def moving(config: CodeTalkerConfig = CONFIG, seed: int = 0) -> CodeTalker:
    """A network in evaluation mode with features, codes and motion that differ."""
    torch.manual_seed(seed)
    network = CodeTalker(config).eval()
    nn.init.normal_(network.to_features.weight, std=0.5)
    nn.init.normal_(network.prior.book.codes)
    nn.init.normal_(network.prior.motion_out.weight, std=0.3)
    return network


def trained(
    network: CodeTalker, samples: Tensor, offsets: Tensor, steps: range, rate: float
) -> CodeTalker:
    """The network in evaluation mode after some steps of Adam, all clips in each."""
    torch.set_num_threads(1)
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=rate)
    network.train()
    for step in steps:
        optimiser.zero_grad()
        sum(
            network.loss(
                samples, offsets, torch.zeros(len(samples), dtype=torch.long), step
            ).values()
        ).backward()  # type: ignore[union-attr]
        optimiser.step()
    return network.eval()


@pytest.fixture(scope="module")
def learned() -> tuple[CodeTalker, Tensor, Tensor]:
    """A network after its first stage, and the clips that it learned from."""
    torch.manual_seed(0)
    samples, offsets = made_talk(6, 40)
    return trained(CodeTalker(CONFIG), samples, offsets, range(100), 3e-3), samples, offsets


def perplexity(indices: Tensor, codes: int) -> float:
    """How many codes there are in use, counted by how often: 1 to ``codes``."""
    share = torch.bincount(indices.flatten(), minlength=codes).float() / indices.numel()
    return float(torch.special.entr(share).sum().exp())


def test_the_book_is_used_and_rebuilds_motion(learned: tuple[CodeTalker, Tensor, Tensor]) -> None:
    network, _, offsets = learned
    with torch.no_grad():
        used = network.prior.book.nearest(network.prior.features(offsets))
        rebuilt = network.prior.rebuilt(offsets)
    assert used.shape == (6, 40, 2)
    assert perplexity(used, 32) > 12
    assert len(used.unique()) > 20
    assert (rebuilt - offsets).square().mean() < 0.1 * (
        offsets - offsets.mean(dim=(0, 1))
    ).square().mean()


def test_idle_codes_are_renewed() -> None:
    torch.manual_seed(0)
    book, features = Codebook(8, 2, renew_after=3), torch.randn(50, 2)
    with torch.no_grad():
        book.codes.fill_(100.0)
    book.renew(features)  # the first batch places all of them
    assert all((features == code).all(1).any() for code in book.codes)
    with torch.no_grad():
        book.codes[5] = 100.0
    others = book.codes.detach().clone()
    for _ in range(3):
        book.renew(features)
        assert torch.equal(book.codes, others)  # not idle for long enough
    book.renew(features)
    assert (features == book.codes[5]).all(1).any()
    still = Codebook(8, 2, renew_after=0)
    before = still.codes.detach().clone()
    still.renew(features)
    assert torch.equal(still.codes, before)
    assert before.abs().max() <= 1 / 8


def test_nearest_and_straight_through() -> None:
    torch.manual_seed(0)
    book, features = Codebook(16, 3, 0), torch.randn(4, 5, 3, requires_grad=True)
    nn.init.normal_(book.codes)
    distances = (features[:, :, None] - book.codes).norm(dim=3)
    assert torch.equal(book.nearest(features), distances.argmin(dim=2))
    codes, through = book(features)
    assert torch.equal(codes, through)
    gradient = torch.randn_like(features)
    through.backward(gradient)
    assert torch.equal(features.grad, gradient)  # type: ignore[arg-type]
    assert book.codes.grad is None


def test_motion_comes_out_of_codes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    network = moving()
    decoded, from_codes = [], network.prior.from_codes.forward
    monkeypatch.setattr(
        network.prior.from_codes, "forward", lambda x: (decoded.append(x), from_codes(x))[1]
    )
    samples, offsets = made_talk(2, 12)
    network.animate(samples, 12)
    network.loss(samples, offsets, torch.tensor([0, 1]), CONFIG.prior_steps)
    seen = torch.cat([x.detach().reshape(-1, CONFIG.code_width) for x in decoded])
    assert len(seen) == 2 * 2 * 12 * CONFIG.components  # frames spoken and frames of the loss
    rows = [[torch.equal(feature, code) for code in network.prior.book.codes] for feature in seen]
    assert all(any(row) for row in rows)
    assert len(seen.unique(dim=0)) > 5


def test_the_second_stage_leaves_the_first_alone(
    learned: tuple[CodeTalker, Tensor, Tensor],
) -> None:
    network, samples, offsets = copy.deepcopy(learned[0]), learned[1], learned[2]
    speaking = {
        name: p.detach().clone()
        for name, p in network.named_parameters()
        if not name.startswith("prior.")
    }
    torch.manual_seed(1)
    fresh = CodeTalker(CONFIG)
    assert all(
        torch.equal(
            p,
            dict(trained(fresh, samples[:1], offsets[:1], range(1), 1e-3).named_parameters())[name],
        )
        for name, p in copy.deepcopy(fresh).named_parameters()
        if not name.startswith("prior.")
    )  # the first stage does not touch the second
    before = copy.deepcopy(network.prior.state_dict())
    network = trained(network, samples[:2], offsets[:2], range(100, 103), 1e-2)
    assert all(
        torch.equal(value, before[name]) for name, value in network.prior.state_dict().items()
    )
    assert all(p.grad is None and not p.requires_grad for p in network.prior.parameters())
    assert any(
        not torch.equal(p, speaking[name])
        for name, p in network.named_parameters()
        if name in speaking
    )
    shaky = CodeTalker(replace(CONFIG, dropout=0.5)).train()
    shaky.loss(samples[:1], offsets[:1], torch.tensor([0]), 100)
    assert not any(module.training for module in shaky.prior.modules())
    assert shaky.decoder.training
    first = shaky.loss(samples[:1], offsets[:1], torch.tensor([0]), 99)
    assert sorted(first) == ["codebook", "commitment", "reconstruction"]
    assert shaky.prior.training
    assert all(p.requires_grad for p in shaky.prior.parameters())


@pytest.mark.parametrize("layers", [1, 2])
def test_frame_by_frame_is_the_whole_prefix_again(layers: int) -> None:
    network = moving(replace(CONFIG, layers=layers, prior_layers=layers))
    sound, style = torch.randn(2, 13, 32), torch.randn(2, 32)
    with torch.no_grad():
        spoken, features = network.autoregress(sound, style)
        motion = torch.zeros(2, 0, 12)
        for frame in range(13):  # without any cache: all frames so far for each new one
            ahead = torch.cat([motion, torch.zeros(2, 1, 12)], dim=1)
            again, theirs = network.teacher_forced(sound[:, : frame + 1], style, ahead)
            motion = torch.cat([motion, again[:, -1:]], dim=1)
    assert torch.allclose(again, motion, atol=1e-4)  # what was decoded stays
    assert torch.allclose(spoken, motion, atol=1e-4)
    assert torch.allclose(features, theirs, atol=1e-4)
    assert spoken.std(dim=1).min() > 0.05


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


@pytest.mark.parametrize("teacher_forcing", [True, False])
def test_it_overfits_one_clip(teacher_forcing: bool) -> None:
    torch.manual_seed(0)
    samples, offsets = made_talk(1, 25)
    network = CodeTalker(replace(CONFIG, prior_steps=80, teacher_forcing=teacher_forcing))
    trained(network, samples, offsets, range(80), 5e-3)
    trained(network, samples, offsets, range(80, 180 if teacher_forcing else 120), 5e-3)
    error = (network.animate(samples, 25) - offsets).square().mean()
    assert error < 0.15 * offsets.square().mean()


def test_rows_speakers_and_seeds() -> None:
    network = moving()
    samples, offsets = made_talk(3, 12)
    subjects = torch.tensor([0, 1, 0])
    together = network.animate(samples, 12, subjects)
    assert torch.allclose(
        together[1:2], network.animate(samples[1:2], 12, subjects[1:2]), atol=1e-4
    )
    assert torch.equal(together, network.animate(samples, 12, subjects, seed=5))
    assert not torch.allclose(together[1], network.animate(samples, 12)[1], atol=1e-3)
    for step in (0, CONFIG.prior_steps):
        made = []
        for _ in range(2):
            again = moving(replace(CONFIG, dropout=0.1), seed=1).train()
            made.append(torch.stack(list(again.loss(samples, offsets, subjects, step).values())))
        assert torch.equal(*made)


@pytest.mark.parametrize("teacher_forcing", [True, False])
def test_products_in_bfloat16(teacher_forcing: bool) -> None:
    network = moving(replace(CONFIG, teacher_forcing=teacher_forcing)).train()
    samples, offsets = made_talk(2, 10)
    for step, groups in (
        (CONFIG.prior_steps, ("decoder", "motion_in", "to_features", "hearing")),
        (0, ("prior",)),
    ):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.stack(
                list(network.loss(samples, offsets, torch.tensor([0, 1]), step).values())
            ).sum()
        loss.backward()
        for group in groups:
            gradients = [p.grad for p in network.get_submodule(group).parameters()]
            assert all(g is not None and torch.isfinite(g).all() for g in gradients)
            assert any(g.any() for g in gradients if g is not None)
    features = torch.randn(50, CONFIG.code_width)
    with torch.autocast("cpu", torch.bfloat16):
        found = network.prior.book.nearest(features)
    assert torch.equal(found, torch.cdist(features, network.prior.book.codes).argmin(dim=1))


def test_saved_and_loaded(tmp_path: Path) -> None:
    network = moving()
    network.output_scale.fill_(0.5)
    samples, _ = made_talk(1, 10)
    save_baseline(tmp_path / "codetalker.safetensors", network, {"made": "for a test"})
    again, _ = load_baseline(tmp_path / "codetalker.safetensors")
    assert torch.equal(again.animate(samples, 10), network.animate(samples, 10))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prior_heads": 3}, "width 32 must be even and a multiple of 3 heads"),
        ({"codes": 1}, "codes is 1, expected at least 2"),
        ({"prior_steps": -1}, "prior_steps is -1, expected at least 0"),
    ],
)
def test_wrong_settings(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **wrong)


def test_sizes() -> None:
    assert 2.5e6 < parameter_count(CodeTalker(CodeTalkerConfig())) < 3e6
    settings = load_train_config(BASELINES / "codetalker-paper.yaml")
    config = baseline_config(settings.baseline, "codetalker-paper.yaml")
    assert isinstance(config, CodeTalkerConfig)
    assert isinstance(config.encoder, PretrainedConfig)
    assert config.encoder.name == "facebook/wav2vec2-base-960h"
    with torch.device("meta"):  # 200 million parameters need no memory to be counted
        network = CodeTalker(
            replace(config, fps=25, encoder=EncoderConfig())
        )  # the rest is the same after any encoder
    width, features = 1024, 16 * 64
    attention, norm = 4 * (width * width + width), 2 * width
    speaking = attention + 2 * (width * width + width) + 2 * width * 2048 + 2048 + width + 3 * norm
    coding = attention + 2 * width * 1536 + 1536 + width + 2 * norm
    mesh = 3 * 15069 * width + 15069 + 2 * width  # into both decoders and out of one
    between = 2 * features * width + features + width + 256 * 64
    counted = parameter_count(network) - parameter_count(network.hearing)
    assert counted == mesh + 6 * speaking + 12 * coding + between + width * features + width
