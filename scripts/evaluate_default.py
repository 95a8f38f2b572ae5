"""Score weights on everything that the default weights promise, beside controls, in one table.

    python scripts/evaluate_default.py MODEL [MODEL ...] --grid ../shared/data/grid --facegood ../shared/data/facegood
        [--librivox DIR] [--voice DIR] [--first FILE] [--bigru FILE] [--json out/default.json] [--cache out/cache]

MODEL is a weights file, or "default" for the weights that ship, with @STYLE behind it for another style than the default.
Columns: the models; the first weights (--first); the first model given another clip's sound; a BiGRU baseline (--bigru, from
tools/train_bigru.py); a static face; the speakers' own motion as the head wears it. LibriVox: a folder of .wav files with
"transcription", as in Debian's pocketsphinx-testdata (usr/share/pocketsphinx/test/data/librivox). Voice: a folder written by
jambatalk data prepare tts. Opening is the inner-lip gap on the default head throughout. A figure that breaks its promise is
marked !.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from jambatalk.atomic import atomic_write
from jambatalk.datasets.registry import load_clips
from jambatalk.errors import InputError
from jambatalk.evaluation.protocols.default_weights import (
    Metrics,
    ProtocolData,
    load_performance,
    load_readings,
    load_voice,
    retargeted_truth,
    score_system,
)
from jambatalk.evaluation.protocols.grid import SPLITS
from jambatalk.evaluation.systems import System, bigru_system, static_system, talker_system
from jambatalk.face.head import default_head


@dataclass(frozen=True)
class Measure:
    """A row of the table. promise: in words; kept: whether a figure keeps it."""

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
"""No tremble: half a millimetre a second, a fifth of a pixel a second of a head that fills a picture of 512 pixels."""


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


def measures(unseen: list[str]) -> list[Measure]:
    """The rows, in order."""
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


def print_table(columns: dict[str, Metrics], unseen: list[str], console: Console) -> None:
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


def score_all(
    systems: list[System], baselines: list[System], material: ProtocolData
) -> dict[str, Metrics]:
    """Column title -> its numbers; the first system is also given the wrong sound."""
    face = default_head()
    columns = {system.name: score_system(system, material, face) for system in systems}
    columns[f"{systems[0].name}, wrong sound"] = score_system(
        systems[0], material, face, wrong_sound=True
    )
    columns |= {
        system.name: score_system(system, material, face)
        for system in [*baselines, static_system(face)]
    }
    columns["truth, worn"] = retargeted_truth(material.grid, face)
    return columns


def called(model: str) -> str:
    """A short title: the file's name with its folder, since runs keep the same name in different folders."""
    file, _, style = model.partition("@")
    return f"{Path(file).parent.name}/{Path(file).stem}".strip("/") + (
        f", {style}" if style else ""
    )


def finite(numbers: Metrics) -> dict[str, float | None]:
    """For JSON, which knows no nan and no infinity: a lag that does not exist, a look-ahead without end."""
    return {key: value if math.isfinite(value) else None for key, value in numbers.items()}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help='weights file, or "default" for the weights that ship',
    )
    parser.add_argument(
        "--grid",
        type=Path,
        required=True,
        help="the GRID folder (clips.jsonl, motion.npz, face468.npz, audio/)",
    )
    parser.add_argument(
        "--facegood",
        type=Path,
        required=True,
        help="the FACEGOOD folder (columns.json, <id>.npy, <id>.flac)",
    )
    parser.add_argument(
        "--librivox", type=Path, help="folder of .wav files and their transcription"
    )
    parser.add_argument(
        "--voice",
        type=Path,
        help="prepared folder of synthetic voices; its split test_voice is scored",
    )
    parser.add_argument("--first", help="the first weights, for comparison")
    parser.add_argument("--bigru", type=Path, help="weights written by tools/train_bigru.py")
    parser.add_argument("--json", type=Path, help="write every number here")
    parser.add_argument("--cache", type=Path, help="folder in which GRID's carried motion is kept")
    options = parser.parse_args()
    try:
        face = default_head()
        systems = [talker_system(called(model), model, face) for model in options.models]
        if options.first:
            systems.append(talker_system("first weights", options.first, face))
        if len({system.name for system in systems}) < len(systems):
            raise InputError(
                f"two models are called alike: {', '.join(system.name for system in systems)}"
            )
        baselines = [bigru_system(options.bigru, face)] if options.bigru else []
        readings = load_readings(options.librivox) if options.librivox else []
        voice = load_voice(options.voice) if options.voice else []
        grid = load_clips(options.grid, SPLITS, face, options.cache)
        columns = score_all(
            systems,
            baselines,
            ProtocolData(grid, readings, voice, load_performance(options.facegood)),
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    unseen = [clip.id for clip in grid if clip.split == "test_unseen"]
    print_table(columns, unseen, Console(width=max(100, 64 + 20 * len(columns))))
    if options.json:
        with atomic_write(options.json) as temporary:
            report = {
                "models": options.models,
                "columns": {name: finite(numbers) for name, numbers in columns.items()},
            }
            temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
