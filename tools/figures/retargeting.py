"""How closely the default head follows GRID's tracked faces: numbers, two plots and a sheet of
mouths.

    python tools/figures/retargeting.py --data ../shared/data/grid --images docs/images [--json
    out/carrying.json] [--cache DIR]

The plots need matplotlib, which nothing else here uses: pip install matplotlib.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from jambatalk.atomic import atomic_write
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.registry import open_corpus
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.evaluation.metrics.closure import closed_level
from jambatalk.evaluation.metrics.mouth import correlation
from jambatalk.face.face import Face
from jambatalk.face.head import default_head

# word, what is seen in it, where in the word: the sheet's mouths, one row each
MOUTHS = (
    (
        ("bin", "b", 0.0),
        ("place", "p", 0.0),
        ("blue", "l", 0.4),
        ("please", "p", 0.0),
        ("white", "w", 0.15),
        ("soon", "oo", 0.5),
    ),
    (
        ("two", "oo", 0.6),
        ("blue", "oo", 0.85),
        ("q", "yoo", 0.8),
        ("zero", "o", 0.85),
        ("four", "f", 0.1),
        ("five", "f", 0.1),
    ),
    (
        ("please", "ee", 0.6),
        ("three", "ee", 0.7),
        ("eight", "ey", 0.3),
        ("white", "ai", 0.5),
        ("now", "au", 0.45),
        ("place", "ei", 0.5),
    ),
)


def measure(clips: list[Clip], face: Face) -> dict[str, object]:
    """Numbers of the carried motion over one subject's clips."""
    worn = [face.lip_gap(clip.weights) * 1e3 for clip in clips]
    measured = [clip.gap * 1e3 for clip in clips if clip.gap is not None]
    all_worn, all_measured = np.concatenate(worn), np.concatenate(measured)
    closed = all_measured <= closed_level(measured) + 0.3
    weights = np.concatenate([clip.weights for clip in clips])
    jerk = np.mean([np.abs(np.diff(clip.weights, n=3, axis=0)).mean(0) for clip in clips], axis=0)
    per_clip = [correlation(a, b) for a, b in zip(worn, measured)]
    shapes = {
        name: {
            "mean": float(weights[:, k].mean()),
            "p95": float(np.percentile(weights[:, k], 95)),
            "largest": float(weights[:, k].max()),
            "jerk": float(jerk[k]),
        }
        for k, name in enumerate(face.names)
        if weights[:, k].max() > 0.01
    }
    return {
        "clips": len(clips),
        "correlation_mean": float(np.mean(per_clip)),
        "correlation_worst": float(np.min(per_clip)),
        "correlation_pooled": correlation(all_worn, all_measured),
        "closed_frames": float(closed.mean()),
        "closed_gap_mm_mean": float(all_worn[closed].mean()),
        "closed_gap_mm_largest": float(np.abs(all_worn[closed]).max()),
        "gap_mm_p95": float(np.percentile(all_worn, 95)),
        "measured_gap_mm_p95": float(np.percentile(all_measured, 95)),
        "jaw_in_openings": float(weights[all_worn > 12.0, face.names.index("jawOpen")].mean()),
        "shapes": shapes,
    }


def plot_curves(clips: list[Clip], face: Face, path: Path) -> None:
    """Measured and worn gap over three clips, with the words."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(clips), 1, figsize=(10, 2.4 * len(clips)), constrained_layout=True
    )
    for axis, clip in zip(axes, clips):
        time = np.arange(clip.frames) / clip.fps
        assert clip.gap is not None
        axis.plot(
            time,
            clip.gap * 1e3,
            color="0.6",
            lw=3,
            label="measured on the speaker (landmarks 13, 14)",
        )
        axis.plot(
            time,
            face.lip_gap(clip.weights) * 1e3,
            color="C3",
            lw=1.5,
            label="worn by the default head",
        )
        axis.plot(
            time, 20 * clip.motion.column("jawOpen"), color="C0", lw=1, ls=":", label="jawOpen x 20"
        )
        axis.plot(
            time,
            20 * clip.motion.column("mouthPucker"),
            color="C2",
            lw=1,
            ls=":",
            label="mouthPucker x 20",
        )
        for word in clip.words:
            if word.text != "sil":
                axis.axvline(word.start, color="0.85", lw=0.8, zorder=0)
                axis.text(
                    word.start + 0.01, axis.get_ylim()[1] * 0.9, word.text, fontsize=8, color="0.3"
                )
        axis.set_ylabel("lip gap, mm")
        axis.set_xlim(0, clip.frames / clip.fps)
    axes[0].legend(loc="upper right", fontsize=7)
    axes[-1].set_xlabel("seconds")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=80)


def plot_weights(clips: list[Clip], face: Face, path: Path) -> None:
    """How much each shape is used: 5th to 95th percentile, median and largest value."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    weights = np.concatenate([clip.weights for clip in clips])
    used = [k for k in range(len(face.names)) if weights[:, k].max() > 0.01]
    low, middle, high, top = (np.percentile(weights[:, used], q, axis=0) for q in (5, 50, 95, 100))
    rows = np.arange(len(used))[::-1]
    figure, axis = pyplot.subplots(figsize=(8, 0.22 * len(used) + 1), constrained_layout=True)
    axis.hlines(rows, low, high, color="C0", lw=5, label="5th to 95th percentile")
    axis.plot(middle, rows, "|", color="black", ms=8, label="median")
    axis.plot(top, rows, ".", color="C3", label="largest")
    axis.set_yticks(rows, [face.names[k] for k in used], fontsize=8)
    axis.set_xlim(0, 1)
    axis.set_xlabel("weight")
    axis.legend(fontsize=8)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=80)


def draw_mouths(clips: list[Clip], face: Face, path: Path) -> None:
    """A sheet of the worn mouth in words, each in the frame whose gap is the median among all its
    occurrences.
    """
    from jambatalk.render.image import contact_sheet, save_png
    from jambatalk.render.renderer import Renderer

    renderer = Renderer(face, (600, 600))
    pictures, labels = [], []
    for word, sound, place in (mouth for row in MOUTHS for mouth in row):
        found = []
        for clip in clips:
            for timed in clip.words:
                if timed.text == word:
                    time = timed.start + place * (timed.end - timed.start)
                    found.append(clip.weights[min(clip.frames - 1, round(time * clip.fps))])
        if not found:
            raise InputError(f"the word {word!r} is in none of these clips")
        chosen = sorted(found, key=lambda weights: float(face.lip_gap(weights[None])[0]))[
            len(found) // 2
        ]
        picture = renderer.render(face.pose(chosen))
        pictures.append(picture[300:505, 190:410])
        labels.append(f"{word} ({sound})")
    save_png(contact_sheet(pictures, labels, len(MOUTHS[0])), path)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the GRID folder")
    parser.add_argument(
        "--images", type=Path, help="write the plots and the sheet into this folder"
    )
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--cache", type=Path, help="folder in which the carried motion is kept")
    options = parser.parse_args()
    try:
        face = default_head()
        clips = open_corpus(options.data).clips(
            ("train", "val", "test_seen", "test_unseen"), face, options.cache
        )
        speakers = {
            "s1": [clip for clip in clips if clip.subject == "s1"],
            "others": [clip for clip in clips if clip.subject != "s1"],
        }
        report = {name: measure(group, face) for name, group in speakers.items()}
        print(json.dumps(report, indent=1))
        if options.json:
            with atomic_write(options.json) as temporary:
                temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if options.images:
            named = {clip.id: clip for clip in speakers["s1"]}
            chosen = [named[name] for name in list(named)[:3]]
            try:
                plot_curves(chosen, face, options.images / "carrying-gap.png")
                plot_weights(speakers["s1"], face, options.images / "carrying-weights.png")
            except ModuleNotFoundError as error:
                raise MissingExtraError(
                    "the plots need matplotlib: pip install matplotlib"
                ) from error
            draw_mouths(speakers["s1"], face, options.images / "carrying-mouths.png")
    except (InputError, MissingExtraError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
