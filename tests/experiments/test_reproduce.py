"""The whole paper on miniatures of VOCASET, BIWI_6 and GRID-468 in their owners' formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed")
pytest.importorskip("scipy", reason="scipy is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("jinja2", reason="Jinja2 is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from jambatalk.errors import InputError
from jambatalk.experiments.reproduce import STEPS, SUITES, ReproduceOptions, Reproduction
from jambatalk.experiments.suite import load_suite
from jambatalk.face.head import default_head
from jambatalk.training.sizes import training_size
from made_faces import biwi6_like, flame_like, save_mesh
from running import run
from tiny_corpora import write_layout, write_vocaset
from tiny_grid import write_grid

VOCASET = ("FaceTalk_170728_03272_TA", "FaceTalk_170811_03275_TA", "FaceTalk_170809_00138_TA")
BIWI = [("F1", "e37"), ("F1", "e38")] + [("F2", f"e{n}") for n in ("01", "02", "33", "34", "37")]
GRID = [
    (f"s1_c{i}", "s1", split)
    for i, split in enumerate(("train", "train", "train", "val", "test_seen", "test_seen"))
] + [("s2_lbax4n", "s2", "test_unseen"), ("s2_lbax5n", "s2", "test_unseen")]
SYSTEMS = ["base", "voca", "faceformer", "codetalker", "selftalk", "facediffuser"]


def write_raw(corpus: str, folder: Path) -> Path:
    """A miniature with the owner's file names, topology and masks."""
    if corpus == "vocaset":
        write_vocaset(folder, VOCASET, (21, 22), frames=48, face=flame_like())
    elif corpus == "biwi6":
        write_layout(folder, BIWI, frames=20, face=biwi6_like())
        save_mesh(folder / "face.obj", biwi6_like())
    else:
        write_grid(folder, default_head(), tuple(GRID))
    return folder


@pytest.mark.parametrize("corpus", SUITES)
def test_from_the_owners_files_to_tables_report_and_study(corpus: str, tmp_path: Path) -> None:
    raw, out = write_raw(corpus, tmp_path / "raw"), tmp_path / "out"
    done = run(
        "reproduce",
        corpus,
        raw,
        out,
        "--smoke",
        "--skip",
        "study" if corpus != "vocaset" else "ablate",
    )
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert [line.split()[1] for line in lines if line[2:3].isdigit()] == list(STEPS)
    assert "GB free" in lines[-1] or "TB free" in lines[-1]
    table = json.loads((out / "systems" / "table.json").read_text())
    rows = [row["variant"] for row in table["rows"]]
    assert set(rows) >= {*SYSTEMS, "truth", "static", "mean"}
    for row in table["rows"]:
        assert all(cell["mean"] is not None for cell in row["cells"][:1]), row["variant"]
    masks = {"vocaset": "FLAME_masks.pkl", "biwi6": "the paper's box", "grid468": "MediaPipe"}
    assert all(masks[corpus] in line for line in table["protocol"].values())
    if corpus != "vocaset":
        ablation = json.loads((out / "ablation" / "table.json").read_text())
        groups = {row["group"] for row in ablation["rows"]}
        assert groups >= {"order", "rope", "heads", "experts"}
    page = (out / "report.html").read_text()
    assert "jambatalk" in page
    assert "facediffuser" in page
    if corpus == "vocaset":
        key = json.loads((out / "study" / "study.json").read_text())
        assert set(key["systems"]) == {"truth", "jambatalk", *SYSTEMS[1:]}


def test_a_second_call_trains_nothing_and_a_stopped_one_goes_on(tmp_path: Path) -> None:
    raw = write_raw("biwi6", tmp_path / "raw")
    options = ReproduceOptions(smoke=True, skip=("ablate", "compare", "study"))
    first = Reproduction("biwi6", raw, tmp_path / "out", options)
    said: list[str] = []

    class Stop(Exception):
        pass

    def stop(line: str) -> None:
        said.append(line)
        if line.startswith("faceformer, seed 1: done"):
            raise Stop

    with pytest.raises(Stop):
        first.run(stop)
    said.clear()
    assert Reproduction("biwi6", raw, tmp_path / "out", options).run(said.append) == []
    assert "3 of 6 trainings are done, the others follow in this process" in said
    said.clear()
    assert Reproduction("biwi6", raw, tmp_path / "out", options).run(said.append) == []
    assert "6 of 6 trainings are done, the others follow in this process" in said
    assert "prepare: 0 clips made, 7 kept, 0 left out" in said


def test_masks_that_come_later_are_trained_on(tmp_path: Path) -> None:
    """Without FLAME's masks the shape stands in; with them nothing of before is taken for done."""
    raw = write_raw("vocaset", tmp_path / "raw")
    masks = (raw / "FLAME_masks.pkl").read_bytes()
    (raw / "FLAME_masks.pkl").unlink()
    options = ReproduceOptions(smoke=True, skip=("evaluate", "ablate", "compare", "study"))
    folders, said = [], []
    for content in (None, masks):
        if content is not None:
            (raw / "FLAME_masks.pkl").write_bytes(content)
        work = Reproduction("vocaset", raw, tmp_path / "out", options)
        work.plan()
        work._prepare(said.append)
        work._check(said.append)
        runner = work._runner(work.systems)
        folders.append([runner.folder(run) for run in runner.runs])
    assert sum(line.startswith("WARNING: no mask") for line in said) == 2  # prepare and check
    assert not set(folders[0]) & set(folders[1])


def test_everything_is_checked_before_the_first_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write_raw("biwi6", tmp_path / "raw")

    def never(*_: object) -> None:
        raise AssertionError("a training began")

    monkeypatch.setattr("jambatalk.experiments.runner.work", never)
    smoke = {"smoke": True, "skip": ("study",)}
    for words, message in (
        ({"changes": ("vertices.val=dev",)}, "base: .* has no split 'dev'"),
        ({"changes": ("vertices.scheme=voca",)}, "no splits by 'voca'"),
        ({"changes": ("model.outputs=30",)}, "base: outputs is 30, but"),
    ):
        with pytest.raises(InputError, match=message):
            Reproduction("biwi6", raw, tmp_path / "out", ReproduceOptions(**smoke, **words)).run(
                lambda line: None
            )
    # Without --smoke the networks are of their real size, and the speech network has to be there.
    real = ReproduceOptions(networks={"facebook/wav2vec2-base-960h": str(tmp_path)}, force=True)
    with pytest.raises(InputError, match="no speech encoder at"):
        Reproduction("biwi6", raw, tmp_path / "real", real).run(lambda line: None)
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("U", (), {"free": 10**9}))
    with pytest.raises(InputError, match="of disk are needed, 1 GB are free: leave steps out"):
        Reproduction("biwi6", raw, tmp_path / "other", ReproduceOptions()).run(lambda line: None)
    for words, message in (
        (("reproduce", "voca", raw, "out"), "no corpus 'voca': choose from vocaset, biwi6, grid"),
        (("reproduce", "biwi6", raw, "out", "--skip", "tea"), "no step 'tea' to skip"),
        (("reproduce", "biwi6", tmp_path / "no", "out"), "no such folder"),
        (("reproduce", "biwi6", raw, "out", "--network", "x"), "expected ID=FOLDER"),
    ):
        assert message in run(*words).error


def test_the_plan_has_the_papers_sizes(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    done = run("reproduce", "vocaset", tmp_path / "raw", tmp_path / "out", "--plan")
    assert done.status == 0, done.err
    assert not (tmp_path / "out").exists()
    (base,) = (line for line in done.out.splitlines() if line.split()[:1] == ["base"])
    # 351.7 million as the paper's network has them, and the lip reader beside it.
    assert "478.5 M parameters (474.3 M trained), 32,000 steps; 8.87 GB of weights" in base
    assert sum("M parameters" in line for line in done.out.splitlines()) == 6 + 16


@pytest.mark.parametrize("corpus", SUITES)
def test_every_shipped_training_can_be_counted(corpus: str) -> None:
    for name in SUITES[corpus]:
        suite = load_suite(name)
        for variant in suite.variants:
            size = training_size(suite.run(variant, 1).config)
            assert 0 < size.trained <= size.parameters
            assert size.memory >= 4 * (size.parameters + 3 * size.trained)
            assert size.disk >= 4 * (size.parameters + 5 * size.trained)
