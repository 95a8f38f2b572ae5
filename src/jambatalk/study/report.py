"""The report of a study: a readable page in Markdown, JSON for programs, CSV for every answer."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jambatalk.atomic import atomic_write
from jambatalk.study.exclusions import Rules, chance_of_passing, reasons
from jambatalk.study.plan import ANSWERS_FILE, load_study
from jambatalk.study.results import DRAWS, results, votes
from jambatalk.study.statistics import scipy_stats
from jambatalk.study.store import Rater, read_raters
from jambatalk.study.tables import as_markdown

FORMULA = ("=", "+", "-", "@", "\t", "\r")
FILES = ("report.md", "report.json", "pairs.csv", "answers.csv", "raters.csv")


@dataclass(frozen=True)
class Report:
    """A study's results. found: as in report.json. text: as in report.md."""

    found: dict[str, Any]
    text: str
    raters: tuple[Rater, ...]
    excluded: dict[str, list[str]]


def report_study(
    folder: str | os.PathLike[str], rules: Rules | None = None, draws: int = DRAWS
) -> Report:
    """What the answers of a study say, with and without the raters that ``rules`` leave out. draws:
    of the bootstrap.

    InputError for no study or no answers, MissingExtraError without scipy. The study may still be
    running.
    """
    rules = rules or Rules()
    scipy_stats()
    study = load_study(Path(folder))
    raters = tuple(read_raters(study.folder / ANSWERS_FILE))
    excluded = {rater.id: why for rater in raters if (why := reasons(study, rater, rules))}
    kept = [rater for rater in raters if rater.id not in excluded]
    found = {
        "format": "jambatalk-study-report",
        "version": 1,
        "study": study.id,
        "title": study.settings.title,
        "kind": study.settings.kind,
        "systems": list(study.systems),
        "clips": len(study.clips),
        "rules": asdict(rules),
        "raters": {
            "all": len(raters),
            "kept": len(kept),
            "random_clicker_passes_checks": max(
                (chance_of_passing(study, one, rules) for one in raters), default=None
            ),
            "excluded": {
                f"rater {one.number}": excluded[one.id] for one in raters if one.id in excluded
            },
        },
        "kept": results(study, kept, draws),
        "all": results(study, raters, draws),
        "bootstrap_draws": draws,
    }
    return Report(found, as_markdown(found), raters, excluded)


def write_report(report: Report, folder: str | os.PathLike[str]) -> list[Path]:
    """Write report.md, report.json, pairs.csv, answers.csv and raters.csv; gives their paths."""
    folder = Path(folder)
    numbers = {rater.id: rater.number for rater in report.raters}
    with atomic_write(folder / "report.md") as path:
        path.write_text(report.text, encoding="utf-8")
    with atomic_write(folder / "report.json") as path:
        path.write_text(
            json.dumps(report.found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    _write_csv(
        folder / "pairs.csv",
        [
            {
                "raters": who,
                "question": question,
                **{key: _flat(value) for key, value in pair.items()},
            }
            for who in ("kept", "all")
            for question, one in report.found[who]["questions"].items()
            for pair in one["pairs"]
        ],
    )
    _write_csv(
        folder / "answers.csv",
        [
            {
                "rater": numbers[vote.rater],
                "kept": vote.rater not in report.excluded,
                "question": vote.question,
                "clip": vote.clip,
                "A": vote.systems[0],
                "B": vote.systems[1] if len(vote.systems) > 1 else "",
                "chosen": vote.chosen,
                "took_ms": vote.took_ms,
                "plays": vote.plays,
            }
            for vote in votes(report.raters)
        ],
    )
    _write_csv(
        folder / "raters.csv",
        [
            {
                "rater": rater.number,
                "kept": rater.id not in report.excluded,
                "answers": len(rater.answers),
                "trials": len(rater.trials),
                "reasons": "; ".join(report.excluded.get(rater.id, [])),
            }
            for rater in report.raters
        ],
    )
    return [folder / name for name in FILES]


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["rater"])
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets an apostrophe in front, as it shows
    texts.
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in FORMULA else value


def _flat(value: Any) -> Any:
    return " ".join(f"{one:.6g}" for one in value) if isinstance(value, tuple) else value
