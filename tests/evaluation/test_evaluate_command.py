"""``jambatalk evaluate`` from a prepared corpus to table, JSON and CSV; entries of every kind;
published numbers.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from jambatalk.baselines import save_baseline
from jambatalk.baselines.bigru import VertexBiGRU, VertexBiGRUConfig
from jambatalk.baselines.visemes import VISEMES, Dominance, Visemes, save_visemes
from jambatalk.cli.main import app
from jambatalk.datasets.prepare import prepare
from jambatalk.datasets.regions import Regions
from jambatalk.datasets.source import PrepareOptions
from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import EvalClip, EvalDataset, find_regions, load_test_set
from jambatalk.evaluation.evaluate import evaluate
from jambatalk.evaluation.systems import System, open_system, timing_clip
from jambatalk.evaluation.tables import BIWI_TEST_A, PUBLISHED, UNKNOWN, published_beside
from jambatalk.models.checkpoint import save_weights
from jambatalk.models.config import EncoderConfig, MelConfig
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.motion import Motion
from small_network import SMALL
from tiny_corpora import V, write_facegood, write_layout
from tiny_talk import write_talk

CLIPS = [("F2", "e01"), ("F3", "e02"), ("F2", "e33"), ("F2", "e37"), ("F3", "e38"), ("F1", "e37")]
REGIONS = Regions(np.array([1, 3, 4]), np.array([0, 2]), (4, 3), "made for tests", V)
FRAMES = 30


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared layout of the FaceFormer family with BIWI's names and splits: test_a has two
    clips, test_b one.
    """
    folder = tmp_path_factory.mktemp("corpus")
    write_layout(folder / "raw", CLIPS, frames=FRAMES)
    prepare("faceformer-layout", folder / "raw", folder / "ready", PrepareOptions(source_fps=25.0))
    REGIONS.save(folder / "ready" / "regions.json")
    return folder / "ready"


@pytest.fixture(scope="module")
def test_set(corpus: Path) -> EvalDataset:
    return load_test_set(corpus)


def talker(path: Path, vertices: int = V) -> Path:
    """Random weights of a small network of vertices."""
    torch.manual_seed(1)
    model = SpeechToMotion(replace(SMALL, outputs=3 * vertices))
    torch.nn.init.normal_(model.head.weight, std=1e-3)
    save_weights(path, model, (), {})
    return path


def baseline(path: Path, **changes: int) -> Path:
    """A small random baseline of vertices."""
    torch.manual_seed(2)
    encoder = EncoderConfig(
        widths=[8, 12] if changes.get("fps", 25) == 25 else [8], blocks=1, dropout=0.0
    )
    settings = {"outputs": 3 * V, "width": 16, "hidden": 8, "layers": 2, **changes}
    config = VertexBiGRUConfig(
        mel=MelConfig(bands=16), encoder=encoder, subjects=["F2", "F3"], **settings
    )
    save_baseline(path, VertexBiGRU(config), {"steps": 0})
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.stdout, found.stderr


def test_from_corpus_to_table_json_and_csv(
    corpus: Path, test_set: EvalDataset, tmp_path: Path
) -> None:
    predictions = tmp_path / "theirs"
    predictions.mkdir()
    for clip in test_set.clips:
        np.save(predictions / f"{clip.name}.npy", (0.5 * clip.truth).reshape(FRAMES, -1)[:-2])
    ours, gru = talker(tmp_path / "ours.safetensors"), baseline(tmp_path / "gru.safetensors")
    status, printed, _ = run(
        f"half={predictions}", ours, gru, corpus, "--compat", "-o", tmp_path / "out"
    )
    assert status == 0
    blocks = printed.strip().split("\n\n")
    for block, split, count in zip(blocks, ("test_a", "test_b"), (2, 1), strict=True):
        header, systems = block.splitlines()[:2]
        assert f"split {split}, {count} clips" in header
        for told in (
            "scheme codetalker",
            test_set.data_hash,
            "unit the corpus' own",
            REGIONS.hash,
            "made for tests",
        ):
            assert told in header
        assert systems.split() == ["truth", "static", "mean", "half", "ours", "gru"]
        cells = {line.split()[0]: line.split()[1:7] for line in block.splitlines()[2:]}
        assert cells["LVE_own2"][0] == cells["MVE_own"][0] == "0"
        assert cells["opening_correlation"][:3] == ["1", "0", "0"]
        assert float(cells["LVE_own2"][3]) < float(cells["LVE_own2"][1])
        assert cells["compat:LVE_own2"][0] == "0"
    results = json.loads((tmp_path / "out" / "result.json").read_text())["results"]
    assert len(results) == 12
    for one in results:
        assert (one["region_hash"], one["data_hash"], one["unit"]) == (
            REGIONS.hash,
            test_set.data_hash,
            test_set.unit,
        )
    last = results[5]
    assert last["system"] == "gru"
    assert last["info"]["look_ahead_ms"] == "whole clip"
    assert last["info"]["real_time_factor"] > 0
    assert len(last["info"]["sha256"]) == 64
    assert results[1]["totals"]["MTM_ms"] is None
    half = results[3]["totals"]
    assert half["LVE_own2"] == pytest.approx(
        results[1]["totals"]["LVE_own2"] / 4, rel=0.2
    )  # all but the held frames
    with (tmp_path / "out" / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 3
    row = next(row for row in rows if (row["system"], row["clip"]) == ("half", "F1_e37"))
    assert float(row["LVE_own2"]) == results[9]["clips"]["F1_e37"]["LVE_own2"]
    assert row["region_hash"] == REGIONS.hash
    assert (row["split"], row["closure_percent"]) == ("test_b", "")
    again = run(
        "static", corpus, "--regions", tmp_path / "out" / "regions.json", "--split", "test_b"
    )
    assert "split test_b, 1 clips" in again[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["static"], "expected at least one model and, last, the folder"),
        (["static", "nowhere"], "nowhere is not a prepared corpus"),
        (["nothing.safetensors", "CORPUS"], "no weights at nothing.safetensors"),
        (["default", "CORPUS"], "default gives weights of shapes of the default head, but"),
        (["static", "CORPUS", "--split", "test_z"], "has no split 'test_z' by codetalker"),
        (["static", "CORPUS", "--scheme", "mine"], "has no splits by 'mine'"),
        (["static", "CORPUS", "--opening", "1,2"], "--opening is given without --lips"),
        (["static", "static", "CORPUS"], "two systems are called static"),
        (
            ["static", "CORPUS", "--lips", "a.txt", "--upper-face", "a.txt", "--opening", "1"],
            "--opening is '1'",
        ),
        (
            ["static", "CORPUS", "--regions", "a.json", "--opening", "1,2"],
            "--regions and --opening are both given",
        ),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], message: str, corpus: Path) -> None:
    status, printed, error = run(*(str(corpus) if word == "CORPUS" else word for word in arguments))
    assert status == 2
    assert message in error
    lines = [line for line in error.splitlines() if not line.startswith("regions ")]
    assert len(lines) == 1
    assert printed == ""


def test_masks_given_by_hand_have_their_own_hash_and_name(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "lips.txt").write_text("1 3")
    (tmp_path / "upper.txt").write_text("0")
    masks = [
        "--lips",
        tmp_path / "lips.txt",
        "--upper-face",
        tmp_path / "upper.txt",
        "--opening",
        "1,3",
    ]
    status, printed, _ = run("static", corpus, *masks, "--mask", "CodeTalker's BIWI masks")
    assert status == 0
    assert Regions(np.array([1, 3]), np.array([0]), (1, 3), "", V).hash in printed
    first, second = printed.strip().split("\n\n")
    assert (
        "published: CodeTalker LVE_own2 0.0004791 (second-hand, the CodeTalker family's table)"
        in first
    )
    assert "published" not in second  # test_b


def test_entries_of_every_kind(corpus: Path, test_set: EvalDataset, tmp_path: Path) -> None:
    clip = test_set.clips[0]
    assert np.array_equal(open_system("truth", test_set).offsets(clip), clip.truth)
    assert not open_system("static", test_set).offsets(clip).any()
    train = load_test_set(corpus, ["train"])
    mean = np.concatenate([one.truth for one in train.clips]).mean(0)
    np.testing.assert_allclose(open_system("mean", test_set).offsets(clip)[7], mean, atol=1e-7)
    for path in (
        talker(tmp_path / "a.safetensors"),
        baseline(tmp_path / "b.safetensors"),
        baseline(tmp_path / "c.safetensors", fps=50),
    ):
        entry = open_system(f"named={path}", test_set)
        moved = entry.offsets(clip)
        assert moved.shape == (FRAMES, V, 3)
        assert moved.dtype == np.float32
        assert moved.std() > 0
        assert (entry.name, entry.runs, entry.stochastic, entry.path) == (
            "named",
            True,
            False,
            path,
        )
        assert entry.parameters is not None
        assert entry.parameters > 1000


def test_visemes_are_told_the_phones(tmp_path: Path) -> None:
    write_talk(tmp_path / "told")
    write_talk(tmp_path / "untold", phones=False)
    told = load_test_set(tmp_path / "told", ["test"])
    shapes = (
        np.random.default_rng(0)
        .standard_normal((len(VISEMES), 3 * told.vertices))
        .astype(np.float32)
    )
    visemes = Visemes(shapes, np.ones(len(VISEMES)), Dominance(), "centimetres", {})
    save_visemes(tmp_path / "keyed.safetensors", visemes)
    entry = open_system(str(tmp_path / "keyed.safetensors"), told)
    clip = told.clips[0]
    keyed = visemes.animate_phones(clip.phones or (), clip.frames, clip.fps)
    assert np.array_equal(entry.offsets(clip), keyed.reshape(clip.frames, -1, 3))
    assert (entry.name, entry.look_ahead_ms, entry.parameters, entry.runs) == (
        "keyed",
        math.inf,
        shapes.size,
        False,
    )
    with pytest.raises(
        InputError, match=r"needs timed phones, but clip clip2 of .*untold has none"
    ):
        open_system(
            str(tmp_path / "keyed.safetensors"), load_test_set(tmp_path / "untold", ["test"])
        )
    save_visemes(
        tmp_path / "metres.safetensors",
        Visemes(shapes, np.ones(len(VISEMES)), Dominance(), "metres", {}),
    )
    with pytest.raises(InputError, match=r"was fitted in metres, but .*told is in centimetres"):
        open_system(str(tmp_path / "metres.safetensors"), told)


def test_another_mesh_is_refused(test_set: EvalDataset, tmp_path: Path) -> None:
    for path in (
        talker(tmp_path / "a.safetensors", 6),
        baseline(tmp_path / "b.safetensors", outputs=18),
    ):
        with pytest.raises(InputError, match=r"moves 6 vertices, but .* has 5"):
            open_system(str(path), test_set)
    folder = tmp_path / "predictions"
    folder.mkdir()
    with pytest.raises(
        InputError, match=r"has no F1_e37\.npy: expected one file for each of 3 clips"
    ):
        open_system(str(folder), test_set)
    for clip in test_set.clips:
        np.save(folder / f"{clip.name}.npy", np.zeros((4, 6, 3)))
    with pytest.raises(
        InputError, match=r"shape \(4, 6, 3\) for clip F1_e37, expected floats \(T, 5, 3\)"
    ):
        open_system(str(folder), test_set).offsets(test_set.clips[0])
    np.save(folder / "F1_e37.npy", np.full((4, 5, 3), np.nan))
    with pytest.raises(InputError, match="values that are not finite"):
        open_system(str(folder), test_set).offsets(test_set.clips[0])


def test_a_model_that_draws_at_random_is_asked_several_times(test_set: EvalDataset) -> None:
    asked: list[int] = []

    def animate(clip: EvalClip, seed: int) -> Motion:
        asked.append(seed)
        return Motion(clip.fps, offsets=clip.truth + np.float32(0.001 * (seed - 1)))

    entry = System("random", animate, stochastic=True)
    scored = evaluate([entry], test_set, REGIONS, ["test_b"], seeds=range(3), sanity=False)
    assert asked == [0, 1, 2]
    assert scored[0].totals["LVE_own2"] == pytest.approx(3e-6, rel=1e-3)  # of the first
    assert scored[0].totals["MEE_own2"] == pytest.approx(0, abs=1e-12)
    assert scored[0].totals["CE_own2"] == pytest.approx(0, abs=1e-12)
    assert scored[0].totals["diversity_own"] == pytest.approx(np.sqrt(3) * 0.004 / 3, rel=1e-3)
    assert scored[0].info["seeds"] == [0, 1, 2]


def test_sound_is_as_long_as_the_motion_and_the_hash_tells_the_data(
    corpus: Path, test_set: EvalDataset
) -> None:
    for clip in test_set.clips:
        assert clip.truth.shape == (clip.frames, V, 3)
        assert len(clip.samples) == round(clip.frames / clip.fps * 16000)
    assert test_set.data_hash == load_test_set(corpus).data_hash
    assert test_set.data_hash != load_test_set(corpus, ["test_a"]).data_hash
    timing = timing_clip(test_set, 10)
    assert (len(timing.samples), timing.frames) == (160_000, 250)


def test_weights_are_worn_by_the_default_head(tmp_path: Path, small_weights: Path) -> None:
    write_facegood(tmp_path / "raw", {"one": 40.0})
    prepare("facegood", tmp_path / "raw", tmp_path / "ready")
    split = next(iter(load_test_set(tmp_path / "ready", ["train"]).splits))
    worn = load_test_set(tmp_path / "ready", [split])
    assert worn.unit == "metres"
    assert worn.face is not None
    clip = worn.clips[0]
    weights = worn.face.pose(clip_weights(tmp_path / "ready", clip.name)[:3]) - worn.face.vertices
    np.testing.assert_allclose(clip.truth[:3], weights, atol=1e-6)
    short = replace(clip, frames=20, read_samples=lambda: np.zeros(12800, np.float32))
    assert open_system(str(small_weights), worn).offsets(short, face=worn.face).shape == (
        20,
        worn.vertices,
        3,
    )


def clip_weights(folder: Path, name: str) -> np.ndarray:
    """(T, 52) of a clip on the default head's shapes."""
    from jambatalk.datasets.registry import load_clips

    return next(clip.weights for clip in load_clips(folder, "train") if clip.id == name)


def test_published_numbers_stand_only_under_their_own_protocol(test_set: EvalDataset) -> None:
    named = replace(REGIONS, source=BIWI_TEST_A.mask)
    seen, unseen = evaluate([], test_set, named, speed=False)[::3]
    assert {(one.system, one.metric) for one in published_beside(seen)} >= {
        ("CodeTalker", "LVE_own2"),
        ("FaceFormer", "FDD_own2"),
    }
    assert published_beside(unseen) == []
    for field, other in (
        ("corpus", "vocaset"),
        ("scheme", "scantalk"),
        ("unit", "metres"),
        ("mask", "mine"),
    ):
        assert published_beside(replace(seen, **{field: other})) == []
    by_hash = [replace(one, protocol=replace(one.protocol, mask=named.hash)) for one in PUBLISHED]
    assert published_beside(replace(seen, mask="mine"), by_hash)
    assert all(one.protocol.source == "second-hand" for one in PUBLISHED)
    assert not any(
        replace(one.protocol, unit=UNKNOWN).agrees(replace(seen, unit=UNKNOWN)) for one in PUBLISHED
    )
    codetalker = next(
        one for one in PUBLISHED if (one.system, one.protocol) == ("CodeTalker", BIWI_TEST_A)
    )
    assert codetalker.value == pytest.approx(4.7914e-4)


def test_a_corpus_without_training_has_no_mean_row(tmp_path: Path) -> None:
    write_layout(tmp_path / "raw", [("F1", "e37"), ("F1", "e38")], frames=FRAMES)
    prepare(
        "faceformer-layout", tmp_path / "raw", tmp_path / "ready", PrepareOptions(source_fps=25.0)
    )
    alone = load_test_set(tmp_path / "ready")
    assert [one.system for one in evaluate([], alone, REGIONS)] == ["truth", "static"]
    with pytest.raises(InputError, match="no split 'train'"):
        open_system("mean", alone)
    with pytest.raises(InputError, match=r"neither regions\.json nor triangles: give --regions"):
        find_regions(alone)
    assert math.isnan(evaluate([], alone, REGIONS)[1].totals["MTM_ms"])
