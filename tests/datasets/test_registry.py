"""One list of corpora: help, errors and documentation are made from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jambatalk.audio import Speech
from jambatalk.datasets.dataset import open_prepared
from jambatalk.datasets.prepare import prepare
from jambatalk.datasets.registry import KINDS, corpus_kind, kinds_table, open_corpus
from jambatalk.datasets.source import (
    SHAPES,
    ClipData,
    CorpusKind,
    PrepareOptions,
    SourceClip,
    SourceCorpus,
    require,
)
from jambatalk.errors import InputError
from jambatalk.file_lock import locked
from sounds import tone

ROOT = Path(__file__).parents[2]


def test_every_kind_is_named_everywhere():
    for name in KINDS:
        assert corpus_kind(name).name == name
        assert f"\n| `{name}` | " in kinds_table()
    page = (ROOT / "docs" / "how-to" / "corpora.md").read_text(encoding="utf-8")
    assert f"\n{kinds_table()}\n" in page, "put the output of registry.kinds_table() into the page"
    shown = subprocess.run(
        [sys.executable, "-m", "jambatalk", "data", "prepare", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in KINDS:
        assert name in shown
    with pytest.raises(InputError, match=f"no corpus of kind 'other': choose from .*{name}"):
        corpus_kind("other")


def open_toy(folder: Path, options: PrepareOptions) -> SourceCorpus:
    require(folder, ("toy.txt",), "a toy corpus")
    clips = tuple(
        SourceClip(
            "S1",
            f"s{k}",
            (folder / "toy.txt",),
            lambda: ClipData(np.full((25, 2), 0.5, np.float32), Speech(tone(1.0, 16000))),
        )
        for k in range(4)
    )
    schemes = {"all": lambda keys: ["train"] * len(keys)}
    names = ("jawOpen", "mouthPucker")
    return SourceCorpus(
        "toy", folder, "none", 25.0, SHAPES, {}, None, schemes, clips, (), names=names
    )


TOY = CorpusKind("toy", open_toy, "`toy.txt`", "`all`", "25", "weights")


def test_a_new_corpus_is_one_file_and_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "toy_corpus", sys.modules[__name__])
    monkeypatch.setitem(KINDS, "toy", "toy_corpus:TOY")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "toy.txt").write_text("toy")
    done = prepare("toy", tmp_path / "raw", tmp_path / "out")
    assert (done.made, done.failed) == (4, ())
    assert open_prepared(tmp_path / "out").splits() == {"train": 4}
    assert open_corpus(tmp_path / "out").name == "toy"
    assert "| `toy` | `toy.txt` | `all` | 25 | weights |" in kinds_table()


def test_two_runs_at_once_do_not_meet(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "toy_corpus", sys.modules[__name__])
    monkeypatch.setitem(KINDS, "toy", "toy_corpus:TOY")
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    (raw / "toy.txt").write_text("toy")
    with locked(out / ".prepare.lock", "x"):
        with pytest.raises(InputError, match=r"another process .* is at work on"):
            prepare("toy", raw, out)
        assert [path.name for path in out.iterdir()] == [".prepare.lock"]
    assert prepare("toy", raw, out).made == 4
    with pytest.raises(InputError, match="toy corpus"):
        prepare("toy", tmp_path, tmp_path / "new")
    assert not (tmp_path / "new").exists()
