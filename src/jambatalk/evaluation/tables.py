"""What ``evaluate`` found, for eyes and for programs: a text table, a JSON file and a CSV file of
every clip.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jambatalk.atomic import atomic_write
from jambatalk.datasets.dataset import write_json
from jambatalk.datasets.source import METRES, OWN_UNIT
from jambatalk.evaluation.evaluate import Scored
from jambatalk.evaluation.metrics import HIGHER, LOWER, ONE, ZERO, better

# Numbers that papers print, each with the protocol it was measured under, so that none is set
# beside another's.
#
# All are second-hand: taken from later papers' tables, not measured here. Where a paper does not
# say its unit or mask, neither does its protocol here, and its numbers then agree with nothing.


SECOND_HAND = "second-hand"
UNKNOWN = ""


@dataclass(frozen=True)
class Protocol:
    """What has to agree before numbers may stand side by side.

    corpus: the kind of a prepared corpus. scheme, split: of its splits. unit: of its positions.
    mask: the name of the lips and upper-face masks (``Regions.source``), or their hash. table:
    whose table it is. UNKNOWN agrees with nothing.
    """

    corpus: str
    scheme: str
    split: str
    unit: str
    mask: str
    table: str
    source: str = SECOND_HAND

    def agrees(self, scored: Scored) -> bool:
        """Whether a row of ours was measured under this protocol."""
        theirs = (self.corpus, self.scheme, self.split, self.unit)
        ours = (scored.corpus, scored.scheme, scored.split, scored.unit)
        known = all(theirs) and bool(self.mask)
        return known and theirs == ours and self.mask in (scored.mask, scored.region_hash)


@dataclass(frozen=True)
class Published:
    """One number of one system under one protocol; value in the unit of ``metric``'s name."""

    system: str
    metric: str
    value: float
    protocol: Protocol


# In the unit of the files of the FaceFormer layout, which CodeTalker's script reads (LVE printed x
# 1e-4, FDD x 1e-5), on the masks that lie beside that script.
BIWI_TEST_A = Protocol(
    "faceformer-layout",
    "codetalker",
    "test_a",
    OWN_UNIT,
    "CodeTalker's BIWI masks",
    "the CodeTalker family's",
)
# LVE printed x 1e-5 m²; which sentences and which mask is not told.
VOCASET = Protocol("vocaset", UNKNOWN, "test", METRES, UNKNOWN, "UniTalker's")
# LVE and MVE without a unit or mask.
SCANTALK_VOCASET = Protocol("vocaset", UNKNOWN, "test", UNKNOWN, UNKNOWN, "ScanTalk's")
SCANTALK_BIWI6 = Protocol("biwi6", "scantalk", "test", UNKNOWN, UNKNOWN, "ScanTalk's")


def _rows(
    protocol: Protocol, metrics: Sequence[tuple[str, float]], **systems: Sequence[float | None]
) -> list[Published]:
    """metrics: (name, what the printed values are multiplied by)."""
    return [
        Published(system.replace("_", "-"), metric, value * scale, protocol)
        for system, values in systems.items()
        for (metric, scale), value in zip(metrics, values, strict=True)
        if value is not None
    ]


PUBLISHED: tuple[Published, ...] = (
    *_rows(
        BIWI_TEST_A,
        (("LVE_own2", 1e-4), ("FDD_own2", 1e-5)),
        FaceFormer=(5.3077, 4.6408),
        CodeTalker=(4.7914, 4.1170),
        SelfTalk=(4.2485, None),
        FaceDiffuser=(4.2985, None),
        UniTalker_L=(3.8587, None),
        StreamingTalker=(4.2504, 3.6690),
    ),
    *_rows(
        VOCASET,
        (("LVE_m2", 1e-5),),
        FaceFormer=(1.1696,),
        CodeTalker=(1.1182,),
        SelfTalk=(0.9626,),
        FaceDiffuser=(0.9684,),
        UniTalker_B=(0.8136,),
    ),
    *_rows(
        SCANTALK_VOCASET,
        (("LVE", 1.0), ("MVE", 1.0)),
        ScanTalk=(3.012, 0.861),
        CodeTalker=(3.549, 0.888),
        FaceDiffuser=(4.350, 0.901),
        SelfTalk=(5.618, 0.918),
    ),
    *_rows(
        SCANTALK_BIWI6,
        (("LVE", 1.0), ("MVE", 1.0)),
        ScanTalk=(4.651, 2.148),
        CodeTalker=(5.190, 2.641),
        FaceDiffuser=(4.022, 2.128),
        SelfTalk=(3.628, 2.062),
    ),
)


def published_beside(scored: Scored, numbers: Sequence[Published] = PUBLISHED) -> list[Published]:
    """Those numbers that may stand beside ours: corpus, scheme, split, unit and mask agree, and we
    print the same metric.
    """
    return [one for one in numbers if one.metric in scored.totals and one.protocol.agrees(scored)]


FORMAT = "jambatalk-evaluation-1"
RESULT, CLIPS = "result.json", "clips.csv"
ABSENT = "-"
GOOD = {LOWER: "lower is better", HIGHER: "higher is better", ZERO: "0 is best", ONE: "1 is best"}
PROTOCOL = ("system", "corpus", "scheme", "split", "unit", "region_hash", "data_hash")
"""The columns that begin every row of the CSV file."""


def text_table(scored: Sequence[Scored]) -> str:
    """One block for each split: the line of its protocol, then a row for each metric and a column
    for each system.
    """
    blocks = []
    for split in dict.fromkeys(one.split for one in scored):
        systems = [one for one in scored if one.split == split]
        rows = [["", *(one.system for one in systems)]]
        for metric in dict.fromkeys(name for one in systems for name in one.totals):
            if any(not math.isnan(one.totals.get(metric, math.nan)) for one in systems):
                rows.append([metric, *(number(one.totals.get(metric)) for one in systems)])
        rows += [
            [
                "parameters",
                *(
                    ABSENT if (n := one.info.get("parameters")) is None else f"{n:,}"
                    for one in systems
                ),
            ],
            ["look-ahead", *(look_ahead(one.info.get("look_ahead_ms")) for one in systems)],
            ["real-time factor", *(number(one.info.get("real_time_factor")) for one in systems)],
        ]
        told = [GOOD.get(better(row[0]), "") for row in rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [systems[0].protocol]
        for row, note in zip(rows, told):
            cells = [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:])),
            ]
            lines.append("  ".join([*cells, note]).rstrip())
        for beside in published_beside(systems[0]):
            table = f"{beside.protocol.source}, {beside.protocol.table} table"
            lines.append(
                f"published: {beside.system} {beside.metric} {number(beside.value)} ({table})"
            )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def number(value: float | None) -> str:
    """Four significant digits; - for what is not known."""
    if value is None or math.isnan(value):
        return ABSENT
    return "0" if value == 0 else f"{value:.4g}"


def look_ahead(milliseconds: float | None) -> str:
    """In words."""
    if milliseconds is None or math.isnan(milliseconds):
        return ABSENT
    return "whole clip" if math.isinf(milliseconds) else f"{milliseconds:.0f} ms"


def as_json(scored: Sequence[Scored]) -> dict[str, Any]:
    """Everything, with null for nan; an infinite look-ahead is "whole clip"."""
    return {
        "format": FORMAT,
        "results": [
            {
                **{name: getattr(one, name) for name in (*PROTOCOL, "mask")},
                "protocol": one.protocol,
                "info": {name: _plain(value) for name, value in one.info.items()},
                "totals": {name: _plain(value) for name, value in one.totals.items()},
                "clips": {
                    clip: {name: _plain(value) for name, value in row.items()}
                    for clip, row in one.rows.items()
                },
                "published": [
                    {
                        "system": beside.system,
                        "metric": beside.metric,
                        "value": beside.value,
                        **_told(beside.protocol),
                    }
                    for beside in published_beside(one)
                ],
            }
            for one in scored
        ],
    }


def _told(protocol: Protocol) -> dict[str, str]:
    return {"source": protocol.source, "table": protocol.table}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "whole clip"
    return value


def save_results(folder: Path, scored: Sequence[Scored]) -> None:
    """Write result.json and clips.csv into ``folder``, each whole or not at all."""
    write_json(folder / RESULT, as_json(scored))
    metrics = list(dict.fromkeys(name for one in scored for name in one.totals))
    with (
        atomic_write(folder / CLIPS) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*PROTOCOL, "mask", "clip", *metrics])
        for one in scored:
            for clip, row in one.rows.items():
                values = [row.get(name, math.nan) for name in metrics]
                numbers = ["" if math.isnan(value) else repr(float(value)) for value in values]
                stated = (getattr(one, name) for name in (*PROTOCOL, "mask"))
                writer.writerow([*stated, clip, *numbers])
