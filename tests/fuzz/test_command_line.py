"""The command line with options and values drawn at random: a result, or an error in words.

Commands and options are read off the command line itself, so new ones are tried without a line
here.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from file_mutations import CASES, LONGEST_MESSAGE, TALLY, many, mutated
from jambatalk.atomic import is_temporary
from jambatalk.cli.main import app
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.motion import Motion
from running import write_wav
from tiny_corpora import write_facegood

ENDLESS = {("serve",), ("study", "serve"), ("demo",), ("doctor",), ("train",), ("ablate",)}
"""They run until Ctrl-C or for longer than a case may; below they are run with bad values only."""

MINUTES = {("demo",), ("doctor",)}
"""Without an argument they succeed, after longer than a case may take."""

JUNK = (
    *("", " ", "-", "--", "-1", "0", "1", "3", "1e999", "nan", "0.5", "9" * 400, "x", "../..", "*"),
    *("/", "/dev/null", "a\nb", "\u202e", "\x7f", "é" * 300, "[1, 2", "{a: b}", "a=b", "=", "on"),
    *("steps=2", "off", "blinks=0.5", "blinks=9", "256x256", "0x0", "25", "cuda", "cpu", "mps:9"),
    *("vmc://127.0.0.1", "livelink://:0", "http://[", "ws://x y", "osc://localhost:99999", "base"),
)
NUL = "\0"  # no argument of a program can hold it, but one of a call can


def commands() -> dict[tuple[str, ...], click.Command]:
    """(name,) or (group, name) -> command."""
    found: dict[tuple[str, ...], click.Command] = {}

    def collect(group: Any, path: tuple[str, ...]) -> None:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                collect(command, (*path, name))
            else:
                found[(*path, name)] = command

    collect(typer.main.get_command(app), ())
    return found


COMMANDS = commands()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, small_weights: Path) -> dict[str, bytes]:
    """Name -> content of good files of every kind, and of damaged ones."""
    folder = tmp_path_factory.mktemp("files")
    write_wav(folder / "a.wav", 0.4)
    rng = np.random.default_rng(0)
    weights = rng.random((10, 52)).astype(np.float32)
    for suffix in ("npz", "csv", "json"):
        Motion(25.0, weights=weights, names=ARKIT_NAMES).save(folder / f"m.{suffix}")
    shutil.copy(small_weights, folder / "w.safetensors")
    (folder / "s.yaml").write_text("steps: 2\nseed: 1\nmodel: {decoder: {width: 32}}\n")
    (folder / "u.yaml").write_text("base: {steps: 2}\nvariants: {a: {change: {steps: 3}}}\n")
    (folder / "t.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (folder / "n.txt").write_text("not what is wanted")
    found = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    for k, name in enumerate(list(found)):
        found[f"bad-{name}"] = mutated(found[name], k)
    return found


def arguments(rng: random.Random, path: tuple[str, ...], names: list[str]) -> list[str]:
    """A command's name, and options and arguments with values of all kinds."""
    command = COMMANDS[path]
    bad = path in ENDLESS

    def value(parameter: click.Parameter) -> str:
        if isinstance(parameter.type, click.Choice) and rng.random() < 0.6:
            return rng.choice(list(parameter.type.choices))
        pool = JUNK if rng.random() < 0.4 else [*names, "grid", "out", "new/a.csv", "no such", NUL]
        return rng.choice(pool)

    options = [p for p in command.params if isinstance(p, click.Option)]
    found = list(path)
    for option in rng.sample(options, min(len(options), rng.choice((0, 1, 1, 2, 4)))):
        if option.name == "help":
            continue
        found.append(rng.choice(option.opts))
        if not option.is_flag:
            found.append(value(option))
    model = next((p for p in options if p.name == "model"), None)
    if model and not bad and "--model" not in found and rng.random() < 0.9:
        found += ["--model", "w.safetensors"]  # the network of the package takes a second to load
    for argument in (p for p in command.params if isinstance(p, click.Argument)):
        found += [value(argument) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    if bad:
        found += ["--no-such-option"] if rng.random() < 0.5 or path in MINUTES else ["no such", NUL]
    return found


def test_no_arguments_end_in_a_traceback(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_weights: Path
) -> None:
    here = tmp_path / "here"
    corpus = tmp_path / "corpus"
    write_facegood(corpus, {"1_1": 1.0})
    here.mkdir()
    monkeypatch.chdir(here)
    statuses: set[int] = set()

    @many(CASES)
    @given(seed=st.integers(0, 2**32))
    def run(seed: int) -> None:
        rng = random.Random(seed)
        for path in here.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, content in files.items():
            (here / name).write_bytes(content)
        shutil.copytree(corpus, here / "grid")
        words = arguments(rng, rng.choice(list(COMMANDS)), list(files))
        with TALLY.case():
            result = CliRunner().invoke(app, words, input=b"")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise AssertionError(words) from result.exception
        statuses.add(result.exit_code)
        TALLY.refused += result.exit_code == 2
        assert result.exit_code in (0, 1, 2), (words, result.exit_code, result.stderr)
        assert "Traceback" not in result.stderr, words
        if result.exit_code == 2:
            assert max(map(len, result.stderr.splitlines()), default=0) < LONGEST_MESSAGE, words
        assert not [path for path in here.rglob("*") if is_temporary(path)], words
        for name, content in files.items():
            if name not in words and (here / name).exists():
                assert (here / name).read_bytes() == content, words

    run()
    assert statuses >= {0, 2}
