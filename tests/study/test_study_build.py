"""Building studies: what is made, what raters get to see, what is refused, and what an interrupted
build leaves.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from jambatalk.errors import InputError
from jambatalk.motion import Motion
from jambatalk.study import build as build_module
from jambatalk.study import checks
from jambatalk.study.build import build_study
from jambatalk.study.media import RenderOptions
from jambatalk.study.plan import MEDIA_FOLDER, Settings, Study, load_study
from jambatalk.study.trials import CHECK, HEADPHONES, PRACTICE, RATING, trials_for
from study_clips import error_of, run, write_clip, write_systems


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_systems(tmp_path_factory.mktemp("systems"), ("ours", "theirs", "third"), 3)


@pytest.fixture(scope="module")
def study(videos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Study:
    out = tmp_path_factory.mktemp("built") / "study"
    return build_study(videos, out, Settings(seed=1, tone_seconds=0.1, trials=4)).study


def test_a_study_reads_back_as_it_was_built(study: Study) -> None:
    assert load_study(study.folder) == study
    assert len(study.media) == 9
    assert {one.seconds for one in study.media.values()} == {0.5}
    assert study.files == {path.name for path in (study.folder / MEDIA_FOLDER).iterdir()}


def test_files_tell_nothing_of_their_origin(study: Study) -> None:
    for name, one in study.media.items():
        content = (study.folder / MEDIA_FOLDER / name).read_bytes()
        assert one.system.encode() not in content
        assert one.clip not in name
        assert one.system not in name


def test_the_wrong_clip_has_another_face_and_the_same_sound(study: Study) -> None:
    def packets(name: str, kind: str) -> list[bytes]:
        with av.open(str(study.folder / MEDIA_FOLDER / name)) as file:
            return [bytes(packet) for packet in file.demux(**{kind: 0}) if packet.size]

    files = {(one.system, one.clip): name for name, one in study.media.items()}
    assert len(study.mismatches) == 2
    for one in study.mismatches:
        face = files[study.media[one.right].system, one.face_of]
        assert one.clip == study.media[one.right].clip != one.face_of
        assert packets(one.wrong, "audio") == packets(one.right, "audio")
        assert packets(one.wrong, "video") == packets(face, "video") != packets(one.right, "video")


def test_every_item_is_shown_equally_often_and_on_both_sides(study: Study) -> None:
    shown: Counter[tuple[str, ...]] = Counter()
    for number in range(18):  # 18 raters x 4 = 9 items x 8
        trials = trials_for(study, number)
        assert [trial.kind for trial in trials[:7]] == [HEADPHONES] * 6 + [PRACTICE]
        rest = Counter(trial.kind for trial in trials[7:])
        assert rest == {RATING: 4, CHECK: 4}
        assert trials[7].kind == RATING
        assert len({trial.id for trial in trials}) == len(trials)
        ratings = [trial for trial in trials if trial.kind == RATING]
        assert len({(trial.clip, frozenset(trial.systems)) for trial in ratings}) == 4
        shown.update((trial.clip, *trial.systems) for trial in ratings)
    assert len(shown) == 18
    assert set(shown.values()) == {
        4
    }  # each of 9 items 8 times, 4 of them with its first system as A


def test_what_is_served_holds_no_key_and_checks_look_like_trials(study: Study) -> None:
    trials = trials_for(study, 0)
    text = json.dumps([trial.public() for trial in trials])
    for word in ("ours", "theirs", "third", "clip", CHECK, "expected", "systems"):
        assert word not in text
    wrong = [trial for trial in trials if trial.check == "wrong clip"]
    assert len(wrong) == 2
    assert {trial.expected["q1"] for trial in wrong if trial.expected} == {"A", "B"}
    assert all(set(trial.public()) == set(trials[7].public()) for trial in trials)
    assert trials_for(study, 0) == trials != trials_for(study, 1)


def test_the_tones_are_quiet_and_in_antiphase_where_they_should_be() -> None:
    sound = checks.three_tones(("antiphase", "quiet", "plain"))
    assert sound.shape == (4 * checks.SAMPLE_RATE, 2)  # three of 1 s and two gaps of 0.5 s
    starts = [0, round(1.5 * checks.SAMPLE_RATE), 3 * checks.SAMPLE_RATE]
    tones = [sound[start : start + checks.SAMPLE_RATE] for start in starts]
    rms = [float(np.sqrt((tone[:, 0] ** 2).mean())) for tone in tones]
    assert 20 * np.log10(rms[1] / rms[2]) == pytest.approx(-6, abs=1e-3)
    assert rms[0] == pytest.approx(rms[2])
    np.testing.assert_array_equal(tones[0][:, 0], -tones[0][:, 1])
    np.testing.assert_array_equal(tones[2][:, 0], tones[2][:, 1])
    assert np.abs(tones[0].sum(1)).max() == 0  # what a loudspeaker in the middle would play
    peak = np.fft.rfftfreq(checks.SAMPLE_RATE, 1 / checks.SAMPLE_RATE)[
        np.abs(np.fft.rfft(tones[2][:, 0])).argmax()
    ]
    assert peak == 200
    assert (checks.tones_needed(6), checks.tones_needed(1), checks.tones_needed(12)) == (5, 1, 10)


def test_the_built_tones_name_their_quietest(study: Study) -> None:
    assert sorted(one.quiet for one in study.tones) == [1, 1, 2, 2, 3, 3]
    for one in study.tones:
        sound, rate = soundfile.read(study.folder / MEDIA_FOLDER / one.file)
        tone = round(0.1 * rate)
        levels = [
            np.abs(sound[start : start + tone]).max() for start in (0, round(1.5 * tone), 3 * tone)
        ]
        assert int(np.argmin(levels)) + 1 == one.quiet


def test_motions_are_drawn_with_the_sound_beside_them(tmp_path: Path) -> None:
    mesh = tmp_path / "face.obj"
    corners = [(x, y, 0.02 * x * y) for y in (-0.1, 0, 0.1) for x in (-0.08, 0, 0.08)]
    squares = [(i, i + 1, i + 4, i + 3) for i in (1, 2, 4, 5)]
    triangles = [(a, b, c) for a, b, c, _ in squares] + [(a, c, d) for a, _, c, d in squares]
    mesh.write_text(
        "".join(f"v {x} {y} {z}\n" for x, y, z in corners)
        + "".join(f"f {a} {b} {c}\n" for a, b, c in triangles)
    )
    for system, size in (("still", 0.0), ("moving", 0.01)):
        folder = tmp_path / system
        folder.mkdir()
        offsets = np.zeros((8, 9, 3), np.float32)
        offsets[4:, :, 1] = size
        if system == "still":
            np.save(folder / "one.npy", offsets)
        else:
            Motion(20.0, offsets=offsets).save(folder / "one.npz")
        soundfile.write(folder / "one.wav", np.full(6400, 0.1), 16000)
    systems = {name: tmp_path / name for name in ("still", "moving")}
    options = RenderOptions(size=(32, 32), face=mesh, fps=20.0)
    made = build_study(
        systems, tmp_path / "study", Settings(headphones=0, checks=0), options=options
    )
    assert made.notes == ()
    for name in made.study.media:
        with av.open(str(made.study.folder / MEDIA_FOLDER / name)) as file:
            assert len(file.streams.audio) == 1
            assert len(list(file.decode(video=0))) == 8


def test_differences_by_which_systems_could_be_told_apart_are_mentioned(
    videos: dict[str, Path], tmp_path: Path
) -> None:
    write_clip(tmp_path / "long" / "clip0.mp4", 90, 0, seconds=1.0)
    systems = {"ours": videos["ours"], "long": tmp_path / "long"}
    made = build_study(systems, tmp_path / "study", Settings(headphones=0), common=True)
    assert made.notes == ("length of ours and long differs in 1 clips, such as clip0",)
    assert made.study.clips == ("clip0",)
    assert made.study.mismatches == ()  # one clip has no other face to put to its sound
    assert [t.check for t in trials_for(made.study, 0) if t.kind == CHECK] == ["instruction"] * 4


def test_an_interrupted_build_leaves_nothing(
    videos: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def interrupt(done: int, total: int) -> None:
        seen.append(len(list(tmp_path.rglob("*.mp4"))))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_study(videos, tmp_path / "study", progress=interrupt)
    assert seen == [1, 2, 3]
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(
        build_module.os,
        "rename",
        lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    with pytest.raises(InputError, match="No space left"):
        build_study(videos, tmp_path / "study", Settings(headphones=0, checks=0))
    assert list(tmp_path.iterdir()) == []


def test_bad_input_gives_one_sentence(videos: dict[str, Path], tmp_path: Path) -> None:
    ours, theirs = f"ours={videos['ours']}", f"theirs={videos['theirs']}"
    out = tmp_path / "study"
    folders = {
        name: tmp_path / name
        for name in ("empty", "fewer", "silent", "codec", "broken", "motion", "npy")
    }
    for folder in folders.values():
        folder.mkdir()
    shutil.copy(videos["ours"] / "clip0.mp4", folders["fewer"])
    write_clip(folders["silent"] / "clip0.mp4", 90, 0, sound=False)
    write_clip(folders["codec"] / "clip0.mp4", 90, 0, codec="mpeg4")
    (folders["broken"] / "clip0.mp4").write_bytes(b"no video" * 99)
    Motion(20.0, weights=np.zeros((4, 1), np.float32), names=("jawOpen",)).save(
        folders["motion"] / "clip0.npz"
    )
    np.save(folders["npy"] / "clip0.npy", np.zeros((4, 7), np.float32))
    one = {name: f"{name}={folder}" for name, folder in folders.items()}
    cases = [
        ([ours], "needs at least 2 systems"),
        ([ours, "theirs"], "expected NAME=FOLDER"),
        ([ours, ours], "given twice"),
        ([ours, "x=" + str(tmp_path / "nowhere")], "is not a folder"),
        ([ours, one["empty"]], "holds no clips"),
        ([ours, one["fewer"]], "system fewer has no clip 'clip1'"),
        ([ours, one["silent"], "--common"], "has no sound"),
        ([ours, one["codec"], "--common"], "holds mpeg4"),
        ([ours, one["broken"], "--common"], "cannot be read as a video"),
        ([ours, one["motion"], "--common"], "expected clip0.wav beside it"),
        ([ours, one["npy"], "--common"], "set it with --fps"),
        ([ours, theirs, "--kind", "abx"], "expected ab or mos"),
        ([ours, theirs, "--kind", "mos", "--ties"], "compares nothing"),
        (
            [ours, theirs, "--trials-per-rater", "99"],
            "99 trials per rater are wanted, but there are 3",
        ),
        ([ours, theirs, "--against", "nobody"], "expected one of ours, theirs"),
        ([ours, theirs, "--consent", str(tmp_path / "none.txt")], "cannot read"),
        ([ours, theirs, "-q", ""], "questions must be"),
    ]
    for arguments, words in cases:
        assert words in error_of("study", "build", *arguments, "-o", out), arguments
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(folders), arguments
    for command in ("serve", "report"):
        assert "is not a study" in error_of("study", command, tmp_path)


def test_a_second_build_into_the_same_folder_is_refused(
    study: Study, videos: dict[str, Path]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.folder.rglob("*")}
    pairs = [f"{name}={folder}" for name, folder in videos.items()]
    assert "exists already" in error_of("study", "build", *pairs, "-o", study.folder)
    assert {path: path.stat().st_mtime_ns for path in study.folder.rglob("*")} == before


def test_a_damaged_study_is_named(study: Study, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(study.folder, copy)
    os.unlink(copy / MEDIA_FOLDER / next(iter(study.media)))
    assert "1 of its 18 media files are missing" in error_of("study", "serve", copy)
    (copy / "study.json").write_text("{")
    assert "is damaged" in error_of("study", "serve", copy)


def test_the_command_builds_what_it_says(videos: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "consent.txt").write_text("Ünder these terms.", encoding="utf-8")
    status, printed, errors = run(
        "study",
        "build",
        *(f"{name}={folder}" for name, folder in videos.items()),
        "-o",
        tmp_path / "study",
        "--json",
        "--against",
        "third",
        "--question",
        "Whose lips?",
        "--headphones",
        0,
        "--seed",
        7,
        "--consent",
        tmp_path / "consent.txt",
    )
    assert status == 0, errors
    found = json.loads(printed)
    assert (found["clips"], found["trials_per_rater"], found["seed"]) == (3, 6, 7)
    made = load_study(tmp_path / "study")
    assert made.pairs == (("ours", "third"), ("theirs", "third"))
    assert made.settings.consent == "Ünder these terms."
    assert {made.media[one.right].system for one in made.mismatches} == {"third"}


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_playlist_is_not_a_video(suffix: str, videos: dict[str, Path], tmp_path: Path) -> None:
    """Its text would make the reader open any file that it names."""
    folder = tmp_path / "evil"
    folder.mkdir()
    shutil.copy(next(videos["ours"].iterdir()), folder / "other.bin")
    arguments = (f"a={folder}", f"b={folder}", "-o", tmp_path / "study")
    for text in ("ffconcat version 1.0\nfile other.bin\n", "#EXTM3U\n#EXTINF:1,\nother.bin\n"):
        (folder / f"clip0{suffix}").write_text(text)
        assert f"clip0{suffix} cannot be read as a video" in error_of("study", "build", *arguments)
