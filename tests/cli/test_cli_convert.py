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
    done = run("convert", "released", save(tensors), "-o", "out.safetensors", "--preset", "released-vocaset")
    assert done.status == 0
    assert done.out == ""
    assert f"authors.pth (released-vocaset) -> out.safetensors: {len(tensors)} tensors, " in done.err
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
                "convert", "released", save(tiny_checkpoint()), "-o", "a.safetensors", "--preset", "released-vocaset", *options
            ).status
            == 0
        )
        sizes.append(os.path.getsize("a.safetensors"))
    assert sizes[1] < 0.6 * sizes[0]
    assert sizes[2] < 0.7 * sizes[1]


@pytest.mark.parametrize(("change", "options", "message"), [
    ({}, (), "say which layout it has, --preset released-vocaset (5,023 vertices) or released-biwi6 (3,895 vertices)"),
    ({"more": torch.ones(1)}, ("--preset", "released-vocaset"), "tensors that the released code does not have: more"),
    ({"mamba.D": torch.ones(3)}, ("--preset", "released-vocaset"), "mamba.D is (3,), expected (32,)"),
    ({"mamba.D": print}, ("--preset", "released-vocaset"), "authors.pth is refused: it asks to run print"),
    ({}, ("--preset", "paper-vocaset"), "preset 'paper-vocaset' is no released layout"),
])  # fmt: skip
def test_refusals_are_one_line_and_leave_nothing(change, options, message):
    save(tiny_checkpoint() | change)
    assert message in run("convert", "released", "authors.pth", "-o", "out.safetensors", *options).error
    assert os.listdir() == ["authors.pth"]


def test_file_names():
    assert "error: no checkpoint at nothing.pth" in run("convert", "released", "nothing.pth", "-o", "a.safetensors").error
    assert "expected one that ends in .safetensors" in run("convert", "released", "nothing.pth", "-o", "a.pth").error
    assert run("convert", "released", "nothing.pth").status == 2
    assert "released" in run("convert", "--help").out
