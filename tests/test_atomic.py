"""Interrupted writers leave nothing that stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

import jambatalk.atomic as atomic
from jambatalk.atomic import atomic_write, is_temporary
from jambatalk.errors import InputError

WRITER = """
import sys, time
from jambatalk.atomic import atomic_write
with atomic_write(sys.argv[1]) as path:
    path.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


def writer(target):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    return process


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("name", ["TERM", "HUP", "KILL"])
def test_left_overs_of_killed_writers_go_at_the_next_write(tmp_path, name):
    process = writer(tmp_path / "t.mp4")
    living = writer(tmp_path / "u.mp4")
    try:
        process.send_signal(getattr(signal, f"SIG{name}"))
        process.wait()
        left = [path for path in tmp_path.iterdir() if f".{process.pid}-" in path.name]
        assert len(left) == 1
        assert is_temporary(left[0])
        assert left[0].suffix == ".mp4"
        with atomic_write(tmp_path / "v.txt") as path:
            path.write_text("whole")
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names[-1] == "v.txt"
        assert len(names) == 2  # and what the living process writes
        assert f".{living.pid}-" in names[0]
    finally:
        living.kill()
        living.wait()


def test_an_own_number_from_before_and_another_machine(tmp_path):
    mine = tmp_path / f".a.{os.getpid()}-{atomic._HOST}.abcdefgh.mp4"  # as in a restarted container
    theirs = tmp_path / ".b.77-00000000.abcdefgh.mp4"
    old = tmp_path / ".c.77-00000000.abcdefgh.mp4"
    other = tmp_path / ".keep.mp4"
    for path in (mine, theirs, old, other):
        path.touch()
    os.utime(old, (0, time.time() - 2 * atomic.ABANDONED))
    with atomic_write(tmp_path / "x.txt") as path:
        assert is_temporary(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [theirs.name, ".keep.mp4", "x.txt"]


def test_long_names(tmp_path):
    with atomic_write(tmp_path / ("é" * 125 + ".mp4")) as path:
        path.write_text("x")
    long = tmp_path / ("x" * 300 + ".mp4")
    with pytest.raises(InputError, match=r"cannot write .*File name too long"), atomic_write(long):
        pytest.fail("the work must not begin")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "motion.npz"
    target.write_bytes(b"old")

    def write_half(path):
        path.write_bytes(b"half")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"), atomic_write(target) as path:
        write_half(path)
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["motion.npz"]
