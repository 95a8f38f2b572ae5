"""The paper's training on miniatures of VOCASET and BIWI_6: four terms that fall, exact resume,
weights that animate.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed")

import jambatalk
from jambatalk.config import CONFIGS, read_settings
from jambatalk.datasets.dataset import FORMAT, VERSION, open_prepared, write_clip, write_json
from jambatalk.datasets.lip_mask import LipsConfig, lip_vertices
from jambatalk.datasets.masks import offset_spread, read_region
from jambatalk.datasets.prepare import prepare
from jambatalk.datasets.registry import load_clips, open_corpus
from jambatalk.errors import InputError
from jambatalk.face.head import default_head
from jambatalk.models.presets import load_preset
from jambatalk.training import build_task
from jambatalk.training.config import TrainConfig, load_train_config
from jambatalk.training.trainer import Trainer
from jambatalk.training.vertices import VertexBatch, VertexTask
from small_network import SMALL as SMALL_STREAMING
from tiny_corpora import OBJ, TEMPLATE, V, write_layout, write_vocaset
from tiny_speech import LETTERS, save_wav2vec2_ctc

ROOT = Path(__file__).parents[2]
TERMS = ("vertices", "velocity", "latent", "ctc")
VOCASET = ("FaceTalk_170728_03272_TA", "FaceTalk_170811_03275_TA")
BIWI = [(s, f"e{n:02d}") for s in ("F2", "M3") for n in (1, 2, 3, 33)] + [("F1", "e37")]
SMALL: dict[str, Any] = {
    "vertices": {"spread": True, "lip_reading": {"heads": 2, "layers": 1, "hidden": 24}},
    "model": {
        "outputs": 3 * V,
        "decoder": {
            "width": 16,
            "mlp_hidden": 24,
            "expert_hidden": 24,
            "heads": 2,
            "kv_heads": 1,
            "rope_rank": 4,
        },
    },
}
OWN: dict[str, dict[str, Any]] = {
    "paper-vocaset": {"vertices": {"lips": {"choose": "moving", "share": 0.4}}},
    "paper-biwi6": {
        "vertices": {"lips": {"choose": "box", "box": [-0.05, 0.05, -0.05, 0.05], "template": "F1"}}
    },
}


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_wav2vec2_ctc(tmp_path_factory.mktemp("speech") / "wav2vec2")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Preset -> a prepared miniature of its corpus."""
    folder = tmp_path_factory.mktemp("corpora")
    write_vocaset(folder / "vocaset", VOCASET, range(21, 25), frames=64)
    prepare("vocaset", folder / "vocaset", folder / "paper-vocaset")
    write_layout(folder / "biwi6", BIWI, frames=30)
    (folder / "biwi6" / "face.obj").write_text(
        "".join(f"v {x} {y} {z}\n" for x, y, z in TEMPLATE) + OBJ[OBJ.index("f ") :]
    )
    prepare("biwi6", folder / "biwi6", folder / "paper-biwi6")
    return {name: folder / name for name in OWN}


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    changed = {
        k: laid_over(below.get(k, {}), v) if isinstance(v, Mapping) else v for k, v in above.items()
    }
    return {**below, **changed}


def settings(preset: str, speech: Path, **changes: Any) -> TrainConfig:
    """The committed settings with a network that a test can train."""
    own = {
        "vertices": {"lip_reading": {"recognizer": str(speech)}},
        "model": {"encoder": {"name": str(speech)}},
    }
    values = read_settings(CONFIGS / f"{preset}.yaml")
    for above in (SMALL, OWN[preset], own, changes):
        values = laid_over(values, above)
    path = speech.parent / f"{preset}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load_train_config(path)


def logged(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("preset", OWN)
def test_the_papers_settings_train_all_four_terms(
    preset: str, corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    config = settings(
        preset, speech, steps=150, learning_rate=3e-3, validate_every=75, save_every=150
    )
    task = build_task(config, [corpora[preset]], tmp_path / "cache")
    before = task.validate(task.network.eval())
    figures = Trainer(config, task, tmp_path / "run").run()
    rows = logged(tmp_path / "run")
    assert [row["step"] for row in rows] == list(range(1, 151))
    for name in (*TERMS, "loss"):
        values = np.array([row[name] for row in rows])
        assert np.isfinite(values).all()
        # Two passes through BIWI_6's clips, three through VOCASET's; the first of them begin with a
        # still face.
        assert values[-12:].mean() < 0.75 * values[:12].mean(), name
    expected = sum(
        weight * rows[5][name] for name, weight in zip(TERMS, (1000, 1000, 0.001, 0.0001))
    )
    assert rows[5]["loss"] == pytest.approx(expected, rel=1e-4)
    unit = "_mm" if preset == "paper-vocaset" else ""
    assert figures["score"] == -figures[f"lips{unit}"]
    # Sentences, and on VOCASET a person, that training never saw.
    assert figures[f"lips{unit}"] < 0.7 * before[f"lips{unit}"]
    assert figures[f"vertices{unit}"] < before[f"vertices{unit}"]

    clip = open_prepared(corpora[preset]).clips("val")[0]
    talker = jambatalk.load(tmp_path / "run" / "final.safetensors")
    motion = talker.animate(clip.speech)
    assert talker.fps == clip.fps
    assert motion.offsets is not None
    assert motion.offsets.shape == (len(motion), V, 3)
    assert clip.frames - 2 <= len(motion) <= clip.frames
    assert motion.offsets.std(axis=0).max() > 1e-4
    assert not {"reading", "recognizer"} & {
        name.split(".")[0] for name in talker.model.state_dict()
    }


def test_resume_equals_an_unbroken_run(
    corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    config = settings(
        "paper-vocaset",
        speech,
        steps=8,
        save_every=4,
        save_minutes=0,
        validate_every=8,
        vertices={"seconds": 0.4},
    )

    def trainer(run: str, cache: str) -> Trainer:
        return Trainer(
            config, build_task(config, [corpora["paper-vocaset"]], tmp_path / cache), tmp_path / run
        )

    class Killed(Exception):
        pass

    def kill(step: int, terms: dict[str, float]) -> None:
        if step == 6:
            raise Killed

    trainer("whole", "one").run()
    with pytest.raises(Killed):
        trainer("broken", "two").run(kill)
    second = trainer("broken", "two")
    assert second.resume()
    assert second.step == 4
    second.run()
    assert not any(
        "recognizer" in name or "text_encoder" in name for name in second.task.module.state_dict()
    )
    losses = [
        {row["step"]: [row[name] for name in TERMS] for row in logged(tmp_path / run)}
        for run in ("whole", "broken")
    ]
    assert losses[0] == losses[1]


def uneven(task: VertexTask, rows: range) -> list[VertexBatch]:
    """Sequences of a step as batches of one, cut to different lengths."""
    made = []
    for row in rows:
        one = task.batch(0, slice(row, row + 1))
        frames = one.lengths[0] - 5 * (row % 3)
        samples = round(frames / 30 * 16000)
        excerpt = one.excerpts[0]._replace(end=one.excerpts[0].start + frames / 30)
        made.append(
            VertexBatch(
                one.samples[:, :samples],
                one.offsets[:, :frames],
                one.rest,
                (samples,),
                (frames,),
                (excerpt,),
                one.subjects,
            )
        )
    return made


def padded(batches: list[VertexBatch], filling: float) -> VertexBatch:
    """The same sequences side by side, ``filling`` after their ends."""

    def side_by_side(tensors: list[torch.Tensor]) -> torch.Tensor:
        rows = [tensor[0] for tensor in tensors]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=filling)

    return VertexBatch(
        side_by_side([b.samples for b in batches]),
        side_by_side([b.offsets for b in batches]),
        torch.cat([b.rest for b in batches]),
        *(
            tuple(getattr(b, name)[0] for b in batches)
            for name in ("sample_counts", "lengths", "excerpts")
        ),
        subjects=torch.cat([b.subjects for b in batches]),
    )


@pytest.mark.parametrize("filling", [0.0, float("nan")])
def test_padding_changes_neither_loss_nor_gradients(
    filling: float, corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    weights = {"lips": 10.0, "latent": 1.0, "ctc": 1.0}
    config = settings("paper-vocaset", speech, batch_size=4, vertices={"loss": weights})
    task = VertexTask(config, [corpora["paper-vocaset"]])
    torch.nn.init.normal_(task.network.head.weight, std=0.1)
    task.module.eval()

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        task.module.zero_grad()
        loss.backward()
        return {
            name: p.grad.clone() for name, p in task.module.named_parameters() if p.grad is not None
        }

    alone = uneven(task, range(4))
    assert len({batch.lengths for batch in alone}) > 1
    expected = torch.stack([task.module(batch, 0)[0] for batch in alone]).mean()
    wanted = gradients(expected)
    total, terms = task.module(padded(alone, filling), 0)
    found = gradients(total)
    assert set(terms) == {*TERMS, "lips"}
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert set(found) == set(wanted)
    for name, value in found.items():
        assert torch.allclose(
            value, wanted[name], rtol=1e-3, atol=1e-5 * float(wanted[name].abs().max()) + 1e-9
        ), name


def test_gradients_reach_network_and_lip_reader_through_the_lips(
    corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    only = {"vertices": 0.0, "velocity": 0.0, "latent": 1.0, "ctc": 1.0}
    task = VertexTask(
        settings("paper-vocaset", speech, vertices={"loss": only}), [corpora["paper-vocaset"]]
    )
    torch.nn.init.normal_(task.network.head.weight, std=0.1)
    total, terms = task.module.train()(task.batch(0, slice(0, 1)), 0)
    assert set(terms) == {"latent", "ctc"}
    total.backward()
    head = task.network.head.weight.grad
    assert head is not None
    moved = head.view(V, 3, -1).abs().sum((1, 2))
    assert (moved[task.lips] > 0).all()
    assert (np.delete(moved.numpy(), task.lips) == 0).all()
    assert task.module.reading.reader.lip_map.weight.grad.abs().sum() > 0
    assert (
        task.network.encoder.network.encoder.layers[0].attention.q_proj.weight.grad.abs().sum() > 0
    )
    assert task.recognizer is not None
    assert all(p.grad is None and not p.requires_grad for p in task.recognizer.network.parameters())
    assert not task.recognizer.network.training
    # The convolutions stay as they were trained, too.
    assert all(p.grad is None for p in task.network.encoder.network.feature_extractor.parameters())


def test_a_still_face_has_the_loss_of_the_corpus_own_motion(
    corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    config = settings(
        "paper-vocaset",
        speech,
        vertices={"spread": False, "loss": {"latent": 0.0, "ctc": 0.0, "lips": 7.0}},
    )
    task = VertexTask(config, [corpora["paper-vocaset"]])
    batch = task.batch(3, slice(0, 1))
    total, terms = task.module(batch, 3)
    true = batch.offsets[0].double().numpy()
    expected = {
        "vertices": np.square(true).mean(),
        "velocity": np.square(np.diff(true, axis=0)).mean(),
        "lips": np.square(true.reshape(-1, V, 3)[:, task.lips]).mean(),
    }
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(
        expected, rel=1e-5
    )
    assert total.item() == pytest.approx(
        1000 * (expected["vertices"] + expected["velocity"]) + 7 * expected["lips"], rel=1e-5
    )
    clips = open_prepared(corpora["paper-vocaset"]).clips("val")
    distances = np.concatenate([np.linalg.norm(clip.offsets, axis=2) for clip in clips])
    figures = task.validate(task.network.eval())
    assert figures["lips_mm"] == pytest.approx(
        1000 * distances[:, task.lips].max(1).mean(), rel=1e-4
    )
    assert figures["vertices_mm"] == pytest.approx(1000 * distances.mean(), rel=1e-4)
    assert figures["score"] == -figures["lips_mm"]


def test_terms_without_weight_are_not_computed(
    corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    nobody = {"recognizer": str(tmp_path / "nobody")}
    corpus = [corpora["paper-vocaset"]]
    off = {"latent": 0.0, "ctc": 0.0, "velocity": 0.0}
    task = VertexTask(
        settings("paper-vocaset", speech, vertices={"loss": off, "lip_reading": nobody}), corpus
    )
    batch = task.batch(0, slice(0, 1))
    assert batch.excerpts == ()
    assert set(task.module(batch, 0)[1]) == {"vertices"}
    with pytest.raises(InputError, match="nobody"):
        VertexTask(settings("paper-vocaset", speech, vertices={"lip_reading": nobody}), corpus)
    task = VertexTask(
        settings("paper-vocaset", speech, vertices={"loss": {"ctc": 0.0, "balance": 0.1}}), corpus
    )
    assert set(task.module(task.batch(0, slice(0, 1)), 0)[1]) >= {
        "vertices",
        "velocity",
        "latent",
        "balance",
    }
    assert not any(p.requires_grad for p in task.module.reading.reader.lm_head.parameters())


def test_every_clip_comes_once_in_each_pass(
    corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    config = settings(
        "paper-biwi6", speech, batch_size=3, vertices={"loss": {"latent": 0.0, "ctc": 0.0}}
    )
    task = VertexTask(config, [corpora["paper-biwi6"]])
    clips = open_prepared(corpora["paper-biwi6"]).clips("train")
    assert len(clips) == 6
    seen = []
    for step in range(4):
        batch = task.batch(step, slice(0, 3))
        assert torch.equal(
            batch.offsets, torch.cat([task.batch(step, slice(i, i + 1)).offsets for i in range(3)])
        )
        for row in range(3):
            moved = batch.offsets[row].view(-1, V, 3).numpy()
            (which,) = [i for i, clip in enumerate(clips) if np.array_equal(clip.offsets, moved)]
            assert np.array_equal(
                batch.samples[row], clips[which].samples[: batch.sample_counts[row]]
            )
            seen.append(which)
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))
    assert seen[:6] != seen[6:]


def test_stretches_keep_sound_and_motion_together(
    corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    task = VertexTask(
        settings("paper-vocaset", speech, batch_size=2, vertices={"seconds": 0.5}),
        [corpora["paper-vocaset"]],
    )
    starts = set()
    for step in range(6):
        batch = task.batch(step, slice(0, 2))
        assert batch.offsets.shape == (2, 15, 3 * V)
        assert batch.samples.shape == (2, 8000)
        for excerpt, samples in zip(batch.excerpts, batch.samples, strict=True):
            first = round(excerpt.start * 16000)
            assert np.array_equal(excerpt.sound[first : first + 8000], samples.numpy())
            assert excerpt.end - excerpt.start == pytest.approx(0.5)
            starts.add(first)
    assert len(starts) > 4
    total, terms = task.module(batch, 5)
    assert torch.isfinite(total)
    assert set(terms) == set(TERMS)


def test_ctc_may_aim_at_the_text_of_the_corpus(
    corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "text"
    shutil.copytree(corpora["paper-biwi6"], folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for clip in manifest["clips"]:
        clip["text"] = "bad " + clip["name"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    changes = {"loss": {"latent": 0.0}, "lip_reading": {"text": "corpus"}}
    task = VertexTask(
        settings("paper-biwi6", speech, vertices=changes), [folder], tmp_path / "cache"
    )
    batch = task.batch(0, slice(0, 1))
    spelled = [LETTERS[letter] for letter in batch.excerpts[0].text.tolist()]
    assert spelled in [
        [*"bad|fe"],
        [*"bad|e"],
    ]  # of "bad F2_e01" and "bad M3_e01" the letters that the recognizer knows
    terms = task.module(batch, 0)[1]
    assert set(terms) == {"vertices", "velocity", "ctc"}
    assert torch.isfinite(terms["ctc"])
    assert not (tmp_path / "cache").exists()  # no sound was read


def test_a_clip_without_recognized_text_has_a_finite_loss(
    corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    task = VertexTask(settings("paper-biwi6", speech), [corpora["paper-biwi6"]])
    assert task.recognizer is not None
    task.recognizer.network.lm_head.bias[task.recognizer.blank] = 1e4
    total, terms = task.module(task.batch(0, slice(0, 1)), 0)
    total.backward()
    assert torch.isfinite(terms["ctc"])
    assert torch.isfinite(task.module.reading.reader.lm_head.weight.grad).all()


def test_a_streaming_encoder_moves_vertices_too(
    corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    config = settings(
        "paper-biwi6", speech, batch_size=2, vertices={"loss": {"latent": 0.0, "ctc": 0.0}}
    )
    task = VertexTask(
        replace(config, model=replace(SMALL_STREAMING, outputs=3 * V)), [corpora["paper-biwi6"]]
    )
    assert task.network.encoder.norm.start.abs().min() > 0
    task.module(task.batch(0, slice(0, 2)), 0)[0].backward()
    assert task.network.head.weight.grad.abs().sum() > 0
    assert task.validate(task.network.eval())["score"] < 0


def test_what_does_not_fit_is_one_sentence(
    corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    corpus = [corpora["paper-vocaset"]]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model": {"outputs": 9}}, r"outputs is 9, but .* has 5 vertices: expected 15"),
        ({"model": {"fps": 15}}, r"fps is 15, but .* has 30 frames a second"),
        (
            {"vertices": {"scheme": "codetalker"}},
            r"no splits by 'codetalker': choose from faceformer, voca",
        ),
        ({"vertices": {"train": "test_b"}}, r"no split 'test_b'"),
        ({"vertices": {"lips": {"choose": "file", "file": "lips.npy"}}}, r"no file lips.npy"),
        (
            {"vertices": {"lips": {"choose": "box", "box": [5, 6, 5, 6]}}},
            r"no vertex of .* lies in the box",
        ),
        (
            {"vertices": {"lip_reading": {"text": "corpus"}}},
            r"has no text of clip FaceTalk_170728_03272_TA_sentence21",
        ),
    ]
    for changes, message in cases:
        with pytest.raises(InputError, match=message):
            VertexTask(settings("paper-vocaset", speech, **changes), corpus)
    for vertices, message in (
        ({"seconds": 1.0, "lip_reading": {"text": "corpus"}}, "whole clips"),
        ({"lips": {"choose": "mouth"}}, "'mouth'"),
        ({"loss": {"ctc": -1.0}}, "ctc is -1.0"),
    ):
        with pytest.raises(InputError, match=message):
            settings("paper-vocaset", speech, vertices=vertices)


def test_lips_come_from_files_boxes_and_motion(corpora: dict[str, Path], tmp_path: Path) -> None:
    clips = open_prepared(corpora["paper-biwi6"]).clips("train")
    spread = offset_spread(clips)
    assert lip_vertices(LipsConfig(choose="moving", share=0.2), clips, spread).tolist() == [
        3
    ]  # the one that opens and closes
    assert lip_vertices(LipsConfig(choose="all"), clips, spread).tolist() == [0, 1, 2, 3, 4]
    box = LipsConfig(choose="box", box=[0.05, 0.3, -0.1, 0.15], template="M3")
    assert lip_vertices(box, clips, spread).tolist() == [1, 4]
    np.save(tmp_path / "list.npy", [4, 1, 1])
    np.save(tmp_path / "mask.npy", np.array([False, True, False, False, True]))
    (tmp_path / "list.txt").write_text("1, 4\n")
    (tmp_path / "regions.json").write_text('{"lips": [1, 4], "nose": [2]}')
    (tmp_path / "FLAME_masks.pkl").write_bytes(
        pickle.dumps({"lips": np.array([1, 4]), "nose": np.array([2])}, protocol=2)
    )
    for path in sorted(tmp_path.iterdir()):
        assert lip_vertices(LipsConfig(choose="file", file=str(path)), clips, spread).tolist() == [
            1,
            4,
        ], path.name
    (tmp_path / "far.json").write_text("[7]")
    (tmp_path / "none.json").write_text('{"nose": [2]}')
    (tmp_path / "lips.csv").write_text("1,4")
    for name, message in (
        ("far.json", "no indices of 5 vertices"),
        ("none.json", "no region 'lips'"),
        ("lips.csv", "type .csv"),
    ):
        with pytest.raises(InputError, match=message):
            read_region(tmp_path / name, V)


def test_samples_have_their_own_mesh(
    corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    off = {"loss": {"latent": 0.0, "ctc": 0.0}}
    task = VertexTask(settings("paper-biwi6", speech, vertices=off), [corpora["paper-biwi6"]])
    shown = task.samples(task.network.eval(), 1)
    assert [sample.name for sample in shown] == ["F2_e33"]
    assert shown[0].true.face is not None
    assert np.allclose(shown[0].true.face.vertices, TEMPLATE)
    assert shown[0].predicted.offsets is not None
    assert not shown[0].predicted.offsets.any()  # untrained: still
    without = VertexTask(
        settings("paper-vocaset", speech, vertices=off), [corpora["paper-vocaset"]]
    )
    assert without.samples(without.network, 1) == []


def test_the_hash_follows_data_and_splits(
    corpora: dict[str, Path], speech: Path, tmp_path: Path
) -> None:
    def found(preset: str, **changes: Any) -> str:
        off = {"loss": {"latent": 0.0, "ctc": 0.0}, **changes}
        return VertexTask(settings(preset, speech, vertices=off), [corpora[preset]]).data_hash

    hashes = [found("paper-vocaset"), found("paper-biwi6"), found("paper-biwi6", val="train")]
    assert len({*hashes}) == 3
    assert found("paper-vocaset") == hashes[0]


def test_prepared_folders_open_as_corpora(corpora: dict[str, Path]) -> None:
    corpus = open_corpus(corpora["paper-biwi6"])
    assert corpus.splits == {"train": 6, "val": 2, "test_b": 1}
    clips = load_clips(corpora["paper-biwi6"], ["val", "test_b"])
    assert [clip.id for clip in clips] == ["F1_e37", "F2_e33", "M3_e33"]
    assert clips[0].motion.offsets is not None
    assert clips[0].motion.offsets.shape == (30, V, 3)


def test_committed_settings_are_the_papers() -> None:
    for name, clips, rate in (("paper-vocaset", 320, 1e-4), ("paper-biwi6", 192, 1e-5)):
        config = load_train_config(CONFIGS / f"{name}.yaml")
        loss = config.vertices.loss
        assert (loss.vertices, loss.velocity, loss.latent, loss.ctc, loss.lips) == (
            1000,
            1000,
            0.001,
            0.0001,
            0,
        )
        assert (config.steps, config.batch_size, config.learning_rate, config.max_grad_norm) == (
            100 * clips,
            1,
            rate,
            1.0,
        )
        assert (config.optimizer, config.betas, config.schedule, config.ema_decay) == (
            "adam",
            [0.9, 0.999],
            "constant",
            0.0,
        )
        assert config.model == load_preset(name)
    live = load_train_config(CONFIGS / "paper-live.yaml")
    assert live.model == load_preset("paper-live")
    assert live.task == "blendshapes"


def test_prepared_weights_become_those_of_the_face(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).random((10, 2)).astype(np.float32)
    details = {"subject": "mei", "sentence": "s1", "fps": 25.0, "text": None, "phones": None}
    record = write_clip(tmp_path, "mei_s1", weights, np.zeros(6400, np.float32), details)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "corpus": "tts",
        "licence": "none",
        "source": "here",
        "unit": "weights",
        "fps": 25.0,
        "vertices": 0,
        "motion": "weights",
        "names": ["mouthPucker", "jawOpen"],
        "subjects": ["mei"],
        "schemes": ["own"],
        "failed": {},
        "clips": [{**record, "splits": {"own": "train"}}],
    }
    write_json(tmp_path / "manifest.json", manifest)
    face = default_head()
    (clip,) = load_clips(tmp_path, "train", face)
    assert (clip.corpus, clip.motion.names) == ("tts", face.names)
    assert np.array_equal(clip.motion.column("jawOpen"), weights[:, 1])
    assert np.array_equal(clip.motion.column("mouthPucker"), weights[:, 0])
    assert np.count_nonzero(clip.weights.any(axis=0)) == 2
    write_json(tmp_path / "manifest.json", manifest | {"names": ["earWiggle", "jawOpen"]})
    with pytest.raises(
        InputError, match="clip mei_s1 moves earWiggle, a shape that the face lacks"
    ):
        load_clips(tmp_path, "train", face)
