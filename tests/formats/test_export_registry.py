"""Choosing a format by its suffix, and refusing outputs before the long work."""

from __future__ import annotations

import os

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.motion import FORMATS, Motion, check_outputs, load_motion, save_motion

MOTION = Motion(
    25.0,
    weights=np.linspace(0, 1, 20, dtype=np.float32).reshape(10, 2),
    names=("jawOpen", "mouthClose"),
)


def test_unknown_extension_lists_the_known_ones(tmp_path):
    for path in (tmp_path / "talk.xyz", tmp_path / "talk"):
        for action in (lambda p: save_motion(MOTION, p), lambda p: check_outputs([p]), load_motion):
            with pytest.raises(InputError, match="extension") as caught:
                action(path)
            assert ".npz" in str(caught.value)
    with pytest.raises(InputError, match=r"expected one of .*\.mp4.*\.glb"):
        check_outputs([tmp_path / "talk.xyz"])


def test_suffixes_ignore_case(tmp_path):
    MOTION.save(tmp_path / "TALK.NPZ")
    np.testing.assert_array_equal(Motion.load(tmp_path / "TALK.NPZ").weights, MOTION.weights)


def test_several_outputs_and_options_of_one_of_them(tmp_path):
    MOTION.save([tmp_path / "a.csv", str(tmp_path / "a.json")], shapes="all")  # an option of .glb
    assert len(Motion.load(tmp_path / "a.csv")) == len(Motion.load(tmp_path / "a.json")) == 10
    with pytest.raises(InputError, match="unknown option 'colour'"):
        MOTION.save(tmp_path / "a.csv", colour="red")


def test_outputs_are_checked_without_leaving_anything(tmp_path):
    check_outputs([tmp_path / f"new/talk{suffix}" for suffix in FORMATS])
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_outputs([tmp_path / "folder.mp4"])
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write"):
        check_outputs([tmp_path / "file" / "talk.csv"])


@pytest.mark.skipif(
    os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="root may write anywhere",
)
def test_read_only_places(tmp_path):
    target = tmp_path / "talk.csv"
    target.write_text("x")
    target.chmod(0o444)
    with pytest.raises(InputError, match="read-only"):
        check_outputs([target])
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(InputError, match="cannot write"):
            check_outputs([tmp_path / "new.csv"])
    finally:
        tmp_path.chmod(0o755)


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_motion(tmp_path / "no.npz")
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        load_motion(tmp_path / "dir.csv")
    with pytest.raises(InputError, match="cannot read a motion"):
        load_motion(tmp_path / "talk.mp4")
