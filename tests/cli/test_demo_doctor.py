"""``jambatalk demo`` makes a video of the bundled speech; ``jambatalk doctor`` finds what is
wrong.
"""

from __future__ import annotations

import hashlib
import json
import shutil

import av
import numpy as np
import pytest

import jambatalk.talker
from jambatalk.audio import Speech
from running import run


@pytest.fixture
def weights(small_weights, tmp_path, monkeypatch):
    """A copy of the small weights that takes the place of those in the package."""
    copy = tmp_path / "base.safetensors"
    shutil.copy(small_weights, copy)
    monkeypatch.setattr(jambatalk.talker, "DEFAULT_WEIGHTS", copy)
    return copy


def test_the_bundled_speech():
    from importlib.resources import files

    speech = Speech.load((files("jambatalk") / "assets" / "demo.flac").read_bytes())
    assert 5 < speech.seconds < 15
    assert 0.5 < np.abs(speech.samples).max() <= 1
    assert np.abs(speech.samples[:1600]).max() < 0.05  # begins and ends in a pause
    assert np.abs(speech.samples[-1600:]).max() < 0.05


def test_demo(weights, tmp_path):
    outcome = run("demo", "-o", tmp_path / "out/demo.mp4", "--size", "32")
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("\n") == 2  # what was measured, what to try next
    for words in ("9.3 s of speech", "times real time", "look-ahead 200 ms", "jambatalk animate"):
        assert words in outcome.out
    with av.open(str(tmp_path / "out/demo.mp4")) as video:
        assert video.duration / 1e6 == pytest.approx(9.33, abs=0.1)
        assert len(video.streams.audio) == 1


def test_demo_refuses_a_bad_output():
    assert "unknown extension" in run("demo", "-o", "demo.gif").error


def test_doctor_says_all_is_well(weights):
    weights.with_suffix(".sha256").write_text(
        hashlib.sha256(weights.read_bytes()).hexdigest() + "  base.safetensors\n"
    )
    outcome = run("doctor", "--json")
    found = json.loads(outcome.out)
    assert outcome.status == 0, found
    assert found["ok"] is True
    assert [check["name"] for check in found["checks"]] == [
        "weights",
        "chunks equal the whole",
        "picture",
        "video and sound",
    ]
    assert found["checks"][0]["found"] == "loaded, sha256 as recorded"
    environment = found["environment"]
    for name in (
        "jambatalk",
        "python",
        "system",
        "cores",
        "devices",
        "packages",
        "numba cache",
        "selective scan kernel",
        "causal conv kernel",
        "weights",
    ):
        assert environment[name]
    plain = run("doctor")
    assert plain.status == 0
    assert "all well" in plain.out
    assert "selective scan kernel" in plain.out


def test_doctor_sees_changed_weights(weights):
    weights.with_suffix(".sha256").write_text("0" * 64)
    outcome = run("doctor")
    assert outcome.status == 2
    assert "[FAILED] weights: sha256 is" in outcome.out
    assert "[ok] picture" in outcome.out


def test_doctor_sees_missing_weights(tmp_path):
    outcome = run("doctor", "--model", tmp_path / "none.safetensors", "--json")
    assert outcome.status == 2
    found = json.loads(outcome.out)
    assert [check["ok"] for check in found["checks"]] == [False, False, True, True]


def test_doctor_sees_chunks_that_differ(weights, monkeypatch):
    from jambatalk.session import Session

    flush = Session.flush_array
    monkeypatch.setattr(Session, "flush", lambda self: self._frames(flush(self))[:-1])
    outcome = run("doctor")
    assert outcome.status == 2
    assert "[FAILED] chunks equal the whole" in outcome.out
