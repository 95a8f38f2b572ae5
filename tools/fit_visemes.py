"""Fit the viseme baseline to a prepared corpus of vertices with timed phones.

    python tools/fit_visemes.py DATA -o out/visemes.safetensors [--scheme NAME] [--train SPLIT]
    [--val SPLIT]

DATA is what ``jambatalk data prepare`` wrote. Nothing is random: the same data give the same file.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from jambatalk.baselines.visemes import CLASSES, RIDGE, fit_visemes, save_visemes, viseme_error
from jambatalk.datasets.dataset import open_prepared
from jambatalk.errors import InputError


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="a prepared corpus' folder")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="where the visemes go (.safetensors)"
    )
    parser.add_argument("--scheme", help="how the corpus is divided; its usual way if not given")
    parser.add_argument("--train", default="train", help="split to fit on")
    parser.add_argument("--val", default="val", help="split on which the error is measured")
    parser.add_argument(
        "--ridge",
        type=float,
        default=RIDGE,
        help="frames against which a shape is held to its prior",
    )
    options = parser.parse_args()
    try:
        corpus = open_prepared(options.data)
        train, val = (corpus.clips(split, options.scheme) for split in (options.train, options.val))
        visemes = fit_visemes(
            train, ridge=options.ridge, progress=lambda line: print(line, flush=True)
        )
        missed, resting = viseme_error(visemes, val)
        visemes.notes["val"] = {"rms": missed, "rms_at_rest": resting, "clips": len(val)}
        save_visemes(options.output, visemes)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, value in asdict(visemes.dominance).items():
        shown = (
            ", ".join(f"{kind} {v:g}" for kind, v in zip(CLASSES, value, strict=True))
            if isinstance(value, list)
            else value
        )
        print(f"{name}: {shown}")
    print(
        f"{options.val}: rms error of a vertex {missed:.5f} {corpus.unit}, of the face at rest "
        f"{resting:.5f}"
    )
    print(f"wrote {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
