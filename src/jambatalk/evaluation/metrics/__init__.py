"""The registry of metrics, and their values over a set of clips.

A new metric is one function in a file of this folder and one line in ``METRICS``; tables, the docs'
table, the report's columns and ``jambatalk evaluate --list-metrics`` are made from the registry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from jambatalk.evaluation.metrics import closure, mouth, released, timing, vertices
from jambatalk.evaluation.metrics.base import Array, ClipPair, Ratio, Unit

LOWER, HIGHER, ZERO, ONE, NONE = "lower", "higher", "zero", "one", ""
"""Which values of a metric are good: low, high, near 0, near 1, or none as such."""
UNITS = tuple(map(Unit, ("metres", "centimetres", "millimetres", "")))


class Gatherer(Protocol):
    """Measures what needs all clips of a set, such as lags averaged over clips."""

    def add(self, pair: ClipPair) -> None: ...

    def rows(self) -> Mapping[str, Mapping[str, float]]:
        """Clip -> metric -> value."""

    def totals(self) -> Mapping[str, float]:
        """Metric -> value over all clips."""


@dataclass(frozen=True)
class Metric:
    """One row of every table; exactly one of ``measure``, ``sampled`` and ``gather`` is given.

    Args:
        name: With {area} for the corpus' squared unit (cm2), {length} for mm, {square} for mm2 and
            {unit} for the corpus' unit; all are "own" where the unit is not known.
        better: Which values are good, see ``LOWER``.
        title: Of a narrow column.
        about: The definition. y and p are the offsets of truth and prediction from the template, t
            frames, L the lips, U the upper face.
        measure: A clip's ``Ratio``; over clips, totals and numbers are added.
        sampled: The same from further predictions (T, V, 3) of a model that draws at random.
        gather: The class that measures it over a whole set.
        pooled: Whether frames of all clips count alike, so that a long clip weighs more.
    """

    name: str
    better: str
    title: str
    about: str
    measure: Callable[[ClipPair], Ratio] | None = None
    sampled: Callable[[ClipPair, Sequence[Array]], Ratio] | None = None
    gather: type[Gatherer] | None = None
    pooled: bool = False

    def full_name(self, unit: Unit) -> str:
        """The name with its unit, such as LVE_cm2."""
        return self.name.format(
            area=f"{unit.short}2", length=unit.length, square=f"{unit.length}2", unit=unit.short
        )


METRICS = (
    Metric(
        "LVE_{area}",
        LOWER,
        "LVE, squared",
        "Lip vertex error: the largest ‖y − p‖² in L, mean over frames.",
        vertices.lip_vertex_error,
        pooled=True,
    ),
    Metric(
        "LVE_{length}",
        LOWER,
        "LVE",
        "The largest ‖y − p‖ in L, mean over frames.",
        vertices.lip_max_error,
        pooled=True,
    ),
    Metric(
        "MVE_{length}",
        LOWER,
        "MVE",
        "Mean of ‖y − p‖ over frames and vertices.",
        vertices.mean_vertex_error,
        pooled=True,
    ),
    Metric(
        "FDD_{area}",
        ZERO,
        "FDD",
        "Upper-face dynamics deviation: mean over U of std_t(‖y‖²) − std_t(‖p‖²), mean over clips; "
        "above 0 the prediction moves less.",
        vertices.upper_face_dynamics,
    ),
    Metric(
        "absFDD_{area}",
        LOWER,
        "|FDD|",
        "Absolute value of a clip's FDD, mean over clips.",
        vertices.upper_face_dynamics_absolute,
    ),
    Metric(
        "MOD_{length}",
        LOWER,
        "MOD",
        "Difference of the lip openings (distances of the two middle inner-lip vertices), mean "
        "over frames.",
        mouth.opening_error,
        pooled=True,
    ),
    Metric(
        "LDTW_{length}",
        LOWER,
        "LDTW",
        "Distance of the lips along the cheapest warping of the frames (steps (1,0), (0,1), "
        "(1,1)), total over path length, mean over clips.",
        mouth.lip_warped_distance,
    ),
    Metric(
        "MTM_ms",
        LOWER,
        "MTM",
        "Distance in time of matched openings and closings of the mouth, after derivative warping.",
        mouth.mouth_timing,
    ),
    Metric(
        "MTM_matched_percent",
        HIGHER,
        "matched",
        "Share of the true openings and closings that have a match; read it with MTM_ms.",
        mouth.matched_extrema,
    ),
    Metric(
        "FFE_{square}",
        LOWER,
        "FFE",
        "Squared difference of the Fourier transforms over time; by Parseval's theorem frames × "
        "mean squared error.",
        vertices.fourier_error,
    ),
    Metric(
        "FFE_amplitude_{square}",
        LOWER,
        "FFE, amplitudes",
        "The same of the amplitudes alone, over T², which timing does not change.",
        vertices.amplitude_error,
    ),
    Metric(
        "jitter_{length}",
        NONE,
        "jitter",
        "Mean length of the third difference of p: roughness; compare it with the truth's.",
        vertices.jitter,
        pooled=True,
    ),
    Metric(
        "lip_spread_ratio",
        ONE,
        "lip motion",
        "How much the lips move, as a share of the truth: 1 is right, 0 still.",
        vertices.lip_spread_ratio,
    ),
    Metric(
        "opening_correlation",
        HIGHER,
        "opening r",
        "Correlation of the lip opening over time with the true one, mean over clips.",
        mouth.opening_correlation,
    ),
    Metric(
        "lag_ms",
        ZERO,
        "lag",
        "How much later than the truth p opens; best cross-correlation, averaged over clips.",
        gather=timing.Lags,
    ),
    Metric(
        "sound_lag_ms",
        NONE,
        "lag to sound",
        "How much later than the sound's level p opens; compare it with the truth's.",
        gather=timing.Lags,
    ),
    Metric(
        "closure_percent",
        HIGHER,
        "closes at p b m",
        "Share of /p b m/ (without phones: of words that begin with /p b/) with closed lips within "
        "±40 ms of their start, by the system's own range of opening.",
        gather=closure.Closures,
    ),
    Metric(
        "closure_false_percent",
        LOWER,
        "closes in vowels",
        "Share of open vowels in whose middle third the lips are closed; a still face has 100 in "
        "both.",
        gather=closure.Closures,
    ),
    Metric(
        "MEE_{area}",
        LOWER,
        "MEE",
        "LVE of the mean of several random predictions.",
        sampled=vertices.mean_estimate_error,
        pooled=True,
    ),
    Metric(
        "CE_{area}",
        LOWER,
        "CE",
        "LVE of the best of several random predictions of each clip.",
        sampled=vertices.coverage_error,
        pooled=True,
    ),
    Metric(
        "diversity_{length}",
        NONE,
        "diversity",
        "Mean distance of a vertex in two random predictions.",
        sampled=vertices.diversity,
    ),
    *(
        Metric(name, NONE, name, "What the authors' released script computes.", measure)
        for name, measure in released.COMPAT_METRICS.items()
    ),
)
"""The metrics of every table, in its order. Those named compat: are measured on request only."""


def metric_of(full_name: str) -> Metric | None:
    """Find a metric by its full name in any unit; None when it is not known."""
    for metric in METRICS:
        if any(metric.full_name(unit) == full_name for unit in UNITS):
            return metric
    return None


def better(full_name: str) -> str:
    """Which values of a metric are good: one of LOWER, HIGHER, ZERO, ONE, NONE."""
    metric = metric_of(full_name)
    return NONE if metric is None else metric.better


def metrics_table(unit: Unit = UNITS[1]) -> str:
    """Describe all metrics as a Markdown table."""
    rows = ["| name | best | what it is |", "|---|---|---|"]
    shown = {LOWER: "low", HIGHER: "high", ZERO: "0", ONE: "1", NONE: ""}
    for metric in METRICS:
        if not metric.name.startswith(released.PREFIX):
            name = metric.full_name(unit)
            rows.append(f"| `{name}` | {shown[metric.better]} | {metric.about} |")
    return "\n".join(rows)


class Accumulator:
    """Measures the clips of one set, one clip at a time; a clip is forgotten after ``add``.

    Kept are each clip's row of numbers and what a ``Gatherer`` keeps, such as one number per frame.

    Args:
        unit: Of the set.
        compat: Also measure what the authors' released script computes.
        samples: Each clip comes with further predictions of the same model.
    """

    def __init__(self, unit: Unit, compat: bool = False, samples: bool = False) -> None:
        self.unit = unit
        self._metrics = [
            metric
            for metric in METRICS
            if (metric.sampled is None or samples)
            and (compat or not metric.name.startswith(released.PREFIX))
        ]
        self._sums: dict[str, tuple[float, float]] = {}
        self._rows: dict[str, dict[str, float]] = {}
        kinds = dict.fromkeys(metric.gather for metric in self._metrics)
        self._gatherers = [kind() for kind in kinds if kind is not None]

    def add(self, pair: ClipPair, others: Sequence[Array] = ()) -> None:
        """Add a clip. others: predictions (T, V, 3) of the same clip beside the pair's own."""
        row = self._rows.setdefault(pair.name, {})
        for metric in self._metrics:
            if metric.measure is not None:
                ratio = metric.measure(pair)
            elif metric.sampled is not None:
                ratio = metric.sampled(pair, others)
            else:
                continue
            name = metric.full_name(self.unit)
            total, number = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (total + ratio.total, number + ratio.number)
            row[name] = ratio.value
        for gatherer in self._gatherers:
            gatherer.add(pair)

    def rows(self) -> dict[str, dict[str, float]]:
        """Clip -> metric -> value, in the order of the table; nan where a metric has none."""
        gathered = [gatherer.rows() for gatherer in self._gatherers]
        return {
            clip: self._ordered([row, *(rows[clip] for rows in gathered)])
            for clip, row in self._rows.items()
        }

    def totals(self) -> dict[str, float]:
        """Metric -> value over all clips, in the order of the table."""
        sums = {name: Ratio(*sums).value for name, sums in self._sums.items()}
        return self._ordered([sums, *(gatherer.totals() for gatherer in self._gatherers)])

    def _ordered(self, parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
        values = {name: value for part in parts for name, value in part.items()}
        names = (metric.full_name(self.unit) for metric in self._metrics)
        return {name: values.get(name, math.nan) for name in names}
