"""Every corpus, raw and prepared, with one of its files mutated: clips or one InputError each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from file_mutations import CASES, check_reader
from jambatalk.audio import Speech
from jambatalk.datasets.dataset import open_prepared
from jambatalk.datasets.masks import read_region
from jambatalk.datasets.prepare import prepare
from jambatalk.datasets.registry import corpus_kind
from jambatalk.datasets.source import PrepareOptions
from jambatalk.datasets.video.decode import Pictures, read_sound
from jambatalk.face.head import default_head
from jambatalk.text.phone_motion import DEFAULT_PHONE_MOTION, load_phone_motion
from sounds import FORMATS, encode, tone
from tiny_corpora import write_biwi, write_facegood, write_layout, write_tts, write_vocaset
from tiny_grid import write_grid

SUBJECT = "FaceTalk_170728_03272_TA"

RAW: dict[str, tuple[str, Callable[[Path], object]]] = {
    "vocaset": ("vocaset", lambda folder: write_vocaset(folder, (SUBJECT,), (1, 2))),
    "biwi": ("biwi", lambda folder: write_biwi(folder, [("F2", "e01"), ("F2", "02")])),
    "biwi-tar": ("biwi", lambda folder: write_biwi(folder, [("F2", "e01")], "tar")),
    "biwi-tgz": ("biwi", lambda folder: write_biwi(folder, [("F2", "e01")], "subject.tgz")),
    "layout": ("biwi6", lambda folder: write_layout(folder, [("F2", "e01"), ("F2", "e02")])),
    "facegood": ("facegood", lambda folder: write_facegood(folder, {"1_1": 2.0})),
    "tts": ("tts", lambda folder: write_tts(folder, [("a_0", {"a": 1.0}, "ma pa")])),
    "grid468": (
        "grid468",
        lambda folder: write_grid(folder, default_head(), (("s1_a", "s1", "train"),)),
    ),
}


@pytest.mark.parametrize("name", RAW)
def test_mutated_raw_corpora(name: str, tmp_path: Path) -> None:
    kind, write = RAW[name]
    whole, folder = tmp_path / "whole", tmp_path / "raw"
    write(whole)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    # One of a kind is enough: all frames of a clip are read alike.
    files = list({(path.parts[0], path.suffix): path for path in files}.values())
    shutil.copytree(whole, folder)
    for file in files:

        def read(content: bytes, file: Path = file) -> None:
            (folder / file).write_bytes(content)
            corpus = corpus_kind(kind).open(folder, PrepareOptions())
            for clip in corpus.clips:
                clip.load()

        content = (whole / file).read_bytes()
        try:
            check_reader(content, read, cases=max(10, CASES // len(files)))
        finally:
            (folder / file).write_bytes(content)


def test_mutated_prepared_corpora(tmp_path: Path) -> None:
    write_facegood(tmp_path / "raw", {"1_1": 2.0})
    prepare("facegood", tmp_path / "raw", tmp_path / "out")
    clip = open_prepared(tmp_path / "out").clips()[0]
    np.savez_compressed(clip.extra_path, gap=np.zeros(clip.frames, np.float32))
    manifest = tmp_path / "out" / "manifest.json"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace('"extra_sha256": null', '"extra_sha256": "0"'), "utf-8")

    for path in (manifest, clip.motion_path, clip.audio_path, clip.extra_path):

        def read(content: bytes, path: Path = path) -> None:
            path.write_bytes(content)
            for one in open_prepared(tmp_path / "out").clips():
                one.clip()

        content = path.read_bytes()
        assert check_reader(content, read) > 0
        path.write_bytes(content)


@pytest.mark.parametrize("name", [*FORMATS, "video"])
def test_mutated_sounds(name: str) -> None:
    kind = "mkv" if name == "video" else name
    data = encode(kind, tone(0.3, FORMATS[kind][2]), video=name == "video")
    check_reader(data, Speech.load)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_mutated_videos(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_sound(path)
        for _ in Pictures(path):
            pass

    check_reader(encode(suffix[1:], tone(0.5, 48000), video=True), read)


REGIONS = {
    ".json": b'{"lips": [1, 2, 3], "upper_face": [4]}',
    ".txt": b"1, 2 3\n4",
    ".npy": b"",
    ".pkl": b"\x80\x04]\x94(K\x01K\x02e.",
}


@pytest.mark.parametrize("suffix", REGIONS)
def test_mutated_regions(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"r{suffix}"
    if suffix == ".npy":
        np.save(path, np.arange(5))
    else:
        path.write_bytes(REGIONS[suffix])

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_region(path, 10)

    assert check_reader(path.read_bytes(), read) > 0


def test_mutated_phone_models(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        load_phone_motion(path)

    assert check_reader(DEFAULT_PHONE_MOTION.read_bytes(), read, CASES // 2) > 0
