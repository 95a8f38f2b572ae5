"""Scoring systems on a test set, clip by clip in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import EvalClip, EvalDataset
from jambatalk.evaluation.metrics import Accumulator
from jambatalk.evaluation.metrics.base import ClipPair, Unit
from jambatalk.evaluation.regions import Regions
from jambatalk.evaluation.systems import Array, Entry, real_time_factor, sanity_entries

Progress = Callable[[str, int, int], None]
"""Called with (system, clips done, clips in all)."""


@dataclass(frozen=True)
class Scored:
    """One system on one split: a row of the table, and everything that tells under which protocol it holds.

    rows: clip -> metric -> value, nan where a metric has none there; metrics carry their unit in their names. totals: the
    same over all clips; not in general the mean of the rows, since frames, phones or curves are pooled. info: parameters,
    look_ahead_ms, real_time_factor, sha256, path, stochastic, seeds, notes. mask: where the regions come from.
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
        """One line: what the numbers are comparable under."""
        return (
            f"{self.corpus}, scheme {self.scheme}, split {self.split}, {len(self.rows)} clips, data {self.data_hash}, "
            f"unit {self.unit}, regions {self.region_hash} ({self.mask})"
        )


def evaluate(
    entries: Sequence[Entry],
    test_set: EvalDataset,
    regions: Regions,
    splits: Sequence[str] | None = None,
    seeds: Sequence[int] = range(10),
    progress: Progress | None = None,
    compat: bool = False,
    sanity: bool = True,
    speed: bool = True,
) -> list[Scored]:
    """Every entry on every split, entries in order within a split, after the sanity rows that are not among them by name.

    splits: of the test set's, None for all. seeds: of a stochastic entry; its first one gives the ordinary metrics, all of
    them MEE, CE and diversity. compat: also what the authors' released script computes, under names that begin with
    "compat:". speed: whether to measure real-time factors. InputError when regions or predictions are of another mesh.
    """
    regions.check(test_set.vertices)
    if twice := [
        entry.name
        for i, entry in enumerate(entries)
        if entry.name in [one.name for one in entries[:i]]
    ]:
        raise InputError(
            f"two systems are called {twice[0]}: expected different names, NAME=MODEL gives one"
        )
    named = {entry.name for entry in entries}
    shown = [
        entry for entry in sanity_entries(test_set) if sanity and entry.name not in named
    ] + list(entries)
    factors = {
        entry.name: real_time_factor(entry, test_set) for entry in shown if speed and entry.runs
    }
    scored = []
    for split in test_set.splits if splits is None else splits:
        clips = [clip for clip in test_set.clips if clip.split == split]
        for entry in shown:
            scored.append(
                _score(
                    entry,
                    clips,
                    test_set,
                    regions,
                    split,
                    seeds,
                    progress,
                    compat,
                    factors.get(entry.name),
                )
            )
    return scored


def _score(
    entry: Entry,
    clips: Sequence[EvalClip],
    test_set: EvalDataset,
    regions: Regions,
    split: str,
    seeds: Sequence[int],
    progress: Progress | None,
    compat: bool,
    factor: float | None,
) -> Scored:
    gathered = Accumulator(Unit(test_set.unit), compat=compat, samples=entry.stochastic)
    for done, clip in enumerate(clips):
        pair = make_pair(clip, entry.animate(clip, seeds[0]), regions, test_set.unit)
        others: list[Array] = (
            [entry.animate(clip, seed) for seed in seeds[1:]] if entry.stochastic else []
        )
        gathered.add(pair, others)
        if progress is not None:
            progress(entry.name, done + 1, len(clips))
    info = {
        "parameters": entry.parameters,
        "look_ahead_ms": entry.look_ahead_ms,
        "real_time_factor": factor,
        "path": None if entry.path is None else entry.path.name,
        "sha256": entry.sha256,
        "stochastic": entry.stochastic,
        "seeds": list(seeds) if entry.stochastic else [seeds[0]],
        "notes": entry.notes,
    }
    return Scored(
        entry.name,
        split,
        gathered.rows(),
        gathered.totals(),
        info,
        regions.hash,
        test_set.unit,
        test_set.data_hash,
        test_set.corpus,
        test_set.scheme,
        regions.source,
    )


def make_pair(clip: EvalClip, predicted: Array, regions: Regions, unit: str) -> ClipPair:
    """A clip's truth beside a prediction (T, V, 3) of it."""
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
