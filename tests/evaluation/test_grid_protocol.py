"""The GRID protocol and its script on a made-up corpus, where every row's value is known."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jambatalk.datasets.clip import Clip
from jambatalk.datasets.registry import load_clips
from jambatalk.errors import InputError
from jambatalk.evaluation.protocols.grid import SPLITS, predict, score_gaps, score_weights, shuffled
from jambatalk.face.head import default_head
from tiny_grid import FRAMES, write_grid

ROOT = Path(__file__).parents[2]
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


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "evaluate_grid.py"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", env=environment, check=False
    )


def test_the_script_scores_a_model_beside_its_controls(
    folder: Path, small_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "grid.json"
    done = _run(str(small_weights), "--data", str(folder), "--json", str(out))
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(out.read_text(encoding="utf-8"))["rows"]}
    assert list(rows) == [
        "model",
        "model, shuffled audio",
        "static face",
        "truth as worn",
        "truth as measured",
    ]
    assert rows["truth as measured"]["seen"] == pytest.approx(1)
    assert abs(rows["model"]["seen"]) < 0.9  # the weights are random
    assert all(name in done.stdout for name in rows)


def test_the_script_ends_with_2_and_one_line_for_bad_input(tmp_path: Path) -> None:
    done = _run("none", "--data", str(tmp_path / "missing"))
    assert done.returncode == 2
    assert done.stderr.strip().startswith("error: no such folder")
    assert len(done.stderr.strip().splitlines()) == 1
