"""VRM animations: read back by the specification's rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gltf_validator import validator_errors
from jambatalk.errors import InputError
from jambatalk.face.deform import pose_matrix
from jambatalk.face.face import Face
from jambatalk.face.gltf import Gltf
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.motion import Motion
from tiny_avatar import make_avatar


def talk(frames=20):
    weights = np.zeros((frames, 52), np.float32)
    time = np.linspace(0, 1, frames)
    weights[:, ARKIT_NAMES.index("jawOpen")] = 0.1 + 0.3 * time
    weights[:, ARKIT_NAMES.index("mouthPucker")] = 0.8 * (1 - time)
    weights[-1, ARKIT_NAMES.index("eyeBlinkLeft")] = 1
    for name in ("eyeLookOutLeft", "eyeLookInRight"):
        weights[:, ARKIT_NAMES.index(name)] = time
    pose = np.stack([0.1 * time, 0.4 * time, 0.05 * time], 1).astype(np.float32)
    return Motion(25.0, weights=weights, names=ARKIT_NAMES, head_pose=pose)


def read(path):
    """Expression -> (T,) weights; bone -> (T, 4) quaternions."""
    gltf = Gltf(path)
    extension = gltf.document["extensions"]["VRMC_vrm_animation"]
    animation = gltf.document["animations"][0]
    tracks = {}
    for channel in animation["channels"]:
        values = gltf.accessor(animation["samplers"][channel["sampler"]]["output"])
        tracks[channel["target"]["node"], channel["target"]["path"]] = values
    expressions = {
        (kind, name): tracks[entry["node"], "translation"][:, 0]
        for kind, entries in extension["expressions"].items()
        for name, entry in entries.items()
    }
    bones = extension["humanoid"]["humanBones"]
    turns = {
        bone: tracks[entry["node"], "rotation"]
        for bone, entry in bones.items()
        if (entry["node"], "rotation") in tracks
    }
    look = extension.get("lookAt")
    if look:
        turns["lookAt"] = tracks[look["node"], "rotation"]
    return expressions, turns, gltf


def matrix(quaternion):
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_for_any_vrm(tmp_path):
    motion = talk()
    motion.save(tmp_path / "talk.vrma")
    expressions, turns, gltf = read(tmp_path / "talk.vrma")
    presets = {name: values for (kind, name), values in expressions.items() if kind == "preset"}
    assert set(presets) == {"aa", "ih", "ou", "ee", "oh", "blinkLeft", "blinkRight"}
    opened = presets["aa"] + presets["oh"] + presets["ee"]
    assert opened[0] < 0.2 < 0.4 < opened[-1]
    assert presets["ou"][0] > 0.4 > 0.2 > presets["ou"][-1]
    assert presets["blinkLeft"][-1] == pytest.approx(1, abs=0.01)
    assert not presets["blinkRight"].any()
    whole = matrix(turns["neck"][-1]) @ matrix(turns["head"][-1])
    assert whole == pytest.approx(pose_matrix(motion.head_pose[-1]), abs=1e-5)
    # Looking to its own left is towards +x for a VRM 1.0, which faces +z.
    assert (matrix(turns["lookAt"][-1]) @ [0, 0, 1])[0] == pytest.approx(
        np.sin(np.radians(32)), abs=0.01
    )
    bones = gltf.document["extensions"]["VRMC_vrm_animation"]["humanoid"]["humanBones"]
    assert {"hips", "spine", "head", "leftUpperArm", "rightFoot"} <= set(bones)


def test_for_a_character(tmp_path):
    presets = {
        name: {"morphTargetBinds": [{"node": 5, "index": k, "weight": 1.0}]}
        for k, name in enumerate(("aa", "ou"))
    }
    custom = {"Zwinkern": {"morphTargetBinds": [{"node": 5, "index": 2, "weight": 1.0}]}}
    extensions = {
        "VRMC_vrm": {
            "specVersion": "1.0",
            "humanoid": {"humanBones": {"head": {"node": 2}, "neck": {"node": 1}}},
            "expressions": {"preset": presets, "custom": custom},
        }
    }
    shapes = ("jawOpen", "mouthPucker", "eyeBlinkLeft")
    names = dict(zip(shapes, ("x1", "x2", "x3")))
    make_avatar(tmp_path / "me.vrm", shapes, names, extensions=extensions)
    (tmp_path / "me.yaml").write_text("names: {eyeBlinkLeft: Zwinkern}")
    face = Face.load(tmp_path / "me.vrm")
    replace(talk(), face=face).save(tmp_path / "talk.vrma")
    expressions, _, _ = read(tmp_path / "talk.vrma")
    assert set(expressions) == {("preset", "aa"), ("preset", "ou"), ("custom", "Zwinkern")}
    assert expressions["preset", "aa"][-1] == pytest.approx(0.4, abs=0.05)
    assert expressions["custom", "Zwinkern"][-1] == pytest.approx(1, abs=0.01)


def test_the_validator_finds_no_errors(tmp_path):
    talk().save(tmp_path / "talk.vrma")
    replace(talk(), head_pose=None).save(tmp_path / "still.vrma")
    assert validator_errors(tmp_path / "talk.vrma", tmp_path / "still.vrma") == [0, 0]


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="vertex offsets"):
        Motion(25.0, offsets=np.zeros((2, 3, 3), np.float32)).save(tmp_path / "t.vrma")
    with pytest.raises(InputError, match="no frames"):
        Motion(25.0, weights=np.zeros((0, 52), np.float32), names=ARKIT_NAMES).save(
            tmp_path / "t.vrma"
        )
