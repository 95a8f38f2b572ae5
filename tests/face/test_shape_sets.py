"""Visemes read off ARKit's weights: of the bundled speech, live as offline, and in files."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import jambatalk
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.face.head import ARKIT_NAMES, default_head
from jambatalk.face.shape_sets import MICROSOFT, OCULUS, SHAPE_SETS, ShapeConverter, viseme_events
from jambatalk.motion import Motion
from jambatalk.text.phones import PHONES, SILENCE
from running import run

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"


@pytest.fixture(scope="module")
def motion() -> Motion:
    return jambatalk.load().animate(DEMO)


def test_every_phone_of_a_person_has_one_viseme_in_each_set() -> None:
    spoken = set(PHONES) - {SILENCE}
    oculus, microsoft = (" ".join(g).split() for g in (OCULUS.values(), MICROSOFT))
    for phones in (oculus, microsoft):
        assert len(phones) == len(set(phones))
    print("left out:", spoken - set(oculus), spoken - set(microsoft))
    assert len(spoken - set(oculus)) <= 3
    assert len(MICROSOFT) == 22
    assert len(OCULUS) == 15


@pytest.mark.parametrize("name", ["oculus", "vrm", "microsoft"])
def test_weights_are_shares(motion: Motion, name: str) -> None:
    made = motion.to_shapes(name)
    assert made.names == SHAPE_SETS[name].names
    assert made.fps == motion.fps
    assert made.speech is motion.speech
    assert made.weights is not None
    assert made.weights.min() >= 0
    assert made.weights.max() <= 1
    if name != "vrm":
        np.testing.assert_allclose(made.weights.sum(axis=1), 1, atol=1e-5)
    # Smooth as the motion is; only lips that shut from one frame to the next are as quick.
    assert np.quantile(np.abs(np.diff(made.weights, axis=0)).max(axis=1), 0.9) < 0.8


def test_closed_lips_are_closed_under_every_name(motion: Motion) -> None:
    head = default_head()
    assert motion.weights is not None
    gap = 1000 * motion.weights @ head.basis[:, head.gap_vertices[0], 1].astype(np.float64)
    gap -= 1000 * motion.weights @ head.basis[:, head.gap_vertices[1], 1].astype(np.float64)
    closed, wide = gap < 1.0, gap > 6.0
    assert closed.sum() > 20
    assert wide.sum() > 20
    oculus = motion.to_shapes("oculus")
    vowels = motion.to_shapes("vrm").weights[:, :5].sum(axis=1)  # type: ignore[index]
    shut = oculus.column("sil") + oculus.column("PP")
    np.testing.assert_allclose(shut[closed], 1, atol=1e-5)
    assert vowels[closed].max() < 1e-5
    assert np.median(shut[wide]) < 0.1
    assert np.median(vowels[wide]) > 0.4


def test_all_vowels_of_vrm_lead_some_frames(motion: Motion) -> None:
    """Before, ``ou`` led nine frames of ten: round was read off a pucker that rests at 0.12."""
    vowels = motion.to_shapes("vrm").weights[:, :5]  # type: ignore[index]
    leads = np.bincount(vowels[vowels.sum(axis=1) > 0.2].argmax(axis=1), minlength=5)
    shares = leads / leads.sum()
    print("aa ih ou ee oh lead", np.round(shares, 2))
    assert shares.min() > 0.02
    assert shares.max() < 0.65


def test_a_stream_gives_what_the_file_gives(motion: Motion) -> None:
    talker = jambatalk.load()
    session = talker.stream(shapes="oculus")
    assert session.names == tuple(OCULUS)
    speech, frames = Speech.load(DEMO), []
    for start in range(0, 48000, 4000):
        frames += session.push(speech.samples[start : start + 4000])
        if start == 16000:
            session = talker.restore(session.save())
            assert session.shapes == "oculus"
    offline = motion.to_shapes("oculus").weights
    assert offline is not None
    streamed = np.array([frame.weights for frame in frames])
    assert frames[0]["sil"] == streamed[0, 0]
    np.testing.assert_allclose(streamed, offline[: len(streamed)], atol=2e-3)


def test_events_say_when_the_mouth_changes(motion: Motion) -> None:
    events = viseme_events(motion)
    times = [time for time, _ in events]
    assert times == sorted(times)
    assert times[0] == 0.0
    assert all(a[1] != b[1] for a, b in pairwise(events))
    assert 4 < len(events) / motion.seconds < 16  # phones come at ten to fifteen a second
    assert viseme_events(motion.to_shapes("microsoft")) == events
    with pytest.raises(InputError, match="no visemes"):
        viseme_events(motion, "arkit")


def test_what_has_no_visemes() -> None:
    with pytest.raises(InputError, match="choose from arkit, oculus, vrm, microsoft"):
        ShapeConverter(ARKIT_NAMES, "oculsu")
    with pytest.raises(InputError, match="read off ARKit's shapes"):
        ShapeConverter(("left", "right"), "vrm")
    with pytest.raises(InputError, match="vertices"):
        viseme_events(Motion(25.0, offsets=np.zeros((2, 3, 3), np.float32)))
    some = ShapeConverter(("jawOpen",), "oculus")(np.array([[0.0], [0.4]]))
    assert some[0, 0] + some[0, 1] == pytest.approx(1, abs=1e-5)  # a shape that is missing is 0


def test_files_hold_them(small_weights: Path, tmp_path: Path) -> None:
    common = ("animate", DEMO, "--model", "light", "--shapes", "microsoft")
    outputs = [tmp_path / f"m.{suffix}" for suffix in ("json", "npz", "csv")]
    done = run(*common, *(word for path in outputs for word in ("-o", path)))
    assert done.status == 0, done.err
    from_json, from_npz = Motion.load(outputs[0]), Motion.load(outputs[1])
    assert from_json.names == from_npz.names == SHAPE_SETS["microsoft"].names
    head = json.loads(outputs[0].read_text())
    events = [(time, f"viseme_{number}") for time, number in head["events"]]
    assert events == [(round(time, 6), name) for time, name in viseme_events(from_npz)]
    with outputs[2].open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["time", *SHAPE_SETS["microsoft"].names]
    assert float(rows[61][0]) == pytest.approx(1.0)  # 60 a second, as csv has
    refused = run("animate", DEMO, "--shapes", "visemes", "-o", tmp_path / "x.json")
    assert refused.status == 2
    assert "expected one of arkit, oculus, vrm, microsoft" in refused.err


def test_a_face_keeps_its_own_shapes(tmp_path: Path) -> None:
    done = run("animate", DEMO, "--model", "light", "--shapes", "vrm", "-o", tmp_path / "a.glb")
    assert done.status == 0, done.err
    assert b"jawOpen" in (tmp_path / "a.glb").read_bytes()
