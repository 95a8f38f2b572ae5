"""``jambatalk convert released``: what it prints, how it refuses, and that its weights animate."""

from __future__ import annotations

import json
import os

import pytest
import torch

from running import run, write_wav

pytest.importorskip("transformers", reason="transformers is not installed")

from jambatalk.motion import Motion
from released_tiny import VERTICES, tiny_checkpoint


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save(tensors: object, name: str = "authors.pth") -> str:
    torch.save(tensors, name)
    return name


def test_converts_and_animates(tmp_path):
    tensors = tiny_checkpoint()
    done = run(
        "convert",
        "released",
        save(tensors),
        "-o",
        "out.safetensors",
        "--preset",
        "released-vocaset",
    )
    assert done.status == 0
    assert done.out == ""
    assert (
        f"authors.pth (released-vocaset) -> out.safetensors: {len(tensors)} tensors, " in done.err
    )
    assert "of them for training alone" in done.err
    assert f"moves {VERTICES} vertices at 30 fps" in done.err
    write_wav(tmp_path / "a.wav", seconds=1.0)
    animated = run("animate", "a.wav", "-o", "a.npz", "--model", "out.safetensors", "--json")
    assert animated.status == 0
    assert json.loads(animated.out)["results"][0]["frames"] == 29
    assert Motion.load("a.npz").offsets.shape == (29, VERTICES, 3)


def test_smaller_files():
    sizes = []
    for options in ((), ("--without-lip-reader",), ("--without-lip-reader", "--half")):
        assert (
            run(
                "convert",
                "released",
                save(tiny_checkpoint()),
                "-o",
                "a.safetensors",
                "--preset",
                "released-vocaset",
                *options,
            ).status
            == 0
        )
        sizes.append(os.path.getsize("a.safetensors"))
    assert sizes[1] < 0.6 * sizes[0]
    assert sizes[2] < 0.7 * sizes[1]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            {},
            (),
            "name its layout by --preset released-vocaset (5,023 vertices) or "
            "released-biwi6 (3,895 vertices)",
        ),
        (
            {"more": torch.ones(1)},
            ("--preset", "released-vocaset"),
            "tensors that the released code does not have: more",
        ),
        (
            {"mamba.D": torch.ones(3)},
            ("--preset", "released-vocaset"),
            "mamba.D is (3,), expected (32,)",
        ),
        (
            {"mamba.D": print},
            ("--preset", "released-vocaset"),
            "authors.pth is refused: it asks to run print",
        ),
        ({}, ("--preset", "paper-vocaset"), "preset 'paper-vocaset' is not a released layout"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(change, options, message):
    save(tiny_checkpoint() | change)
    assert (
        message
        in run("convert", "released", "authors.pth", "-o", "out.safetensors", *options).error
    )
    assert os.listdir() == ["authors.pth"]


def test_file_names():
    assert (
        "error: no checkpoint at nothing.pth"
        in run("convert", "released", "nothing.pth", "-o", "a.safetensors").error
    )
    assert (
        "expected one that ends in .safetensors"
        in run("convert", "released", "nothing.pth", "-o", "a.pth").error
    )
    assert run("convert", "released", "nothing.pth").status == 2
    assert "released" in run("convert", "--help").out


def test_vertices_want_a_mesh(tmp_path):
    save(tiny_checkpoint())
    assert (
        run(
            "convert",
            "released",
            "authors.pth",
            "-o",
            "a.safetensors",
            "--preset",
            "released-vocaset",
        ).status
        == 0
    )
    write_wav(tmp_path / "a.wav")
    for output, message in (
        (
            "a.mp4",
            f"a.mp4: this network moves the {VERTICES} vertices of a mesh, say which: --face MESH",
        ),
        (
            "a.csv",
            f"a.csv: .csv holds shape weights, but this network moves {VERTICES} vertices: save "
            "it as .npz",
        ),
    ):
        failed = run("animate", "a.wav", "-o", output, "--model", "a.safetensors")
        assert failed.status == 2
        assert message in failed.err
    corners = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)]
    faces = [(1, 3, 2), (1, 2, 4), (1, 4, 3), (5, 6, 7), (2, 3, 5), (3, 4, 7), (2, 6, 4)]
    rows = [f"v {x / 10} {y / 10} {z / 10}" for x, y, z in corners] + [
        "f " + " ".join(map(str, f)) for f in faces
    ]
    (tmp_path / "mesh.obj").write_text("\n".join(rows))
    outputs = ("-o", "a.npz", "-o", "a.glb", "-o", "a.mp4", "--size", "64")
    assert (
        run("animate", "a.wav", *outputs, "--model", "a.safetensors", "--face", "mesh.obj").status
        == 0
    )
    assert (
        run("animate", "a.npz", "-o", "again.mp4", "--size", "64", "--face", "mesh.obj").status == 0
    )
    assert os.path.getsize("again.mp4") > 500
    (tmp_path / "small.obj").write_text("\n".join(rows[:3]) + "\nf 1 2 3\n")
    failed = run("animate", "a.wav", *outputs, "--model", "a.safetensors", "--face", "small.obj")
    assert f"the network moves {VERTICES} vertices, but the face has 3" in failed.err
