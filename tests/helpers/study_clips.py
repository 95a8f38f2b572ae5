"""Tiny videos with sound for studies, and raters who answer without a browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np
from typer.testing import CliRunner

from jambatalk.cli.main import app
from jambatalk.study.plan import ANSWERS_FILE, Study
from jambatalk.study.store import Answer, Store
from jambatalk.study.trials import Trial, trials_for

SIZE, FPS, RATE = 64, 20, 16000


def write_clip(
    path: Path,
    grey: int,
    clip: int,
    seconds: float = 0.5,
    sound: bool = True,
    codec: str = "libx264",
) -> Path:
    """A bar that moves over a grey of ``grey``, with a tone of its own for every clip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = round(seconds * FPS)
    with av.open(str(path), "w") as out:
        out.metadata["title"] = f"made by {path.parent.name}"
        video = out.add_stream(codec, rate=FPS)
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        audio = out.add_stream("aac", rate=RATE, layout="mono") if sound else None
        for t in range(frames):
            picture = np.full((SIZE, SIZE, 3), grey, np.uint8)
            place = (t * 5 + 11 * clip) % SIZE
            picture[:, place : place + 8] = 250
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode(None))
        if audio is not None:
            samples = 0.1 * np.sin(
                2 * np.pi * (200 + 50 * clip) * np.arange(round(seconds * RATE)) / RATE
            )
            block = av.AudioFrame.from_ndarray(
                samples[None].astype(np.float32), format="fltp", layout="mono"
            )
            block.sample_rate, block.pts = RATE, 0
            out.mux(audio.encode(block))
            out.mux(audio.encode(None))
    return path


def write_systems(folder: Path, names: Sequence[str], clips: int) -> dict[str, Path]:
    """A folder of ``clips`` videos for each system."""
    for i, name in enumerate(names):
        for clip in range(clips):
            write_clip(folder / name / f"clip{clip}.mp4", 40 + 50 * i, clip)
    return {name: folder / name for name in names}


Choose = Callable[[Trial, str], Any]
"""From a rating and a question's name to an answer."""


def answer_all(
    study: Study,
    choose: Choose,
    number: int,
    *,
    attentive: bool = True,
    seed: int = 0,
    took: float = 2.0,
) -> None:
    """A rater who answers everything: ratings by ``choose``, checks and tones rightly if attentive,
    else by ``choose`` too."""
    rng = Random(f"{seed}/{number}")
    store = Store(study.folder / ANSWERS_FILE)
    rater = store.join(f"{number:032x}", "yes", 10_000, lambda n: trials_for(study, n))
    store.close()
    rows = []
    for trial in rater.trials:
        if trial.kind == "headphones":
            values = dict(trial.expected or {}) if attentive else {"tone": rng.randint(1, 3)}
        else:
            values = {question: choose(trial, question) for question in study.settings.question_ids}
            if attentive:
                values |= trial.expected or {}
        rows.append(Answer(trial.id, values, round(1000 * took), 1))
    _add_at_once(study, rater.id, rows)


def _add_at_once(study: Study, rater: str, answers: Sequence[Answer]) -> None:
    """Many answers in one transaction: hundreds of simulated raters need not wait for a disk."""
    import json
    import sqlite3

    db = sqlite3.connect(study.folder / ANSWERS_FILE)
    rows = [
        (rater, one.trial, json.dumps(one.values), one.took_ms, one.plays, int(time.time()))
        for one in answers
    ]
    db.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)", rows)
    db.commit()
    db.close()


def run(*arguments: object) -> tuple[int, str, str]:
    """Run a command: status, output, errors. An exception that a user would see as a traceback is
    raised here."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def error_of(*arguments: object) -> str:
    """The one line with which a command refuses bad input."""
    status, out, err = run(*arguments)
    lines = err.strip().splitlines()
    assert (status, out, len(lines)) == (2, "", 1), (status, out, err)
    return lines[0]
