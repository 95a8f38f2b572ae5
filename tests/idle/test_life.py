"""Life over speech: off changes nothing, cuts change nothing, the mouth is left alone, angles stay
within their bounds."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.idle import IdleMotion, IdleSettings, add_idle_motion
from jambatalk.idle.behaviours import FASTEST, LARGEST, QUICKEST
from jambatalk.idle.prosody import PITCH_WINDOW, pitch
from jambatalk.motion import Motion
from jambatalk.streaming.serialize import deserialize, serialize
from small_network import speechlike

SOUND = speechlike(20.0)
ON = IdleSettings()


def whole(
    settings: IdleSettings, fps: float = 25.0, sound: np.ndarray = SOUND
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and pose over a face at rest, with everything at once."""
    life = IdleMotion(settings, ARKIT_NAMES, fps)
    life.feed(sound)
    weights, pose = life.apply(np.zeros((int(len(sound) / 16000 * fps), 52), np.float32))
    return weights, pose if pose is not None else np.zeros((len(weights), 3), np.float32)


def test_off_leaves_the_frames_untouched() -> None:
    life = IdleMotion(IdleSettings.parse("off"), ARKIT_NAMES, 25.0)
    frames = np.random.default_rng(0).random((40, 52), np.float32)
    life.feed(SOUND)
    out, pose = life.apply(frames)
    assert out is frames
    assert pose is None
    assert life.off
    motion = Motion(25.0, weights=frames, names=ARKIT_NAMES, speech=Speech(SOUND))
    assert add_idle_motion(motion, IdleSettings.parse("off")) is motion


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 9000), min_size=1, max_size=30),
    seed=st.integers(0, 2**63 - 1),
    fps=st.sampled_from([24.0, 25.0, 29.97, 60.0]),
)
def test_cuts_do_not_matter(cuts: list[int], seed: int, fps: float) -> None:
    sound = SOUND[: 5 * 16000]
    weights, pose = whole(IdleSettings(seed=seed), fps, sound)
    life = IdleMotion(IdleSettings(seed=seed), ARKIT_NAMES, fps)
    heard = made = 0
    parts = []
    for k in range(len(sound)):
        piece = sound[heard : heard + cuts[k % len(cuts)]]
        life.feed(piece)
        heard += len(piece)
        ready = int(heard / 16000 * fps)
        parts.append(life.apply(np.zeros((ready - made, 52), np.float32)))
        made = ready
        if k % 7 == 3:  # stored and taken up by another on the way
            data = serialize({"life": life.state()})
            life = IdleMotion(IdleSettings(seed=seed), ARKIT_NAMES, fps)
            life.load_state(deserialize(data)["life"])
        if heard == len(sound):
            break
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), weights[:made])
    np.testing.assert_array_equal(
        np.concatenate([part for _, part in parts if part is not None]), pose[:made]
    )


def test_only_eyes_and_brows_move() -> None:
    frames = np.random.default_rng(1).random((500, 52), np.float32)
    life = IdleMotion(IdleSettings(2, 2, 2, 2), ARKIT_NAMES, 25.0)
    life.feed(SOUND)
    out, _ = life.apply(frames.copy())
    for column, name in enumerate(ARKIT_NAMES):
        if name.startswith(("jaw", "mouth", "cheek", "nose", "tongue", "browDown", "eyeSquint")):
            np.testing.assert_array_equal(out[:, column], frames[:, column], err_msg=name)
    assert out.min() >= 0
    assert out.max() <= 1


def rising_voice(semitones: float, seconds: float = 1.2, hertz: float = 120.0) -> np.ndarray:
    """A hum of several harmonics that rises so far over its last 0.3 s, and then silence."""
    t = np.arange(round(seconds * 16000)) / 16000
    share = np.clip((t - seconds + 0.3) / 0.3, 0.0, 1.0)
    phase = 2 * np.pi * np.cumsum(hertz * 2 ** (semitones * share / 12)) / 16000
    voice = sum(np.sin(k * phase) / k for k in range(1, 8))
    return np.concatenate([0.1 * voice, np.zeros(8000)]).astype(np.float32)


@pytest.mark.parametrize("hertz", [75.0, 110.0, 220.0, 390.0])
def test_the_fundamental_frequency_is_measured(hertz: float) -> None:
    t = np.arange(PITCH_WINDOW) / 16000
    for first in (1, 2):  # also where the fundamental itself is missing, as over a telephone
        voice = sum(np.sin(2 * np.pi * k * hertz * t) / k for k in range(first, 12))
        found = pitch((0.1 * voice).astype(np.float32))
        assert abs(12 * np.log2(found / hertz)) < 0.5, (first, found)
    rng = np.random.default_rng(0)
    noise = [pitch(rng.normal(0, 0.1, PITCH_WINDOW).astype(np.float32)) for _ in range(50)]
    assert np.mean(np.array(noise) > 0) < 0.1
    assert pitch(np.zeros(PITCH_WINDOW, np.float32)) == 0.0


@pytest.mark.parametrize(("semitones", "asks"), [(6.0, True), (0.0, False), (-6.0, False)])
def test_brows_rise_at_the_end_of_a_question(semitones: float, asks: bool) -> None:
    raised = []
    for seed in range(20):
        life = IdleMotion(IdleSettings(0, 0, 0, 0, seed), ARKIT_NAMES, 25.0)
        life.feed(rising_voice(semitones))
        out, pose = life.apply(np.zeros((42, 52), np.float32))
        assert pose is None
        after = out[round(1.4 * 25) :, ARKIT_NAMES.index("browInnerUp")]
        raised.append(float(after.max()))
    assert (min(raised) > 0.25) if asks else (np.median(raised) < 0.05), raised


def test_brows_mark_some_accents_and_are_not_even() -> None:
    settings = IdleSettings(0, 0, 0, 0, 3)
    out, _ = whole(settings, 25.0)
    names = ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")
    inner, left, right = (out[:, ARKIT_NAMES.index(name)] for name in names)
    rises = np.flatnonzero((inner[1:] > 0.05) & (inner[:-1] <= 0.05))
    syllables = len(SOUND) / 16000 * 3.1 / 2  # of the sound, at most
    assert 2 <= len(rises) < syllables
    assert 0.1 < inner.max() <= 0.5
    assert 0 < np.abs(left - right).max() < 0.16 * inner.max()
    still, _ = whole(IdleSettings(0, 0, 0, 0, 3, brows=0), 25.0)
    assert not still[:, ARKIT_NAMES.index("browInnerUp")].any()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("strength", [1.0, 2.0])
def test_the_head_stays_within_its_bounds(seed: int, strength: float) -> None:
    fps = 100.0
    _, pose = whole(IdleSettings(0, 0, strength, 0, seed), fps)
    angles = pose.astype(np.float64)
    speed = np.diff(angles, axis=0) * fps
    acceleration = np.diff(speed, axis=0) * fps
    assert np.abs(angles).max() <= strength * LARGEST
    assert np.abs(speed).max() <= strength * FASTEST
    assert np.abs(acceleration).max() <= strength * QUICKEST
    assert np.ptp(angles, axis=0).min() > np.radians(0.5)  # and it does move


def blinks_of(weights: np.ndarray, fps: float) -> np.ndarray:
    """Times at which the lids begin to close."""
    closed = weights[:, ARKIT_NAMES.index("eyeBlinkLeft")] > 0.5
    return np.flatnonzero(closed[1:] & ~closed[:-1]) / fps


def test_blinks_come_at_peoples_rates_and_more_at_speech() -> None:
    """17 a minute at rest, 26 in conversation (Bentivoglio et al. 1997): within a third, over ten
    seeds of five minutes."""
    minutes, rest, talk = 5, [], []
    recorded = Speech.load((files("jambatalk") / "assets" / "demo.flac").read_bytes()).samples
    silence, speech = (
        np.zeros(minutes * 60 * 16000, np.float32),
        np.resize(recorded, minutes * 60 * 16000),
    )
    for seed in range(10):
        only = IdleSettings(1, 0, 0, 0, seed)
        for sound, counts in ((silence, rest), (speech, talk)):
            life = IdleMotion(only, ARKIT_NAMES, 25.0)
            life.feed(sound)
            counts.append(
                len(blinks_of(life.apply(np.zeros((minutes * 1500, 52), np.float32))[0], 25.0))
                / minutes
            )
    assert 17 * 2 / 3 < np.mean(rest) < 17 * 4 / 3
    assert 26 * 2 / 3 < np.mean(talk) < 26 * 4 / 3
    assert np.mean(talk) > 1.2 * np.mean(rest)
    assert len(set(rest)) > 1  # seeds differ


def test_a_blink_is_quick_closes_wholly_and_opens_slower() -> None:
    weights, _ = whole(IdleSettings(1, 0, 0, 0), 200.0)
    lids = weights[:, ARKIT_NAMES.index("eyeBlinkLeft")]
    np.testing.assert_array_equal(lids, weights[:, ARKIT_NAMES.index("eyeBlinkRight")])
    moving = np.flatnonzero(lids > 0)
    runs = np.split(moving, np.flatnonzero(np.diff(moving) > 1) + 1)
    assert len(runs) >= 3
    for run in runs:
        top = lids[run]
        shut = np.flatnonzero(top > 0.999)
        assert len(shut)
        assert 0.2 < len(run) / 200 < 0.4
        assert shut[0] < len(top) - shut[-1]  # down faster than up


def test_strength_none_of_a_part_stops_that_part_alone() -> None:
    everything, pose = whole(ON)
    for part in ("blinks", "gaze", "head", "breath"):
        assert getattr(IdleSettings.parse(f"{part}=0"), part) == 0
    still, still_pose = whole(IdleSettings.parse("blinks=0"))
    column = ARKIT_NAMES.index("eyeBlinkLeft")
    assert still[:, column].max() < 0.5 < everything[:, column].max()
    np.testing.assert_array_equal(still_pose, pose)
    _, only_breath = whole(IdleSettings.parse("head=0"))
    assert np.abs(only_breath[:, 1:]).max() == 0
    assert np.abs(only_breath[:, 0]).max() > 0
    gazeless, _ = whole(IdleSettings.parse("gaze=0"))
    assert all(
        gazeless[:, i].max() == 0
        for i, name in enumerate(ARKIT_NAMES)
        if name.startswith("eyeLook")
    )


def test_seeds_differ_and_repeat() -> None:
    first, again, other = (whole(IdleSettings(seed=seed))[1] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_nods_follow_the_voice() -> None:
    """Stressed syllables move the head more than silence does."""
    spoken, silent = (
        whole(IdleSettings(0, 0, 1, 0, 1), 25.0, sound)[1]
        for sound in (SOUND, np.zeros_like(SOUND))
    )
    assert np.abs(np.diff(spoken[:, 0])).mean() > 1.5 * np.abs(np.diff(silent[:, 0])).mean()


def test_eyes_turn_against_the_head() -> None:
    """What the head turns to a side the eyes turn back, so that the viewer stays looked at."""
    weights, pose = whole(IdleSettings(0, 1, 1, 0))
    one, other = (
        weights[:, ARKIT_NAMES.index(name)] for name in ("eyeLookOutLeft", "eyeLookInLeft")
    )
    assert np.corrcoef(one - other, -pose[:, 1])[0, 1] > 0.3


def test_shapes_that_are_missing_are_added() -> None:
    life = IdleMotion(ON, ("jawOpen",), 25.0)
    assert life.names[0] == "jawOpen"
    assert {"eyeBlinkLeft", "eyeLookUpRight", "browInnerUp"} <= set(life.names)
    life.feed(SOUND)
    out, pose = life.apply(np.full((100, 1), 0.25, np.float32))
    assert out.shape == (100, len(life.names))
    assert pose is not None
    np.testing.assert_array_equal(out[:, 0], np.float32(0.25))


def test_memory_does_not_grow() -> None:
    life = IdleMotion(ON, ARKIT_NAMES, 25.0)
    sizes = []
    for _ in range(6):
        for _ in range(100):
            life.feed(SOUND[:640])
            life.apply(np.zeros((1, 52), np.float32))
        sizes.append(len(serialize({"life": life.state()})))
    assert max(sizes[1:]) < sizes[0] + 200  # digits of counters


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("blinks=3", "strength from 0 to 2"),
        ("blinks=nan", "strength from 0 to 2"),
        ("wink=1", "expected one of blinks, gaze, head, breath, seed"),
        ("blinks", "expected on, off"),
        ("blinks=1,blinks=0", "each value once"),
        ("head=strong", "expected a number"),
        ("seed=-1", "whole number"),
        ("seed=1.5", "expected a number"),
    ],
)
def test_bad_settings_say_what_was_expected(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        IdleSettings.parse(text)


def test_states_of_others_are_refused() -> None:
    life = IdleMotion(ON, ARKIT_NAMES, 25.0)
    state = life.state()
    for other in (
        IdleMotion(IdleSettings(seed=1), ARKIT_NAMES, 25.0),
        IdleMotion(ON, ARKIT_NAMES, 30.0),
        IdleMotion(ON, ("jawOpen",), 25.0),
    ):
        with pytest.raises(InputError, match="life was saved"):
            other.load_state(state)
    with pytest.raises(InputError, match="damaged"):
        life.load_state({"settings": {}, "fps": 25.0})
    with pytest.raises(InputError, match="has none"):
        IdleMotion(ON, (), 25.0)
    with pytest.raises(InputError, match="fps is nan"):
        IdleMotion(ON, ARKIT_NAMES, float("nan"))
    with pytest.raises(InputError, match="frames have shape"):
        life.apply(np.zeros((2, 3), np.float32))
