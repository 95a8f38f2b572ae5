"""Draw what benchmarks/quality/peers/compare.py --test measured: opening, and what can be read.

    python tools/figures/peers.py out/peers/figures.json -o docs/images/peers.png

Needs matplotlib: pip install "jambatalk[plots]".
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError, MissingExtraError, reading

PANELS = (
    ("others: opening, zeros 2 s", "opening, 22 clips of other speakers\n(correlation in speech)"),
    ("flite: legibility", "visemes read off, three voices\n(mean of 12; chance 0.08)"),
)
TOLD = ("rhubarb-text", "openfacefx-text", "openfacefx-phones")
"""Programs that are told what is said."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        draw(options.figures, options.output)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def draw(figures: Path, output: Path) -> None:
    """Draw a bar for each program with its interval, in two panels."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError(
            'the diagram needs matplotlib: pip install "jambatalk[plots]"'
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with reading(figures, "figures.json of compare.py --test"):
        rows = json.loads(figures.read_text(encoding="utf-8"))
        values = {
            row: [tuple(found["figures"][key][:3]) for key, _ in PANELS]
            for row, found in rows.items()
        }
    names = list(values)[::-1]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 4.4), sharey=True, layout="constrained")
    for panel, (axis, (_, title)) in enumerate(zip(axes, PANELS)):
        for at, name in enumerate(names):
            value, low, high = values[name][panel]
            ours = name.startswith(("base", "light"))
            colour = "#2a6f97" if ours else "#b8b8b8" if name in TOLD else "#7d7d7d"
            axis.barh(at, value, color=colour)
            axis.plot([low, high], [at, at], color="black", linewidth=1)
        axis.set_title(title, fontsize=10)
        axis.set_xlim(0, 1)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names, fontsize=9)
    figure.supxlabel("pale: told the words or the phones; lines: 95 % over sentences", fontsize=9)
    with atomic_write(output) as path:
        figure.savefig(path, dpi=110, format="png")


if __name__ == "__main__":
    sys.exit(main())
