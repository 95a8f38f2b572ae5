"""How near the motion of a text alone comes to that of the phones that a voice really said, and the
times that it is made with.

    python benchmarks/quality/text_to_motion.py ../shared/data/tts

Half of the sentences (by a checksum) give the mean times of phones, printed as in text/timing.py;
the other half tells how the text's motion does against the phone model's motion for the voice's own
phones: correlation of the inner-lip gap when both only begin and end together, and when it is known
where each word begins (browsers report that, and web/src/takes/spoken.js goes by it); share of the
voice's bilabials during which the text's lips meet.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.closure import TOUCHING_MM
from jambatalk.evaluation.metrics.mouth import correlation
from jambatalk.face.head import default_head
from jambatalk.text import g2p as dictionaries
from jambatalk.text.phone_motion import load_phone_motion
from jambatalk.text.phones import BILABIALS, PHONES, SILENCE, VOWELS, Timed, tidy
from jambatalk.text.timing import timeline

FPS = 50.0


def read(folder: Path) -> list[dict[str, Any]]:
    """The lines of clips.jsonl. InputError when there are none."""
    try:
        return [
            json.loads(line) for line in (folder / "clips.jsonl").read_text("utf-8").splitlines()
        ]
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} has no clips.jsonl of synthetic voices ({error})") from error


def fits(row: dict[str, Any]) -> bool:
    """Whether the times are taken from this sentence."""
    return zlib.crc32(row["text"].casefold().encode()) % 2 == 0


def mean_times(rows: list[dict[str, Any]]) -> tuple[dict[str, float], float]:
    """(phone -> seconds where no pause follows, lengthening of the end before a pause)."""
    inside: dict[str, list[float]] = defaultdict(list)
    final: list[tuple[str, float]] = []
    for row in rows:
        phones = tidy(row["phones"])
        for k, (phone, start, end) in enumerate(phones):
            if phone == SILENCE:
                continue
            after = next(
                (j for j in range(k, len(phones)) if phones[j].text == SILENCE), len(phones)
            )
            last = max((j for j in range(k, after) if phones[j].text in VOWELS), default=-1)
            if last > k or after - k > 4:
                inside[phone].append(end - start)
            elif k < after - 1:  # to the very last the synthesiser gives some of the pause
                final.append((phone, end - start))
    means = {phone: float(np.mean(times)) for phone, times in inside.items()}
    return means, float(
        np.mean([seconds / means[phone] for phone, seconds in final if phone in means])
    )


def word_starts(marks: list[list[Any]]) -> list[float]:
    """When each word of the synthesiser's marks begins."""
    starts, fresh = [], True
    for symbol, start, _ in marks:
        if symbol == " ":
            fresh = True
        elif fresh and symbol not in "^$.,;:!?—…“”":
            starts.append(float(start))
            fresh = False
    return starts


def said_at(phones: tuple[Timed, ...], at: list[float], to: list[float]) -> list[Timed]:
    """Phones with their times moved: what was at ``at`` is at ``to``, straight lines between."""
    return [
        Timed(phone, *(float(np.interp(time, at, to)) for time in (start, end)))
        for phone, start, end in phones
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the corpus of synthetic voices")
    options = parser.parse_args()
    try:
        rows = read(options.data)
        means, longer = mean_times([row for row in rows if fits(row)])
        print(
            "SECONDS = {" + ", ".join(f'"{p}": {means[p]:.3f}' for p in PHONES if p in means) + "}"
        )
        print(f"LENGTHENED = {longer:.2f}")
        print("lacking:", [phone for phone in PHONES if phone not in means])
        table = Table(title="motion of the text alone against that of the voice's phones")
        for title in (
            "",
            "sentences",
            "length off by",
            "gap r, ends alone",
            "gap r, words known",
            "bilabials closed",
            "r of a wrong text",
        ):
            table.add_column(title, justify="right" if title else "left")
        whole = dictionaries.dictionary()
        for name, known in (("rules alone", {}), ("with the dictionary", whole)):
            if name == "rules alone" or whole:
                table.add_row(name, *measured([row for row in rows if not fits(row)], known))
        Console(width=130).print(table)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measured(rows: list[dict[str, Any]], known: Any) -> list[str]:
    """The measures over sentences, as text."""
    import jambatalk.text.timing as timing

    timing.dictionary = lambda: known  # type: ignore[assignment]
    face, model = default_head(), load_phone_motion()
    off, loose, tied, wrong, shut = [], [], [], [], []
    earlier = None
    for row in rows:
        true, made, marks = tidy(row["phones"]), timeline(row["text"]), row["phones"]
        spoken = [phone for phone in true if phone.text != SILENCE]
        frames = int(row["seconds"] * FPS)
        gap = face.lip_gap(model.weights(true, frames, FPS)) * 1e3
        ends = [made.words[0].start, made.words[-1].end], [spoken[0].start, spoken[-1].end]
        off.append((ends[0][1] - ends[0][0]) / (ends[1][1] - ends[1][0]) - 1)
        a = face.lip_gap(model.weights(said_at(made.phones, *ends), frames, FPS)) * 1e3
        loose.append(correlation(a, gap))
        if earlier is not None:
            n = min(frames, len(earlier))
            wrong.append(correlation(earlier[:n], gap[:n]))
        earlier = a
        starts = word_starts(marks)
        if len(starts) == len(made.words):
            at, to = [word.start for word in made.words] + [ends[0][1]], [*starts, ends[1][1]]
            b = face.lip_gap(model.weights(said_at(made.phones, at, to), frames, FPS)) * 1e3
            tied.append(correlation(b, gap))
            for phone, start, end in true:
                if phone in BILABIALS:
                    shut.append(
                        bool(
                            (
                                b[max(int(start * FPS) - 1, 0) : int(np.ceil(end * FPS)) + 2]
                                < TOUCHING_MM
                            ).any()
                        )
                    )
    return [
        f"{len(rows)} ({len(tied)} tied)",
        f"{100 * np.mean(off):+.0f} % (sd {100 * np.std(off):.0f})",
        f"{np.mean(loose):.3f}",
        f"{np.mean(tied):.3f}",
        f"{100 * np.mean(shut):.0f} %",
        f"{np.mean(wrong):.3f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
