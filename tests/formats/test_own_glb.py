"""A character's own file with one animation more: all else as it was, and the motion is in it."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import numpy as np
import pytest

from gltf_validator import validator_errors
from jambatalk.errors import InputError
from jambatalk.face.deform import AnimatedMesh, HeadTurn
from jambatalk.face.face import Face
from jambatalk.face.gltf import Gltf
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.formats.own_glb import quaternions_of
from jambatalk.motion import Motion
from tiny_avatar import SHARED, SPOKEN, make_avatar, texture

NEW = ("accessors", "bufferViews", "animations", "buffers")


def talk(frames=12):
    time = np.arange(frames) / 25
    weights = np.zeros((frames, 52), np.float32)
    weights[:, ARKIT_NAMES.index("jawOpen")] = 0.3 * np.sin(9 * time) ** 2
    weights[:, ARKIT_NAMES.index("mouthPucker")] = 0.4 * np.cos(7 * time) ** 2
    weights[:, ARKIT_NAMES.index("eyeLookOutLeft")] = np.sin(4 * time) ** 2
    weights[:, ARKIT_NAMES.index("eyeLookInRight")] = np.sin(4 * time) ** 2
    pose = np.stack([0.2 * np.sin(5 * time), 0.3 * np.cos(4 * time), 0.1 * np.sin(3 * time)], 1)
    return Motion(25.0, weights=weights, names=ARKIT_NAMES, head_pose=pose.astype(np.float32))


def views(gltf):
    return [gltf.view(n).tobytes() for n in range(len(gltf.list("bufferViews")))]


def raw_views(gltf):
    """The stored bytes of every buffer view, packed ones too."""
    found = []
    for view in gltf.list("bufferViews"):
        packed = view.get("extensions", {}).get("EXT_meshopt_compression", view)
        start = packed.get("byteOffset", 0)
        found.append(gltf.buffer(packed["buffer"])[start : start + packed["byteLength"]])
    return found


def check_unchanged(before, after):
    """Everything that was in a file is in the other; only what is new stands behind it."""
    old, new = Gltf(before), Gltf(after)
    assert {key: value for key, value in new.document.items() if key not in NEW} == {
        key: value for key, value in old.document.items() if key not in NEW
    }
    for key in ("accessors", "bufferViews", "animations"):
        entries = old.document.get(key, [])
        assert new.document[key][: len(entries)] == entries
    assert len(new.document["animations"]) == len(old.document.get("animations", [])) + 1
    for one, other in zip(old.document["buffers"], new.document["buffers"]):
        assert {**one, "byteLength": 0} == {**other, "byteLength": 0}
    assert raw_views(new)[: len(raw_views(old))] == raw_views(old)
    return new


def posed(after, frame, tmp_path):
    """The file as a viewer shows it at one key: weights applied, nodes turned."""
    gltf = Gltf(after)
    document = json.loads(json.dumps(gltf.document))
    animation = document["animations"][-1]
    weights = {}
    for channel in animation["channels"]:
        values = gltf.accessor(animation["samplers"][channel["sampler"]]["output"])
        node = channel["target"]["node"]
        if channel["target"]["path"] == "rotation":
            document["nodes"][node]["rotation"] = [float(v) for v in values[frame]]
        else:
            weights[node] = values.reshape(frame_count(gltf), -1)[frame]
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(gltf.binary), b"BIN\0") + gltf.binary
    path = tmp_path / f"posed{frame}.glb"
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    face = Face.load(path)
    vertices = face.vertices.astype(np.float64)
    for name, binds in face.source.binds.items():
        for bind in binds:
            if bind.node in weights and bind.weight == 1.0:
                # A shape of several nodes has the same weight on each.
                value = weights[bind.node][bind.target]
        vertices = vertices + value * face.basis[face.names.index(name)]
    return vertices


def frame_count(gltf):
    sampler = gltf.document["animations"][-1]["samplers"][0]
    return gltf.length(sampler["input"])


@pytest.mark.parametrize("turned", [False, True])
def test_a_viewer_sees_what_the_renderer_draws(tmp_path, turned):
    extensions = {"VRM": {"humanoid": {"humanBones": []}}} if turned else None
    make_avatar(tmp_path / "me.glb", turned=turned, extensions=extensions)
    face = Face.load(tmp_path / "me.glb")
    motion = replace(talk(), face=face)
    motion.save(tmp_path / "talk.glb")
    check_unchanged(tmp_path / "me.glb", tmp_path / "talk.glb")
    mesh, turn = AnimatedMesh(motion), HeadTurn(face)
    for frame in (0, 3, 8, 11):
        ours = turn(mesh.vertices(frame), motion.head_pose[frame])
        theirs = posed(tmp_path / "talk.glb", frame, tmp_path)
        assert np.abs(ours - face.vertices).max() > 0.005
        assert np.abs(ours - theirs).max() < 2e-5


def test_other_parts_of_the_file_stay(tmp_path):
    make_avatar(
        tmp_path / "me.glb",
        picture=texture((200, 120, 90)),
        extensions={"ACME_thing": {"ünï": [1, 2.5, None, "あ"]}},
    )
    before = Gltf(tmp_path / "me.glb")
    before.document["animations"] = [{"name": "wave", "channels": [], "samplers": []}]
    motion = replace(talk(), face=Face.load(tmp_path / "me.glb"))
    motion.save(tmp_path / "talk.glb")
    new = check_unchanged(tmp_path / "me.glb", tmp_path / "talk.glb")
    animation = new.document["animations"][-1]
    moved = {(c["target"]["node"], c["target"]["path"]) for c in animation["channels"]}
    nodes = {new.document["nodes"][n]["name"]: path for n, path in moved}
    assert nodes["Head"] == nodes["Neck"] == nodes["LeftEye"] == nodes["RightEye"] == "rotation"
    assert nodes["HeadMesh"] == nodes["TeethMesh"] == "weights"
    # The result is a character again.
    assert Face.load(tmp_path / "talk.glb").names == SPOKEN


def test_text_with_files_beside_it_becomes_one_file(tmp_path):
    make_avatar(tmp_path / "me.glb")
    gltf = Gltf(tmp_path / "me.glb")
    (tmp_path / "me.bin").write_bytes(gltf.binary)
    gltf.document["buffers"][0]["uri"] = "me.bin"
    (tmp_path / "me.gltf").write_text(json.dumps(gltf.document))
    face = Face.load(tmp_path / "me.gltf")
    (tmp_path / "elsewhere").mkdir()
    replace(talk(), face=face).save(tmp_path / "elsewhere" / "talk.glb")
    after = Gltf(tmp_path / "elsewhere" / "talk.glb")
    assert views(after)[: len(views(gltf))] == views(gltf)
    assert np.array_equal(Face.load(tmp_path / "elsewhere" / "talk.glb").vertices, face.vertices)


def test_what_cannot_be_written(tmp_path):
    make_avatar(tmp_path / "me.glb")
    face = Face.load(tmp_path / "me.glb")
    data = (tmp_path / "me.glb").read_bytes()
    with pytest.raises(InputError, match="the character's own file"):
        replace(talk(), face=face).save(tmp_path / "me.glb")
    with pytest.raises(InputError, match="identity 'mei'"):
        replace(talk(), face=face).save(tmp_path / "talk.glb", identity="mei")
    offsets = Motion(25.0, offsets=np.zeros((2, len(face.vertices), 3), np.float32), face=face)
    with pytest.raises(InputError, match="moves vertices"):
        offsets.save(tmp_path / "talk.glb")
    assert (tmp_path / "me.glb").read_bytes() == data
    assert not (tmp_path / "talk.glb").exists()


def test_quaternions():
    rng = np.random.default_rng(0)
    q = rng.normal(size=(200, 4))
    q[:3] = np.eye(4)[:3]
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    x, y, z, w = q.T
    turns = np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], 1),
            np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], 1),
            np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], 1),
        ],
        1,
    )
    found = quaternions_of(turns)
    assert np.abs(np.abs((found * q).sum(1)) - 1).max() < 1e-6
    assert ((found[1:] * found[:-1]).sum(1) >= -1e-6).all()


def test_the_validator_finds_no_errors(tmp_path):
    make_avatar(tmp_path / "me.glb", picture=texture((200, 120, 90)))
    replace(talk(), face=Face.load(tmp_path / "me.glb")).save(tmp_path / "talk.glb")
    assert validator_errors(tmp_path / "me.glb", tmp_path / "talk.glb") == [0, 0]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["brunette-t", "vroid"])
def test_characters_of_others(tmp_path, name):
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data/avatars")
    path = SHARED / f"{name}.glb"
    replace(talk(), face=Face.load(path)).save(tmp_path / "talk.glb")
    new = check_unchanged(path, tmp_path / "talk.glb")
    animation = new.document["animations"][-1]
    nodes = {new.document["nodes"][c["target"]["node"]]["name"] for c in animation["channels"]}
    assert {"Head", "Neck"} <= nodes
    assert validator_errors(path, tmp_path / "talk.glb") == [0, 0]
