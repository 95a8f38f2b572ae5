"""The GRID protocol and its command on a made-up corpus, where every row's value is known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from jambatalk.cli.main import app
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.registry import load_clips
from jambatalk.errors import InputError
from jambatalk.evaluation.protocols.grid import (
    SPLITS,
    predict,
    score_folder,
    score_gaps,
    score_weights,
    shuffled,
)
from jambatalk.evaluation.systems import open_system
from jambatalk.face.head import default_head
from tiny_grid import FRAMES, write_grid

CLIPS = (
    ("v1", "s1", "val"),
    ("v2", "s1", "val"),
    ("t1", "s1", "test_seen"),
    ("t2", "s1", "test_seen"),
    ("u1", "s2", "test_unseen"),
    ("u2", "s3", "test_unseen"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "grid"
    write_grid(path, default_head(), CLIPS)
    return path


@pytest.fixture(scope="module")
def clips(folder: Path) -> list[Clip]:
    return load_clips(folder, SPLITS)


def _gaps(clips: list[Clip], shift: int = 0, factor: float = 1.0) -> dict[str, np.ndarray]:
    return {clip.id: factor * np.roll(clip.gap, shift) for clip in clips if clip.gap is not None}


def test_the_truth_scores_full_marks_and_scale_does_not_matter(clips: list[Clip]) -> None:
    for factor in (1.0, 1.7):
        score = score_gaps("truth", clips, _gaps(clips, factor=factor))
        assert score.seen == pytest.approx(1)
        assert score.unseen == pytest.approx(1)
        assert score.lag_ms == pytest.approx(0, abs=1)
        assert set(score.unseen_clips) == {"u1", "u2"}
        assert score.closure_count == 4


def test_a_late_prediction_has_its_lag(clips: list[Clip]) -> None:
    score = score_gaps("late", clips, _gaps(clips, shift=2))
    assert score.lag_ms == pytest.approx(80, abs=5)
    assert score.seen < 0.95


def test_the_static_face_gets_nothing(clips: list[Clip]) -> None:
    face = default_head()
    score = score_weights(
        "static", clips, {clip.id: np.zeros((clip.frames, 52), np.float32) for clip in clips}, face
    )
    assert (score.seen, score.unseen, score.closure) == (0, 0, 0)
    assert math.isnan(score.lag_ms)
    assert json.loads(json.dumps(score.as_dict(), allow_nan=False))["lag_ms"] is None
    seen = [clip for clip in clips if clip.split == "test_seen"]
    expected = 1e3 * np.mean(
        np.concatenate(
            [np.abs(face.lip_gap(clip.weights) - face.lip_gap(0 * clip.weights)) for clip in seen]
        )
    )
    assert score.opening_error_mm == pytest.approx(expected, rel=1e-5)


def test_the_worn_truth_has_no_error(clips: list[Clip]) -> None:
    score = score_weights("worn", clips, {clip.id: clip.weights for clip in clips}, default_head())
    assert score.opening_error_mm == 0
    assert score.lip_error_mm == 0
    assert score.seen > 0.99


def test_predictions_are_brought_to_the_clip_s_rate_and_length(clips: list[Clip]) -> None:
    def twice_as_fast(clip: Clip) -> tuple[np.ndarray, float]:
        return np.repeat(np.linspace(0, 1, 2 * FRAMES - 6)[:, None], 52, 1), 50.0

    got = predict(clips, twice_as_fast)
    assert all(values.shape == (FRAMES, 52) for values in got.values())
    np.testing.assert_allclose(
        got["v1"][:30, 0], np.linspace(0, 1, 2 * FRAMES - 6)[:60:2], atol=1e-3
    )
    with pytest.raises(InputError, match="no frames"):
        predict(clips[:1], lambda clip: (np.zeros((0, 52)), 25.0))


def test_shuffling_stays_in_the_split_and_leaves_none_in_place(clips: list[Clip]) -> None:
    partner = shuffled(clips)
    assert all(
        partner[clip.id].split == clip.split and partner[clip.id].id != clip.id for clip in clips
    )
    assert len({other.id for other in partner.values()}) == len(clips)
    with pytest.raises(InputError, match="at least two"):
        shuffled(clips[:1])


def test_missing_splits_and_truths_are_named(clips: list[Clip]) -> None:
    with pytest.raises(InputError, match="test_unseen has none"):
        score_gaps("x", clips[:4], _gaps(clips))
    bare = [replace(clip, gap=None) for clip in clips]
    with pytest.raises(InputError, match="no measured gap"):
        score_gaps("x", bare, _gaps(clips))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", "--protocol", "grid", *map(str, arguments)])


def test_the_command_scores_a_model_beside_its_controls(
    folder: Path, small_weights: Path, tmp_path: Path
) -> None:
    done = run(f"small={small_weights}", folder, "-o", tmp_path / "out", "--cache", tmp_path / "c")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == [
        "small",
        "small, shuffled audio",
        "static face",
        "retargeted truth",
        "measured truth",
    ]
    assert rows["measured truth"]["seen"] == pytest.approx(1)
    assert abs(rows["small"]["seen"]) < 0.9  # the weights are random
    assert rows["small"]["seen"] != rows["small, shuffled audio"]["seen"]
    assert all(name in done.stdout for name in rows)


def test_the_default_protocol_scores_models_beside_controls(
    folder: Path, small_weights: Path, tmp_path: Path
) -> None:
    command = ["evaluate", "--protocol", "default", f"a={small_weights}", f"b={small_weights}"]
    done = CliRunner().invoke(app, [*command, str(folder), "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    columns = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["columns"]
    assert list(columns) == ["a", "b", "a, wrong sound", "static face", "retargeted truth"]
    grid = score_folder([open_system(f"a={small_weights}")], folder, default_head())[0]
    assert columns["a"]["grid.seen"] == grid.seen
    assert columns["a"]["grid.unseen.u1"] == grid.unseen_clips["u1"]
    assert columns["static face"]["grid.lag_ms"] is None
    assert columns["static face"]["silence.largest"] == pytest.approx(0, abs=1e-6)
    assert columns["a"]["cost.megabytes"] == small_weights.stat().st_size / 1e6
    assert "GRID, new sentences of s1: correlation" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no such folder"),
        (["truth", "{grid}"], "needs weights on the default head's shapes"),
        (["a=default", "a=default", "{grid}"], "two systems are called a"),
        (["default", "{grid}", "--split", "val"], "--split has no meaning for --protocol grid"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(
    folder: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run(*(part.format(grid=folder) for part in arguments))
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
