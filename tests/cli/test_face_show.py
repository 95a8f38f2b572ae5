"""``jambatalk face show`` and ``animate --face``: a character from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from jambatalk.face.gltf import Gltf
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.motion import Motion
from running import run
from tiny_avatar import SPOKEN, make_avatar


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_what_is_found_is_listed(tmp_path):
    names = {"mouthClose": "shut_it", "mouthFunnel": "AK_20_MouthFunnel"}
    make_avatar(tmp_path / "me.glb", (*SPOKEN, "cheekPuff"), names)
    found = run("face", "show", "me.glb").out
    assert "6 shapes (5 ARKit)" in found
    assert "4 move the mouth: jawOpen, AK_20_MouthFunnel, mouthPucker, mouthStretchLeft" in found
    assert "1 have an unknown name: shut_it" in found
    assert "joints: head, left_eye, neck, right_eye" in found
    assert "lips: found" in found
    assert found.rstrip().endswith("it can speak")
    report = json.loads(run("face", "show", "me.glb", "--json").out)
    assert report["ok"]
    assert {"mouthClose", "mouthPressLeft"} <= set(report["missing"])
    wanted, made = report["mouths"]["ah"]["opening"]
    assert made == pytest.approx(wanted, rel=0.1)


def test_a_yaml_beside_it_says_what_names_mean(tmp_path):
    make_avatar(tmp_path / "me.glb", names={"jawOpen": "Gosche", "mouthPucker": "Schnute"})
    assert "2 have an unknown name: Gosche, Schnute" in run("face", "show", "me.glb").out
    (tmp_path / "me.yaml").write_text(
        "names: {jawOpen: Gosche, schnute: Schnute}\nrecipes: {schnute: {mouthPucker: 1}}\n"
    )
    report = json.loads(run("face", "show", "me.glb", "--json").out)
    assert {"Gosche", "Schnute"} <= set(report["speaking"])
    assert not report["unknown"]
    (tmp_path / "me.yaml").write_text("names: 3")
    assert "me.yaml" in run("face", "show", "me.glb").error


def test_a_sheet_is_drawn(tmp_path):
    make_avatar(tmp_path / "me.glb")
    assert run("face", "show", "me.glb", "-o", "sheet.png", "--size", "64").status == 0
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[0] > 200
    assert sheet.std() > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.glb",), "no face at none.glb"),
        (("me.fbx",), "no face that can be read"),
        (("me.glb", "-o", "sheet.jpg"), "ending in .png"),
    ],
)
def test_what_cannot_be_shown(tmp_path, arguments, message):
    make_avatar(tmp_path / "me.glb")
    outcome = run("face", "show", *arguments)
    assert outcome.status == 2
    assert message in outcome.error


def test_a_face_that_cannot_speak_says_why(tmp_path):
    make_avatar(tmp_path / "me.glb", shapes=())
    outcome = run("face", "show", "me.glb", "-o", "sheet.png", "--size", "64")
    assert outcome.status == 0
    assert "it cannot speak: this face has no shapes" in outcome.out
    Motion(25.0, weights=np.zeros((3, 52), np.float32), names=ARKIT_NAMES).save("m.npz")
    assert "no shapes" in run("animate", "m.npz", "--face", "me.glb", "-o", "t.glb").error


def test_animate_with_a_character(tmp_path):
    make_avatar(tmp_path / "me.glb")
    weights = np.zeros((5, 52), np.float32)
    weights[:, ARKIT_NAMES.index("jawOpen")] = [0, 0.2, 0.4, 0.2, 0]
    Motion(25.0, weights=weights, names=ARKIT_NAMES).save("m.npz")
    outcome = run(
        "animate",
        "m.npz",
        "--face",
        "me.glb",
        "-o",
        "t.glb",
        "-o",
        "t.mp4",
        "--size",
        "64",
        "--life",
        "off",
    )
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "t.mp4").stat().st_size > 1000
    written = Gltf(tmp_path / "t.glb")
    animation = written.document["animations"][-1]
    assert animation["name"] == "speech"
    assert len(written.document["nodes"]) == len(Gltf(tmp_path / "me.glb").document["nodes"])
    assert "own file" in run("animate", "m.npz", "--face", "me.glb", "-o", "me.glb").error
