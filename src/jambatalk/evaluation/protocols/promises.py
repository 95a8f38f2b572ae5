"""The table of what the default weights promise, row by row, and whether a number keeps it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jambatalk.evaluation.protocols.default_weights import Metrics

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Measure:
    """A row of the table; ``kept`` tells whether a number keeps the promise."""

    key: str
    title: str
    show: Callable[[float], str]
    promise: str = ""
    kept: Callable[[float], bool] = lambda value: True


def r(value: float) -> str:
    return f"{value:.3f}"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def mm(value: float) -> str:
    return f"{value:.2f} mm"


def fine_mm(value: float) -> str:
    return f"{value:.3f} mm"


def ms(value: float) -> str:
    return f"{value:+.0f} ms"


def count(value: float) -> str:
    return f"{value:.0f}"


IN_TIME = ("within ±40 ms", lambda value: abs(value) <= 40)
TREMBLE_MM = 0.02
"""Half a millimetre a second: a fifth of a pixel a second of a head that fills 512 pixels."""


def stillness_rows(key: str, title: str) -> list[Measure]:
    return [
        Measure(f"{key}.mean", f"{title}: gap, mean", mm),
        Measure(f"{key}.largest", "  largest", mm, "< 0.5 mm", lambda value: value < 0.5),
        Measure(
            f"{key}.tremble",
            "  change of the gap a frame",
            fine_mm,
            f"< {TREMBLE_MM} mm",
            lambda value: value < TREMBLE_MM,
        ),
        Measure(f"{key}.lip_tremble", "  movement of the lips a frame", fine_mm),
    ]


def contact_rows(key: str, title: str) -> list[Measure]:
    return [
        Measure(
            f"{key}.closures",
            f"{title}: /p b m/ with lips closed in the phone",
            percent,
            ">= 85 %",
            lambda v: v >= 0.85,
        ),
        Measure(
            f"{key}.onset_closures",
            "  within ±40 ms of the phone's onset",
            percent,
            ">= 85 %",
            lambda v: v >= 0.85,
        ),
        Measure(f"{key}.touches", "  in the phone, strictly: gap < 1 mm", percent),
        Measure(f"{key}.bilabial_mm", "  smallest gap in the phone, mean", mm),
        Measure(f"{key}.bilabials", "  /p b m/ counted", count),
        Measure(
            f"{key}.false_closures",
            f"{title}: open vowels with lips closed",
            percent,
            "<= 10 %",
            lambda v: v <= 0.10,
        ),
        Measure(f"{key}.false_touches", "  strictly: gap < 1 mm", percent),
        Measure(f"{key}.vowel_mm", "  smallest gap in the middle third, mean", mm),
        Measure(f"{key}.vowels", "  open vowels counted", count),
        Measure(f"{key}.sound_lag_ms", f"{title}: lag after the sound's level", ms, *IN_TIME),
    ]


def measures(unseen: Sequence[str]) -> list[Measure]:
    """List the rows, in order; unseen: GRID clips of other speakers."""
    return [
        Measure(
            "grid.seen",
            "GRID, new sentences of s1: correlation",
            r,
            ">= 0.95",
            lambda value: value >= 0.95,
        ),
        Measure(
            "grid.unseen",
            "GRID, other speakers: correlation",
            r,
            ">= 0.87",
            lambda value: value >= 0.87,
        ),
        *(Measure(f"grid.unseen.{name}", f"  {name}", r) for name in unseen),
        Measure("grid.closure", "  closures at bilabial word onsets", percent),
        Measure("grid.closure_mm", "  gap there", mm),
        Measure("grid.lag_ms", "  lag after the truth", ms, *IN_TIME),
        Measure("grid.sound_lag_ms", "  lag after the sound's level", ms, *IN_TIME),
        Measure("grid.opening_error_mm", "  mean error of the gap, s1", mm),
        *contact_rows("readings", "LibriVox"),
        *contact_rows("voice", "a synthetic voice kept out"),
        Measure(
            "performance.jaw",
            "FACEGOOD, held out: jawOpen against the jaw",
            r,
            ">= 0.70",
            lambda v: v >= 0.70,
        ),
        Measure("performance.gap", "  lip gap against the jaw", r),
        Measure("performance.lag_ms", "  lag after the truth", ms, *IN_TIME),
        *stillness_rows("silence", "10 s of digital silence"),
        *stillness_rows("noise", "10 s of pink noise at -60 dBFS"),
        *stillness_rows("after", "0.3 to 1.3 s after speech, silence"),
        *stillness_rows("after_noise", "0.3 to 1.3 s after speech, noise at -60 dBFS"),
        Measure(
            "cost.look_ahead_ms",
            "look-ahead",
            lambda v: "whole clip" if math.isinf(v) else f"{v:.0f} ms",
        ),
        Measure("cost.parameters", "parameters", lambda v: f"{v / 1e6:.2f} M"),
        Measure("cost.megabytes", "file", lambda v: f"{v:.1f} MB"),
        Measure("cost.real_time_factor", "seconds per second of sound, this machine now", r),
    ]


def print_table(columns: Mapping[str, Metrics], unseen: Sequence[str], console: Console) -> None:
    """Print all columns; numbers that break their promise are marked "!"."""
    from rich.table import Table

    table = Table(title="default weights: what is promised, and controls")
    table.add_column("", no_wrap=True)
    table.add_column("promised", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    for measure in measures(unseen):
        if not any(measure.key in numbers for numbers in columns.values()):
            continue
        cells = []
        for numbers in columns.values():
            value = numbers.get(measure.key)
            if value is None or math.isnan(value):
                cells.append("" if value is None else "none")
            else:
                cells.append(measure.show(value) + ("" if measure.kept(value) else " !"))
        table.add_row(measure.title, measure.promise, *cells)
    console.print(table)
