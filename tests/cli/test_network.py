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


def test_counts_the_papers_networks_part_by_part() -> None:
    """Counted without their weights; the parts of wav2vec 2.0 large are those of its authors."""
    for name, network in (("paper-vocaset", 351_655_773), ("paper-biwi6", 497_365_029)):
        code, text = _run(name, "--json")
        assert code == 0
        parts = {part["name"]: part for part in json.loads(text)["parts"]}
        assert list(parts) == ["encoder", "map", "decoder", "head", "lip reader", "total"]
        assert parts["encoder"]["parameters"] == 315_438_720
        frozen = parts["encoder"]["parameters"] - parts["encoder"]["trained"]
        assert frozen == 4_210_176  # its convolutions
        own = parts["total"]["parameters"] - parts["lip reader"]["parameters"]
        assert own == network
        assert parts["total"]["trained"] == parts["total"]["parameters"] - frozen
    assert "total" in _run("paper-vocaset")[1]


def test_counts_of_shipped_weights_are_complete() -> None:
    for name in ("base", "light"):
        parts = json.loads(_run(name, "--json")[1])["parts"]
        total = parameter_count(jambatalk.load(name).model)
        assert parts[-1] == {"name": "total", "parameters": total, "trained": total}
        assert sum(part["parameters"] for part in parts[:-1]) == total


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
