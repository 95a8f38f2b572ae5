"""Counts what the fuzz tests tried, across all worker processes, and shows it at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from file_mutations import TALLY
from jambatalk.atomic import is_temporary

KEYS = ("cases", "refused", "slowest", "memory")


def _memory() -> float:
    """The most memory that this process ever had, in MB; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


@pytest.fixture(autouse=True)
def counted(record_property: Callable[[str, Any], None], tmp_path: Path) -> Iterator[None]:
    """Report the test's cases, and find what they left behind."""
    cases, refused, TALLY.slowest = TALLY.cases, TALLY.refused, 0.0
    yield
    values = (TALLY.cases - cases, TALLY.refused - refused, TALLY.slowest, _memory())
    for key, value in zip(KEYS, values, strict=True):
        record_property(key, value)
    left = [path for path in tmp_path.rglob("*") if is_temporary(path)]
    assert not left, left


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [
        dict(report.user_properties)
        for category in terminalreporter.stats.values()
        for report in category
        if getattr(report, "when", "") == "teardown" and "cases" in dict(report.user_properties)
    ]
    if reports:
        total = {key: sum(one[key] for one in reports) for key in ("cases", "refused")}
        most = {key: max(one[key] for one in reports) for key in ("slowest", "memory")}
        terminalreporter.write_line(
            f"fuzz: {total['cases']:,} cases in {len(reports)} tests, {total['refused']:,} refused "
            f"in one sentence, slowest {most['slowest']:.1f} s, at most {most['memory']:,.0f} MB"
        )
