"""Settings of before: committed files give what they gave, old keys are read with one warning."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from jambatalk.baselines import baseline_config
from jambatalk.config import CONFIGS, overlay, settings_names
from jambatalk.datasets.lip_mask import LipsConfig
from jambatalk.errors import InputError
from jambatalk.experiments.suite import load_suite
from jambatalk.training.config import RENAMED, TrainConfig, load_train_config, train_config

# What the files gave before they extended each other, as differences from the defaults then.
BEFORE: dict[str, Any] = json.loads((Path(__file__).parent / "settings_before.json").read_text())
DEFAULTS = BEFORE.pop("defaults")
# Changed since on purpose: sequences behind silence, articulation by rule, a pose for labiodentals.
# Lips are the corpus' own (masks) rather than what moves most, by default and in the paper's files.
LIGHT = {"light.yaml", "light-grid.yaml", "own-face.yaml", "paper-live.yaml"}

OLD_LIPS = LipsConfig(choose="moving")


def comparable(config: TrainConfig) -> dict[str, Any]:
    """All settings, those of a baseline with its defaults."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    if config.baseline:
        values["baseline"] = asdict(baseline_config(config.baseline, "baseline"))
    return values


@pytest.mark.parametrize("name", BEFORE)
def test_committed_settings_are_those_of_before(name: str) -> None:
    values = overlay(DEFAULTS, {})
    if "kind" in BEFORE[name].get("model", {}).get("encoder", {}):
        values["model"]["encoder"] = {}  # settings of another class
    before = train_config(overlay(values, BEFORE[name]), name)
    now = load_train_config(CONFIGS / name)
    if name in LIGHT:
        changed = replace(before.blendshapes, lead_silence=0.3, articulation=True)
        before = replace(before, blendshapes=changed)
        contact = replace(before.model.contact, labiodentals=now.model.contact.labiodentals)
        before = replace(before, model=replace(before.model, contact=contact))
    if name.startswith(("paper-", "baselines/")) or before.vertices.lips == OLD_LIPS:
        before = replace(before, vertices=replace(before.vertices, lips=LipsConfig()))
    if name.startswith(("paper-v", "paper-b", "baselines/")):  # saved by the clock
        before = replace(before, save_minutes=10.0, save_every=now.save_every)
    old, new = comparable(before), comparable(now)
    if name == "baselines/selftalk-paper.yaml":
        assert old["baseline"].pop("lip_share") == 0.0506
        assert new["baseline"].pop("lip_share") == 0
    assert new == old


def test_defaults_are_those_of_before() -> None:
    before = train_config(DEFAULTS, "defaults")
    assert before.vertices.lips == OLD_LIPS
    vertices = replace(before.vertices, lips=LipsConfig(choose="regions"))
    assert replace(before, vertices=vertices) == TrainConfig()


def default_of(path: list[str]) -> Any:
    value = json.loads(json.dumps(asdict(TrainConfig())))
    for key in path:
        value = value[key]
    return value


@pytest.mark.parametrize(
    ("section", "old"), [(s, old) for s in RENAMED if s != "baseline" for old in RENAMED[s]]
)
def test_old_keys_are_read_with_one_warning_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, section: str, old: str
) -> None:
    new = RENAMED[section][old]
    outer = section.split(".") if section else []
    values = default_of([*outer, new])
    for key in [old, *reversed(outer)]:
        values = {key: values}
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(values))
    assert load_train_config(path) == TrainConfig()
    (record,) = caplog.records
    dotted = ".".join([*outer, old]), ".".join([*outer, new])
    assert f"{dotted[0]} is now {dotted[1]}" in record.getMessage()
    assert "\n" not in record.getMessage()
    caplog.clear()
    assert load_train_config(
        CONFIGS / "light.yaml", [f"{dotted[1]}={json.dumps(default_of([*outer, new]))}"]
    )
    assert not caplog.records


def test_old_and_new_names_in_a_chain_of_files_are_merged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "new.yaml").write_text(
        "steps: 9\nbatch_size: 3\ntask: blendshapes\n"
        "blendshapes: {sequence_length: 60, loss: {gap: 0.1, velocity: 4}}\n"
    )
    (tmp_path / "old.yaml").write_text(
        "extends: new\nbatch: 5\ntask: shapes\nshapes: {loss: {gap: 0.2}, own_voice: 1}\n"
    )
    config = load_train_config(tmp_path / "old.yaml", ["shapes.loss.phones=2", "keep=7"])
    assert (config.steps, config.batch_size, config.keep_last) == (9, 5, 7)
    b = config.blendshapes
    assert (b.sequence_length, b.original_voice) == (60, 1.0)
    assert (b.loss.gap, b.loss.velocity, b.loss.phones) == (0.2, 4.0, 2.0)
    (record,) = caplog.records
    assert "task: shapes is now task: blendshapes" in record.getMessage()


def test_a_setting_under_both_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "both.yaml"
    path.write_text("batch: 4\nbatch_size: 4\n")
    with pytest.raises(InputError, match="batch and batch_size are one setting"):
        load_train_config(path)


def test_a_baselines_old_key_is_read() -> None:
    old = {"kind": "selftalk", "recogniser": "someone", "letters": 33}
    config = baseline_config(old, "x")
    assert asdict(config)["recognizer"] == "someone"


def test_settings_in_the_package_are_used_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = load_train_config("light-grid")
    assert named == load_train_config(CONFIGS / "light-grid.yaml")
    assert named == load_train_config("configs/light-grid.yaml")  # as before the move
    assert load_suite("experiments/ablation").name == "ablation"
    (tmp_path / "light-grid").write_text("steps: 7\n")
    assert load_train_config("light-grid").steps == 7  # a file of one's own comes first
    assert "grid/small" in settings_names()
    with pytest.raises(InputError, match=r"did you mean light-grid\?.*experiments/"):
        load_train_config("light-gird")
