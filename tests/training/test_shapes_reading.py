"""Several corpora in one training, the lip reader's and the teacher's terms, and beginning with
other weights.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jambatalk.datasets.clip import Clip
from jambatalk.errors import InputError
from jambatalk.models.checkpoint import save_weights
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.text.phones import PHONES, Timed
from jambatalk.training.blendshapes import BlendshapeTask
from jambatalk.training.config import BlendshapesConfig, CorpusConfig, LossConfig
from jambatalk.training.distillation import reduced
from jambatalk.training.lip_reading import SPOKEN, spoken_runs
from jambatalk.training.task import initialize_network
from tiny_training import MODEL, NAMES, losses, tiny_clips, tiny_config, tiny_face, tiny_trainer

STYLED = replace(MODEL, styles=["calm", "lively"])


def _spoken(clips: list[Clip], corpus: str = "") -> list[Clip]:
    """The same two phones in every clip."""
    phones = (
        Timed("sil", 0.0, 0.4),
        Timed("ɑ", 0.4, 1.0),
        Timed("p", 1.0, 1.2),
        Timed("i", 1.2, 2.0),
    )
    return [replace(clip, phones=phones, corpus=corpus) for clip in clips]


def _teacher(clip: Clip) -> np.ndarray:
    """Features of the sound: loudness and its square."""
    level = clip.weights[:, :1] * 4
    return np.concatenate([level, level**2], 1).astype(np.float16)


def test_spoken_runs_collapse_frames_and_leave_out_pauses_and_the_unknown() -> None:
    p, a, sil = (PHONES.index(phone) for phone in ("p", "ɑ", "sil"))
    targets, lengths = spoken_runs(
        torch.tensor([[sil, p, p, a, a, sil], [p, -1, a, a, a, a], [sil] * 6])
    )
    assert lengths.tolist() == [2, -1, 0]
    assert targets[0].tolist() == [SPOKEN.index("p") + 1, SPOKEN.index("ɑ") + 1]


def test_every_reading_term_is_logged_falls_and_resumes_to_the_bit(tmp_path: Path) -> None:
    loss = LossConfig(phones=1.0, teacher=1.0, ctc=0.5, latent=0.5)
    config = tiny_config(
        blendshapes=BlendshapesConfig(sequence_length=50, variants=1, loss=loss),
        steps=40,
        validate_every=40,
        save_every=20,
        schedule="constant",
    )
    train, val = _spoken(tiny_clips(4, "train")), _spoken(tiny_clips(1, "val"))

    def trainer(run: Path, steps: int = 40):
        from jambatalk.training.trainer import Trainer

        return Trainer(
            replace(config, steps=steps),
            BlendshapeTask(config, tiny_face(), train, val, teacher=_teacher),
            run,
        )

    trainer(tmp_path / "a").run()
    rows = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    for term in ("phones", "teacher", "ctc", "latent"):
        values = [row[term] for row in rows]
        assert np.isfinite(values).all()
        assert np.mean(values[-8:]) < 0.9 * np.mean(values[:8]), term
    # Killed after 20 steps, and taken up again.
    half = trainer(tmp_path / "b")
    half.config = replace(config, steps=20)
    half.run()
    again = trainer(tmp_path / "b")
    assert again.resume()
    assert again.step == 20
    again.run()
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


def test_terms_without_weight_are_not_computed(tmp_path: Path) -> None:
    tiny_trainer(
        tiny_config(steps=2), _spoken(tiny_clips(2, "train")), tiny_clips(1, "val"), tmp_path
    ).run()
    row = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert not {"phones", "teacher", "ctc", "latent"} & set(row)


def test_a_term_that_needs_a_teacher_says_so() -> None:
    config = tiny_config(
        blendshapes=BlendshapesConfig(sequence_length=50, variants=1, loss=LossConfig(latent=1.0))
    )
    with pytest.raises(InputError, match="asks for a teacher"):
        BlendshapeTask(config, tiny_face(), tiny_clips(2, "train"), tiny_clips(1, "val"))


def test_the_lip_reader_asks_the_network_for_readable_lips() -> None:
    config = tiny_config(
        blendshapes=BlendshapesConfig(sequence_length=50, variants=1, loss=LossConfig(ctc=1.0))
    )
    task = BlendshapeTask(
        config, tiny_face(), _spoken(tiny_clips(2, "train")), tiny_clips(1, "val")
    )
    torch.nn.init.normal_(task.network.head.weight, std=0.1)
    _, terms = task.module(task.batch(0, slice(0, 2)), 0)
    terms["ctc"].backward()
    assert task.network.head.weight.grad is not None
    assert float(task.network.head.weight.grad.abs().max()) > 0


def test_unknown_phones_leave_a_sequence_out_of_ctc() -> None:
    config = tiny_config(
        blendshapes=BlendshapesConfig(sequence_length=50, variants=1, loss=LossConfig(ctc=1.0))
    )
    task = BlendshapeTask(config, tiny_face(), tiny_clips(2, "train"), tiny_clips(1, "val"))
    _, terms = task.module(task.batch(0, slice(0, 2)), 0)
    assert float(terms["ctc"].detach()) == 0.0


def _mixed(**changes: object) -> BlendshapeTask:
    corpora = [
        CorpusConfig("film", share=3.0, style="calm"),
        CorpusConfig("made", share=1.0, style="lively", weight=0.25),
    ]
    shapes = BlendshapesConfig(sequence_length=50, variants=1, corpora=corpora)
    config = replace(tiny_config(blendshapes=shapes, batch_size=64), model=STYLED, **changes)
    clips = [*_spoken(tiny_clips(2, "train"), "film"), *_spoken(tiny_clips(3, "train"), "made")]
    return BlendshapeTask(config, tiny_face(), clips, _spoken(tiny_clips(1, "val"), "film"))


def test_corpora_are_drawn_by_their_shares_with_their_style_and_weight() -> None:
    batch = _mixed().batch(0, slice(0, 64))
    made = batch.style == 1
    assert 6 <= int(made.sum()) <= 28  # a quarter of 64 is expected
    assert (batch.importance[made] == 0.25).all()
    assert (batch.importance[~made] == 1.0).all()


def test_corpora_and_styles_that_there_are_not_are_refused() -> None:
    shapes = BlendshapesConfig(sequence_length=50, variants=1, corpora=[CorpusConfig("other")])
    with pytest.raises(InputError, match="names other: expected the same"):
        BlendshapeTask(
            tiny_config(blendshapes=shapes),
            tiny_face(),
            _spoken(tiny_clips(2, "train"), "film"),
            tiny_clips(1, "val"),
        )
    shapes = BlendshapesConfig(
        sequence_length=50, variants=1, corpora=[CorpusConfig("film", style="loud")]
    )
    with pytest.raises(InputError, match="style is 'loud'"):
        BlendshapeTask(
            tiny_config(blendshapes=shapes),
            tiny_face(),
            _spoken(tiny_clips(2, "train"), "film"),
            tiny_clips(1, "val"),
        )


def test_a_light_sequence_moves_the_loss_less() -> None:
    task = _mixed()
    batch = task.batch(0, slice(0, 2))
    heavy, _ = task.module.loss(batch.weights + 0.1, batch.weights, [], torch.ones(2))
    light, _ = task.module.loss(batch.weights + 0.1, batch.weights, [], torch.full((2,), 0.25))
    assert float(light.detach()) == pytest.approx(0.25 * float(heavy.detach()), rel=1e-4)


def _network(config=MODEL, scale: tuple[float, ...] = (0.2, 0.1, 0.0)) -> SpeechToMotion:
    torch.manual_seed(3)
    network = SpeechToMotion(config)
    torch.nn.init.normal_(network.head.weight, std=0.2)
    network.output_mean.copy_(torch.tensor([0.3, 0.2, 0.1]))
    network.output_scale.copy_(torch.tensor(scale))
    return network.eval()


def test_a_network_begins_as_another_in_the_units_of_the_new_data(tmp_path: Path) -> None:
    old = _network()
    save_weights(tmp_path / "w.safetensors", old, NAMES, {})
    new = SpeechToMotion(STYLED).eval()
    new.output_mean.copy_(torch.tensor([0.5, 0.0, 0.3]))
    new.output_scale.copy_(torch.tensor([0.4, 0.05, 0.2]))
    initialize_network(tmp_path / "w.safetensors", new, NAMES)
    sound = torch.randn(1, 640 * 20) * 0.1
    with torch.inference_mode():
        np.testing.assert_allclose(
            new(sound, new.init_state())[0], old(sound, old.init_state())[0], atol=1e-4
        )
    # The third shape never moved in the old data; in the new units it can be learned.
    assert float(new.output_scale[2]) == pytest.approx(0.2)


def test_another_architecture_is_no_beginning(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", _network(), NAMES, {})
    wider = replace(MODEL, decoder=replace(MODEL.decoder, mlp_hidden=64))
    with pytest.raises(InputError, match="another network"):
        initialize_network(tmp_path / "w.safetensors", SpeechToMotion(wider), NAMES)
    save_weights(tmp_path / "s.safetensors", _network(STYLED), NAMES, {})
    with pytest.raises(InputError, match="another network"):  # styles are not thrown away
        initialize_network(tmp_path / "s.safetensors", SpeechToMotion(MODEL), NAMES)


def test_reduced_features_are_without_voice_and_alike_in_size() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(3, 8))
    # Three things vary; each voice has a mean of its own; one feature is hundreds of times larger
    # at a few frames.
    features = {}
    for i in range(4):
        values = rng.normal(size=(200, 3)) @ mixing + 50.0 * rng.normal(size=8)
        values[7, 0] += 1000.0
        features["made", str(i)] = values.astype(np.float32)
    parts = reduced(features, 3)
    every = np.concatenate([part.astype(np.float32) for part in parts.values()])
    assert every.shape == (800, 3)
    assert np.sqrt(np.mean(every**2)) == pytest.approx(1.0, abs=0.01)
    assert np.abs(every).max() < 20
    for part in parts.values():
        assert np.abs(part.astype(np.float32).mean(0)).max() < 0.3  # the voice's own mean is gone
