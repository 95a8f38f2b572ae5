"""The phone model learns a made-up rule from phones to motion, and keeps its promises on phones it
never saw.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from jambatalk.datasets.clip import Clip
from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.closure import touch_rate
from jambatalk.evaluation.protocols.grid import score_phone_motion
from jambatalk.face.head import default_head
from jambatalk.motion import Motion
from jambatalk.text.phone_motion import load_phone_motion, save_phone_motion
from jambatalk.text.phones import Timed, features_of
from jambatalk.training.phone_motion import PhoneFitConfig, fit_phone_motion

FPS = 25.0
HEARD = ("p", "b", "ɑ", "i", "s", "u", "ɛ", "n")


def _clip(seed: int, phones: tuple[str, ...]) -> Clip:
    """Phones of 0.2 s; the jaw opens with how open the phone is, after a smooth way."""
    rng = np.random.default_rng(seed)
    spoken = [
        Timed("sil", 0.0, 0.2),
        *(Timed(str(rng.choice(phones)), 0.2 * i, 0.2 * (i + 1)) for i in range(1, 9)),
    ]
    spoken.append(Timed("sil", 1.8, 2.0))
    face = default_head()
    times = np.arange(50) / FPS
    openness = np.array([features_of(p)[0][2] for p, _, _ in spoken])
    centres = np.array([(a + b) / 2 for _, a, b in spoken])
    weights = np.zeros((50, len(face.names)), np.float32)
    weights[:, face.names.index("jawOpen")] = 0.3 * np.interp(times, centres, openness)
    return Clip(
        f"c{seed}",
        "s",
        "train",
        np.zeros(32000, np.float32),
        Motion(FPS, weights=weights, names=face.names),
        phones=tuple(spoken),
        corpus="made",
    )


@pytest.fixture(scope="module")
def fitted():
    clips = [_clip(seed, HEARD) for seed in range(40)]
    return fit_phone_motion(
        clips, default_head(), PhoneFitConfig(steps=80, batch_size=8, width=24, pace=0.0)
    )


def test_it_learns_the_rule_and_applies_it_to_phones_it_never_saw(fitted) -> None:
    face = default_head()
    score = score_phone_motion(fitted, [_clip(99, HEARD), _clip(98, HEARD)], face)
    assert score["gap correlation"] > 0.9
    assert abs(score["lag ms"]) <= 40
    assert score["bilabials closed"] == 1.0
    # /æ/ is open and /ɡ/ is not; neither was in the data.
    jaw = face.names.index("jawOpen")
    opened = fitted.weights(
        [Timed("ɡ", 0.0, 0.4), Timed("æ", 0.4, 0.8), Timed("m", 0.8, 1.0)], 25, FPS
    )
    assert opened[15, jaw] > opened[5, jaw] + 0.05
    assert face.lip_gap(opened)[22] < 0.001
    # In a pause the mouth is as it was in those of the clips: shut.
    assert (
        face.lip_gap(
            fitted.weights(
                [Timed("ɑ", 0.0, 0.2), Timed("sil", 0.2, 1.0), Timed("ɑ", 1.0, 1.2)], 30, FPS
            )
        )[15]
        < 5e-4
    )


def test_any_frame_rate_and_length(fitted) -> None:
    phones = [Timed("p", 0.1, 0.2), Timed("ɑ", 0.2, 0.5)]
    at_25, at_50 = fitted.weights(phones, 25, 25.0), fitted.weights(phones, 50, 50.0)
    assert at_25.shape == (25, 52)
    assert at_50.shape == (50, 52)
    assert np.abs(at_50[::2][10:] - at_25[10:]).max() < 0.05
    assert fitted.weights([], 3, 25.0).shape == (3, 52)
    with pytest.raises(ValueError, match="not a phone known"):
        fitted.weights([Timed("¿", 0, 1)], 25, 25.0)


def test_a_file_holds_the_model(fitted, tmp_path: Path) -> None:
    save_phone_motion(tmp_path / "p.safetensors", fitted)
    loaded = load_phone_motion(tmp_path / "p.safetensors")
    phones = _clip(5, HEARD).phones
    np.testing.assert_allclose(
        loaded.weights(phones, 50, FPS), fitted.weights(phones, 50, FPS), atol=5e-3
    )
    assert loaded.names == fitted.names
    with pytest.raises(InputError, match="no phone model at"):
        load_phone_motion(tmp_path / "none.safetensors")
    save_file({"x": np.zeros(1, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="is of format None"):
        load_phone_motion(tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "p.safetensors").read_bytes()[:2000])
    with pytest.raises(InputError, match="damaged"):
        load_phone_motion(tmp_path / "cut.safetensors")


def test_fitting_is_reproducible() -> None:
    clips = [_clip(seed, HEARD) for seed in range(4)]
    one, other = (
        fit_phone_motion(
            clips, default_head(), PhoneFitConfig(steps=3, batch_size=2, width=8)
        ).weights(clips[0].phones, 50, FPS)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)


def test_clips_without_phones_or_bilabials_are_refused() -> None:
    from dataclasses import replace

    with pytest.raises(InputError, match="no timed phones"):
        fit_phone_motion([replace(_clip(0, HEARD), phones=())], default_head())
    with pytest.raises(InputError, match="/p/, /b/ or /m/"):
        fit_phone_motion([_clip(0, ("s", "i"))], default_head())


def test_shut_counts_the_frames_around_the_phone() -> None:
    gap = np.full(50, 5.0)
    gap[10] = 0.2
    phones = [[Timed("p", 0.36, 0.44), Timed("ɑ", 0.44, 0.8), Timed("m", 1.0, 1.1)]]
    assert touch_rate([gap], phones, FPS) == 0.5
    assert np.isnan(touch_rate([gap], [[Timed("ɑ", 0, 1)]], FPS))
