"""Life in sessions, whole recordings, over the server's greeting, and on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import Result
from typer.testing import CliRunner

import jambatalk
from jambatalk.audio import Speech
from jambatalk.cli.main import app
from jambatalk.errors import InputError
from jambatalk.idle import IdleSettings
from jambatalk.motion import Motion
from jambatalk.server.protocol import parse_start
from jambatalk.session import Frame
from jambatalk.talker import Talker
from small_network import speechlike

SOUND = speechlike(6.0)


@pytest.fixture(scope="module")
def talker(small_weights: Path) -> Talker:
    return jambatalk.load(small_weights)


def shown(frames: list[Frame]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([frame.weights for frame in frames]), np.stack(
        [frame.head_pose for frame in frames]
    )


@pytest.mark.parametrize("fps", [None, 60.0])
def test_a_session_shows_what_the_recording_shows(talker: Talker, fps: float | None) -> None:
    settings = IdleSettings(seed=5)
    motion = talker.animate(Speech(SOUND), fps=fps, life=settings)
    session = talker.stream(fps=fps, life=settings)
    frames = [
        f for i in range(0, len(SOUND), 531) for f in session.push(SOUND[i : i + 531])
    ] + session.flush()
    weights, pose = shown(frames[: len(motion)])
    assert motion.weights is not None
    assert motion.head_pose is not None
    np.testing.assert_allclose(weights, motion.weights, atol=2e-6)
    np.testing.assert_array_equal(pose, motion.head_pose)
    assert np.abs(pose).max() > 0.005


def test_a_stored_session_goes_on_with_its_life_to_the_bit(talker: Talker) -> None:
    session = talker.stream(life=IdleSettings(seed=2))
    session.push(SOUND[:40000])
    again = talker.restore(session.save())
    for one, two in zip(session.push(SOUND[40000:]), again.push(SOUND[40000:]), strict=True):
        np.testing.assert_array_equal(one.weights, two.weights)
        np.testing.assert_array_equal(one.head_pose, two.head_pose)


def test_the_head_does_not_jump_when_turns_end(talker: Talker) -> None:
    session = talker.stream(life=IdleSettings(seed=1))
    frames = (
        session.push(SOUND)
        + session.flush()
        + session.push(SOUND)
        + session.interrupt()
        + session.push(SOUND)
    )
    _, pose = shown(frames)
    assert np.abs(np.diff(pose, axis=0)).max() < np.radians(45) / 25


def test_off_is_the_networks_own(talker: Talker) -> None:
    plain, off = (
        talker.stream(life=life).push(SOUND) for life in (None, IdleSettings.parse("off"))
    )
    for one, two in zip(plain, off, strict=True):
        np.testing.assert_array_equal(one.weights, two.weights)
        assert two.head_pose is None


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_greetings() -> None:
    def life(value: object) -> IdleSettings | None:
        return parse_start({"type": "start", "life": value}).life

    assert life(None) is None
    assert life(False) is None
    assert life(True) == IdleSettings()
    assert life({"blinks": 0.5, "seed": 9}) == IdleSettings(blinks=0.5, seed=9)
    assert life({"blinks": 0, "gaze": 0, "head": 0, "breath": 0, "brows": 0}) is None
    for bad in (
        "on",
        1,
        [],
        {"wink": 1},
        {"blinks": True},
        {"blinks": "1"},
        {"seed": -1},
        {"head": 1e400},
    ):
        with pytest.raises(InputError, match="life"):
            life(bad)


def test_animate_with_life(small_weights: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SOUND, 16000)
    common = ("animate", tmp_path / "a.wav", "--model", small_weights)
    assert run(*common, "-o", tmp_path / "plain.npz").exit_code == 0
    assert run(*common, "-o", tmp_path / "life.npz", "--life", "seed=3").exit_code == 0
    plain, life = Motion.load(tmp_path / "plain.npz"), Motion.load(tmp_path / "life.npz")
    assert plain.head_pose is None
    assert life.head_pose is not None
    np.testing.assert_array_equal(plain.column("jawOpen"), life.column("jawOpen"))
    refused = run(*common, "-o", tmp_path / "no.npz", "--life", "head=5")
    assert refused.exit_code == 2
    assert "strength from 0 to 2" in refused.stderr
    assert not (tmp_path / "no.npz").exists()


def test_videos_have_life_by_default_and_files_of_weights_have_not(
    small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", SOUND, 16000)
    drawn: dict[str, Motion] = {}

    def save(self: Motion, path: Path, **options: object) -> None:
        drawn[Path(path).suffix] = self

    monkeypatch.setattr(Motion, "save", save)
    common = ("animate", tmp_path / "a.wav", "--model", small_weights)
    both = ("-o", tmp_path / "a.mp4", "-o", tmp_path / "a.npz")
    for options, alive in (
        ((), {".mp4"}),
        (("--life", "auto"), {".mp4"}),
        (("--life", "on"), {".mp4", ".npz"}),
        (("--life", "off"), set()),
    ):
        drawn.clear()
        assert run(*common, *both, *options).exit_code == 0
        assert {name for name, motion in drawn.items() if motion.head_pose is not None} == alive
    monkeypatch.undo()
    assert run(*common, "-o", tmp_path / "m.npz").exit_code == 0
    monkeypatch.setattr(Motion, "save", save)
    assert run("animate", tmp_path / "m.npz", "-o", tmp_path / "m.mp4").exit_code == 0
    assert drawn[".mp4"].head_pose is None  # a saved motion may have its own
