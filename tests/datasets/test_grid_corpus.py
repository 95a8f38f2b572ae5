"""GRID folders: what is read, what is carried to the head, and what is said about broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jambatalk.datasets.readers.grid import GridCorpus
from jambatalk.datasets.registry import load_clips, open_corpus
from jambatalk.errors import InputError
from jambatalk.face.head import default_head
from tiny_grid import FRAMES, write_grid

CLIPS = (
    ("a1", "s1", "train"),
    ("a2", "s1", "train"),
    ("a3", "s1", "val"),
    ("b1", "s2", "test_unseen"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "grid"
    write_grid(path, default_head(), CLIPS)
    return path


def test_the_folder_is_recognised_and_counted(folder: Path) -> None:
    corpus = open_corpus(folder)
    assert isinstance(corpus, GridCorpus)
    assert corpus.splits == {"train": 2, "val": 1, "test_unseen": 1}
    assert "CC BY 4.0" in corpus.credit


def test_clips_come_with_speech_motion_and_words(folder: Path) -> None:
    clips = load_clips(folder, ("train", "val"))
    assert [clip.id for clip in clips] == ["a1", "a2", "a3"]
    for clip in clips:
        assert clip.weights.shape == (FRAMES, 52)
        assert clip.weights.dtype == np.float32
        assert clip.samples.dtype == np.float32
        assert clip.samples.shape == (25600,)
        assert clip.words[1] == ("bin", 0.3, 0.8)
        assert clip.weights.min() >= 0
        assert clip.weights.max() <= 1


def test_the_head_wears_its_own_mouth_again(folder: Path) -> None:
    """The tracked face is the head itself, so the gap comes back, closed where it was closed."""
    face = default_head()
    for clip in load_clips(folder, ("train", "val", "test_unseen"), face):
        assert clip.gap is not None
        worn = face.lip_gap(clip.weights)
        assert np.corrcoef(worn, clip.gap)[0, 1] > 0.99
        assert np.abs(worn[clip.gap < 1e-4]).max() < 1e-4
        jaw = clip.motion.column("jawOpen")
        assert (
            np.corrcoef(jaw, clip.gap)[0, 1] > 0.98
        )  # an open mouth is an open jaw, not lifted lips
        assert jaw.max() > 0.2


def test_the_cache_gives_the_same_bytes_and_knows_its_head(folder: Path, tmp_path: Path) -> None:
    first = load_clips(folder, "train", cache=tmp_path)
    stored = list(tmp_path.glob("grid-*.npz"))
    assert len(stored) == 1
    again = load_clips(folder, "train", cache=tmp_path)
    assert all(np.array_equal(a.weights, b.weights) for a, b in zip(first, again))
    load_clips(folder, "train", default_head("mei"), cache=tmp_path)
    assert len(list(tmp_path.glob("grid-*.npz"))) == 2


def test_a_damaged_cache_is_made_anew(folder: Path, tmp_path: Path) -> None:
    first = load_clips(folder, "train", cache=tmp_path)
    stored = next(tmp_path.glob("grid-*.npz"))
    stored.write_bytes(stored.read_bytes()[:100])
    again = load_clips(folder, "train", cache=tmp_path)
    assert np.array_equal(first[0].weights, again[0].weights)


def test_untracked_frames_are_bridged(folder: Path, tmp_path: Path) -> None:
    corpus = GridCorpus(folder)
    entry = corpus.entries[0]
    before = corpus.positions([entry])
    tracked = corpus._load()["tracked"]
    tracked[10:13] = False
    corpus._load()["coefficients"][10:13] = 99
    after = corpus.positions([entry])
    np.testing.assert_allclose(after[10:13], np.linspace(before[9], before[13], 5)[1:-1], atol=1e-5)
    np.testing.assert_array_equal(after[13:], before[13:])


def test_unknown_folders_and_splits_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_corpus(tmp_path / "missing")
    with pytest.raises(InputError, match="is not a corpus known here"):
        open_corpus(tmp_path)
    with pytest.raises(InputError, match=r"'dev'.*train, val, test_unseen"):
        load_clips(folder, "dev")


def _copy(folder: Path, target: Path, without: str = "") -> Path:
    for path in folder.rglob("*"):
        if path.is_file() and path.name != without:
            place = target / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return target


def test_a_missing_recording_is_named(folder: Path, tmp_path: Path) -> None:
    broken = _copy(folder, tmp_path / "grid", without="a2.flac")
    with pytest.raises(InputError, match=r"cannot read .*a2\.flac"):
        load_clips(broken, "train")


def test_a_broken_line_is_named(folder: Path, tmp_path: Path) -> None:
    broken = _copy(folder, tmp_path / "grid")
    lines = (broken / "clips.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[1])
    del row["start"]
    (broken / "clips.jsonl").write_text("\n".join([lines[0], json.dumps(row)]), encoding="utf-8")
    with pytest.raises(InputError, match=r"clips\.jsonl, line 2 is damaged.*start"):
        open_corpus(broken)


def test_rows_beyond_the_motion_and_missing_arrays_are_named(folder: Path, tmp_path: Path) -> None:
    broken = _copy(folder, tmp_path / "grid")
    lines = (
        (broken / "clips.jsonl").read_text(encoding="utf-8").replace('"start": 120', '"start": 500')
    )
    (broken / "clips.jsonl").write_text(lines, encoding="utf-8")
    with pytest.raises(InputError, match="clip b1 ends at row 540 of 160"):
        load_clips(broken, "train")
    np.savez(broken / "face468.npz", vertices=np.zeros((468, 3)), faces=np.zeros((1, 3), np.int32))
    with pytest.raises(InputError, match="should hold the array 'offset_mean'"):
        load_clips(broken, "train")


def test_a_truncated_archive_is_named(folder: Path, tmp_path: Path) -> None:
    broken = _copy(folder, tmp_path / "grid")
    (broken / "motion.npz").write_bytes((folder / "motion.npz").read_bytes()[:200])
    with pytest.raises(InputError, match=r"motion\.npz is damaged, cut off"):
        load_clips(broken, "train")


@pytest.mark.shared
def test_the_real_corpus_is_worn_closely() -> None:
    shared = Path(__file__).parents[2] / ".." / "shared" / "data" / "grid"
    if not shared.is_dir():
        pytest.skip("needs ../shared/data/grid (GRID tracked with MediaPipe) beside the repository")
    face = default_head()
    clips = load_clips(shared, ("test_seen", "test_unseen"), face)
    assert len(clips) == 30
    assert sum(clip.subject == "s1" for clip in clips) == 25
    correlations = [np.corrcoef(face.lip_gap(clip.weights), clip.gap)[0, 1] for clip in clips]
    assert min(correlations) > 0.99
    worn = np.concatenate([face.lip_gap(clip.weights) for clip in clips])
    measured = np.concatenate([clip.gap for clip in clips if clip.gap is not None])
    assert worn[measured < 0.0002].max() < 0.0005
