"""FACEGOOD: the artist's shapes on our head, and long recordings cut in their pauses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jambatalk.datasets.av_sync import cuts_at_pauses
from jambatalk.datasets.readers.facegood import JAW, FacegoodCorpus, column_shapes, facegood_weights
from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.timing import lag_ms, sound_level
from jambatalk.face.head import default_head
from tiny_corpora import FACEGOOD_COLUMNS, write_facegood

SHARED = Path(__file__).parents[3] / "shared" / "data" / "facegood"


def frame(**values: float) -> np.ndarray:
    """(1, 52) weights of one frame in which the given columns move."""
    columns = sorted({*FACEGOOD_COLUMNS, *column_shapes()})
    return facegood_weights(
        np.array([[values.get(column, 0.0) for column in columns]]), columns, default_head()
    )


def test_every_target_is_a_shape_of_the_head() -> None:
    names = {name for targets in column_shapes().values() for name, _ in targets}
    assert names <= set(default_head().names)
    assert not any(name.startswith(("eye", "brow")) for name in names)


def test_rest_is_rest_and_eyes_stay_still() -> None:
    assert not frame().any()
    assert not frame(eye_blink1_l=1.0, brow_raise_l=1.0).any()


def test_the_jaw_opens_the_mouth_and_pressed_lips_shut_it() -> None:
    head = default_head()
    opened = frame(mouth_stretch_c=0.5)
    assert opened[0, head.names.index("jawOpen")] == pytest.approx(0.5 * JAW)
    assert head.lip_gap(opened)[0] > 0.01
    for press in (
        {"mouth_press_l": 0.3, "mouth_press_r": 0.3},
        {f"mouth_suck_{end}": 0.3 for end in ("dl", "dr", "ul", "ur")},
    ):
        shut = frame(mouth_stretch_c=0.3, mouth_upperLipRaise_l=0.4, mouth_funnel_dl=0.5, **press)
        assert abs(head.lip_gap(shut)[0]) < 2e-4
    tucked = head.lip_gap(frame(mouth_stretch_c=0.3, mouth_suck_dl=0.4, mouth_suck_dr=0.4))[0]
    assert (
        5e-4 < tucked < 0.6 * head.lip_gap(frame(mouth_stretch_c=0.3))[0]
    )  # an /f/ narrows the gap, but leaves one


def test_left_stays_left_and_sums_stay_below_one() -> None:
    names = default_head().names
    smile = frame(mouth_lipCornerPull_l=0.4)
    assert smile[0, names.index("mouthSmileLeft")] == pytest.approx(0.4)
    assert smile[0, names.index("mouthSmileRight")] == 0
    assert (
        frame(mouth_oo_c=1.0, mouth_pucker_l=1.0, mouth_pucker_r=1.0)[0, names.index("mouthPucker")]
        == 1
    )


@pytest.mark.parametrize(
    ("values", "columns", "message"),
    [
        (np.zeros((3, 2)), ["mouth_stretch_c"], r"have shape \(3, 2\), expected \(T, 1\)"),
        (np.zeros((3, 1)), ["mouth_open"], "no mouth_stretch_c"),
        (
            np.full((3, 1), np.nan),
            ["mouth_stretch_c"],
            "frame 0 of FACEGOOD's weights is not finite",
        ),
    ],
)
def test_weights_that_do_not_fit(values: np.ndarray, columns: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        facegood_weights(values, columns, default_head())


def test_cuts_lie_in_the_pauses() -> None:
    rng = np.random.default_rng(0)
    speaking = np.ones(30 * 16000)
    pauses = (6.5, 14.2, 21.0)
    for start in pauses:
        speaking[round(start * 16000) : round((start + 0.8) * 16000)] = 0.001
    edges = cuts_at_pauses(
        (rng.normal(0, 0.1, len(speaking)) * speaking).astype(np.float32), 750, 25, 8.0
    )
    assert edges[0] == 0
    assert edges[-1] == 750
    assert [edge / 25 for edge in edges[1:-1]] == pytest.approx(
        [start + 0.4 for start in pauses], abs=0.2
    )
    assert cuts_at_pauses(np.zeros(16000, np.float32), 25, 25, 8.0) == [0, 25]


def test_pieces_join_to_the_whole_and_sound_stays_with_motion(tmp_path: Path) -> None:
    write_facegood(tmp_path / "raw", {"9_1_01": 40.0, "1114_3_15": 12.0})
    corpus, head = FacegoodCorpus.open(tmp_path / "raw"), default_head()
    assert FacegoodCorpus.recognises(tmp_path / "raw")
    splits = corpus.splits
    assert splits["test"] == 2
    assert splits["train"] + splits["val"] == 4
    assert splits["val"] == 1
    clips = corpus.clips(("train", "val"), head)
    assert [clip.id for clip in clips] == [f"9_1_01_{n:02d}" for n in range(4)]
    assert [clip.split for clip in clips] == ["train"] * 3 + ["val"]
    assert np.array_equal(
        np.concatenate([clip.weights for clip in clips]), corpus.weights("9_1_01", head)
    )
    assert all(len(clip.samples) == 640 * clip.frames for clip in clips)
    levels = [sound_level(clip.samples, 16000, 25, clip.frames) for clip in clips]
    assert abs(lag_ms(levels, [clip.motion.column("jawOpen") for clip in clips], 25)) < 20
    with pytest.raises(InputError, match="has no split 'dev': choose from"):
        corpus.clips("dev", head)


def test_recordings_that_do_not_fit(tmp_path: Path) -> None:
    truth = write_facegood(tmp_path / "raw", {"1_1": 4.0})
    corpus = FacegoodCorpus.open(tmp_path / "raw")
    np.save(tmp_path / "raw" / "1_1.npy", truth["1_1"][:60])
    with pytest.raises(InputError, match=r"1_1.flac lasts 4.00 s and its motion 2.00 s"):
        corpus.cut("1_1")
    np.save(tmp_path / "raw" / "1_1.npy", truth["1_1"][:, :3])
    with pytest.raises(InputError, match=r"1_1.npy holds float16 \(120, 3\), expected floats"):
        corpus.cut("1_1")
    (tmp_path / "raw" / "1_1.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="damaged, cut off or not"):
        corpus.cut("1_1")
    np.save(tmp_path / "raw" / "1_1.npy", truth["1_1"])
    (tmp_path / "raw" / "columns.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match="holds dict, expected a list of names"):
        FacegoodCorpus.open(tmp_path / "raw").cut("1_1")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the FACEGOOD recordings")
def test_the_real_recordings() -> None:
    """Counts, a plausible opening, in step with the sound, shut where the rig presses its lips."""
    corpus, head = FacegoodCorpus.open(SHARED), default_head()
    assert corpus.splits == {"train": 43, "val": 4, "test": 5}
    clips = corpus.clips("test", head)
    gap = [head.lip_gap(clip.weights) for clip in clips]
    assert 0.010 < np.percentile(np.concatenate(gap), 95) < 0.016
    levels = [sound_level(clip.samples, 16000, 25, clip.frames) for clip in clips]
    assert abs(lag_ms(levels, gap, 25)) < 25
    values, columns = np.load(SHARED / "1114_2_01.npy"), corpus.columns
    pressed = values[:, columns.index("mouth_press_l")] > 0.15
    assert pressed.sum() > 20
    assert np.abs(head.lip_gap(facegood_weights(values[pressed], columns, head))).max() < 3e-4
