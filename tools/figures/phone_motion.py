"""How the phone model moves a mouth: a table and three plots, against filmed speech and on a
synthetic voice.

    python tools/figures/phone_motion.py --grid data/grid --tts data/tts --images docs/images
    [--model FILE] [--clip ID]

GRID and TTS are folders written by jambatalk data prepare; GRID's validation clips, which the model
in the package was not fitted on, need phones (jambatalk data prepare grid with the extra align).
The plots need the extra plots.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from jambatalk.atomic import atomic_write
from jambatalk.datasets.av_sync import loudness
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.dataset import PreparedCorpus, open_prepared
from jambatalk.datasets.report import require_matplotlib
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.evaluation.metrics.closure import touch_rate
from jambatalk.evaluation.metrics.timing import lag_ms
from jambatalk.evaluation.protocols.grid import score_phone_motion
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.text.phone_motion import PhoneMotion, load_phone_motion
from jambatalk.text.phones import BILABIALS, SILENCE, VOWELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
AROUND = np.arange(-0.2, 0.2001, 0.01)
"""Seconds from a bilabial's middle."""
FEWEST = 5
"""Phones that occur less often are not shown: their means say little."""
ROUND = ("mouthPucker", "mouthFunnel")


def gap_mm(face: Face, weights: Array) -> Array:
    """(T,) inner-lip gap of the default head."""
    return face.lip_gap(weights) * 1e3


def rounding(face: Face, weights: Array) -> Array:
    """(T,) mouthPucker and mouthFunnel together."""
    found: Array = weights[:, face.columns(ROUND)].sum(1)
    return found


def at(curve: Array, seconds: Array | float, fps: float) -> Any:
    """A curve's values between its frames."""
    return np.interp(np.asarray(seconds) * fps, np.arange(len(curve)), curve)


class Seen:
    """What the film and the model show at each phone of the clips."""

    def __init__(self, clips: Sequence[Clip], model: PhoneMotion, face: Face) -> None:
        middles: dict[str, list[tuple[float, float, float, float]]] = {}
        meetings: list[tuple[Array, Array]] = []
        for clip in clips:
            made = model.weights(clip.phones, clip.frames, clip.fps)
            curves = [
                of(face, weights) for of in (gap_mm, rounding) for weights in (made, clip.weights)
            ]
            for phone, start, end in clip.phones:
                middle = (start + end) / 2
                values = [float(at(curve, middle, clip.fps)) for curve in curves]
                middles.setdefault(phone, []).append(tuple(values))  # type: ignore[arg-type]
                if phone in BILABIALS and 0.2 <= middle <= clip.frames / clip.fps - 0.2:
                    meetings.append(
                        (
                            at(curves[0], middle + AROUND, clip.fps),
                            at(curves[1], middle + AROUND, clip.fps),
                        )
                    )
        self.counts = {
            phone: len(values) for phone, values in middles.items() if len(values) >= FEWEST
        }
        self.means = {
            phone: np.mean(middles[phone], axis=0) for phone in self.counts
        }  # gap model, film; rounding model, film
        self.meetings = np.array(meetings)  # (N, 2, len(AROUND)), model and film


def print_table(seen: Seen) -> None:
    table = Table(
        title="at the middle of each phone: inner-lip gap in mm, and mouthPucker + mouthFunnel"
    )
    for name in ("phone", "times", "gap, model", "gap, film", "rounding, model", "rounding, film"):
        table.add_column(name, justify="right")
    for phone in sorted(seen.means, key=lambda phone: seen.means[phone][1]):
        values = seen.means[phone]
        table.add_row(
            phone,
            str(seen.counts[phone]),
            *(f"{v:.1f}" for v in values[:2]),
            *(f"{v:.2f}" for v in values[2:]),
        )
    console = Console(width=100)
    console.print(table)
    model, film = np.array([seen.means[phone] for phone in seen.means if phone != SILENCE])[
        :, [0, 1]
    ].T
    console.print(
        f"phones' mean gaps, model against film: correlation {np.corrcoef(model, film)[0, 1]:.3f}"
    )
    model, film = np.array([seen.means[phone] for phone in seen.means if phone != SILENCE])[
        :, [2, 3]
    ].T
    console.print(
        "phones' mean rounding, model against film: correlation "
        f"{np.corrcoef(model, film)[0, 1]:.3f}"
    )
    for name, curve in zip(("model", "film"), seen.meetings.mean(0)):
        console.print(
            f"{len(seen.meetings)} bilabials, {name}: mean gap smallest "
            f"{1e3 * AROUND[int(curve.argmin())]:+.0f} ms from their "
            f"middle, {curve.min():.1f} mm; {curve[0]:.1f} mm 200 ms before, {curve[-1]:.1f} mm "
            "200 ms after"
        )


def draw_film(seen: Seen, path: Path) -> None:
    """Gap and rounding of each phone, and the gap around bilabials: model beside film."""
    figure = _figure(10, 8)
    grid = figure.add_gridspec(3, 1)
    phones = sorted(
        (p for p in seen.means if p != SILENCE),
        key=lambda phone: (phone in VOWELS, seen.means[phone][1]),
    )
    for row, (first, title) in enumerate(
        ((0, "inner-lip gap, mm"), (2, "mouthPucker + mouthFunnel"))
    ):
        axes = figure.add_subplot(grid[row])
        for k, (name, colour, mark) in enumerate((("model", "C3", "o"), ("film", "0.45", "s"))):
            axes.plot([seen.means[p][first + k] for p in phones], mark, color=colour, label=name)
        axes.vlines(
            range(len(phones)),
            *np.array([seen.means[p][first : first + 2] for p in phones]).T,
            color="0.8",
            zorder=0,
        )
        axes.set_xticks(range(len(phones)), phones, fontsize=11)
        axes.axvline(sum(p not in VOWELS for p in phones) - 0.5, color="0.8", lw=0.8)
        axes.set(title=f"{title}, at the middle of each phone; consonants, then vowels")
        axes.legend(loc="upper left")
    axes = figure.add_subplot(grid[2])
    for k, (name, colour) in enumerate((("model", "C3"), ("film", "0.45"))):
        curves = seen.meetings[:, k]
        axes.plot(1e3 * AROUND, curves.mean(0), color=colour, label=f"{name}, mean")
        low, high = np.percentile(curves, [25, 75], axis=0)
        axes.fill_between(
            1e3 * AROUND, low, high, color=colour, alpha=0.15, label=f"{name}, middle half"
        )
    axes.axvline(0, color="0.8", lw=0.8)
    axes.set(
        title=f"inner-lip gap around the middle of {len(seen.meetings)} /p b m/",
        xlabel="ms",
        ylabel="mm",
    )
    axes.legend(loc="upper center", ncols=2)
    _save(figure, path)


def draw_curve(clip: Clip, model: PhoneMotion, face: Face, path: Path, filmed: bool) -> None:
    """The gap over a clip against the film or, where there is none, the sound's level; phones
    written under it.
    """
    time = np.arange(clip.frames) / clip.fps
    figure = _figure(12, 3.4)
    axes = figure.subplots()
    axes.plot(
        time,
        gap_mm(face, model.weights(clip.phones, clip.frames, clip.fps)),
        color="C3",
        label="phone model",
    )
    if filmed:
        axes.plot(time, gap_mm(face, clip.weights), color="0.45", label="film")
    else:
        level = axes.twinx()
        level.fill_between(
            time, loudness(clip.samples, clip.frames, clip.fps), -80, color="C0", alpha=0.2
        )
        level.set_ylabel("level, dB (blue)")
        axes.set_zorder(level.get_zorder() + 1)
        axes.patch.set_visible(False)
    write_phones(axes, clip)
    spoken = [phone for phone in clip.phones if phone.text != SILENCE]
    axes.set(title=f"{clip.corpus}, {clip.id}", ylabel="inner-lip gap, mm", ylim=(-3.4, None))
    axes.set_xlim(max(0.0, spoken[0].start - 0.3), min(spoken[-1].end + 0.3, time[-1]))
    axes.set_xlabel("seconds")
    axes.legend(loc="upper left")
    _save(figure, path)


def write_phones(axes: Axes, clip: Clip) -> None:
    """Phones under the curve in two rows; bilabials are shaded."""
    spoken = [phone for phone in clip.phones if phone.text != SILENCE]
    for i, (phone, start, end) in enumerate(spoken):
        colour = "C3" if phone in BILABIALS else "black"
        axes.text(
            (start + end) / 2, -1.6 - 1.1 * (i % 2), phone, ha="center", fontsize=9, color=colour
        )
        if phone in BILABIALS:
            axes.axvspan(start, end, color="C3", alpha=0.15, lw=0)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=75)
    print(f"wrote {path}")


def print_synthetic(corpus: PreparedCorpus, face: Face) -> None:
    """What the motion that was prepared for the validation clips shows: closures, and its lag
    behind the sound's level.
    """
    clips = [clip.clip() for clip in corpus.clips("val")]
    gaps = [gap_mm(face, clip.weights) for clip in clips]
    levels = [loudness(clip.samples, clip.frames, clip.fps) for clip in clips]
    closed = touch_rate(gaps, [clip.phones for clip in clips], clips[0].fps)
    print(f"{corpus.name}, {len(clips)} validation clips: bilabials closed: {closed:.3f}")
    print(
        f"{corpus.name}: lag of the gap behind the sound's level: "
        f"{lag_ms(levels, gaps, clips[0].fps):+.0f} ms"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--grid", type=Path, required=True, help="prepared GRID folder, with phones"
    )
    parser.add_argument(
        "--tts", type=Path, required=True, help="prepared folder of synthetic voices"
    )
    parser.add_argument("--images", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--model", type=Path, help="a phone model; default: the one in the package")
    parser.add_argument(
        "--clip", help="the synthetic clip that is drawn; default: the first validation clip"
    )
    options = parser.parse_args()
    try:
        require_matplotlib()
        face, model = default_head(), load_phone_motion(options.model)
        filmed, synthetic = open_prepared(options.grid), open_prepared(options.tts)
        clips = [clip.clip() for clip in filmed.clips("val")]
        if lacking := [clip.id for clip in clips if not clip.phones]:
            raise InputError(
                f"clip {lacking[0]} of {options.grid} has no phones: prepare it with the extra "
                "align installed"
            )
        shown = (
            [clip for clip in synthetic.clips() if clip.name == options.clip]
            if options.clip
            else synthetic.clips("val")
        )
        if not shown:
            raise InputError(f"{options.tts} holds no clip {options.clip or 'of the split val'}")
        seen = Seen(clips, model, face)
        print_table(seen)
        for name, value in score_phone_motion(model, clips, face).items():
            print(f"{filmed.name}, {len(clips)} validation clips: {name}: {value:.3f}")
        print_synthetic(synthetic, face)
        draw_film(seen, options.images / "phones-film.png")
        draw_curve(clips[0], model, face, options.images / "phones-sentence.png", filmed=True)
        draw_curve(
            shown[0].clip(), model, face, options.images / "phones-synthetic.png", filmed=False
        )
    except (InputError, MissingExtraError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
