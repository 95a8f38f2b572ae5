"""GRID, FACEGOOD and synthetic voices become prepared corpora of shape weights: contents, going on,
refusals, the check.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jambatalk.atomic import file_sha256
from jambatalk.datasets.check import Report, check
from jambatalk.datasets.dataset import open_prepared
from jambatalk.datasets.prepare import prepare
from jambatalk.datasets.readers import grid as grid_raw
from jambatalk.datasets.readers.grid import GridCorpus
from jambatalk.datasets.registry import load_clips
from jambatalk.datasets.source import PrepareOptions
from jambatalk.errors import InputError
from jambatalk.face.head import default_head
from jambatalk.text.phones import FEATURES, Timed
from tiny_corpora import write_facegood, write_tts, write_vocaset
from tiny_grid import FRAMES, write_grid

SHARED = Path(__file__).parents[3] / "shared" / "data"
GRID = (
    ("a1", "s1", "train"),
    ("a2", "s1", "train"),
    ("a3", "s1", "val"),
    ("b1", "s2", "test_unseen"),
)
VOICES = [(f"hibari_{n:03d}", {"hibari": 1.0}, f"sentence {n}") for n in range(24)]
VOICES += [
    ("kokoro_1", {"jf_alpha": 1.0}, "held out"),
    ("kokoro_2", {"jf_alpha": 0.4, "jm_kumo": 0.6}, "close to it"),
]
VOICES += [("kokoro_3", {"jf_alpha": 0.1, "jm_kumo": 0.9}, "far from it")]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "grid"
    write_grid(folder, default_head(), GRID)
    return folder


@pytest.fixture(scope="module")
def facegood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "raw"
    write_facegood(folder, {"9_1_01": 40.0, "9_1_02": 21.0, "1114_3_15": 12.0})
    prepare("facegood", folder, folder.parent / "out")
    return folder


@pytest.fixture
def prepared(facegood: Path, tmp_path: Path) -> Path:
    return shutil.copytree(facegood.parent / "out", tmp_path / "out")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phone model that was never fitted: it moves somehow, but closes for bilabials."""
    import torch

    from jambatalk.text.phone_motion import PhoneMotion, PhoneNet, save_phone_motion

    torch.manual_seed(0)
    net = PhoneNet(52, width=8, dilations=(1,))
    net.mean.fill_(0.3)
    net.scale.fill_(0.1)
    path = tmp_path_factory.mktemp("model") / "phones.safetensors"
    save_phone_motion(path, PhoneMotion(net, default_head().names, {"features": len(FEATURES)}))
    return path


def reasons(report: Report, name: str) -> list[str]:
    return [problem.reason for problem in report.problems if problem.name == name]


def test_grid_comes_back_as_its_reader_gives_it(grid: Path, tmp_path: Path) -> None:
    done = prepare("grid", grid, tmp_path / "out")
    assert (done.made, done.failed) == (4, ())
    assert done.splits == {"speaker": {"train": 2, "val": 1, "test_unseen": 1}}
    corpus = open_prepared(tmp_path / "out")
    assert (corpus.motion, corpus.names, corpus.vertices, corpus.unit) == (
        "weights",
        default_head().names,
        0,
        "weights of shapes",
    )
    assert "CC BY 4.0" in corpus.licence
    read = {clip.id: clip for clip in load_clips(grid, ("train", "val", "test_unseen"))}
    assert len(read) == len(corpus.clips())
    for one in corpus.clips():
        clip, other = one.clip(), read[one.name]
        assert isinstance(one.weights, np.memmap)
        assert np.array_equal(clip.weights, other.weights)
        assert np.abs(clip.samples - other.samples).max() == 0
        assert np.array_equal(clip.gap, other.gap)
        assert np.array_equal(clip.tracked, other.tracked)
        assert (clip.subject, clip.split, clip.words, clip.pseudo) == (
            other.subject,
            other.split,
            other.words,
            False,
        )
        assert one.text == "bin five"
    with pytest.raises(InputError, match="holds weights of shapes, not vertices"):
        _ = corpus.clips()[0].offsets
    with pytest.raises(InputError, match="it has no templates"):
        corpus.template("s1")


def test_a_subject_is_solved_once_and_only_when_wanted(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solved = []
    retargeted = GridCorpus.retargeted
    monkeypatch.setattr(
        grid_raw.GridCorpus,
        "retargeted",
        lambda self, who, face: solved.append(who) or retargeted(self, who, face),
    )
    prepare("grid", grid, tmp_path / "out", jobs=2)
    assert sorted(solved) == ["s1", "s2"]
    (tmp_path / "out" / "clips" / "b1.npz").unlink()
    (tmp_path / "out" / "manifest.json").unlink()
    solved.clear()
    done = prepare("grid", grid, tmp_path / "out")
    assert (solved, done.made, done.kept) == (["s2"], 1, 3)


def test_clips_of_two_subjects_in_turn_solve_each_once(
    grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that end one subject and begin the next ask for both, in any order."""
    solved = []
    retargeted = GridCorpus.retargeted
    monkeypatch.setattr(
        grid_raw.GridCorpus,
        "retargeted",
        lambda self, who, face: solved.append(who) or retargeted(self, who, face),
    )
    clips = {clip.name: clip for clip in grid_raw.open_grid(grid, PrepareOptions()).clips}
    for name in ("a1", "b1", "a2"):
        assert len(clips[name].load().motion) == FRAMES
    assert solved == ["s1", "s2"]


def test_damaged_grid_clips_are_named(grid: Path, tmp_path: Path) -> None:
    raw = shutil.copytree(grid, tmp_path / "raw")
    (raw / "audio" / "a2.flac").write_bytes((raw / "audio" / "a2.flac").read_bytes()[:200])
    lines = (raw / "clips.jsonl").read_text(encoding="utf-8").splitlines()
    lines[3] = json.dumps(json.loads(lines[3]) | {"id": "../b1"})
    (raw / "clips.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done = prepare("grid", raw, tmp_path / "out")
    assert done.made == 2
    assert [problem.name for problem in done.failed] == ["../b1", "a2"]
    assert "is not a name for a file" in done.failed[0].reason
    assert "a2.flac" in done.failed[1].reason
    assert not (tmp_path / "b1.npy").exists()
    with pytest.raises(
        InputError, match="60 frames a second asked for, but this corpus is prepared at 25 only"
    ):
        prepare("grid", grid, tmp_path / "other", PrepareOptions(fps=60))
    (raw / "motion.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"motion\.npz"):
        prepare("grid", raw, tmp_path / "out2")


def test_facegood_counts_and_half_precision(facegood: Path, tmp_path: Path) -> None:
    done = prepare("facegood", facegood, tmp_path / "out", half=True)
    assert done.splits == {"recording": {"train": 5, "val": 2, "test": 2}}
    half, whole = open_prepared(tmp_path / "out"), open_prepared(facegood.parent / "out")
    for one, other in zip(half.clips(), whole.clips()):
        assert one.weights.dtype == np.float16
        assert np.abs(np.asarray(one.weights, np.float32) - other.weights).max() < 5e-4
        assert (one.gap, one.tracked, one.text, one.words, one.phones) == (None,) * 5
        assert len(one.samples) == 640 * one.frames
    with pytest.raises(InputError, match="holds a corpus prepared otherwise"):
        prepare("facegood", facegood, tmp_path / "out")


def test_a_damaged_recording_leaves_the_others(facegood: Path, tmp_path: Path) -> None:
    raw = shutil.copytree(facegood, tmp_path / "raw")
    (raw / "9_1_02.npy").write_bytes((raw / "9_1_02.npy").read_bytes()[:-100])
    (raw / "1114_3_15.flac").unlink()
    done = prepare("facegood", raw, tmp_path / "out")
    assert done.made == 4
    assert [problem.name for problem in done.failed] == ["1114_3_15", "9_1_02"]


def test_going_on_after_a_kill(facegood: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    slow = (
        "import sys, time, jambatalk.datasets.prepare as p\n"
        "write = p.write_clip\n"
        "def slowly(*a, **k):\n    time.sleep(0.4)\n    return write(*a, **k)\n"
        "p.write_clip = slowly\n"
        "p.prepare('facegood', sys.argv[1], sys.argv[2], jobs=1)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", slow, str(facegood), str(out)])
    deadline = time.monotonic() + 120
    while (
        len(list((out / "clips").glob("[!.]*.json"))) < 2
        and time.monotonic() < deadline
        and running.poll() is None
    ):
        time.sleep(0.02)
    assert running.poll() is None
    running.kill()
    running.wait()
    before = len(list((out / "clips").glob("[!.]*.json")))
    assert 2 <= before < 9
    done = prepare("facegood", facegood, out)
    assert done.kept >= before
    assert done.made + done.kept == 9
    names = sorted(path.name for path in (out / "clips").iterdir())
    assert names == sorted(path.name for path in (facegood.parent / "out" / "clips").iterdir())
    for name in names:
        if not name.endswith(".json"):
            assert file_sha256(out / "clips" / name) == file_sha256(
                facegood.parent / "out" / "clips" / name
            )


def test_synthetic_voices_get_motion_from_their_phones(model: Path, tmp_path: Path) -> None:
    write_tts(tmp_path / "raw", VOICES)
    done = prepare("tts", tmp_path / "raw", tmp_path / "out", PrepareOptions(phones=model))
    assert (done.made, done.failed) == (len(VOICES), ())
    corpus = open_prepared(tmp_path / "out")
    splits = {clip.name: clip.splits["voice"] for clip in corpus.clips()}
    assert [splits[f"kokoro_{n}"] for n in (1, 2)] == ["test_voice", None]
    assert {splits[name] for name, mix, _ in VOICES if "jf_alpha" not in mix} <= {"train", "val"}
    assert {clip.subject for clip in corpus.clips("test_voice")} == {"jf_alpha"}
    assert corpus.subjects == ("hibari", "jf_alpha", "mix_kokoro_2", "mix_kokoro_3")
    clip = corpus.clips()[0].clip()
    assert clip.pseudo
    assert (clip.frames, clip.corpus) == (50, "tts")
    assert clip.phones[:3] == (
        Timed("sil", 0, 0.4),
        Timed("m", 0.4, 0.5),
        Timed("ɑ", 0.5, pytest.approx(0.825)),
    )
    assert (
        clip.weights[10:13].sum(1).min() < 0.5 * clip.weights[17].sum()
    )  # the lips meet for the /m/
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"\x08")
    with pytest.raises(InputError, match="cut off or not a phone model"):
        prepare("tts", tmp_path / "raw", tmp_path / "out", PrepareOptions(phones=other))


def test_hostile_and_damaged_voices(model: Path, tmp_path: Path) -> None:
    write_tts(tmp_path / "raw", VOICES[:5])
    path = tmp_path / "raw" / "clips.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[0]["voice"] = {"../../x": 1.0}
    rows[1]["phones"][2][1] = 0.1
    rows[2]["phones"][-1][2] = 9.0
    del rows[3]["text"]
    path.write_text("\n".join([*map(json.dumps, rows), "{"]), encoding="utf-8")
    done = prepare("tts", tmp_path / "raw", tmp_path / "out", PrepareOptions(phones=model))
    assert done.made == 1
    told = {problem.name: problem.reason for problem in done.failed}
    assert "is not a name for a file" in told["hibari_000"]
    assert "not in order of time" in told["hibari_001"]
    assert "its phones end at 9.00 s, its sound at 2.00 s" in told["hibari_002"]
    assert "clips.jsonl, line 4 is damaged" in told["hibari_003"]
    assert "'text' is missing" in told["hibari_003"]
    assert "line 6 is damaged" in told["line 6"]
    assert set(told) == {"hibari_000", "hibari_001", "hibari_002", "hibari_003", "line 6"}


def test_a_good_corpus_of_weights_passes(prepared: Path) -> None:
    report = check(prepared)
    assert report.problems == ()
    assert (report.shapes, report.vertices, report.pseudo) == (52, 0, 0)
    assert report.lag_ms == pytest.approx(0, abs=25)
    assert report.repeated == ()


def rewrite(prepared: Path, number: int, change) -> str:
    """Change the weights of a clip and its checksum too; gives its name."""
    clip = open_prepared(prepared).clips()[number]
    values = np.array(clip.weights)
    change(values)
    np.save(clip.motion_path, values)
    path = prepared / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["clips"][number]["motion_sha256"] = file_sha256(clip.motion_path)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return clip.name


def test_each_damage_is_named(prepared: Path) -> None:
    jaw = default_head().names.index("jawOpen")

    def late(values: np.ndarray) -> None:
        values[8:] = values[:-8].copy()

    names = [
        rewrite(prepared, 0, lambda values: values.__setitem__((3, jaw), 1.5)),
        rewrite(prepared, 1, lambda values: values.__setitem__((4, jaw), np.nan)),
        rewrite(prepared, 2, lambda values: values.__setitem__(slice(None), values[40])),
        rewrite(prepared, 3, late),
    ]
    unnoted = open_prepared(prepared).clips()[4]
    np.save(unnoted.motion_path, np.array(unnoted.weights) * np.float32(0.5))
    report = check(prepared)
    assert reasons(report, names[0]) == ["frame 3: jawOpen is 1.5, expected a weight in 0..1"]
    assert reasons(report, names[1]) == ["frame 4, jawOpen is not finite"]
    assert reasons(report, names[2]) == ["frozen: 100% of its frames repeat the one before"]
    assert len(late_reasons := reasons(report, names[3])) == 1
    assert "ms after its sound" in late_reasons[0]
    assert reasons(report, unnoted.name) == [
        "its motion is not what was prepared (another checksum)"
    ]
    assert len(report.problems) == 5


def test_repeated_texts_are_listed_but_no_problem(grid: Path, tmp_path: Path) -> None:
    prepare("grid", grid, tmp_path / "out")
    report = check(tmp_path / "out")
    assert [(one.name, one.reason) for one in report.repeated] == [
        ("a3", "in val, says the same as a1 in train")
    ]
    assert report.as_dict()["repeated"] == [
        {"name": "a3", "reason": "in val, says the same as a1 in train"}
    ]


def test_extras_of_the_wrong_length(grid: Path, tmp_path: Path) -> None:
    prepare("grid", grid, tmp_path / "out", limit=1)
    clip = open_prepared(tmp_path / "out").clips()[0]
    np.savez(clip.extra_path, gap=np.zeros(FRAMES - 1, np.float32))
    with pytest.raises(InputError, match=r"a1.npz holds gap of shape \(39,\), expected \(40,\)"):
        _ = clip.gap


def test_a_folder_of_the_first_version_opens(tmp_path: Path) -> None:
    write_vocaset(tmp_path / "raw", sentences=(1,))
    prepare("vocaset", tmp_path / "raw", tmp_path / "out")
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) | {"version": 1}
    for key in ("motion", "source"):
        manifest.pop(key) if key == "motion" else None
    for record in manifest["clips"]:
        for key in ("words", "pseudo", "weight", "recipe", "extra_sha256", "source"):
            record.pop(key)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    clip = open_prepared(tmp_path / "out").clips()[0]
    assert (clip.pseudo, clip.weight, clip.words, clip.gap) == (False, 1.0, None, None)
    assert clip.clip().motion.offsets is not None
    with pytest.raises(InputError, match="holds vertices, not weights of shapes"):
        _ = clip.weights


def test_the_report_shows_faces_and_diagrams(prepared: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="diagrams need the extra plots")
    from jambatalk.datasets.report import _moments, write_report

    names = {path.name for path in write_report(prepared, tmp_path / "report")}
    assert names == {"sheet.png", "durations.png", "opening.png", "lag.png", "shapes.png"}
    assert all((tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG") for name in names)
    moments = list(_moments(open_prepared(prepared), "9"))
    assert len(moments) == 6
    assert min(opening for _, _, opening in moments[:3]) > 0.008
    assert max(opening for _, _, opening in moments[3:]) < 0.002


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "tts").is_dir(), reason="needs the corpus of synthetic voices")
def test_the_real_voices(tmp_path: Path) -> None:
    done = prepare("tts", SHARED / "tts", tmp_path / "out", limit=6)
    assert (done.made, done.failed, done.limited) == (6, (), True)
    head = default_head()
    for clip in open_prepared(tmp_path / "out").clips():
        assert head.lip_gap(np.asarray(clip.weights)).max() > 0.004
