"""Motion: formats by suffix, file objects, a new format, notebooks, frame rates."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

import jambatalk
from jambatalk.errors import InputError
from jambatalk.motion import FORMATS, Motion, check_outputs, formats_table
from running import write_wav

MOTION = Motion(
    25.0,
    weights=np.linspace(0, 1, 20, dtype=np.float32).reshape(10, 2),
    names=("jawOpen", "mouthClose"),
)


def test_unknown_extension_lists_the_known_ones(tmp_path):
    for path in (tmp_path / "talk.xyz", tmp_path / "talk"):
        for action in (MOTION.save, lambda p: check_outputs([p]), Motion.load):
            with pytest.raises(InputError, match="extension") as caught:
                action(path)
            assert ".npz" in str(caught.value)
    with pytest.raises(InputError, match=r"expected one of .*\.mp4.*\.glb"):
        check_outputs([tmp_path / "talk.xyz"])


def test_suffixes_ignore_case(tmp_path):
    MOTION.save(tmp_path / "TALK.NPZ")
    np.testing.assert_array_equal(Motion.load(tmp_path / "TALK.NPZ").weights, MOTION.weights)


def test_several_outputs_and_options_of_one_of_them(tmp_path):
    MOTION.save([tmp_path / "a.csv", str(tmp_path / "a.json")], shapes="all")  # an option of .glb
    assert len(Motion.load(tmp_path / "a.csv")) == len(Motion.load(tmp_path / "a.json")) == 10
    with pytest.raises(InputError, match="unknown option 'colour'"):
        MOTION.save(tmp_path / "a.csv", colour="red")


def test_outputs_are_checked_without_leaving_anything(tmp_path):
    check_outputs([tmp_path / f"new/talk{suffix}" for suffix in FORMATS])
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_outputs([tmp_path / "folder.mp4"])
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write"):
        check_outputs([tmp_path / "file" / "talk.csv"])


@pytest.mark.skipif(
    os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="root may write anywhere",
)
def test_read_only_places(tmp_path):
    target = tmp_path / "talk.csv"
    target.write_text("x")
    target.chmod(0o444)
    with pytest.raises(InputError, match="read-only"):
        check_outputs([target])
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(InputError, match="cannot write"):
            check_outputs([tmp_path / "new.csv"])
    finally:
        tmp_path.chmod(0o755)


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Motion.load(tmp_path / "no.npz")
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        Motion.load(tmp_path / "dir.csv")
    with pytest.raises(InputError, match="cannot read a motion"):
        Motion.load(tmp_path / "talk.mp4")


TOY_MODULE = """
import json
from jambatalk.motion import Motion
import numpy as np

def save(motion, path, *, shout=False):
    rows = motion.weights.tolist()
    path.write_text(json.dumps({"fps": motion.fps, "names": motion.names, "rows": rows}))

def load(path):
    found = json.loads(path.read_text())
    rows = np.array(found["rows"], np.float32)
    return Motion(found["fps"], weights=rows, names=tuple(found["names"]))
"""

TOY_LINE = """
import os
os.sched_setscheduler = lambda *_: None  # a worker that gives way would not run on a busy machine
from jambatalk.motion import FORMATS, Format
FORMATS[".toy"] = Format("toyformat", "application/x-toy", frozenset({"weights"}), "a toy", True)
"""

TOY_JOB = """
import io, sys
import jambatalk
from starlette.testclient import TestClient
from jambatalk.server.app import create_app
from jambatalk.server.engine import Engine
from jambatalk.server.jobs import JobStore, Runner
from jambatalk.server.settings import ServerSettings
from pathlib import Path

talker = jambatalk.load(sys.argv[1])
settings = ServerSettings(token=None, hosts=("testserver",))
runner = Runner(JobStore(Path("state")), talker.path, 1, 60.0)
with Engine(talker) as engine, runner, TestClient(create_app(engine, settings, runner)) as client:
    sound = Path("hello.wav").read_bytes()
    job = client.post("/v1/jobs", params={"format": "toy"}, content=sound).json()
    for _ in range(4):
        job = client.get(f"/v1/jobs/{job['id']}", params={"wait": 30}).json()
        if job["status"] in ("done", "failed"):
            break
    answer = client.get(job["result"])
    print(answer.status_code, answer.headers["content-type"], job["bytes"] == len(answer.content))
"""


@pytest.fixture
def toy(tmp_path: Path) -> dict[str, str]:
    """An environment with one more format: one module, and one line that registers it."""
    (tmp_path / "toyformat.py").write_text(TOY_MODULE)
    # Python reads this file at its start: also the job's worker has the line.
    (tmp_path / "sitecustomize.py").write_text(TOY_LINE)
    write_wav(tmp_path / "hello.wav")
    source = Path(jambatalk.__file__).parents[1]
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(source)])}


def test_a_new_format_is_one_file_and_one_line(small_weights, toy, tmp_path):
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")

    def python(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env=toy,
            capture_output=True,
            text=True,
        )

    said = python(
        "-m", "jambatalk", "animate", "hello.wav", "--model", small_weights, "-o", "a.toy"
    )
    assert said.returncode == 0, said.stderr
    made = json.loads((tmp_path / "a.toy").read_text())
    assert len(made["rows"]) == 15
    # A saved motion in the new format is an input as well.
    assert python("-m", "jambatalk", "animate", "a.toy", "-o", "b.npz").returncode == 0
    read = Motion.load(tmp_path / "b.npz")
    np.testing.assert_array_equal(read.weights, np.array(made["rows"], np.float32))
    assert ".toy" in python("-m", "jambatalk", "animate", "hello.wav", "-o", "a.gif").stderr
    job = python("-c", TOY_JOB, small_weights)
    assert job.stdout.split() == ["200", "application/x-toy", "True"], job.stderr[-2000:]


def test_documentation_shows_the_registry():
    page = Path(__file__).parents[1] / "docs" / "reference" / "files.md"
    assert formats_table() in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", FORMATS)
def test_file_objects_get_the_same_bytes(suffix, tmp_path):
    buffer = io.BytesIO()
    MOTION.save(buffer, format=suffix[1:], size=(32, 32))
    MOTION.save(tmp_path / f"talk{suffix}", size=(32, 32))
    assert buffer.getvalue() == (tmp_path / f"talk{suffix}").read_bytes()


def test_file_objects_that_cannot_be_written():
    with pytest.raises(InputError, match="needs format=, expected one of mp4, glb"):
        MOTION.save(io.BytesIO())
    with pytest.raises(InputError, match="unknown format 'gif', expected one of mp4"):
        MOTION.save(io.BytesIO(), format="gif")
    with pytest.raises(InputError, match="binary"):
        MOTION.save(io.StringIO(), format="csv")
    with pytest.raises(InputError, match="by its suffix"):
        MOTION.save("talk.csv", format="csv")


def test_a_notebook_shows_one_line_and_plays_a_video():
    assert repr(MOTION) == "Motion(10 frames at 25 fps, 0.40 s, 2 weights)"
    offsets = Motion(30.0, offsets=np.zeros((3, 5, 3), np.float32), head_pose=np.zeros((3, 3)))
    assert repr(offsets) == "Motion(3 frames at 30 fps, 0.10 s, offsets of 5 vertices, head pose)"
    shown = MOTION._repr_html_()
    head, data = shown.split("data:video/mp4;base64,")
    assert head.startswith("<video controls")
    import base64

    with av.open(io.BytesIO(base64.b64decode(data.split('"')[0]))) as video:
        assert sum(1 for _ in video.decode(video=0)) == 10
    # Five vertices are not the default head: a line of text, no error.
    assert offsets._repr_html_() == repr(offsets)


@pytest.mark.parametrize("fps", [2e-5, 1e-40, 0.0, -1.0, float("nan"), 1e300])
def test_frame_rates_have_bounds(fps):
    with pytest.raises(InputError, match=r"fps is .*, expected 0\.1 to 10,000"):
        Motion(fps, weights=np.zeros((3, 1), np.float32), names=("jawOpen",))
    with pytest.raises(InputError, match="expected 0"):
        MOTION.resampled(fps)


def test_a_change_of_rate_that_would_fill_the_memory_is_refused():
    long = Motion(0.1, offsets=np.zeros((3000, 4, 3), np.float32))
    with pytest.raises(InputError, match=r"30,000 s at 0\.1 fps would have 300,000,000 frames"):
        long.resampled(10_000.0)
