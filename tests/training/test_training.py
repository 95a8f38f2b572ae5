"""Training: the loss has its terms, the loop learns, and a resumed run equals an unbroken one to
the bit.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jambatalk.config import CONFIGS
from jambatalk.errors import InputError
from jambatalk.models.checkpoint import load_weights
from jambatalk.models.config import EncoderConfig, LipClosureConfig, ModelConfig
from jambatalk.models.presets import load_preset
from jambatalk.models.speech_to_motion import SpeechToMotion, parameter_count
from jambatalk.text.phones import BILABIALS, PHONES
from jambatalk.training.blendshapes import Batch, BlendshapeTask
from jambatalk.training.config import BlendshapesConfig, LossConfig, load_train_config
from jambatalk.training.losses import MotionLoss
from jambatalk.training.trainer import make_optimizer
from small_network import SMALL
from tiny_training import NAMES, losses, tiny_clips, tiny_config, tiny_face, tiny_trainer

ROOT = Path(__file__).parents[2]


def test_loss_terms_have_the_stated_units() -> None:
    loss = MotionLoss(tiny_face(), LossConfig(closure=0.0))
    true = torch.zeros(1, 4, 3)
    predicted = true.clone()
    predicted[..., 0] = 0.5  # jawOpen: vertex 1 goes down by 10 mm
    _, terms = loss(predicted, true, [])
    assert float(terms["gap"]) == pytest.approx(100.0, rel=1e-5)
    assert float(terms["vertices"]) == pytest.approx(100.0 / 10, rel=1e-5)  # mean over ten vertices
    assert float(terms["velocity"]) == pytest.approx(0.0, abs=1e-6)
    assert float(terms["weights"]) == pytest.approx(0.25 / 3, rel=1e-5)


def test_closed_frames_weigh_more() -> None:
    loss = MotionLoss(tiny_face(), LossConfig(closure=3.0))
    shut, open_ = torch.zeros(1, 1, 3), torch.zeros(1, 1, 3)
    open_[..., 0] = 1.0
    step = torch.tensor([0.1, 0.0, 0.0])
    assert float(loss(shut + step, shut, [])[1]["gap"]) == pytest.approx(
        4 * float(loss(open_ + step, open_, [])[1]["gap"]), rel=1e-3
    )


def test_training_learns(tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tiny_config(steps=60, validate_every=60),
        tiny_clips(6, "train"),
        tiny_clips(2, "val"),
        tmp_path,
    )
    before = trainer.task.validate(trainer.ema.network)
    after = trainer.run()
    assert before["opening"] == before["score"] == 0.0  # the head starts at zero: a still face
    assert after["opening"] > 0.6
    assert after["gap_mm"] < 0.7 * before["gap_mm"]
    model, names, notes = load_weights(tmp_path / "final.safetensors")
    assert names == NAMES
    assert notes["steps"] == 60
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(0 <= row["least_expert_use"] <= 0.25 for row in rows)  # four experts
    assert torch.equal(model.head.weight, trainer.ema.network.head.weight)


def test_only_matrices_decay() -> None:
    """With no gradient a step of AdamW moves what decays, and nothing else."""
    config = tiny_config(weight_decay=0.1, learning_rate=0.01, optimizer="adamw")
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimizer = make_optimizer(module, config)
    torch.nn.init.ones_(module[0].bias)
    before["0.bias"] = module[0].bias.detach().clone()
    for p in module.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    changed = {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"0.weight"}


def test_resume_equals_unbroken_run(tmp_path: Path) -> None:
    train, val = tiny_clips(4, "train"), tiny_clips(1, "val")
    tiny_trainer(tiny_config(), train, val, tmp_path / "whole").run()

    class Killed(Exception):
        pass

    def kill(step: int, terms: dict[str, float]) -> None:
        if step == 6:  # after the checkpoint at 4, before the next at 8
            raise Killed

    with pytest.raises(Killed):
        tiny_trainer(tiny_config(), train, val, tmp_path / "broken").run(kill)
    second = tiny_trainer(tiny_config(), train, val, tmp_path / "broken")
    assert second.resume()
    assert second.step == 4
    second.run()

    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    a, b = (
        load_weights(tmp_path / run / "final.safetensors")[0].state_dict()
        for run in ("whole", "broken")
    )
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_an_encoder_of_whole_clips_is_refused(tmp_path: Path) -> None:
    model = replace(load_preset("paper-vocaset"), outputs=3)
    with pytest.raises(InputError, match="'pretrained', expected an encoder that streams"):
        BlendshapeTask(
            tiny_config(model=model), tiny_face(), tiny_clips(2, "train"), tiny_clips(1, "val")
        )


def test_fine_tuning_begins_with_the_given_weights(tmp_path: Path) -> None:
    train, val = tiny_clips(3, "train"), tiny_clips(1, "val")
    tiny_trainer(tiny_config(steps=4), train, val, tmp_path / "first").run()
    weights = tmp_path / "first" / "final.safetensors"
    second = tiny_trainer(tiny_config(seed=5), train, val, tmp_path / "second")
    second.start_from(weights)
    given = load_weights(weights)[0].state_dict()
    for name, value in second.task.network.state_dict().items():
        # The third shape rests in this data: what would move it is left out. The head's units are
        # the new data's.
        rows = slice(0, 2) if name.startswith("head.") else slice(None)
        torch.testing.assert_close(value[rows], given[name][rows], rtol=1e-5, atol=1e-6)
    other = tiny_trainer(
        tiny_config(model=replace(SMALL, outputs=3, delay=2)), train, val, tmp_path / "third"
    )
    with pytest.raises(InputError, match="another network"):
        other.start_from(weights)


def test_resume_refuses_other_settings_and_damage(tmp_path: Path) -> None:
    train, val = tiny_clips(2, "train"), tiny_clips(1, "val")
    tiny_trainer(tiny_config(steps=4), train, val, tmp_path).run()
    with pytest.raises(InputError, match="other settings"):
        tiny_trainer(tiny_config(steps=4, seed=9), train, val, tmp_path).resume()
    (tmp_path / "last.pt").write_bytes(b"half a checkpoint")
    with pytest.raises(InputError, match="damaged"):
        tiny_trainer(tiny_config(steps=4), train, val, tmp_path).resume()


def test_sequences_depend_on_seed_step_and_index_alone() -> None:
    task = BlendshapeTask(tiny_config(), tiny_face(), tiny_clips(3, "train"), tiny_clips(1, "val"))
    all_rows = slice(0, 4)
    first, other, again = task.batch(5, all_rows), task.batch(6, all_rows), task.batch(5, all_rows)
    # However the batch is cut, each sequence stays what it is.
    parts = [task.batch(5, rows) for rows in (slice(0, 1), slice(1, 4))]
    for field in fields(Batch):
        together = torch.cat([getattr(part, field.name) for part in parts]).double()
        # Up to the rounding of Fourier transforms, which follows the number of rows.
        assert torch.allclose(together, getattr(first, field.name).double(), atol=1e-4)
    assert torch.equal(first.normal, again.normal)
    assert torch.equal(first.weights, again.weights)
    assert not torch.equal(first.normal, other.normal)
    assert first.normal.shape == (4, 200, SMALL.mel.bands)
    assert torch.isfinite(first.normal).all()


def test_noise_alone_teaches_rest() -> None:
    clips = tiny_clips(3, "train")
    config = tiny_config(
        blendshapes=BlendshapesConfig(sequence_length=50, variants=1, no_speech=1.0)
    )
    batch = BlendshapeTask(config, tiny_face(), clips, tiny_clips(1, "val")).batch(0, slice(0, 4))
    first = np.stack([clip.weights[0] for clip in clips])
    for sequence in batch.weights.numpy():
        assert (sequence == sequence[0]).all()
        assert np.isclose(first, sequence[0]).all(axis=1).any()
    assert float(batch.normal.std()) > 0.5


def _without_dropout(model: ModelConfig) -> ModelConfig:
    assert isinstance(model.encoder, EncoderConfig)
    encoder, decoder = replace(model.encoder, dropout=0.0), replace(model.decoder, dropout=0.0)
    return replace(model, encoder=encoder, decoder=decoder, contact=LipClosureConfig())


def test_shipped_settings_load_and_keep_their_promises() -> None:
    config = load_train_config(CONFIGS / "light.yaml")
    # The second stage continues the same network, but for dropout and for lips that meet where
    # phones are recognized.
    first = load_train_config(CONFIGS / "light-grid.yaml").model
    assert _without_dropout(first) == _without_dropout(config.model)
    assert config.model.look_ahead_ms <= 200
    assert config.model.outputs == 52
    assert config.model.contact.phones == len(PHONES)
    assert [PHONES[i] for i in config.model.contact.bilabials] == list(BILABIALS)
    assert parameter_count(SpeechToMotion(config.model)) < 8_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {decoder: {widht: 3}}", "unknown setting 'widht'"),
        ("steps: many", "steps is 'many', expected int"),
        ("steps: 0", "steps is 0"),
        ("schedule: never", "schedule is 'never', expected one of cosine, constant"),
        (
            "{batch_size: 6, accumulate_grad_batches: 4}",
            "batch_size is 6, expected a multiple of accumulate_grad_batches, which is 4",
        ),
        ("blendshapes: {sequence_length: 3}", "sequence_length is 3 frames"),
        ("model: {decoder: {pattern: M Q}}", "'M Q'"),
        ("model: {fps: 26}", "fps 26"),
        ("[1, 2]", "expected settings"),
        ("", "expected settings"),
        ("a: [", "not YAML with settings"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_train_config(path)
    assert message in str(caught.value)
    assert "wrong.yaml" in str(caught.value)


def test_missing_settings_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        load_train_config(tmp_path / "nowhere.yaml")


def test_silence_before_a_sequence_moves_its_normalization_alone() -> None:
    train, val = tiny_clips(3, "train"), tiny_clips(1, "val")
    settings = BlendshapesConfig(sequence_length=50, variants=2, warm_norm=0.5)
    led = replace(settings, lead_silence=1.0, lead_seconds=[0.5, 2.0])
    plain, before = (
        BlendshapeTask(tiny_config(blendshapes=s), tiny_face(), train, val) for s in (settings, led)
    )
    one, other = (task.batch(0, slice(0, 24)) for task in (plain, before))
    for name in ("weights", "phones", "style", "position"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    plans, unled = ([task.batches.plan(0, i) for i in range(24)] for task in (before, plain))
    assert {plan.lead for plan in unled} == {"", "warm"}
    assert {plan.lead for plan in plans} == {"warm", "zeros", "dither", "noise"}
    for row, (plan, bare) in enumerate(zip(plans, unled, strict=True)):
        if plan.lead == "warm":
            assert bare.lead == "warm"
            assert torch.allclose(one.normal[row], other.normal[row], atol=1e-4)
        else:
            assert 50 <= plan.lead_frames <= 200
    cold = [row for row, plan in enumerate(plans) if plan.lead != "warm"]
    assert any(not torch.allclose(one.normal[row], other.normal[row], atol=1e-2) for row in cold)


def test_pace_stretches_sound_and_motion_alike() -> None:
    train, val = tiny_clips(3, "train"), tiny_clips(1, "val")
    settings = BlendshapesConfig(sequence_length=50, variants=1, pace=0.3)
    task = BlendshapeTask(tiny_config(blendshapes=settings), tiny_face(), train, val)
    reduction, steps = task.batches.reduction, set()
    for index in range(20):
        speech = task.batches.plan(0, index).speech
        spoken = speech.speech
        coarse = (speech.left + speech.share)[spoken]
        fine = (speech.fine_left + speech.fine_share)[::reduction][spoken]
        assert np.allclose(coarse * reduction, fine, atol=reduction)  # but for a clip's last frame
        steps.add(round(float(np.median(np.diff(coarse))), 3))
    assert min(steps) < 0.9
    assert max(steps) > 1.1


def test_losses_stay_finite_behind_silence(tmp_path: Path) -> None:
    settings = BlendshapesConfig(
        sequence_length=50, variants=2, warm_norm=0.0, lead_silence=1.0, lead_seconds=[0.0, 10.0]
    )
    config = tiny_config(blendshapes=settings, batch_size=16)
    trainer = tiny_trainer(config, tiny_clips(4, "train"), tiny_clips(1, "val"), tmp_path)
    trainer.run()
    found = losses(tmp_path)
    assert np.isfinite(list(found.values())).all()
    assert found[12] < found[1]
    assert load_train_config(CONFIGS / "light.yaml").blendshapes.lead_silence == 0.3
