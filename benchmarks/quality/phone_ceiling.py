"""How far the phones alone go on GRID: the phone model, given the sentence's true phones, against
the tracked lip gap.

    python benchmarks/quality/phone_ceiling.py --data ../shared/data/grid [--cache DIR]

A network that only heard which phones are spoken when could not do better on a speaker it has never
seen; what is above that is the recorded speaker's habit. "In speech" leaves out what lies more than
0.2 s outside the sentence: mouths that breathe or get ready before the first word. The sentence is
read from the clip's name, as GRID encodes it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from jambatalk.datasets.align import Aligner
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.registry import load_clips
from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.mouth import correlation
from jambatalk.face.head import default_head
from jambatalk.text.phone_motion import load_phone_motion
from jambatalk.text.phones import SILENCE

CODES = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
    dict(
        zip(
            "z123456789",
            ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
        )
    ),
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
AROUND = 0.2  # seconds that belong to speech before its first and after its last phone


def sentence(clip: Clip) -> str:
    """The words of a clip, by the last six letters of its name.

    InputError when they are no GRID code.
    """
    code = clip.id[-6:]
    try:
        return " ".join(words[letter] for words, letter in zip(CODES, code, strict=True))
    except (KeyError, ValueError) as error:
        raise InputError(
            f"clip {clip.id}: {code!r} is no GRID sentence code of six letters"
        ) from error


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the GRID folder")
    parser.add_argument("--cache", type=Path, help="folder in which the carried motion is kept")
    options = parser.parse_args()
    try:
        face, model, aligner = default_head(), load_phone_motion(), Aligner()
        table = Table(
            title="lip gap made from true phones alone, against the tracked one (correlation)"
        )
        for title in ("", "whole clip", "in speech", "tracked gap outside speech, mm"):
            table.add_column(title, justify="right" if title else "left")
        for split in ("test_seen", "test_unseen"):
            rows = []
            for clip in load_clips(options.data, split, face, options.cache):
                assert clip.gap is not None  # GRID's reader gives it
                phones, _ = aligner.align(clip.samples, sentence(clip))
                spoken = [phone for phone in phones if phone.text != SILENCE]
                times = np.arange(clip.frames) / clip.fps
                inside = (times >= spoken[0].start - AROUND) & (times <= spoken[-1].end + AROUND)
                made = face.lip_gap(model.weights(phones, clip.frames, clip.fps))
                outside = float(clip.gap[~inside].mean() * 1e3) if (~inside).any() else float("nan")
                rows.append(
                    (
                        clip.id,
                        correlation(made, clip.gap),
                        correlation(made[inside], clip.gap[inside]),
                        outside,
                    )
                )
            if split == "test_unseen":
                for name, whole, speech, outside in rows:
                    table.add_row(f"  {name}", f"{whole:.3f}", f"{speech:.3f}", f"{outside:.1f}")
            means = np.nanmean([row[1:] for row in rows], axis=0)
            table.add_row(
                f"{split}, mean of {len(rows)}",
                f"{means[0]:.3f}",
                f"{means[1]:.3f}",
                f"{means[2]:.1f}",
            )
        Console(width=120).print(table)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
