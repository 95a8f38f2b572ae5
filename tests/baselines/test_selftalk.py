"""SelfTalk: all frames at once, and a lip reader that separates motion that fits the speech from
motion that does not.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jambatalk.baselines import baseline_config, load_baseline, save_baseline
from jambatalk.baselines.selftalk import SelfTalk, SelfTalkConfig
from jambatalk.config import CONFIGS
from jambatalk.errors import InputError
from jambatalk.models.config import EncoderConfig, MelConfig
from jambatalk.training.config import load_train_config

PAPER = CONFIGS / "baselines" / "selftalk-paper.yaml"
ENCODER = EncoderConfig(widths=[16, 24], blocks=1, dropout=0.0)
TINY = SelfTalkConfig(
    outputs=36,
    width=32,
    mel=MelConfig(bands=16),
    encoder=ENCODER,
    heads=2,
    inner=48,
    dropout=0.0,
    lip_share=0.25,
    read_width=32,
    read_heads=2,
    read_layers=1,
    read_inner=48,
)
FRAMES = 40
NOBODY = torch.zeros(2, dtype=torch.long)


def clips(count: int) -> tuple[Tensor, Tensor]:
    """Sound (B, n) whose loudness and brightness come and go, and motion (B, T, 36) that follows
    them.

    Vertices 3, 4 and 5 move ten times as far as the others.
    """
    rng = np.random.default_rng(0)
    loud = np.clip(
        np.stack(
            [
                [
                    np.convolve(rng.standard_normal(FRAMES + 4), np.ones(5) / 2, "valid")
                    for _ in range(2)
                ]
                for _ in range(count)
            ]
        ),
        0.05,
        1.5,
    )  # (B, 2, T)
    noise = rng.standard_normal((count, FRAMES * 640))
    smooth = np.apply_along_axis(
        lambda row: np.convolve(row[::-1], np.ones(24) / 5, "same"), 1, noise
    )
    slow = np.repeat(loud, 640, axis=2)
    ways = rng.standard_normal((2, 12, 3)) * 0.001
    ways[:, 3:6] *= 10
    motion = np.einsum("bkt,kd->btd", loud, ways.reshape(2, 36))
    sound = 0.1 * (slow[:, 0] * noise + slow[:, 1] * smooth)
    return torch.from_numpy(sound.astype(np.float32)), torch.from_numpy(motion.astype(np.float32))


def trained(
    config: SelfTalkConfig, samples: Tensor, offsets: Tensor, steps: int
) -> tuple[SelfTalk, list[dict[str, float]]]:
    """The network and the terms of each step."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, terms = SelfTalk(config).train(), []
    frames = offsets.flatten(0, 1)
    network.output_mean.copy_(frames.mean(0))
    network.output_scale.copy_(frames.std(0))
    network.fit(frames)
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 3e-3)
    for step in range(steps):
        found = network.loss(samples, offsets, NOBODY[: len(samples)], step)
        optimiser.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        optimiser.step()
        terms.append({name: value.item() for name, value in found.items()})
    return network.eval(), terms  # type: ignore[return-value]


def test_it_overfits_one_clip_and_repeats_itself(tmp_path: Path) -> None:
    samples, offsets = clips(1)
    network, _ = trained(TINY, samples, offsets, 100)
    moved = network.animate(samples, FRAMES)
    assert (moved - offsets).square().mean() < 0.02 * offsets.square().mean()
    save_baseline(tmp_path / "selftalk.safetensors", network, {})
    again, _ = load_baseline(tmp_path / "selftalk.safetensors")
    assert isinstance(again, SelfTalk)
    assert torch.equal(again.animate(samples, FRAMES, seed=5), moved)
    assert again.lip_index.tolist() == network.lip_index.tolist() == [3, 4, 5]
    one, other = (trained(TINY, samples, offsets, 3)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_lip_reader_tells_the_right_motion_from_others() -> None:
    samples, offsets = clips(2)
    network, terms = trained(TINY, samples, offsets, 100)
    latent = [step["latent"] for step in terms]
    assert np.mean(latent[-5:]) < 0.5 * np.mean(latent[:5])
    with torch.no_grad():
        right = network.consistency(samples, offsets)
        swapped = network.consistency(samples, offsets.flip(0))
        shuffled = network.consistency(
            samples, offsets[:, torch.randperm(FRAMES, generator=torch.Generator().manual_seed(0))]
        )
        elsewhere = offsets.clone()
        elsewhere.view(2, FRAMES, 12, 3)[:, :, 6:] = 0.0
        assert network.consistency(samples, elsewhere) == right  # it reads lips alone
    assert swapped > 1.5 * right
    assert shuffled > 1.5 * right


def test_the_lip_reader_teaches_the_lips_towards_a_fixed_target() -> None:
    torch.manual_seed(0)
    network = SelfTalk(TINY).train()
    network.fit(clips(1)[1][0])
    torch.nn.init.normal_(network.motion_out.weight, std=0.1)
    samples, offsets = clips(2)
    network.loss(samples, offsets, NOBODY, 0)["latent"].backward()
    touched = network.motion_out.weight.grad
    assert touched is not None
    assert touched.view(12, 3, -1).abs().sum((1, 2)).gt(0).nonzero().flatten().tolist() == [3, 4, 5]
    # Motion that ignores the sound gives the encoder no gradient: the target is held fixed.
    network.zero_grad()
    network.consistency(samples, offsets).backward()
    assert all(p.grad is None for p in network.hearing.parameters())
    assert all(
        p.grad is not None
        for name, p in network.reader.named_parameters()
        if not name.startswith("lm_head")
    )


@torch.no_grad()
def test_all_frames_come_at_once_and_see_the_whole_clip() -> None:
    torch.manual_seed(0)
    network, calls = SelfTalk(TINY).eval(), []
    torch.nn.init.normal_(network.motion_out.weight, std=0.1)
    network.decoder.register_forward_hook(lambda module, given, out: calls.append(tuple(out.shape)))
    samples = clips(2)[0]
    moved = network.animate(samples, FRAMES)
    assert calls == [(2, FRAMES, 32)]
    other = samples.clone()
    other[:, -640:] = (
        0.0  # reaches the features of the last frames alone, for the encoder is causal
    )
    changed = (network.animate(other, FRAMES) - moved).abs().amax(2)
    assert changed[:, 0].min() > 1e-7
    torch.testing.assert_close(network.animate(samples[1:], FRAMES), moved[1:], rtol=0, atol=1e-5)
    network.reader.lip_map.weight.fill_(float("nan"))  # the lip reader has no part in it
    assert torch.equal(network.animate(samples, FRAMES), moved)


def test_with_a_recognizer_it_reads_text(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from tiny_speech import LETTERS, WIDTH, save_wav2vec2_ctc

    folder = save_wav2vec2_ctc(tmp_path / "wav2vec2")
    config = replace(
        TINY, recognizer=str(folder), letters=len(LETTERS), read_width=WIDTH, latent=1.0, ctc=1.0
    )
    samples, offsets = clips(2)
    network, terms = trained(config, samples, offsets, 25)
    assert set(terms[0]) == {"position", "velocity", "latent", "ctc"}
    assert terms[-1]["latent"] < terms[0]["latent"]
    assert terms[-1]["ctc"] < terms[0]["ctc"]
    save_baseline(tmp_path / "selftalk.safetensors", network, {})
    (folder / "config.json").unlink()  # weights load and animate without it
    again, _ = load_baseline(tmp_path / "selftalk.safetensors")
    assert torch.equal(again.animate(samples, FRAMES), network.animate(samples, FRAMES))
    with pytest.raises(InputError):
        again.loss(samples, offsets, NOBODY, 0)
    folder = save_wav2vec2_ctc(tmp_path / "wav2vec2")
    wrong = SelfTalk(replace(config, recognizer=str(folder), letters=7))
    with pytest.raises(
        InputError, match="has width 16 and 13 letters, expected read_width 16 and letters 7"
    ):
        wrong.loss(samples, offsets, NOBODY, 0)


def test_the_papers_sizes() -> None:
    """The decoder counted by hand: two attentions, feed-forward of twice 512, three norms, and the
    map to the vertices.
    """
    config = baseline_config(load_train_config(PAPER).baseline, str(PAPER))
    assert isinstance(config, SelfTalkConfig)
    assert config.lip_share == 0  # the lips are those of the training: FLAME's
    config = replace(config, lips=list(range(250)))
    assert (config.read_layers, config.read_heads, config.read_inner) == (6, 8, 2048)
    network = SelfTalk(
        replace(config, encoder=ENCODER, fps=25, delay=4, read_layers=1)
    )  # five layers less to fill
    found = sum(
        p.numel() for module in (network.decoder, network.motion_out) for p in module.parameters()
    )
    attention, forward = 4 * 512 * (512 + 1), 512 * 1024 + 1024 + 1024 * 512 + 512
    assert found == 2 * attention + forward + 3 * 2 * 512 + (512 + 1) * 15069
    assert network.reader.lip_map.weight.shape == (1024, 3 * 250)
    assert network.reader.lm_head.weight.shape == (33, 1024)


def test_lips_that_are_named_stay() -> None:
    network = SelfTalk(replace(TINY, lips=[0, 7]))
    network.fit(clips(1)[1][0])
    assert network.lip_index.tolist() == [0, 7]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 30, "heads": 4}, "width is 30, expected a multiple of heads, which is 4"),
        ({"lips": [0, 500]}, "lips has 500, expected vertices of 0 to 467"),
        ({"lip_share": -0.1}, "lip_share is -0.1, expected at least 0"),
        ({"recognizer": "some"}, "letters is 0, expected as many as the recognizer 'some' has"),
        ({"read_width": 64}, "read_width is 64, expected the width of 192 without a recognizer"),
        ({"layers": 0}, "layers is 0, expected at least 1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        baseline_config({"kind": "selftalk", **settings}, "here")
