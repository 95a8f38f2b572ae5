"""Score a talker on GRID: the default head's lip gap against the speaker's tracked gap, beside controls and an upper bound.

    python scripts/evaluate_grid.py MODEL --data ../shared/data/grid [--json out/grid.json] [--cache out/cache]

MODEL is a weights file, "default" for the weights that ship, or "none" for the controls alone. Rows: the model; the same
model given another clip's audio; a static face; the worn motion (the carried truth, an upper bound); the measured truth.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from jambatalk.atomic import atomic_write
from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.registry import load_clips
from jambatalk.errors import InputError
from jambatalk.evaluation.protocols.grid import (
    SPLITS,
    GridScore,
    Predictor,
    predict,
    score_gaps,
    score_weights,
    shuffled,
)
from jambatalk.face.face import Face
from jambatalk.face.head import default_head


def talker_predictor(model: str, face: Face) -> tuple[Predictor, dict[str, object]]:
    """A predictor that animates a clip's samples, with what there is to say about the model."""
    import jambatalk
    from jambatalk.audio import Speech

    talker = jambatalk.load() if model == "default" else jambatalk.load(model)

    def animate(clip: Clip) -> tuple[np.ndarray, float]:
        motion = talker.animate(Speech(clip.samples, SAMPLE_RATE))
        if motion.weights is None:
            raise InputError(
                f"{model} gives vertex offsets; this protocol needs weights on the default head's shapes"
            )
        weights = np.zeros((len(motion), len(face.names)), np.float32)
        weights[:, face.columns(motion.names)] = motion.weights
        return weights, motion.fps

    return animate, {"model": model}


def score_all(model: str, clips: list[Clip], face: Face) -> list[GridScore]:
    rows: list[GridScore] = []
    if model != "none":
        predictor, _ = talker_predictor(model, face)
        weights = predict(clips, predictor)
        rows.append(score_weights("model", clips, weights, face))
        partner = shuffled(clips)
        by_id = {clip.id: weights[partner[clip.id].id] for clip in clips}
        resized = {
            clip.id: by_id[clip.id][np.minimum(np.arange(clip.frames), len(by_id[clip.id]) - 1)]
            for clip in clips
        }
        rows.append(score_weights("model, shuffled audio", clips, resized, face))
    rest = {clip.id: np.zeros((clip.frames, len(face.names)), np.float32) for clip in clips}
    rows.append(score_weights("static face", clips, rest, face))
    rows.append(
        score_weights("truth as worn", clips, {clip.id: clip.weights for clip in clips}, face)
    )
    rows.append(
        score_gaps(
            "truth as measured",
            clips,
            {clip.id: clip.gap for clip in clips if clip.gap is not None},
        )
    )
    return rows


COLUMNS: tuple[tuple[str, Callable[[GridScore], str]], ...] = (
    ("seen", lambda s: f"{s.seen:.3f}"),
    ("unseen", lambda s: f"{s.unseen:.3f}"),
    ("val", lambda s: f"{s.val:.3f}"),
    ("seen pooled", lambda s: f"{s.seen_pooled:.3f}"),
    ("unseen pooled", lambda s: f"{s.unseen_pooled:.3f}"),
    ("closure", lambda s: f"{100 * s.closure:.1f} %"),
    ("gap there mm", lambda s: f"{s.closure_mm:.2f}"),
    ("lag ms", lambda s: f"{s.lag_ms:+.0f}"),
    ("after sound ms", lambda s: f"{s.sound_lag_ms:+.0f}"),
    ("opening mm", lambda s: "" if s.opening_error_mm is None else f"{s.opening_error_mm:.2f}"),
    ("lips mm", lambda s: "" if s.lip_error_mm is None else f"{s.lip_error_mm:.2f}"),
)


def print_table(rows: list[GridScore], console: Console) -> None:
    table = Table(
        title="GRID: lip gap on the default head against the tracked gap (correlation; closure; lag)"
    )
    table.add_column("")
    for title, _ in COLUMNS:
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(row.name, *(show(row) for _, show in COLUMNS))
    console.print(table)
    clips = Table(title="each unseen speaker's clip")
    clips.add_column("")
    for clip in rows[0].unseen_clips:
        clips.add_column(clip, justify="right")
    for row in rows:
        clips.add_row(row.name, *(f"{value:.3f}" for value in row.unseen_clips.values()))
    console.print(clips)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help='weights file, "default", or "none" for the controls alone')
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="the GRID folder (clips.jsonl, motion.npz, face468.npz, audio/)",
    )
    parser.add_argument("--json", type=Path, help="write every number here")
    parser.add_argument("--cache", type=Path, help="folder in which the carried motion is kept")
    options = parser.parse_args()
    try:
        face = default_head()
        clips = load_clips(options.data, SPLITS, face, options.cache)
        rows = score_all(options.model, clips, face)
        print_table(rows, Console(width=170))
        if options.json:
            with atomic_write(options.json) as temporary:
                report = {
                    "model": options.model,
                    "clips": len(clips),
                    "rows": [row.as_dict() for row in rows],
                }
                temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
