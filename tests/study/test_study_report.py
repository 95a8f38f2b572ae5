"""Simulated raters whose preferences are known: the report finds them, and leaves out who clicks at
random.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from jambatalk.study.build import build_study
from jambatalk.study.exclusions import Rules, chance_of_passing, reasons
from jambatalk.study.plan import ANSWERS_FILE, Settings, Study
from jambatalk.study.report import FILES, report_study
from jambatalk.study.store import read_raters
from jambatalk.study.trials import Trial, trials_for
from study_clips import answer_all, error_of, run, write_systems

pytest.importorskip("scipy")

TRUE = {"ours": 1.0, "theirs": 0.0, "third": -1.0}
"""Log strengths of the simulated preferences."""


def _make(folder: Path, names: tuple[str, ...], **settings: Any) -> Study:
    given = {
        "seed": 3,
        "tone_seconds": 0.05,
        "headphones": 6,
        "questions": ("Which lips?",),
    } | settings
    return build_study(write_systems(folder, names, 3), folder / "study", Settings(**given)).study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("systems")


def _by_strength(rng: Random) -> Any:
    """Prefers i to j with probability 1 / (1 + exp(s_j - s_i)), whatever the side."""

    def choose(trial: Trial, question: str) -> str:
        a, b = (TRUE[name.removesuffix(" (wrong clip)")] for name in trial.systems)
        return "A" if rng.random() < 1 / (1 + math.exp(b - a)) else "B"

    return choose


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """120 raters by the true strengths, then 40 who click at random everywhere; 9 comparisons and 8
    checks each.
    """
    study = _make(tmp_path_factory.mktemp("answered"), tuple(TRUE), checks=8)
    rng = Random(11)
    for number in range(120):
        answer_all(study, _by_strength(rng), number)
    for number in range(120, 160):
        answer_all(study, lambda trial, question: rng.choice("AB"), number, attentive=False)
    return study


def test_known_strengths_are_recovered_and_random_clickers_are_out(answered: Study) -> None:
    found = report_study(answered.folder, draws=300).found
    assert found["raters"]["all"] == 160
    # One of 2^8 random clickers passes the checks, then one of 57 the tones (5 or 6 right of 6):
    # none of these 40.
    assert found["raters"]["random_clicker_passes_checks"] == pytest.approx(1 / 2**8)
    assert found["raters"]["kept"] == 120
    assert sorted(found["raters"]["excluded"]) == sorted(f"rater {n}" for n in range(120, 160))
    assert all("failed attention" in " ".join(why) for why in found["raters"]["excluded"].values())
    kept = found["kept"]["questions"]["q1"]
    for one in kept["bradley_terry"]:
        low, high = one["raters_95"]
        assert low < TRUE[one["system"]] < high
        # 720 comparisons tell each log strength to about 0.09 (one standard deviation): three of
        # them.
        assert one["log_strength"] == pytest.approx(TRUE[one["system"]], abs=0.27)
    for pair in kept["pairs"]:
        truth = 1 / (1 + math.exp(TRUE[pair["second"]] - TRUE[pair["first"]]))
        assert pair["wins"] + pair["losses"] == 360
        assert pair["share"] == pytest.approx(truth, abs=3 * math.sqrt(truth * (1 - truth) / 360))
        assert pair["p"] <= pair["p_holm"] < 1e-6
        assert pair["raters_95"][0] < pair["share"] < pair["raters_95"][1]
    # Random clicks pull towards one half: the figures with everybody are there too, and weaker.
    everybody = found["all"]["questions"]["q1"]
    assert everybody["answers"] == 160 * 9
    assert (
        everybody["bradley_terry"][0]["log_strength"]
        < kept["bradley_terry"][0]["log_strength"] - 0.1
    )
    assert kept["chose_a"]["p"] > 0.001
    assert 0 < kept["agreement"]["krippendorff_alpha"] < 0.5


def test_equal_systems_are_not_told_apart(tmp_path: Path) -> None:
    study = _make(tmp_path, ("ours", "theirs"), ties=True)
    rng = Random(2)
    for number in range(60):
        answer_all(study, lambda trial, question: rng.choice(("A", "B", "tie")), number)
    found = report_study(study.folder, draws=300).found["kept"]["questions"]["q1"]
    (pair,) = found["pairs"]
    assert pair["wins"] + pair["losses"] + pair["ties"] == 180
    assert 40 <= pair["ties"] <= 80
    assert pair["p"] > 0.01
    assert pair["wilson_95"][0] < 0.5 < pair["wilson_95"][1]
    assert found["agreement"]["krippendorff_alpha"] == pytest.approx(0, abs=0.05)
    assert "bradley_terry" not in found


def test_opinions_are_recovered(tmp_path: Path) -> None:
    study = _make(tmp_path, ("ours", "theirs"), kind="mos", checks=2)
    rng = np.random.default_rng(4)
    truth = {"ours": 4.0, "theirs": 3.0}
    for number in range(50):
        answer_all(
            study,
            lambda trial, _: int(np.clip(round(rng.normal(truth[trial.systems[0]], 0.6)), 1, 5)),
            number,
        )
    found = report_study(study.folder, draws=300).found["kept"]["questions"]["q1"]
    for one in found["systems"]:
        assert one["raters"] == 50
        assert sum(one["counts"]) == 150
        assert one["mos"] == pytest.approx(truth[one["system"]], abs=0.15)
        assert one["raters_95"][0] < truth[one["system"]] < one["raters_95"][1]
    (pair,) = found["pairs"]
    assert pair["difference"] == pytest.approx(1, abs=0.2)
    assert pair["p"] < 1e-6
    assert found["agreement"]["metric"] == "interval"


def test_every_reason_for_leaving_out_is_given(tmp_path: Path) -> None:
    study = _make(tmp_path, ("ours", "theirs"), checks=2)
    for number in range(5):
        answer_all(study, lambda trial, question: "A", number, took=0.6 if number == 1 else 2.0)
    good, fast, deaf, early, dreamer = read_raters(study.folder / ANSWERS_FILE)

    def changed(rater: Any, kind: str, values: Any) -> Any:
        ids = {trial.id for trial in rater.trials if trial.kind == kind}
        new = {
            key: replace(one, values=values(one.values)) if key in ids else one
            for key, one in rater.answers.items()
        }
        return replace(rater, answers=new)

    deaf = changed(deaf, "headphones", lambda v: {"tone": v["tone"] % 3 + 1})
    dreamer = changed(dreamer, "check", lambda v: {"q1": "B" if v["q1"] == "A" else "A"})
    early = replace(early, answers=dict(list(early.answers.items())[:-2]))
    rules = Rules()
    assert reasons(study, good, rules) == []
    assert reasons(study, fast, rules) == [
        "too fast: 5 of 5 answers within 0.3 s of the videos' end or before it, 1 allowed"
    ]
    assert reasons(study, fast, Rules(fastest=0.05)) == []
    assert reasons(study, deaf, rules) == ["failed headphones: 0 of 6 tones right, 5 needed"]
    assert reasons(study, deaf, Rules(headphones=False)) == []
    assert len(reasons(study, early, rules)) == 1
    assert "of 5 trials answered" in reasons(study, early, rules)[0]
    assert reasons(study, early, Rules(incomplete=True)) == []
    assert reasons(study, dreamer, rules) == [
        "failed attention: 2 of 2 checks wrong (instruction, wrong clip), 0 allowed"
    ]
    assert reasons(study, dreamer, Rules(missed_checks=2)) == []


def test_the_chance_to_pass_by_clicking_is_that_of_simulated_clicking(folder: Path) -> None:
    study = _make(folder, ("ours", "theirs"), checks=4, questions=("Which lips?", "Which face?"))
    trials = tuple(trials_for(study, 0))
    rater = type("R", (), {"trials": trials, "answers": {}})()
    # Two wrong clips (one question counts) and two instructions (both do): 1/2, 1/2, 1/4, 1/4.
    assert chance_of_passing(study, rater, Rules()) == pytest.approx(1 / 64)
    one_missed = 1 / 64 + (1 / 2 / 2 / 4 / 4) * 2 + (3 / 4 / 2 / 2 / 4) * 2
    assert chance_of_passing(study, rater, Rules(missed_checks=1)) == pytest.approx(one_missed)
    assert chance_of_passing(study, rater, Rules(missed_checks=4)) == pytest.approx(1)


def test_the_files_agree_with_what_is_printed(answered: Study, tmp_path: Path) -> None:
    status, printed, errors = run("study", "report", answered.folder, "-o", tmp_path / "out")
    assert status == 0, errors
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    assert (tmp_path / "out" / "report.md").read_text(encoding="utf-8") == printed
    found = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    rows = list(csv.DictReader((tmp_path / "out" / "answers.csv").open(encoding="utf-8")))
    assert len(rows) == 160 * 9
    for pair in found["kept"]["questions"]["q1"]["pairs"]:
        names = {pair["first"], pair["second"]}
        won = sum(
            row["kept"] == "True"
            and {row["A"], row["B"]} == names
            and row["chosen"] == pair["first"]
            for row in rows
        )
        assert won == pair["wins"]
        assert f"{pair['first']} over {pair['second']}" in printed
        assert f"{pair['wins']}:{pair['losses']}" in printed
    assert len(list(csv.DictReader((tmp_path / "out" / "pairs.csv").open(encoding="utf-8")))) == 6
    assert (
        sum(
            row["kept"] == "False"
            for row in csv.DictReader((tmp_path / "out" / "raters.csv").open())
        )
        == 40
    )
    assert "rater 120: failed attention" in printed


def test_a_report_without_answers_or_with_bad_rules_is_refused(folder: Path) -> None:
    if not (folder / "study").exists():
        _make(folder, ("ours", "theirs"))
    assert "nobody has answered yet" in error_of("study", "report", folder / "study")
    assert "too fast is -1.0 s" in error_of("study", "report", folder / "study", "--fastest", -1)
    assert "expected 0 or more" in error_of(
        "study", "report", folder / "study", "--allow-missed", -1
    )


def test_a_study_that_somebody_joined_but_nobody_answered_reports_nothing_found(
    tmp_path: Path,
) -> None:
    from jambatalk.study.store import Store

    study = _make(tmp_path, tuple(TRUE))
    store = Store(study.folder / ANSWERS_FILE)
    store.join("0" * 32, "yes", 1, lambda n: trials_for(study, n))
    store.close()
    status, printed, errors = run("study", "report", study.folder)
    assert status == 0, errors
    assert "1 raters, 0 kept" in printed
    assert "incomplete: 0 of 13 trials answered" in printed


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    systems = write_systems(tmp_path, ("ours", "theirs"), 1)
    named = {"=HYPERLINK(1)": systems["ours"], "@theirs": systems["theirs"]}
    (tmp_path / "ours" / "clip0.mp4").rename(tmp_path / "ours" / "+clip.mp4")
    (tmp_path / "theirs" / "clip0.mp4").rename(tmp_path / "theirs" / "+clip.mp4")
    settings = Settings(seed=1, tone_seconds=0.05, headphones=0, checks=0)
    study = build_study(named, tmp_path / "study", settings).study
    answer_all(study, lambda trial, question: "A", 0)
    status, _, errors = run("study", "report", study.folder, "-o", tmp_path / "out")
    assert status == 0, errors
    (row, *_) = csv.DictReader((tmp_path / "out" / "answers.csv").open(encoding="utf-8"))
    assert row["clip"] == "'+clip"
    assert {row["A"], row["B"]} == {"'=HYPERLINK(1)", "'@theirs"}
    for name in ("answers.csv", "pairs.csv", "raters.csv"):
        for line in csv.reader((tmp_path / "out" / name).open(encoding="utf-8")):
            assert not any(cell.startswith(("=", "+", "@", "-")) for cell in line), line
