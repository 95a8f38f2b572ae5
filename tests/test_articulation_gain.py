"""``articulation``: how far the mouth moves, in files, sessions and on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jambatalk
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.face.head import ARKIT_NAMES, default_head
from jambatalk.server.protocol import parse_start
from jambatalk.session import articulation_gains
from running import run


@pytest.fixture(scope="module")
def speech() -> Speech:
    demo = Path(jambatalk.__file__).parent / "assets" / "demo.flac"
    return Speech(Speech.load(demo).samples[: 4 * 16000])


def test_the_gap_follows_the_factor_and_closures_stay(speech: Speech) -> None:
    face = default_head()
    gaps = {}
    for factor in (0.5, 1.0, 1.5):
        weights = jambatalk.load("light", articulation=factor).animate(speech).weights
        assert weights.min() >= 0.0
        assert weights.max() <= 1.0
        gaps[factor] = face.lip_gap(weights) * 1e3
    shut = gaps[1.0] < 0.8
    assert shut.sum() > 3
    for factor, gap in gaps.items():
        assert gap[shut].max() < 0.8 * factor + 0.1, factor  # the lips stay as near as they were
        assert gap.min() > -0.3, factor  # lips do not cross
    wide = gaps[1.0] > 3.0
    assert gaps[0.5][wide] == pytest.approx(0.5 * gaps[1.0][wide], rel=0.05)
    assert (gaps[1.5][wide] > 1.2 * gaps[1.0][wide]).all()


def test_only_the_mouth_is_scaled() -> None:
    gains = articulation_gains(ARKIT_NAMES, 1.4)
    assert gains is not None
    scaled = {name for name, gain in zip(ARKIT_NAMES, gains, strict=True) if gain != 1.0}
    assert {"jawOpen", "mouthPucker", "mouthClose", "tongueOut", "cheekPuff"} <= scaled
    assert not any(name.startswith(("eye", "brow", "nose", "cheekSquint")) for name in scaled)
    assert articulation_gains(ARKIT_NAMES, 1.0) is None


def test_streams_and_files_are_the_same(small_weights: Path, speech: Speech) -> None:
    talker = jambatalk.load(small_weights, articulation=1.3)
    whole = talker.animate(speech).weights
    plain = jambatalk.load(small_weights)
    session = plain.stream(articulation=1.3)
    frames = []
    for start in range(0, len(speech.samples), 777):
        frames += session.push(speech.samples[start : start + 777])
        if start == 777 * 20:  # stored and continued
            session = plain.restore(session.save())
            assert session.articulation == 1.3
    frames += session.flush()
    streamed = np.array([frame.weights for frame in frames])
    # Pieces of other sizes are rounded differently by the network itself.
    assert np.allclose(streamed, whole, atol=1e-5)
    assert not np.allclose(plain.animate(speech).weights, whole, atol=1e-2)
    assert talker.stream().articulation == 1.3
    np.testing.assert_array_equal(plain.animate(speech, articulation=1.3).weights, whole)


def test_values_out_of_range_are_refused(small_weights: Path, tmp_path: Path) -> None:
    for value in (0.4, 1.6, float("nan"), "much", True):
        with pytest.raises(InputError, match=r"articulation is .*, expected 0\.5 to 1\.5"):
            jambatalk.load(small_weights, articulation=value)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="moves vertices"):
        articulation_gains((), 1.2)
    with pytest.raises(InputError, match=r"expected 0\.5 to 1\.5"):
        parse_start({"type": "start", "articulation": 9})
    assert parse_start({"type": "start", "articulation": 0.7}).articulation == 0.7


def test_the_command_scales_and_makes_again_what_differs(
    small_weights: Path, speech: Speech, tmp_path: Path
) -> None:
    import soundfile

    sound = tmp_path / "a.wav"
    soundfile.write(sound, speech.samples, 16000)
    wanted = ("animate", sound, "--model", small_weights, "-o", tmp_path / "a.npz")
    assert run(*wanted, "--articulation", "1.4").status == 0
    much = np.load(tmp_path / "a.npz")["weights"]
    assert run(*wanted).status == 0
    plain = np.load(tmp_path / "a.npz")["weights"]
    jaw = ARKIT_NAMES.index("jawOpen")
    assert much[:, jaw] == pytest.approx(np.clip(1.4 * plain[:, jaw], 0, 1), abs=1e-5)
    outcome = run(*wanted, "--articulation", "3")
    assert outcome.status == 2
    assert "expected 0.5 to 1.5" in outcome.err
