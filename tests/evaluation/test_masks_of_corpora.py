"""From corpora in their owners' formats to numbers on the right lips: masks copied when prepared,
read by training and evaluation alike.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jambatalk.datasets.dataset import open_prepared
from jambatalk.datasets.lip_mask import LipsConfig, lip_vertices
from jambatalk.datasets.masks import offset_spread
from jambatalk.datasets.prepare import prepare
from jambatalk.datasets.regions import Regions, corpus_regions
from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import find_regions, load_test_set
from jambatalk.evaluation.evaluate import evaluate
from jambatalk.evaluation.systems import static_system
from made_faces import biwi6_like, flame_like
from running import run
from tiny_corpora import write_layout, write_vocaset

SUBJECTS = ("FaceTalk_170728_03272_TA", "FaceTalk_170811_03275_TA", "FaceTalk_170809_00138_TA")
BIWI = [("F1", "e37"), ("F2", "e01"), ("F2", "e33"), ("F2", "e37")]


@pytest.fixture(scope="module")
def vocaset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(raw, prepared) with FLAME's topology and masks."""
    folder = tmp_path_factory.mktemp("vocaset")
    write_vocaset(folder / "raw", SUBJECTS, (21, 22), frames=24, face=flame_like())
    prepare("vocaset", folder / "raw", folder / "data")
    return folder / "raw", folder / "data"


@pytest.fixture(scope="module")
def biwi6(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared, without triangles."""
    folder = tmp_path_factory.mktemp("biwi6")
    write_layout(folder / "raw", BIWI, frames=12, face=biwi6_like())
    prepare("biwi6", folder / "raw", folder / "data")
    return folder / "data"


def test_preparing_copies_masks_and_triangles(vocaset: tuple[Path, Path]) -> None:
    raw, data = vocaset
    face = flame_like()
    assert (data / "FLAME_masks.pkl").read_bytes() == (raw / "FLAME_masks.pkl").read_bytes()
    assert np.array_equal(np.load(data / "triangles.npy"), face.triangles)
    stored = Regions.load(data / "regions.json", 5023)
    assert stored.source == "FLAME_masks.pkl (lips; forehead+eye_region)"
    assert stored.lips.tolist() == face.lips.tolist()
    assert stored.opening == (3531, 3504)


def test_training_and_evaluation_have_the_same_lips(
    vocaset: tuple[Path, Path], biwi6: Path
) -> None:
    for data in (vocaset[1], biwi6):
        corpus = open_prepared(data)
        clips = corpus.clips("train")
        lips = lip_vertices(LipsConfig(), clips, offset_spread(clips))
        found = find_regions(load_test_set(data))
        assert lips.tolist() == found.lips.tolist()


def test_lve_is_the_hand_count_with_flames_own_mask(vocaset: tuple[Path, Path]) -> None:
    test_set = load_test_set(vocaset[1])
    regions = find_regions(test_set)
    rows = {one.system: one for one in evaluate([static_system()], test_set, regions, speed=False)}
    worst = []
    for clip in open_prepared(vocaset[1]).clips("test"):
        offsets = np.asarray(clip.offsets, np.float64)[:, flame_like().lips]
        worst += np.square(offsets).sum(2).max(1).tolist()
    assert len(worst) == 24
    assert rows["static"].totals["LVE_m2"] == pytest.approx(np.mean(worst), rel=1e-6)
    assert np.mean(worst) > 1e-6
    for row in rows.values():
        assert row.mask == "FLAME_masks.pkl (lips; forehead+eye_region)"
        assert row.region_hash == regions.hash


def test_biwi6_can_be_scored_as_it_comes(biwi6: Path, tmp_path: Path) -> None:
    done = run(
        "evaluate", "static", biwi6, "--no-speed", "--split", "test_b", "-o", tmp_path / "out"
    )
    assert done.status == 0, done.err
    assert "by the paper's box" in done.out
    assert "WARNING: no mask of this mesh is at hand" in " ".join(done.err.split())
    assert corpus_regions(open_prepared(biwi6)).opening == biwi6_like().opening
    rows = json.loads((tmp_path / "out" / "result.json").read_text())["results"]
    assert {row["mask"] for row in rows} == {corpus_regions(open_prepared(biwi6)).source}


def test_mask_by_name_on_the_command_line(vocaset: tuple[Path, Path], biwi6: Path) -> None:
    data = vocaset[1]
    one = run("evaluate", "static", data, "--no-speed", "--mask", "flame")
    assert one.status == 0, one.err
    assert "FLAME_masks.pkl (lips; forehead+eye_region)" in one.out
    assert "WARNING" not in one.err
    by_shape = run("evaluate", "static", data, "--no-speed", "--mask", "geometry")
    assert by_shape.status == 0, by_shape.err
    assert "WARNING" in by_shape.err
    masks = data / "FLAME_masks.pkl"
    named = ("--lips", masks, "--upper-face", f"{masks}:forehead+eye_region")
    files = run("evaluate", "static", data, "--no-speed", *named, "--opening", "3531,3504")
    assert files.status == 0, files.err
    assert find_regions(load_test_set(data)).hash in files.out
    for words, message in (
        ((biwi6, "--mask", "flame"), "is not that of FLAME: it has 3895 vertices"),
        ((data, "--mask", "lips"), "no masks called 'lips': expected flame, biwi6 or geometry"),
    ):
        assert message in run("evaluate", "static", *words).error


def test_a_damaged_mask_file_is_one_sentence(vocaset: tuple[Path, Path], tmp_path: Path) -> None:
    write_vocaset(tmp_path / "raw", SUBJECTS[:1], (21,), frames=12, face=flame_like())
    (tmp_path / "raw" / "FLAME_masks.pkl").write_bytes(b"\x80\x02U\x05")
    with pytest.raises(InputError, match="FLAME_masks"):
        prepare("vocaset", tmp_path / "raw", tmp_path / "data")
