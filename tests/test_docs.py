"""What the documentation shows runs, or says why a test cannot run it and is then parsed."""

from __future__ import annotations

import re
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from fences import Fence, fences
from jambatalk import config
from jambatalk.cli.main import app
from jambatalk.config import CONFIGS, read_settings
from jambatalk.experiments.suite import load_suite
from jambatalk.models.block import LAYERS, MIXERS
from jambatalk.models.config import SpeechEncoderConfig
from jambatalk.models.encoders import ENCODERS
from jambatalk.models.presets import load_preset
from running import run
from tiny_checkout import write_checkout
from tiny_corpora import write_vocaset

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
FENCES = [fence for page in [*PAGES, CONTRIBUTING] for fence in fences(page)]
LANGUAGES = ("bash", "python", "yaml", "json", "text")
TO_RUN = ("bash", "python", "yaml")
PARSED = [f for f in FENCES if f.language == "bash" and f.reason is not None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages' commands name, tiny."""
    here = tmp_path_factory.mktemp("docs")
    write_checkout(here)
    shutil.copy(here / "hello.wav", here / "speech.wav")
    shutil.copy(here / "template.ply", here / "FLAME_sample.ply")
    write_vocaset(here / "VOCASET", sentences=(1, 21))
    return here


def test_every_block_is_run_or_says_why_not() -> None:
    unmarked = [
        fence.where
        for fence in FENCES
        if fence.language not in LANGUAGES or (fence.reason is not None and len(fence.reason) < 10)
    ]
    assert unmarked == []
    assert sum(f.language in TO_RUN and f.reason is None for f in FENCES) >= 15


@pytest.mark.parametrize("page", [p for p in PAGES if fences(p)], ids=lambda p: p.stem)
def test_page_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page in order, Python with one set of names."""
    blocks = [f for f in fences(page) if f.reason is None and f.language in TO_RUN]
    if not blocks:
        pytest.skip("nothing on this page can run in a test; its commands are parsed")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(config, "CONFIGS", folder / "configs")
    # dataclasses look up the module of the class that they are given
    monkeypatch.setitem(sys.modules, "docs", types.ModuleType("docs"))
    if page.stem == "corpora":  # which opens a second corpus beside the one that it prepares
        assert run("data", "prepare", "grid", "GRID", "prepared/grid").status == 0
    names = _stand_ins()
    try:
        for block in blocks:
            if block.language == "bash":
                _run_commands(block)
            elif block.language == "yaml":
                _load_settings(block, folder)
            else:
                exec(compile(block.code, block.where, "exec"), names)
    finally:
        LAYERS.pop("S", None)
        ENCODERS.pop("level", None)
        SpeechEncoderConfig.kinds.pop("level", None)
        MIXERS.pop("smooth", None)


def _stand_ins() -> dict[str, Any]:
    """Sound that comes in and something that shows frames, which the pages take for granted."""
    wave = (0.2 * np.sin(np.arange(24000) / 20)).astype(np.float32)
    return {"voice": np.split(wave, 10), "show": lambda *_: None, "__name__": "docs"}


def _run_commands(block: Fence) -> None:
    for arguments in block.arguments:
        if arguments[:2] == ["pip", "install"]:
            _check_extras(arguments[2:], block)
        else:
            assert arguments[0] == "jambatalk", f"{block.where}: no test runs {arguments}"
            outcome = run(*arguments[1:])
            assert outcome.status == 0, f"{block.where}: {arguments}\n{outcome.out}{outcome.err}"


def _load_settings(block: Fence, folder: Path) -> None:
    path = folder / "shown.yaml"
    path.write_text(block.code, encoding="utf-8")
    if "variants:" in block.code:
        assert load_suite(path).variants
    else:
        load_preset(path)


def _check_extras(wanted: list[str], block: Fence) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    known = set(re.findall(r"(?m)^([\w-]+) = \[", extras))
    for requirement in wanted:
        named = re.fullmatch(r"jambatalk\[([\w,-]+)\]", requirement)
        assert named, f"{block.where}: {requirement}"
        unknown = set(named[1].split(",")) - known
        assert not unknown, f"{block.where}: no extra {unknown}"


@pytest.mark.parametrize("block", PARSED, ids=lambda f: f.where)
def test_commands_that_cannot_run_exist(block: Fence) -> None:
    """The command line has every option and argument; scripts and settings exist."""
    for arguments in block.arguments:
        if arguments[:2] == ["pip", "install"]:
            _check_extras(arguments[2:], block)
        if "jambatalk" in arguments:
            _parse(arguments[arguments.index("jambatalk") + 1 :])
        for word in arguments:
            if re.fullmatch(r"(benchmarks|tools|src)/[\w/.-]+", word):
                assert (ROOT / word).exists(), f"{block.where}: {word}"


def _parse(arguments: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "commands"):
        name, *arguments = arguments
        context = command.context_class(command, info_name=name, parent=context)
        command = command.commands[name]
    command.make_context(command.name, arguments, parent=context)


def test_parsing_notices_an_option_that_does_not_exist() -> None:
    with pytest.raises(Exception, match="No such option"):
        _parse(["data", "prepare", "grid468", "GRID", "-o", "data/grid468"])


def test_every_page_is_in_the_navigation() -> None:
    # read as text: mkdocs.yml may hold tags of Python objects
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {page.relative_to(DOCS).as_posix() for page in PAGES}


@pytest.mark.parametrize("page", [*PAGES, CONTRIBUTING], ids=lambda p: p.stem)
def test_links_and_pictures_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(#[\w-]+)?\)", text):
        if not target.startswith(("http", "mailto")):
            assert (page.parent / target).exists(), target
            if anchor and target.endswith(".md"):
                assert anchor[1:] in _anchors(page.parent / target), target + anchor


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_the_network_page_names_every_preset_and_layer() -> None:
    page = next(p for p in PAGES if p.name == "network.md").read_text(encoding="utf-8")
    for word in ("`base`", "`paper-vocaset`", "`paper-biwi6`", "`released-*`", "`order-a`"):
        assert word in page
    for letter in LAYERS:
        assert re.search(rf"\| .*\b{letter}\b.* \|", page)


def test_settings_that_the_repository_ships_can_be_read() -> None:
    paths = sorted((CONFIGS).rglob("*.yaml"))
    assert paths
    for path in paths:
        assert read_settings(path)
