"""What the articulation rule makes of a neutral or measured motion, on the default head."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.datasets.articulation import CLASSES, POSES, articulate, teeth_edge
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.text.phones import PHONES, Timed

FPS = 25.0
CENTRE = 25


@pytest.fixture(scope="module")
def face() -> Face:
    return default_head()


def mouth(face: Face, opening: float = 0.2, frames: int = 51) -> np.ndarray:
    """Jaw a little open, with the tracked speaker's resting pucker, all the time."""
    weights = np.zeros((frames, len(face.names)), np.float32)
    weights[:, face.columns(["jawOpen", "mouthPucker"])] = opening, 0.12
    return weights


def around(phone: str) -> tuple[Timed, ...]:
    """A phone of 100 ms at the centre, between neutral vowels."""
    return (Timed("ə", 0.2, 0.95), Timed(phone, 0.95, 1.05), Timed("ə", 1.05, 1.8))


def at_centre(face: Face, phone: str, opening: float = 0.2) -> dict[str, float]:
    pose = articulate(mouth(face, opening), around(phone), FPS, face)[CENTRE]
    return dict(zip(face.names, pose.tolist()))


def points(face: Face, phone: str) -> np.ndarray:
    return face.pose(articulate(mouth(face), around(phone), FPS, face)[CENTRE])


def width(face: Face, phone: str) -> float:
    return float(np.ptp(points(face, phone)[face.regions["outer_lip_ring"], 0]))


def protrusion(face: Face, phone: str) -> float:
    return float(points(face, phone)[face.regions["outer_lip_ring"], 2].max())


@pytest.mark.parametrize("phone", ["f", "v"])
@pytest.mark.parametrize("opening", [0.02, 0.2, 0.26])
def test_labiodentals_bring_the_lower_lip_to_the_teeth(
    face: Face, phone: str, opening: float
) -> None:
    weights = articulate(mouth(face, opening), around(phone), FPS, face)[CENTRE]
    posed = face.pose(weights)
    assert face.gap_vertices is not None
    upper, lower = face.gap_vertices
    assert abs(posed[lower, 1] - teeth_edge(face)) < 1.5e-3
    assert posed[upper, 1] > teeth_edge(face) + 1e-3  # the teeth are seen
    assert 0.5 <= weights[face.columns(["mouthRollLower"])[0]] <= 0.7


@pytest.mark.parametrize("phone", ["p", "b", "m"])
def test_bilabials_shut_and_press(face: Face, phone: str) -> None:
    weights = articulate(mouth(face), around(phone), FPS, face)
    assert face.lip_gap(weights)[CENTRE] < 1e-3
    assert face.lip_gap(weights)[CENTRE - 6] > 5e-3
    shapes = at_centre(face, phone)
    assert shapes["mouthPressLeft"] > 0.1
    assert shapes["mouthRollLower"] > 0.1


@pytest.mark.parametrize("phone", ["ʃ", "ʒ", "ʧ", "ʤ"])
def test_postalveolars_are_protruded_with_a_high_jaw(face: Face, phone: str) -> None:
    shapes = at_centre(face, phone)
    assert 0.4 <= shapes["mouthFunnel"] <= 0.6
    assert shapes["jawOpen"] < 0.13
    assert protrusion(face, phone) > protrusion(face, "s") + 1e-3


def test_rounded_vowels_are_narrower_and_further_out_than_spread_ones(face: Face) -> None:
    for phone in ("u", "w", "oʊ", "ʊ"):
        assert width(face, phone) < width(face, "i") - 4e-3
        assert protrusion(face, phone) > protrusion(face, "i") + 2e-3
    assert width(face, "i") > width(face, "ə") + 2e-3
    assert width(face, "ɪ") > width(face, "ə")
    assert width(face, "u") < width(face, "ɹ") < width(face, "ə")


def test_tongue_for_dentals_and_less_for_laterals(face: Face) -> None:
    dental, lateral, other = (at_centre(face, p)["tongueOut"] for p in ("θ", "l", "k"))
    assert dental > lateral > 0.1
    assert other == 0.0


def test_sibilants_have_little_jaw_and_open_vowels_more(face: Face) -> None:
    assert at_centre(face, "s")["jawOpen"] < 0.13 < at_centre(face, "ə")["jawOpen"]
    for phone in ("ɑ", "æ", "ʌ"):
        assert at_centre(face, phone)["jawOpen"] > 0.25


def test_the_gap_keeps_its_timing(face: Face) -> None:
    weights = mouth(face, 0.0)
    opening = 0.25 * np.sin(np.linspace(0, 4 * np.pi, len(weights))) ** 2
    weights[:, face.columns(["jawOpen"])[0]] = opening
    phones = tuple(
        Timed(phone, 0.2 + 0.1 * n, 0.3 + 0.1 * n)
        for n, phone in enumerate(["s", "i", "t", "u", "n", "ɛ", "k", "ɪ", "z", "ɑ", "d", "ʌ"])
    )
    before, after = face.lip_gap(weights), face.lip_gap(articulate(weights, phones, FPS, face))
    lags = [np.corrcoef(before[5:-5], np.roll(after, shift)[5:-5])[0, 1] for shift in range(-3, 4)]
    assert int(np.argmax(lags)) == 3
    assert lags[3] > 0.97


def test_change_fades_within_the_ramps(face: Face) -> None:
    weights = mouth(face)
    plain = articulate(weights, (Timed("ə", 0.2, 1.8),), FPS, face)
    after = articulate(weights, around("f"), FPS, face)
    changed = np.flatnonzero(np.abs(after - plain).max(1) > 1e-6)
    assert changed.min() >= CENTRE - 3
    assert changed.max() <= CENTRE + 3


def test_resting_pucker_is_taken_out(face: Face) -> None:
    weights = mouth(face)
    weights[:5, face.columns(["mouthPucker"])[0]] = 0.3
    after = articulate(weights, (Timed("ə", 1.0, 1.1),), FPS, face)
    pucker = after[:, face.columns(["mouthPucker"])[0]]
    assert pucker.max() < 1e-6


def test_without_phones_and_of_unknown_phones_nothing_is_asked(face: Face) -> None:
    weights = mouth(face)
    np.testing.assert_array_equal(articulate(weights, (), FPS, face), weights)
    unknown = articulate(weights, (Timed("ǃ", 0.2, 1.8),), FPS, face)
    neutral = articulate(weights, (Timed("ə", 0.2, 1.8),), FPS, face)
    np.testing.assert_array_equal(unknown, neutral)
    assert articulate(weights[:0], around("f"), FPS, face).shape == (0, len(face.names))


def test_result_is_in_range_repeatable_and_new(face: Face) -> None:
    rng = np.random.default_rng(0)
    weights = rng.uniform(0, 1, (75, len(face.names))).astype(np.float32)
    kept = weights.copy()
    phones = tuple(Timed(p, 0.06 * n, 0.06 * n + 0.06) for n, p in enumerate(PHONES))
    one, other = (articulate(weights, phones, FPS, face) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(weights, kept)
    assert one.dtype == np.float32
    assert one.min() >= 0.0
    assert one.max() <= 1.0


def test_a_phone_shorter_than_a_frame_is_shown(face: Face) -> None:
    weights = articulate(mouth(face), (Timed("f", 0.975, 0.985),), FPS, face)
    assert weights[:, face.columns(["mouthRollLower"])[0]].max() > 0.5


def test_poses_name_shapes_of_the_head_and_phones_of_the_set(face: Face) -> None:
    for pose in POSES.values():
        face.columns(list(pose.shapes))
        assert all(0.0 <= low <= high <= 1.0 for low, high in pose.shapes.values())
    assert set(CLASSES) <= set(PHONES)
    assert set(CLASSES.values()) == set(POSES)


def test_weights_of_another_face_are_refused(face: Face) -> None:
    with pytest.raises(InputError, match=r"\(3, 4\), expected \(T, 52\)"):
        articulate(np.zeros((3, 4), np.float32), around("f"), FPS, face)


def test_a_long_stop_counts_from_its_end(face: Face) -> None:
    """The breath before a first /p/ is given to it by aligners; the mouth is open meanwhile."""
    weights = mouth(face)
    after = face.lip_gap(articulate(weights, (Timed("p", 0.2, 1.0),), FPS, face))
    np.testing.assert_allclose(after[5:19], face.lip_gap(weights)[5:19], atol=1e-6)
    assert after[23] < 1e-3


def test_a_mistimed_labial_does_not_snap_a_wide_mouth_shut(face: Face) -> None:
    weights = mouth(face, opening=0.4)
    for phone in ("b", "f"):
        after = articulate(weights, (Timed(phone, 0.95, 1.05),), FPS, face)
        np.testing.assert_allclose(face.lip_gap(after), face.lip_gap(weights), atol=1e-6)
