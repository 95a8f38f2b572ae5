"""The table of a suite on simulated scores: what is real is called so, what is noise is not."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="scipy is not installed")

from jambatalk.errors import InputError
from jambatalk.experiments.results import (
    Cell,
    RunScores,
    Table,
    compare,
    markdown_table,
    save_table,
    text_table,
)
from jambatalk.experiments.suite import BASE, Suite, SuiteFile

CLIPS = [f"c{i}" for i in range(25)]
# Change of LVE (clips' own spread 0.05, seeds' 0.002) and of the opening correlation.
EFFECTS = {
    BASE: (0.0, 0.0),
    "good": (-0.05, 0.05),
    "bad": (0.05, -0.05),
    "same": (0.0, 0.0),
    "like-bad": (0.05, 0.0),
}


def suite() -> Suite:
    variants = {name: {"about": f"the {name} one"} for name in EFFECTS if name != BASE}
    variants["like-bad"]["against"] = "bad"
    return Suite(
        "made",
        SuiteFile({"steps": 3}, "numbers made up", variants, {"gone": "not to be had"}),
        "made",
    )


def simulated(seeds: int = 3) -> list[RunScores]:
    rng = np.random.default_rng(4)
    hard = rng.normal(0.2, 0.05, len(CLIPS))  # some clips are harder than others for everybody
    scores = []
    for name, (worse, closer) in EFFECTS.items():
        for seed in range(1, seeds + 1):
            lve = hard + worse + rng.normal(0, 0.002) + rng.normal(0, 0.01, len(CLIPS))
            correlation = 0.8 + closer + rng.normal(0, 0.002) + rng.normal(0, 0.01, len(CLIPS))
            rows = {
                clip: {"LVE_cm2": float(a), "opening_correlation": float(b)}
                for clip, a, b in zip(CLIPS, lve, correlation)
            }
            few = {clip: rows[clip] for clip in CLIPS[:5]}
            scores.append(
                RunScores(
                    name,
                    seed,
                    {"test_seen": rows, "test_unseen": few},
                    dict.fromkeys(CLIPS, "s1"),
                    dict.fromkeys(CLIPS, 75),
                    1000,
                    0.25,
                    0.02 if seed == 1 else math.nan,
                    {"test_seen": "made, 25 clips", "test_unseen": "made, 5 clips"},
                )
            )
    return scores


@pytest.fixture(scope="module")
def table() -> Table:
    return compare(suite(), simulated(), ("LVE", "opening_correlation"))


def cell(table: Table, variant: str, metric: str, split: str = "test_seen") -> Cell:
    row = next(row for row in table.rows if row.variant == variant)
    return next(
        cell for cell in row.cells if cell.metric.startswith(metric) and cell.split == split
    )


def test_what_is_real_is_told_from_what_is_not(table: Table) -> None:
    assert [row.variant for row in table.rows] == list(EFFECTS)
    verdicts = {
        name: (cell(table, name, "LVE").verdict, cell(table, name, "opening").verdict)
        for name in EFFECTS
    }
    assert verdicts[BASE] == ("", "")
    assert verdicts["good"] == ("better", "better")
    assert verdicts["bad"] == ("worse", "worse")
    assert verdicts["same"] == ("not shown", "not shown")
    # Against the bad variant, whose lips are as far off and whose opening is worse.
    assert verdicts["like-bad"] == ("not shown", "better")
    assert {
        cell(table, name, "LVE", "test_unseen").verdict for name in EFFECTS if name != BASE
    } == {"too few clips"}


def test_numbers_are_means_over_seeds_of_means_over_clips(table: Table) -> None:
    for name in EFFECTS:
        means = [
            np.mean([row["LVE_cm2"] for row in one.splits["test_seen"].values()])
            for one in simulated()
            if one.variant == name
        ]
        spread = cell(table, name, "LVE").spread
        assert spread.mean == pytest.approx(np.mean(means))
        assert spread.deviation == pytest.approx(np.std(means, ddof=1))
    found = cell(table, "good", "LVE").difference
    assert found is not None
    assert found.low < -0.05 < found.high < 0
    assert found.adjusted_p > found.p  # four comparisons in the column
    assert next(row for row in table.rows if row.variant == "good").real_time_factor == 0.02


def test_a_variant_without_its_reference_has_no_difference() -> None:
    scores = [one for one in simulated() if one.variant in (BASE, "like-bad")]
    assert cell(compare(suite(), scores, ("LVE",)), "like-bad", "LVE").difference is None


def test_one_seed_still_makes_a_table() -> None:
    table = compare(suite(), simulated(seeds=1), ("LVE",))
    assert math.isnan(cell(table, "good", "LVE").spread.deviation)
    assert cell(table, "good", "LVE").verdict == "better"


def test_unknown_metrics_are_named() -> None:
    with pytest.raises(
        InputError, match="no metric 'beauty': choose from LVE_cm2, opening_correlation"
    ):
        compare(suite(), simulated(), ("beauty",))


def test_files_hold_what_is_printed(table: Table, tmp_path: Path) -> None:
    save_table(tmp_path, table)
    found = json.loads((tmp_path / "table.json").read_text())
    assert found["left_out"] == {"gone": "not to be had"}
    stored = {
        (row["variant"], one["split"], one["metric"]): one
        for row in found["rows"]
        for one in row["cells"]
    }
    good = cell(table, "good", "LVE")
    assert stored["good", "test_seen", "LVE_cm2"]["mean"] == good.spread.mean
    assert good.difference is not None
    assert stored["good", "test_seen", "LVE_cm2"]["difference"]["low"] == good.difference.low
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(EFFECTS) * 4
    line = next(
        row
        for row in rows
        if (row["variant"], row["split"], row["metric"]) == ("bad", "test_seen", "LVE_cm2")
    )
    assert line["verdict"] == "worse"
    assert float(line["difference"]) == pytest.approx(0.05, abs=0.01)
    markdown = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert markdown == markdown_table(table)
    assert "| like-bad |  | the like-bad one | bad |" in markdown
    text = text_table(table)
    assert text.count("too few clips") == 8
    assert "left out: gone: not to be had" in text
    assert "1,000" in text
