"""Corpora in their owners' formats become prepared ones: counts, contents, refusals, going on after
a kill.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jambatalk.datasets.dataset import open_prepared
from jambatalk.datasets.prepare import prepare
from jambatalk.datasets.readers.vocaset import LICENCE
from jambatalk.datasets.readers.vocaset import SPLITS as VOCASET_SPLIT
from jambatalk.datasets.source import PrepareOptions
from jambatalk.errors import InputError
from tiny_corpora import (
    BIWI_CLIPS,
    OBJ,
    TEMPLATE,
    V,
    voice,
    write_biwi,
    write_layout,
    write_python2,
    write_vocaset,
)

SUBJECTS = list(VOCASET_SPLIT)
TRAIN, TEST = SUBJECTS[0], SUBJECTS[-1]


def test_vocaset_whole(tmp_path: Path) -> None:
    """All 480 clips: counts by both schemes, every second frame to the bit, sound at 16 kHz, a
    face.
    """
    truth = write_vocaset(tmp_path / "raw")
    (tmp_path / "raw" / "templates").mkdir()
    (tmp_path / "raw" / "templates" / "FLAME_sample.obj").write_text(OBJ)
    done = prepare("vocaset", tmp_path / "raw", tmp_path / "out")
    assert (done.made, done.kept, done.failed) == (480, 0, ())
    corpus = open_prepared(tmp_path / "out")
    assert corpus.splits("voca") == {"train": 320, "val": 80, "test": 80}
    assert corpus.splits("faceformer") == corpus.splits() == {"train": 320, "val": 40, "test": 40}
    assert (corpus.fps, corpus.unit, corpus.vertices) == (30.0, "metres", V)
    assert corpus.licence == LICENCE
    assert {c.sentence for c in corpus.clips("test", "faceformer")} == {
        f"sentence{n}" for n in range(21, 41)
    }
    for clip in corpus.clips()[::37]:
        expected = truth[clip.name][::2] - clip.template
        assert np.array_equal(clip.offsets, expected)
        assert isinstance(clip.offsets, np.memmap)
        assert np.abs(clip.template + clip.offsets - truth[clip.name][::2]).max() < 1e-7
        assert len(clip.offsets) == 7  # frames 0, 2, ... 12 of 13
        assert len(clip.samples) == pytest.approx(13 / 60 * 16000, abs=2)
    face = corpus.face(TRAIN)
    assert face is not None
    assert np.array_equal(face.vertices, corpus.template(TRAIN))
    assert face.triangles.shape == (3, 3)


@pytest.fixture
def vocaset(tmp_path: Path) -> Path:
    write_vocaset(tmp_path / "raw", (TRAIN, TEST), (1, 2, 30))
    return tmp_path / "raw"


def test_sound_keeps_its_length_and_pitch(tmp_path: Path) -> None:
    write_vocaset(tmp_path / "raw", (TRAIN,), (1,), frames=120)
    t = np.arange(44000) / 22000
    tone = {
        TRAIN: {
            "sentence01": {
                "audio": (9000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16),
                "sample_rate": 22000,
            }
        }
    }
    write_python2(tmp_path / "raw" / "raw_audio_fixed.pkl", tone)
    prepare("vocaset", tmp_path / "raw", tmp_path / "out")
    samples = open_prepared(tmp_path / "out").clips()[0].samples
    assert abs(len(samples) - 32000) <= 1
    assert np.argmax(np.abs(np.fft.rfft(samples))) == pytest.approx(
        440 * len(samples) / 16000, abs=1
    )
    assert np.abs(samples).max() == pytest.approx(9000 / 32768, rel=0.02)


def test_sixty_frames_and_half(vocaset: Path, tmp_path: Path) -> None:
    prepare("vocaset", vocaset, tmp_path / "out", PrepareOptions(fps=60), half=True)
    clip = open_prepared(tmp_path / "out").clips()[0]
    assert (clip.fps, clip.frames, clip.offsets.dtype) == (60.0, 13, np.float16)
    whole = clip.clip("voca")
    assert (whole.split, whole.motion.fps, whole.corpus) == ("train", 60.0, "vocaset")
    assert whole.motion.offsets is not None
    assert whole.motion.offsets.dtype == np.float32
    with pytest.raises(
        InputError, match=r"60 frames a second cannot become 25 .*choose 60, 30, 20"
    ):
        prepare("vocaset", vocaset, tmp_path / "other", PrepareOptions(fps=25))
    with pytest.raises(InputError, match=r"prepared otherwise \(fps 60.0, dtype float16\)"):
        prepare("vocaset", vocaset, tmp_path / "out")


def test_damaged_clips_are_named_and_the_rest_goes_on(vocaset: Path, tmp_path: Path) -> None:
    audio = {
        s: {
            f"sentence{n:02d}": {"audio": voice(13 / 60, 22000, n), "sample_rate": 22000}
            for n in (1, 2, 30)
        }
        for s in (TRAIN, TEST)
    }
    del audio[TEST]["sentence30"]
    audio[TEST]["sentence02"]["audio"] = voice(3.0, 22000, 1)
    audio[TRAIN]["../../evil"] = audio[TRAIN]["sentence01"]
    write_python2(vocaset / "raw_audio_fixed.pkl", audio)
    verts = np.load(vocaset / "data_verts.npy")
    verts[14, 2, 0] = np.nan  # frame 1 of the second sentence is not kept at 30 fps, frame 2 is
    verts[15, 2, 0] = np.nan
    np.save(vocaset / "data_verts.npy", verts[:-1])
    done = prepare("vocaset", vocaset, tmp_path / "out")
    reasons = dict(done.failed)
    assert reasons[f"{TEST}_sentence30"] == "raw_audio_fixed.pkl has no sound for it"
    assert "its sound lasts 3.00 s and its motion 0.23 s" in reasons[f"{TEST}_sentence02"]
    assert reasons[f"{TRAIN}_sentence02"] == "frame 1 holds positions that are not finite"
    assert "no motion" in reasons[f"{TRAIN}_../../evil"]
    assert (len(reasons), done.made) == (4, 3)
    whole = {f"{TRAIN}_sentence01", f"{TRAIN}_sentence30", f"{TEST}_sentence01"}
    for suffix in ("npy", "flac", "json"):
        assert {p.stem for p in (tmp_path / "out" / "clips").glob(f"*.{suffix}")} == whole
    assert open_prepared(tmp_path / "out").failed == reasons


def test_a_truncated_memory_map_names_the_rows(vocaset: Path, tmp_path: Path) -> None:
    np.save(vocaset / "data_verts.npy", np.load(vocaset / "data_verts.npy")[:-5])
    done = prepare("vocaset", vocaset, tmp_path / "out")
    ((name, reason),) = done.failed
    assert name == f"{TEST}_sentence30"
    assert (
        reason
        == "subj_seq_to_idx.pkl names row 77, but data_verts.npy holds 73: one of them is cut off"
    )
    (vocaset / "data_verts.npy").write_bytes((vocaset / "data_verts.npy").read_bytes()[:-50])
    with pytest.raises(InputError, match=r"data_verts.npy is damaged, cut off"):
        prepare("vocaset", vocaset, tmp_path / "out")


def test_frames_that_are_missing_or_counted_from_one(vocaset: Path, tmp_path: Path) -> None:
    rows = {
        TRAIN: {
            "sentence01": {i + 1: i for i in range(13)},
            "sentence02": {i: i for i in range(13) if i != 4},
            "sentence30": {i + 3: i for i in range(10)},
        }
    }
    audio = {
        TRAIN: {
            name: {"audio": voice(13 / 60, 22000, 1), "sample_rate": 22000} for name in rows[TRAIN]
        }
    }
    write_python2(vocaset / "subj_seq_to_idx.pkl", rows)
    write_python2(vocaset / "raw_audio_fixed.pkl", audio)
    done = prepare("vocaset", vocaset, tmp_path / "out")
    assert [clip.frames for clip in open_prepared(tmp_path / "out").clips()] == [7]
    assert dict(done.failed) == {
        f"{TRAIN}_sentence02": "subj_seq_to_idx.pkl leaves out frames: it has 12 of 0 to 12",
        f"{TRAIN}_sentence30": "subj_seq_to_idx.pkl leaves out frames: it has 10 of 3 to 12",
    }


@pytest.mark.parametrize(
    "sound",
    [
        5,
        {},
        {"audio": voice(0.2, 22000, 1)},
        {"audio": voice(0.2, 22000, 1), "sample_rate": "fast"},
    ],
)
def test_sound_that_is_none(vocaset: Path, tmp_path: Path, sound: object) -> None:
    audio = {
        TRAIN: {
            "sentence01": sound,
            "sentence02": {"audio": voice(13 / 60, 22000, 1), "sample_rate": 22000.0},
        }
    }
    write_python2(vocaset / "raw_audio_fixed.pkl", audio)
    done = prepare("vocaset", vocaset, tmp_path / "out")
    assert (
        dict(done.failed)[f"{TRAIN}_sentence01"]
        == "raw_audio_fixed.pkl holds no array 'audio' with a 'sample_rate' for it"
    )
    assert done.made == 1


def test_names_that_lead_out_of_the_folder(tmp_path: Path) -> None:
    write_vocaset(tmp_path / "raw", ("../../escape", TRAIN), (1,))
    done = prepare("vocaset", tmp_path / "raw", tmp_path / "out")
    ((name, reason),) = done.failed
    assert name == "../../escape_sentence01"
    assert "is not a name for a file" in reason
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "raw"]


def test_a_second_run_keeps_what_is_whole(vocaset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    trial = prepare("vocaset", vocaset, out, limit=2)
    assert (trial.made, trial.limited) == (2, True)
    full = prepare("vocaset", vocaset, out)
    assert (full.made, full.kept, full.limited) == (4, 2, False)
    before = {p.name: p.read_bytes() for p in (out / "clips").iterdir()} | {
        "m": (out / "manifest.json").read_bytes()
    }
    (out / "clips" / f"{TRAIN}_sentence01.flac").write_bytes(b"fLaC")
    (out / "clips" / f"{TEST}_sentence01.json").unlink()
    again = prepare("vocaset", vocaset, out)
    assert (again.made, again.kept) == (2, 4)
    assert {p.name: p.read_bytes() for p in (out / "clips").iterdir()} | {
        "m": (out / "manifest.json").read_bytes()
    } == before
    os.utime(vocaset / "templates.pkl", (1, 1))
    assert prepare("vocaset", vocaset, out).made == 6


KILLED = """
import os, sys
from pathlib import Path
from jambatalk.datasets.prepare import prepare
count, replace = 0, os.replace
def dying(source, target):
    global count
    if str(target).endswith((".npy", ".flac", ".json")) and "clips" in str(target):
        count += 1
        # in the middle of the third clip: its motion lies there, its sound is written under a
        # hidden name
        if count == 8:
            os._exit(9)
    replace(source, target)
os.replace = dying
prepare("vocaset", sys.argv[1], sys.argv[2], jobs=1)
"""


def test_a_killed_run_leaves_no_half_clip_and_is_resumed(vocaset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(vocaset), str(out)], capture_output=True, text=True
    )
    assert killed.returncode == 9, killed.stderr
    assert len(list((out / "clips").glob("*.json"))) == 2
    assert [p for p in (out / "clips").iterdir() if p.name.startswith(".")]
    with pytest.raises(InputError, match="not a prepared corpus"):
        open_prepared(out)
    done = prepare("vocaset", vocaset, out)
    assert (done.made, done.kept) == (4, 2)
    assert not [p for p in (out / "clips").iterdir() if p.name.startswith(".")]
    fresh = prepare("vocaset", vocaset, tmp_path / "fresh")
    assert fresh.made == 6
    for path in (tmp_path / "fresh").rglob("*.*"):
        assert (out / path.relative_to(tmp_path / "fresh")).read_bytes() == path.read_bytes()


def test_biwi_whole(tmp_path: Path) -> None:
    truth = write_biwi(
        tmp_path / "raw", [*BIWI_CLIPS, ("F1", "01"), ("F7", "02"), ("M6", "03")], unit=0.001
    )
    done = prepare("biwi", tmp_path / "raw", tmp_path / "out")
    assert done.failed == ()
    corpus = open_prepared(tmp_path / "out")
    assert corpus.splits() == {"train": 192, "val": 24, "test_a": 24, "test_b": 32}
    assert corpus.splits("scantalk") == {"train": 1, "val": 1, "test": 1}
    assert (corpus.schemes, corpus.fps, corpus.unit) == (("codetalker", "scantalk"), 25.0, "metres")
    for clip in corpus.clips()[::50]:
        assert (
            np.abs(clip.template + clip.offsets - truth[clip.name]).max() < 1e-6
        )  # millimetres became metres
        assert len(clip.samples) == 6 * 640
    assert corpus.face("F1") is not None


@pytest.mark.parametrize("packing", ["tar", "tgz", "subject.tar", "subject.tgz"])
def test_biwi_in_archives(tmp_path: Path, packing: str) -> None:
    clips = [("F2", "e01"), ("F2", "e40"), ("M1", "e37"), ("M1", "07")]
    truth = write_biwi(tmp_path / "raw", clips, packing)
    if packing == "tar":  # the pictures that lie beside the frames, one sentence's unpacked
        (tmp_path / "raw" / "faces" / "M1" / "e37").mkdir()
        (tmp_path / "raw" / "faces" / "M1" / "._e37.tar").write_bytes(b"left by a Mac")
        with tarfile.open(tmp_path / "raw" / "faces" / "F2" / "e01.tgz", "w:gz") as archive:
            archive.addfile(tarfile.TarInfo("frame_001.png"))
    done = prepare("biwi", tmp_path / "raw", tmp_path / "out")
    assert (done.made, done.failed) == (4, ())
    for clip in open_prepared(tmp_path / "out").clips():
        assert np.abs(clip.template + clip.offsets - truth[clip.name]).max() < 1e-7


def hostile(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (hostile("/etc/cron.d/x"), "has an absolute path"),
        (hostile("C:\\x.vl"), "has an absolute path"),
        (hostile("F2/../../x.vl"), "leads out of the archive"),
        (hostile("..\\x.vl"), "leads out of the archive"),
        (hostile("x.vl", tarfile.SYMTYPE, "/etc/passwd"), "is a link"),
        (hostile("x.vl", tarfile.LNKTYPE, "frame_001.vl"), "is a link"),
        (hostile("x.vl", tarfile.CHRTYPE), "is a device or the like"),
        (hostile("x.vl", tarfile.FIFOTYPE), "is a device or the like"),
    ],
)
@pytest.mark.parametrize("packing", ["tar", "subject.tar"])
def test_hostile_archives(
    tmp_path: Path, member: tarfile.TarInfo, reason: str, packing: str
) -> None:
    write_biwi(tmp_path / "raw", [("F2", "e01"), ("M1", "e37")], packing, frames=2)
    path = tmp_path / "raw" / "faces" / ("F2/e01.tar" if packing == "tar" else "F2.tar")
    with tarfile.open(path, "a") as archive:
        archive.addfile(member, io.BytesIO())
    done = prepare("biwi", tmp_path / "raw", tmp_path / "out")
    ((name, said),) = done.failed
    assert name == ("F2_e01" if packing == "tar" else "F2")
    assert f"is refused: its member {member.name!r} {reason}" in said
    assert done.made == 1
    assert not list((tmp_path / "out" / "clips").glob("F2*"))


def test_damaged_biwi(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_biwi(raw, [("F2", f"e{n:02d}") for n in range(1, 8)])
    write_biwi(tmp_path / "other", [("F3", "e01"), ("F3", "e02")], "tgz")
    shutil.copytree(tmp_path / "other" / "faces" / "F3", raw / "faces" / "F3")
    shutil.copy(tmp_path / "other" / "rigid_scans" / "F3.obj", raw / "rigid_scans")
    for n in (1, 2):
        shutil.copy(tmp_path / "other" / "wav" / f"F3_e0{n}.wav", raw / "wav")
    faces = raw / "faces" / "F2"
    frame = (faces / "e01" / "frame_003.vl").read_bytes()
    (faces / "e01" / "frame_003.vl").write_bytes(frame[:-4])
    (faces / "e02" / "frame_003.vl").write_bytes(
        (V + 1).to_bytes(4, "little") + frame[4:] + b"\0" * 12
    )
    (faces / "e03" / "frame_004.vl").unlink()
    (raw / "wav" / "F2_e04.wav").unlink()
    sound = (raw / "wav" / "F2_e05.wav").read_bytes()
    (raw / "wav" / "F2_e05.wav").write_bytes(sound[: len(sound) // 3])
    (faces / "e06" / "frame_001.vl").write_bytes(b"")
    archive = raw / "faces" / "F3" / "e02.tgz"
    archive.write_bytes(archive.read_bytes()[:200])
    done = prepare("biwi", raw, tmp_path / "out")
    reasons = dict(done.failed)
    assert (
        "frame_003.vl is damaged or cut off: 5 vertices take 64 bytes, it holds 60"
        in reasons["F2_e01"]
    )
    assert "holds 6 vertices, its template 5" in reasons["F2_e02"]
    assert "lacks frame 4 of 1 to 6" in reasons["F2_e03"]
    assert reasons["F2_e04"] == "no sound: expected wav/F2_e04.wav"
    assert "F2_e05.wav is cut off" in reasons["F2_e05"]
    assert "holds 0 vertices" in reasons["F2_e06"]
    assert "cut off" in reasons["F3_e02"]
    assert [clip.name for clip in open_prepared(tmp_path / "out").clips()] == ["F2_e07", "F3_e01"]


def test_biwi6(tmp_path: Path) -> None:
    truth = write_layout(tmp_path / "raw", [*BIWI_CLIPS, ("F7", "11"), ("M6", "12"), ("F1", "13")])
    prepare("biwi6", tmp_path / "raw", tmp_path / "out", half=True)
    corpus = open_prepared(tmp_path / "out")
    assert corpus.splits("codetalker") == {"train": 192, "val": 24, "test_a": 24, "test_b": 32}
    assert corpus.splits("scantalk") == {"train": 1, "val": 1, "test": 1}
    assert corpus.unit == "the corpus' own"
    assert corpus.face("F1") is None
    clip = corpus.clips("val")[3]
    assert np.abs(clip.template + clip.offsets - truth[clip.name]).max() < 2e-5
    with pytest.raises(
        InputError, match=r"no split 'test' by codetalker: choose from test_b, train, val, test_a"
    ):
        corpus.clips("test")
    with pytest.raises(InputError, match=r"no splits by 'voca': choose from codetalker, scantalk"):
        corpus.clips("train", "voca")


def test_a_neutral_biwi6_is_split_as_scantalk_does(tmp_path: Path) -> None:
    write_layout(tmp_path / "raw", [("F7", "01"), ("F8", "01"), ("F1", "01")])
    prepare("biwi6", tmp_path / "raw", tmp_path / "out")
    assert open_prepared(tmp_path / "out").splits() == {"train": 1, "val": 1, "test": 1}


def test_layout_of_unknown_people(tmp_path: Path) -> None:
    clips = [("Ann_Lee", f"{n}") for n in range(1, 5)]
    write_layout(tmp_path / "raw", clips, fps=50.0)
    with pytest.raises(
        InputError,
        match="moves 5 vertices, a corpus not known here: say its frame rate, --source-fps",
    ):
        prepare("faceformer-layout", tmp_path / "raw", tmp_path / "out")
    prepare(
        "faceformer-layout",
        tmp_path / "raw",
        tmp_path / "out",
        PrepareOptions(fps=25, source_fps=50),
    )
    corpus = open_prepared(tmp_path / "out")
    assert (corpus.fps, corpus.schemes, corpus.splits()) == (
        25.0,
        ("sentences",),
        {"train": 2, "val": 1, "test": 1},
    )
    assert [(clip.subject, clip.sentence, clip.frames) for clip in corpus.clips("train")] == [
        ("Ann_Lee", "1", 3),
        ("Ann_Lee", "2", 3),
    ]


def test_damaged_layout(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_layout(raw, [("F1", f"e{n:02d}") for n in range(30, 40)])
    npy = raw / "vertices_npy"
    np.save(npy / "F1_e30.npy", np.zeros((6, 12), np.float32))
    np.save(npy / "F1_e31.npy", np.array([{"x": print}], dtype=object), allow_pickle=True)
    (npy / "F1_e32.npy").write_bytes((npy / "F1_e32.npy").read_bytes()[:-9])
    (npy / "F1_e33.npy").unlink()
    (raw / "wav" / "F1_e34.wav").unlink()
    (npy / "F1_e35.npy").rename(npy / "G1_e35.npy")
    (raw / "wav" / "F1_e35.wav").rename(raw / "wav" / "G1_e35.wav")
    (raw / "wav" / "F1_e36.wav").write_bytes(b"RIFF")
    (raw / "wav" / "._F1_e37.wav").write_bytes(b"left by a Mac")
    done = prepare("biwi6", raw, tmp_path / "out")
    reasons = dict(done.failed)
    assert "F1_e30.npy holds float32 of shape (6, 12), expected floats (T, 15)" in reasons["F1_e30"]
    assert "F1_e31.npy is damaged, cut off or not a .npy file of numbers" in reasons["F1_e31"]
    assert "F1_e32.npy is damaged, cut off" in reasons["F1_e32"]
    assert reasons["F1_e33"] == "vertices_npy/F1_e33.npy is missing"
    assert reasons["F1_e34"] == "wav/F1_e34.wav is missing"
    assert "no template of 'G1'" in reasons["G1_e35"]
    assert "F1_e36.wav" in reasons["F1_e36"]
    assert (len(reasons), done.made) == (7, 3)


def test_refusals_of_the_whole(tmp_path: Path, vocaset: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(
        InputError,
        match="no corpus of kind 'voca': choose from vocaset, biwi, biwi6, faceformer-layout",
    ):
        prepare("voca", vocaset, out)
    with pytest.raises(InputError, match="no such folder"):
        prepare("vocaset", tmp_path / "nowhere", out)
    with pytest.raises(InputError, match=r"has no faces: BIWI is faces, rigid_scans"):
        prepare("biwi", vocaset, out)
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        prepare("vocaset", vocaset, out)
    write_python2(vocaset / "templates.pkl", {TRAIN: TEMPLATE, TEST: TEMPLATE[:3]})
    with pytest.raises(InputError, match=r"the template of .* has 3 vertices, expected 5"):
        prepare("vocaset", vocaset, tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 9}, "its format is jambatalk-corpus 9, expected jambatalk-corpus 2"),
        ({"clips": [{}]}, "is damaged"),
        ({"subjects": ["../x"]}, "is not a name for a file"),
    ],
)
def test_manifests_that_cannot_be_used(
    vocaset: Path, tmp_path: Path, change: dict, message: str
) -> None:
    prepare("vocaset", vocaset, tmp_path / "out", limit=1)
    path = tmp_path / "out" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change))
    with pytest.raises(InputError, match=message):
        open_prepared(tmp_path / "out")


def test_damaged_prepared_clips(vocaset: Path, tmp_path: Path) -> None:
    prepare("vocaset", vocaset, tmp_path / "out")
    first, second = open_prepared(tmp_path / "out").clips()[:2]
    first.motion_path.write_bytes(first.motion_path.read_bytes()[:-8])
    soundfile.write(second.audio_path, np.zeros(100), 16000)
    with pytest.raises(InputError, match="damaged, cut off"):
        _ = first.offsets
    with pytest.raises(InputError, match="holds 100 samples, the manifest says"):
        _ = second.samples
