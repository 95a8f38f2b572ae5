"""``jambatalk network``: descriptions that agree with the networks themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import jambatalk
from jambatalk.cli.main import app
from jambatalk.models.presets import preset_names
from jambatalk.models.speech_to_motion import parameter_count


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["network", *arguments])
    return result.exit_code, result.output


def test_lists_every_preset() -> None:
    code, text = _run()
    assert code == 0
    assert [line.split()[0] for line in text.splitlines()] == list(preset_names())


def test_counts_what_the_network_has() -> None:
    for name, look_ahead in (("base", "240 ms"), ("light", "200 ms")):
        code, text = _run(name, "--json")
        facts = json.loads(text)
        assert code == 0
        assert facts["decoder_parameters"] == parameter_count(jambatalk.load(name).model.decoder)
        assert facts["look-ahead"] == look_ahead


def test_describes_a_network_that_cannot_be_fetched() -> None:
    code, text = _run("paper-biwi6")
    assert code == 0
    assert "the whole recording" in text
    assert text.count("whole clip") == 1


def test_weights_and_mistakes(small_weights: Path) -> None:
    assert _run(str(small_weights))[0] == 0
    assert _run("nothing.safetensors")[0] == 2
    code, text = _run("papre")
    assert code == 2
    assert "paper-vocaset" in text


def test_unknown_kernels_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAMBATALK_KERNELS", "abacus")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 2
    assert "JAMBATALK_KERNELS is 'abacus', expected one of numba" in result.output
    assert result.output.count("\n") == 1
