"""All metrics of a set of clips, one clip at a time: a clip is forgotten once it has been added.

What is kept of a clip is its row of numbers and, where closure can be measured, one number per frame: whether lips are closed
is told against all of a speaker's openings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jambatalk.evaluation.metrics import mouth as curve_metrics
from jambatalk.evaluation.metrics import vertices as several
from jambatalk.evaluation.metrics import vertices as vertex_metrics
from jambatalk.evaluation.metrics.base import Array, ClipPair, Ratio, Unit
from jambatalk.evaluation.metrics.mouth import Closures
from jambatalk.evaluation.metrics.released import COMPAT_METRICS
from jambatalk.evaluation.metrics.timing import Lags

LOWER, HIGHER, ZERO, ONE, NONE = "lower", "higher", "zero", "one", ""
"""Which values of a metric are good: low, high, near 0, near 1, or none as such."""


@dataclass(frozen=True)
class Metric:
    """name: with {area} for the corpus' squared unit (cm2) and {length} for mm, or own where the unit is unknown. better: see
    above. measure: a clip's ``Ratio``; None for those that a gatherer of this module fills in."""

    name: str
    better: str
    measure: Callable[[ClipPair], Ratio] | None = None

    def full_name(self, unit: Unit) -> str:
        return self.name.format(area=f"{unit.short}2", length=unit.length, square=f"{unit.length}2")


METRICS = (
    Metric("LVE_{area}", LOWER, vertex_metrics.lip_vertex_error),
    Metric("LVE_{length}", LOWER, vertex_metrics.lip_max_error),
    Metric("MVE_{length}", LOWER, vertex_metrics.mean_vertex_error),
    Metric("FDD_{area}", ZERO, vertex_metrics.upper_face_dynamics),
    Metric("absFDD_{area}", LOWER, vertex_metrics.upper_face_dynamics_absolute),
    Metric("MOD_{length}", LOWER, curve_metrics.opening_error),
    Metric("LDTW_{length}", LOWER, curve_metrics.lip_warped_distance),
    Metric("MTM_ms", LOWER, curve_metrics.mouth_timing),
    Metric("MTM_matched_percent", HIGHER, curve_metrics.matched_extrema),
    Metric("FFE_{square}", LOWER, vertex_metrics.fourier_error),
    Metric("FFE_amplitude_{square}", LOWER, vertex_metrics.amplitude_error),
    Metric("jitter_{length}", NONE, vertex_metrics.jitter),
    Metric("lip_spread_ratio", ONE, vertex_metrics.lip_spread_ratio),
    Metric("opening_correlation", HIGHER, curve_metrics.opening_correlation),
    Metric("lag_ms", ZERO),
    Metric("sound_lag_ms", NONE),
    Metric("closure_percent", HIGHER),
    Metric("closure_false_percent", LOWER),
)
"""The metrics of every table, in its order."""

STOCHASTIC = (
    Metric("MEE_{area}", LOWER),
    Metric("CE_{area}", LOWER),
    Metric("diversity_{length}", NONE),
)
"""Those of a model that is asked several times."""


def better(name: str) -> str:
    """Which values of a metric are good, by its full name without or with any unit: one of LOWER, HIGHER, ZERO, ONE, NONE."""
    for unit in (Unit("metres"), Unit("centimetres"), Unit("millimetres"), Unit("")):
        for metric in (*METRICS, *STOCHASTIC):
            if metric.full_name(unit) == name:
                return metric.better
    return NONE


class Accumulator:
    """Adds up clips of one set in one unit; see ``METRICS``. compat: also what the released script computes. samples: whether
    each clip comes with further predictions of the same model."""

    def __init__(self, unit: Unit, compat: bool = False, samples: bool = False) -> None:
        self.unit, self.compat, self.samples = unit, compat, samples
        self._shares: dict[str, tuple[float, float]] = {}
        self._rows: dict[str, dict[str, float]] = {}
        self._lags = Lags()
        self._closures = Closures()

    def add(self, pair: ClipPair, others: Sequence[Array] = ()) -> Mapping[str, float]:
        """Add a clip; gives its row so far. others: predictions (T, V, 3) of the same clip beside the pair's own."""
        row = self._rows.setdefault(pair.name, {})
        for metric in METRICS:
            if metric.measure is not None:
                self._add(row, metric.full_name(self.unit), metric.measure(pair))
        row |= self._lags.add(pair)
        self._closures.add(pair)
        if self.samples:
            for metric, share in zip(STOCHASTIC, several.shares(pair, others), strict=True):
                self._add(row, metric.full_name(self.unit), share)
        if self.compat:
            for name, measure in COMPAT_METRICS.items():
                self._add(
                    row,
                    name.format(area=f"{self.unit.short}2", unit=self.unit.short),
                    measure(pair),
                )
        return row

    def _add(self, row: dict[str, float], name: str, share: Ratio) -> None:
        total, number = self._shares.get(name, (0.0, 0.0))
        self._shares[name] = (total + share.total, number + share.number)
        row[name] = share.value

    def rows(self) -> dict[str, dict[str, float]]:
        """Clip -> metric -> value, in the order of the table."""
        late = self._closures.rows()
        return {clip: self._ordered({**row, **late[clip]}) for clip, row in self._rows.items()}

    def totals(self) -> dict[str, float]:
        """Metric -> value over all clips, in the order of the table."""
        values = {name: Ratio(*share).value for name, share in self._shares.items()}
        return self._ordered({**values, **self._lags.totals(), **self._closures.totals()})

    def _ordered(self, values: Mapping[str, float]) -> dict[str, float]:
        order = [
            metric.full_name(self.unit)
            for metric in (*METRICS, *(STOCHASTIC if self.samples else ()))
        ]
        names = [*order, *(name for name in values if name not in order)]
        return {name: values.get(name, math.nan) for name in names}
