"""Score systems on a test set by vertices, clip by clip in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jambatalk.datasets.regions import Regions
from jambatalk.evaluation.dataset import EvalClip, EvalDataset
from jambatalk.evaluation.metrics import Accumulator
from jambatalk.evaluation.metrics.base import Array, ClipPair, Unit
from jambatalk.evaluation.systems import (
    System,
    check_names,
    real_time_factor,
    reference_systems,
    timing_clip,
)

Progress = Callable[[str, int, int], None]
"""Called with (system, clips done, clips in all)."""


@dataclass(frozen=True)
class Scored:
    """One system on one split: a row of the table, with the protocol that its numbers hold under.

    Attributes:
        rows: Clip -> metric -> value, nan where a metric has none; metrics carry their unit in
            their names.
        totals: Metric -> value over all clips; not in general the mean of the rows, since frames,
            phones or curves are pooled.
        info: parameters, look_ahead_ms, real_time_factor, sha256, path, stochastic, seeds, notes.
        mask: Where the regions come from.
    """

    system: str
    split: str
    rows: Mapping[str, Mapping[str, float]]
    totals: Mapping[str, float]
    info: Mapping[str, Any] = field(default_factory=dict)
    region_hash: str = ""
    unit: str = ""
    data_hash: str = ""
    corpus: str = ""
    scheme: str = ""
    mask: str = ""

    @property
    def protocol(self) -> str:
        """What the numbers are comparable under, in one line."""
        return (
            f"{self.corpus}, scheme {self.scheme}, split {self.split}, {len(self.rows)} clips, "
            f"data {self.data_hash}, unit {self.unit}, regions {self.region_hash} ({self.mask})"
        )


def evaluate(
    systems: Sequence[System],
    test_set: EvalDataset,
    regions: Regions,
    splits: Sequence[str] | None = None,
    seeds: Sequence[int] = range(10),
    progress: Progress | None = None,
    compat: bool = False,
    sanity: bool = True,
    speed: bool = True,
) -> list[Scored]:
    """Score every system on every split, in order, after the reference systems not among them.

    Args:
        splits: Of the test set's; None for all.
        seeds: Of a stochastic system; the first gives the ordinary metrics, all of them MEE, CE and
            diversity.
        compat: Also measure what the authors' released script computes ("compat:" names).
        sanity: Begin with truth, static and mean.
        speed: Measure real-time factors.

    Raises:
        InputError: Regions or predictions are of another mesh, or two systems have one name.
    """
    regions.check(test_set.vertices)
    check_names(systems)
    names = {system.name for system in systems}
    references = reference_systems(test_set) if sanity else []
    shown = [system for system in references if system.name not in names] + list(systems)
    clip = timing_clip(test_set) if speed else None
    factors = {
        system.name: real_time_factor(system, clip) for system in shown if clip and system.runs
    }
    scored = []
    for split in test_set.splits if splits is None else splits:
        clips = [clip for clip in test_set.clips if clip.split == split]
        for system in shown:
            gathered = Accumulator(Unit(test_set.unit), compat=compat, samples=system.stochastic)
            for done, clip in enumerate(clips, 1):
                gathered.add(*_predict(system, clip, test_set, regions, seeds))
                if progress is not None:
                    progress(system.name, done, len(clips))
            info = {
                "parameters": system.parameters,
                "look_ahead_ms": system.look_ahead_ms,
                "real_time_factor": factors.get(system.name),
                "path": None if system.path is None else system.path.name,
                "sha256": system.sha256,
                "stochastic": system.stochastic,
                "seeds": list(seeds) if system.stochastic else [seeds[0]],
                "notes": system.notes,
            }
            scored.append(
                Scored(
                    system=system.name,
                    split=split,
                    rows=gathered.rows(),
                    totals=gathered.totals(),
                    info=info,
                    region_hash=regions.hash,
                    unit=test_set.unit,
                    data_hash=test_set.data_hash,
                    corpus=test_set.corpus,
                    scheme=test_set.scheme,
                    mask=regions.source,
                )
            )
    return scored


def _predict(
    system: System, clip: EvalClip, test_set: EvalDataset, regions: Regions, seeds: Sequence[int]
) -> tuple[ClipPair, list[Array]]:
    """The clip's truth beside the first seed's prediction, and the other seeds' predictions."""
    asked = seeds if system.stochastic else seeds[:1]
    predicted, *others = (system.offsets(clip, seed, test_set.face) for seed in asked)
    return make_pair(clip, predicted, regions, test_set.unit), others


def make_pair(clip: EvalClip, predicted: Array, regions: Regions, unit: str) -> ClipPair:
    """Put a clip's truth beside a prediction (T, V, 3) of it."""
    assert clip.template is not None
    return ClipPair(
        name=clip.name,
        truth=clip.truth,
        predicted=predicted,
        template=clip.template,
        fps=clip.fps,
        regions=regions,
        unit=Unit(unit),
        subject=clip.subject,
        samples=clip.samples,
        phones=clip.phones,
        words=clip.words,
    )
