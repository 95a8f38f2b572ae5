"""Running the command line inside the test process, or as a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from typer.testing import CliRunner

from jambatalk.cli.main import app


@dataclass
class Outcome:
    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that a failure prints."""
        lines = self.err.strip().splitlines()
        assert self.status == 2, (self.status, self.out, self.err)
        assert len(lines) == 1, self.err
        assert self.out == ""
        return lines[0]


def run(*arguments: object, stdin: bytes | None = None) -> Outcome:
    """Run a command; an exception that a user would see as a traceback is raised here."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def program(*arguments: object, cwd: Path, **options) -> subprocess.Popen:
    """Start ``python -m jambatalk`` with captured text output."""
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen(
        [sys.executable, "-m", "jambatalk", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def write_wav(path: Path, seconds: float = 0.6, rate: int = 16000, channels: int = 1) -> Path:
    """A wav file of a hum that comes and goes."""
    t = np.arange(int(seconds * rate)) / rate
    wave = 0.2 * np.sin(2 * np.pi * 150 * t) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
    return path
