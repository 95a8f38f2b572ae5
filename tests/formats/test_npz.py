"""npz keeps every bit and refuses everything that is no motion."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.motion import Motion

RNG = np.random.default_rng(3)


def test_weights_come_back_bit_for_bit(tmp_path):
    motion = Motion(
        29.97,
        weights=RNG.random((31, 3), np.float32),
        names=("jawOpen", "mouthClose", "a shape of my own"),
        head_pose=RNG.standard_normal((31, 3)).astype(np.float32),
    )
    motion.save(tmp_path / "m.npz")
    back = Motion.load(tmp_path / "m.npz")
    assert (back.fps, back.names, back.offsets) == (motion.fps, motion.names, None)
    np.testing.assert_array_equal(back.weights, motion.weights)
    np.testing.assert_array_equal(back.head_pose, motion.head_pose)


def test_offsets_come_back_bit_for_bit(tmp_path):
    motion = Motion(60.0, offsets=RNG.standard_normal((4, 7, 3)).astype(np.float32))
    motion.save(tmp_path / "m.npz")
    back = Motion.load(tmp_path / "m.npz")
    assert back.weights is None
    assert back.names == ()
    np.testing.assert_array_equal(back.offsets, motion.offsets)


def test_same_motion_same_bytes(tmp_path):
    motion = Motion(25.0, weights=RNG.random((5, 1), np.float32), names=("jawOpen",))
    motion.save([tmp_path / "a.npz", tmp_path / "b.npz"])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


GOOD = {
    "fps": np.float64(25),
    "names": np.array(["jawOpen"]),
    "weights": np.zeros((3, 1), np.float32),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": None}, "expected fps"),
        ({"weights": None}, "expected fps and weights or offsets"),
        ({"fps": np.float64(-1)}, "fps is -1"),
        ({"fps": np.float64("nan")}, "fps is nan"),
        ({"fps": np.zeros(2)}, "expected one number"),
        ({"fps": np.str_("fast")}, "expected one number"),
        ({"names": np.array(["jawOpen", "jawOpen"])}, "appears twice"),
        ({"names": np.array(["jawOpen", "mouthClose"])}, "expected (T, 2)"),
        ({"names": np.array([1.0])}, "expected a row of words"),
        ({"weights": np.array([["x"]])}, "expected finite numbers"),
        ({"weights": np.full((3, 1), np.nan)}, "expected finite numbers"),
        ({"weights": np.zeros(3)}, "weights have shape (3,)"),
        ({"head_pose": np.zeros((2, 3))}, "head_pose has shape (2, 3)"),
        ({"offsets": np.zeros((3, 4, 3))}, "exactly one"),
        ({"version": np.int64(9)}, "version 9"),
        ({"weights": np.array([[{}]], object)}, "holds Python objects"),
    ],
)
def test_what_is_no_motion(change, message, tmp_path):
    arrays = {name: value for name, value in (GOOD | change).items() if value is not None}
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(InputError) as caught:
        Motion.load(tmp_path / "m.npz")
    assert message in str(caught.value)
    assert "m.npz" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken"])
def test_damaged(content, tmp_path):
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        Motion.load(tmp_path / "m.npz")


def test_cut_off(tmp_path):
    Motion(25.0, weights=RNG.random((500, 1), np.float32), names=("jawOpen",)).save(
        tmp_path / "m.npz"
    )
    data = (tmp_path / "m.npz").read_bytes()
    (tmp_path / "m.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="damaged"):
        Motion.load(tmp_path / "m.npz")
