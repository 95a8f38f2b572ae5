"""The report as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jambatalk.errors import InputError, MissingExtraError
from jambatalk.evaluation.published import PUBLISHED
from jambatalk.evaluation.regions import Regions
from jambatalk.evaluation.report.gather import System, gather
from jambatalk.evaluation.report.pictures import data_uri, require_matplotlib
from jambatalk.evaluation.report.sections import clip_figure, clips_drawn, moving, split_section, truth_of
from jambatalk.evaluation.report.worst_clips import WorstClip, film, worst
from jambatalk.evaluation.statistics import ALPHA, LEVEL
from jambatalk.evaluation.tables import number
from jambatalk.evaluation.test_set import TestSet
from jambatalk.evaluation.units import Unit
from jambatalk.files import replacing
from jambatalk.version import __version__

TEMPLATE = "report.html"
SHOWN_AT_FIRST = 4
"""Systems whose curves are drawn before anybody chooses."""
FILMED = 5
"""Systems beside the truth in the videos."""
MOST_BYTES = 15_000_000
"""Videos that would make the page larger are left out."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how many are done, how many in all)."""


def require_extra() -> None:
    """MissingExtraError, with the line that mends it, when what a report is made with is absent."""
    try:
        import jinja2  # noqa: F401
        import scipy.stats  # noqa: F401
    except ImportError as error:
        raise MissingExtraError('a report needs Jinja2 and SciPy: pip install "jambatalk[evaluate]"') from error
    require_matplotlib()


def write_report(
    systems: Sequence[System],
    test_set: TestSet,
    regions: Regions,
    path: str | Path,
    *,
    reference: str | None = None,
    videos: int = 3,
    command: str = "",
    progress: Progress | None = None,
) -> list[System]:
    """Score the systems and write the report to ``path``, whole or not at all; gives the systems with their scores.

    reference: the name of the system that others are tested against, None for the first one. videos: how many of its worst
    clips are filmed. command: the line that made the report, printed in it. The same input gives the same file.
    Raises InputError for an unknown reference or what ``gather`` refuses, MissingExtraError without the extra ``evaluate``.
    """
    require_extra()
    tell = progress or (lambda what, done, total: None)
    names = [system.name for system in systems]
    reference = names[0] if reference is None and names else reference
    if reference not in names:
        raise InputError(f"no system is called {reference!r}: choose the reference from {', '.join(names) or 'none'}")
    shown = gather(systems, test_set, regions, lambda done, total: tell("scoring", done, total))
    page = render(shown, test_set, regions, reference, videos, command, tell)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return shown


def render(
    systems: Sequence[System], test_set: TestSet, regions: Regions, reference: str, videos: int, command: str, tell: Progress
) -> str:
    """The page of systems that were gathered."""
    unit = Unit(test_set.unit)
    base = next(system for system in systems if system.name == reference)
    metric = f"LVE_{unit.length}"

    def error(system: System) -> float:
        value = float(np.mean([system.total(split, metric) for split in test_set.splits]))
        return math.inf if math.isnan(value) else value

    best_first = [base, *sorted((s for s in systems if not s.sanity and s is not base), key=error)]
    sections = []
    for done, split in enumerate(test_set.splits, 1):
        sections.append(split_section(systems, test_set, split, reference))
        tell("tables and maps", done, len(test_set.splits))
    figures, drawn = [], clips_drawn(test_set)
    for done, clip in enumerate(drawn, 1):
        figures.append(clip_figure(systems, clip, unit))
        tell("curves", done, len(drawn))
    films: list[WorstClip] = []
    if videos and test_set.triangles is not None:
        chosen = worst(base, test_set, metric, videos)
        films = film(chosen, best_first[:FILMED], test_set, truth_of(systems), lambda done, total: tell("videos", done, total))
    values: dict[str, Any] = {
        "systems": systems, "moving": moving(systems), "sections": sections, "figures": figures, "test_set": test_set,
        "regions": regions, "unit": unit, "reference": reference, "command": command, "version": __version__,
        "shown_at_first": [system.name for system in best_first[:SHOWN_AT_FIRST]], "level": LEVEL, "alpha": ALPHA,
        "published_known": len(PUBLISHED), "metric": metric,
    }  # fmt: skip
    template = _environment().get_template(TEMPLATE)
    size, fitting = len(template.render(**values, films=[], films_left_out=0).encode()), []
    for one in films:
        size += (len(one.mp4) + len(one.poster)) * 4 // 3
        if size <= MOST_BYTES:
            fitting.append(one)
    return template.render(**values, films=fitting, films_left_out=len(films) - len(fitting))


def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("jambatalk.evaluation.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "data_uri": data_uri}
    return environment
