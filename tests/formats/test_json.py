"""JSON holds frames with times, names and weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.motion import Motion

RNG = np.random.default_rng(4)
MOTION = Motion(
    25.0,
    weights=RNG.random((6, 2), np.float32),
    names=("jawOpen", "mouthClose"),
    head_pose=RNG.standard_normal((6, 3)).astype(np.float32),
)


def test_frames_can_be_read_by_anyone(tmp_path):
    MOTION.save(tmp_path / "m.json")
    found = json.loads((tmp_path / "m.json").read_text())
    assert (found["fps"], found["names"], found["seconds"]) == (
        25.0,
        ["jawOpen", "mouthClose"],
        6 / 25,
    )
    assert [frame["time"] for frame in found["frames"]] == pytest.approx([t / 25 for t in range(6)])
    np.testing.assert_allclose(
        [frame["weights"] for frame in found["frames"]], MOTION.weights, atol=1e-6
    )
    np.testing.assert_allclose(
        [frame["head_pose"] for frame in found["frames"]], MOTION.head_pose, atol=1e-6
    )


def test_round_trip(tmp_path):
    for motion in (MOTION, Motion(30.0, weights=np.zeros((0, 1), np.float32), names=("jawOpen",))):
        motion.save(tmp_path / "m.json")
        back = Motion.load(tmp_path / "m.json")
        assert (back.fps, back.names, len(back)) == (motion.fps, motion.names, len(motion))
        np.testing.assert_allclose(back.weights, motion.weights, atol=1e-6)


def test_offsets_do_not_fit(tmp_path):
    with pytest.raises(InputError, match=r"vertex offsets: save it as \.npz"):
        Motion(25.0, offsets=np.zeros((2, 3, 3), np.float32)).save(tmp_path / "m.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is not a motion"),
        ({"version": 2}, "is not a motion"),
        ({"names": "jawOpen"}, "expected a list of names"),
        ({"fps": "fast"}, "fps as a number"),
        ({"fps": 0}, "fps is 0"),
        ({"names": ["jawOpen", "jawOpen"]}, "appears twice"),
        ({"frames": [{"time": 0, "weights": [1.0]}]}, "every frame holds 2 weights"),
        ({"frames": [{"time": 0}]}, "every frame holds 2 weights"),
        ({"frames": [{"weights": [0.0, float("nan")]}]}, "not finite"),
    ],
)
def test_what_is_no_motion(change, message, tmp_path):
    MOTION.save(tmp_path / "m.json")
    found = json.loads((tmp_path / "m.json").read_text())
    (tmp_path / "m.json").write_text(json.dumps(found | change))
    with pytest.raises(InputError) as caught:
        Motion.load(tmp_path / "m.json")
    assert message in str(caught.value)


def test_damaged(tmp_path):
    for content in ("", "[1, 2]", "{broken"):
        (tmp_path / "m.json").write_text(content)
        with pytest.raises(InputError, match=r"m\.json"):
            Motion.load(tmp_path / "m.json")
