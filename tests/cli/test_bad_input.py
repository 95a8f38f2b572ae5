"""Whatever is wrong with the input: one line, status 2, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from jambatalk.motion import Motion
from running import program, run, write_wav


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def mp3(seconds: float) -> bytes:
    import io

    out = io.BytesIO()
    soundfile.write(out, 0.1 * np.sin(np.arange(int(seconds * 16000)) / 20), 16000, format="MP3")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.wav", None, "missing.wav does not exist"),
        ("empty.wav", b"", "empty.wav is empty"),
        ("text.wav", b"just some text\n" * 50, "not an audio or video file"),
        ("cut.mp3", mp3(4.0)[:5000], "cut.mp3 is cut off"),
    ],
)
def test_bad_files(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert message in run("animate", name, "-o", "talk.npz").error
    assert not os.path.exists("talk.npz")


def test_zero_length_and_nan_sound(tmp_path):
    soundfile.write("zero.wav", np.zeros(0), 16000)
    assert "length is zero" in run("animate", "zero.wav", "-o", "talk.npz").error
    soundfile.write("nan.wav", np.full(1000, np.nan, np.float32), 16000, subtype="FLOAT")
    assert "NaN" in run("animate", "nan.wav", "-o", "talk.npz").error


def test_inputs_that_are_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no sound" in run("animate", "empty", "--out-dir", "out").error
    assert "no file matches" in run("animate", "*.flac", "--out-dir", "out").error
    assert "standard input is empty" in run("animate", "-", "-o", "talk.npz", stdin=b"").error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "talk.xyz"], "unknown extension '.xyz', expected one of .mp4"),
        (["-o", "talk"], "unknown extension '(none)'"),
        (["--format", "mp4,gif"], "unknown format 'gif'"),
        (["-o", "talk.mp4", "--format", "csv"], "--format goes with --out-dir"),
        (["-o", "hello.wav/talk.mp4"], "cannot write"),
        (["-o", "a.npz", "-o", "./a.npz"], "both"),
        (["--size", "big"], "--size is 'big', expected one number such as 512"),
        (["--size", "512x"], "--size is '512x'"),
        (["--size", "0"], "16 to 8192"),
        (["--size", "99999"], "16 to 8192"),
        (["--fps", "fast"], "--fps is 'fast', expected a number from 1 to 240"),
        (["--fps", "0"], "from 1 to 240"),
        (["--fps", "nan"], "from 1 to 240"),
        (["--identity", "nobody"], "unknown identity 'nobody': choose one of"),
        (["--model", "missing.safetensors", "-o", "talk.npz"], "no weights at missing.safetensors"),
        (
            ["--model", "hello.wav", "-o", "talk.npz"],
            "hello.wav is damaged, cut off or not a safetensors file",
        ),
        (["--device", "toaster", "-o", "talk.npz"], "device 'toaster' cannot be used"),
    ],
)
def test_bad_values(arguments, message, tmp_path):
    write_wav(tmp_path / "hello.wav")
    assert message in run("animate", "hello.wav", *arguments).error


def test_an_output_is_not_an_input(tmp_path):
    import shutil

    write_wav(tmp_path / "hello.wav")
    Motion(25.0, weights=np.zeros((3, 1), np.float32), names=("jawOpen",)).save("m.npz")
    before = (tmp_path / "m.npz").read_bytes()
    assert "is an input" in run("animate", "m.npz", "-o", "m.npz").error
    assert (tmp_path / "m.npz").read_bytes() == before
    shutil.copy("hello.wav", "hello.flac")
    assert (
        "is one file, but there are 2 inputs"
        in run("animate", "hello.wav", "hello.flac", "-o", "x.mp4").error
    )


def test_damaged_weights(small_weights, tmp_path):
    write_wav(tmp_path / "hello.wav")
    data = small_weights.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    error = run("animate", "hello.wav", "-o", "talk.npz", "--model", "cut.safetensors").error
    assert "cut.safetensors is damaged" in error


def test_wrong_shape_names(tmp_path):
    motion = Motion(25.0, weights=np.zeros((3, 1), np.float32), names=("jawOpne",))
    motion.save("m.npz")
    for output in ("talk.glb", "talk.mp4", "talk.csv"):
        assert "'jawOpne'" in run("animate", "m.npz", "-o", output).error
        assert not os.path.exists(output)
    Motion(25.0, weights=np.zeros((3, 1), np.float32), names=("jawOpen",)).save("m.csv")
    text = (tmp_path / "m.csv").read_text()
    (tmp_path / "m.csv").write_text(text.replace("JawOpen", "JawOpne"))
    assert (
        "unknown shape name 'JawOpne', did you mean 'JawOpen'"
        in run("animate", "m.csv", "-o", "talk.glb").error
    )


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="root and Windows may write to read-only folders",
)
def test_read_only_folder(tmp_path):
    write_wav(tmp_path / "hello.wav")
    (tmp_path / "locked").mkdir(mode=0o555)
    assert "cannot write" in run("animate", "hello.wav", "-o", "locked/talk.mp4").error


@pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="needs a device that is always full (Linux)"
)
def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    """Every write of the csv goes to a device without space."""
    import contextlib
    from pathlib import Path

    from jambatalk.formats import live_link_csv

    @contextlib.contextmanager
    def full(path):
        yield Path("/dev/full")

    monkeypatch.setattr(live_link_csv, "atomic_write", full)
    Motion(25.0, weights=np.zeros((300, 1), np.float32), names=("jawOpen",)).save("m.npz")
    assert "No space left on device" in run("animate", "m.npz", "-o", "talk.csv").error


def test_as_a_program_there_is_one_line_and_no_traceback(tmp_path):
    (tmp_path / "text.wav").write_text("not sound")
    done = program("animate", "text.wav", "-o", "talk.mp4", cwd=tmp_path)
    out, err = done.communicate(timeout=120)
    assert done.returncode == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("error: cannot read text.wav")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to one process")
@pytest.mark.parametrize(
    ("names", "statuses"), [(["SIGINT"], {130}), (["SIGTERM", "SIGHUP", "SIGTERM"], {143, 129})]
)
def test_signals_leave_nothing(names, statuses, small_weights, tmp_path):
    write_wav(tmp_path / "long.wav", seconds=120)
    process = program(
        "animate", "long.wav", "-o", "out/talk.mp4", "--model", small_weights, cwd=tmp_path
    )
    deadline = time.monotonic() + 120
    try:
        # The hidden temporary file shows that the video is being written.
        while not (tmp_path / "out").is_dir() or not any(
            p.stat().st_size > 0 for p in (tmp_path / "out").iterdir()
        ):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for name in names:
            process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode in statuses
    assert err.strip().splitlines()[-1] == "interrupted; nothing half-written"
    assert "Traceback" not in err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks here")
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_signals_that_come_together_interrupt_once():
    from jambatalk.cli.console import _signals_interrupt

    both = {signal.SIGTERM, signal.SIGHUP}
    with pytest.raises(KeyboardInterrupt), _signals_interrupt():  # noqa: PT012
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
        finally:
            list(range(1000))  # cleaning up is not interrupted


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_an_ignored_signal_stays_ignored():
    """In a program of its own: other tests leave handlers and threads behind."""
    program = """
import signal
import subprocess
from jambatalk.cli.console import _signals_interrupt
signal.pthread_sigmask(signal.SIG_SETMASK, [])  # whoever runs the tests may have blocked some
signal.signal(signal.SIGHUP, signal.SIG_IGN)
try:
    with _signals_interrupt():
        signal.raise_signal(signal.SIGHUP)
        print("goes on")
        signal.raise_signal(signal.SIGTERM)
        print("was not interrupted")
except KeyboardInterrupt:
    print("interrupted")
assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["goes on", "interrupted", ""]


def test_threads(small_weights, tmp_path, monkeypatch):
    from jambatalk.ops import threads

    seen = []
    limit = threads.set_thread_limit
    monkeypatch.setattr(threads, "set_thread_limit", lambda n: (seen.append(n), limit(n)))
    write_wav(tmp_path / "hello.wav")
    arguments = ["animate", "hello.wav", "-o", "talk.npz", "--model", small_weights]
    assert run(*arguments, "--threads", "2").status == 0
    assert run(*arguments).status == 0
    assert seen == [2, None]
    assert "Invalid value for '--threads'" in run(*arguments, "--threads", "0").err
    monkeypatch.setenv("JAMBATALK_THREADS", "two")
    assert "JAMBATALK_THREADS is 'two', expected a number from 1 to 1024" in run(*arguments).err


def test_version_and_help(tmp_path):
    from jambatalk import __version__

    assert run("--version").out == f"jambatalk {__version__}\n"
    for command in ("animate", "demo", "doctor", "train"):
        assert run(command, "--help").status == 0
        assert command in run("--help").out
    assert run("animate").status == 2
    assert run("animate", "x.wav", "--nonsense").status == 2


def test_help_is_whole_and_by_task(monkeypatch):
    from typer.main import get_command

    from jambatalk.cli.main import EXAMPLES, TASKS, app

    group = get_command(app)
    listed = [name for names in TASKS.values() for name in names]
    assert sorted(listed) == sorted(n for n, c in group.commands.items() if not c.hidden)
    text = run("--help").out
    places = [text.index(f"\n  {name} ") for name in listed]
    assert places == sorted(places)
    assert text.count("...") == 1  # of the usage line: no description is cut
    assert "Train a network on one corpus or several; stop at any time" in text
    for name, example in EXAMPLES.items():
        assert f"Example: jambatalk {example}" in " ".join(run(name, "--help").out.split())
        words = example.split()
        group.commands[name].make_context(name, words[1:])  # the options are right


def test_starting_up_does_not_wait_for_torch(tmp_path):
    heavy = ("torch", "numba", "av", "scipy")
    code = (
        "import sys, jambatalk, jambatalk.cli.main; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    import subprocess

    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )
