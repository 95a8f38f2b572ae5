"""Error and cost against context length and model size, as two plots (PNG and SVG) and a JSON file.

Trains small networks on a prepared corpus of vertices through the runner of ``jambatalk ablate``: resumed, skipped when done.

context: the window of sliding attention, with sequences long enough to fill it. As GRID's clips are 3 s, training can show
windows up to 75 frames there; cost is measured far beyond, one decoder call in a process of its own, as
benchmarks/speed/long_context.py does.
size: the decoder's width, everything else in proportion.

    python scripts/scaling.py DATA [--seeds 3] [--steps 500] [--jobs 1] [--longest 262144] [-o runs/scaling]
    (DATA: jambatalk data prepare grid468)
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from jambatalk.atomic import atomic_write
from jambatalk.config import read_yaml
from jambatalk.evaluation.statistics import over_seeds
from jambatalk.experiments.results import RunScores, score_runs
from jambatalk.experiments.runner import Runner
from jambatalk.experiments.suite import BASE, Suite, SuiteFile

SUITE = Path(__file__).parents[1] / "configs" / "ablations" / "grid.yaml"
WINDOWS = (1, 4, 16, 64, 256)
WIDTHS = (32, 64, 96, 160)
LENGTHS = (256, 1024, 4096, 16384, 65536, 262144)
METRICS = ("LVE", "opening_correlation")


def scaling_suite(steps: int) -> Suite:
    """The base of the ablation suite, with other windows and widths."""
    base = read_yaml(SUITE)["base"] | {"steps": steps}
    variants: dict[str, Any] = {}
    for window in WINDOWS:
        variants[f"window-{window}"] = {
            "group": "context",
            "change": {"model": {"decoder": {"window": window}}},
        }
    for width in WIDTHS:
        decoder = {"width": width, "mlp_hidden": 2 * width, "expert_hidden": width}
        encoder = {"widths": [max(width // 2, 16), max(3 * width // 4, 24)]}
        variants[f"width-{width}"] = {
            "group": "size",
            "change": {"model": {"decoder": decoder, "encoder": encoder}},
        }
    return Suite("scaling", SuiteFile(base, "error against context and size", variants), str(SUITE))


def results(scores: Sequence[RunScores], group: str) -> list[dict[str, Any]]:
    """A point for each variant whose name begins with ``group``: mean and deviation over seeds for every split and metric."""
    points = []
    for name in dict.fromkeys(one.variant for one in scores):
        if not name.startswith(f"{group}-"):
            continue
        runs = [one for one in scores if one.variant == name]
        factors = [one.real_time_factor for one in runs if not math.isnan(one.real_time_factor)]
        point: dict[str, Any] = {
            "value": int(name.rpartition("-")[2]),
            "parameters": runs[0].parameters,
            "seeds": len(runs),
            "step_seconds": min(one.step_seconds for one in runs),
            "real_time_factor": min(factors, default=None),
            "metrics": {},
        }
        for split, rows in runs[0].splits.items():
            for metric in METRICS:
                full = next(
                    key
                    for key in next(iter(rows.values()))
                    if key == metric or key.startswith(f"{metric}_")
                )
                spread = over_seeds(
                    [[one.splits[split][clip][full] for clip in rows] for one in runs]
                )  # type: ignore[arg-type]
                point["metrics"].setdefault(split, {})[full] = {
                    "mean": spread.mean,
                    "deviation": spread.deviation if len(runs) > 1 else None,
                }
        points.append(point)
    return sorted(points, key=lambda point: point["value"])


def measure(settings: Path, length: int) -> dict[str, float]:
    """Best seconds and peak memory of one decoder call of ``length`` frames, in this process."""
    import time

    import torch

    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "speed"))
    from jambatalk.models.jamba import JambaDecoder
    from jambatalk.training.config import load_train_config
    from long_context import peak_mb

    config = load_train_config(settings).model.decoder
    decoder = JambaDecoder(config).eval()
    with torch.inference_mode():
        warm = torch.randn(1, 256, config.width)
        decoder(warm, decoder.init_state(1))
        before, x, taken = peak_mb(), torch.randn(1, length, config.width), []
        for _ in range(3):
            started = time.perf_counter()
            decoder(x, decoder.init_state(1))
            taken.append(time.perf_counter() - started)
    return {"seconds": min(taken), "peak_mb": peak_mb(), "start_mb": before}


def costs(suite: Suite, out: Path, longest: int) -> list[dict[str, Any]]:
    """Cost of the base's decoder at every length, with sliding, causal and full attention, measured once and kept."""
    kept = out / "cost.json"
    rows = json.loads(kept.read_text()) if kept.exists() else []
    for attention in ("sliding", "causal", "full"):
        values = copy.deepcopy(dict(suite.run(BASE, 1).values))
        values["model"]["decoder"]["attention"] = attention
        values["model"]["look_ahead"] = "full" if attention == "full" else "delay"
        settings = out / f"cost-{attention}.yaml"
        with atomic_write(settings) as temporary:
            temporary.write_text(yaml.safe_dump(values), encoding="utf-8")
        for length in LENGTHS:
            # Quadratic attention is bearable only so far.
            if length > longest or (attention != "sliding" and length > 16384):
                continue
            if any(row["attention"] == attention and row["frames"] == length for row in rows):
                continue
            command = [sys.executable, __file__, "--one", str(settings), str(length)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append({"attention": attention, "frames": length, **json.loads(done.stdout)})
            with atomic_write(kept) as temporary:
                temporary.write_text(json.dumps(rows, indent=1), encoding="utf-8")
            print(
                f"{attention} attention, {length:,} frames: {rows[-1]['seconds']:.2f} s, {rows[-1]['peak_mb']:.0f} MB",
                flush=True,
            )
    return list(rows)


def draw(found: dict[str, Any], out: Path) -> None:
    """context.png/.svg and size.png/.svg."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    errors(left, found["context"], "value", "attention window, frames")
    for attention in dict.fromkeys(row["attention"] for row in found["cost"]):
        rows = sorted(
            (row for row in found["cost"] if row["attention"] == attention),
            key=lambda row: row["frames"],
        )
        lengths = [row["frames"] for row in rows]
        middle.plot(
            lengths, [1e6 * row["seconds"] / row["frames"] for row in rows], "o-", label=attention
        )
        # A short call fits into what was needed before it: no point.
        grown = [row["peak_mb"] - row["start_mb"] or math.nan for row in rows]
        right.plot(lengths, grown, "o-", label=attention)
    for axes, label in ((middle, "decoder, µs a frame"), (right, "memory of one call, MB")):
        axes.set(xscale="log", yscale="log", xlabel="length, frames", ylabel=label)
        axes.legend()
    save(figure, out / "context")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained")
    errors(left, found["size"], "parameters", "parameters")
    sizes = [point["parameters"] for point in found["size"]]
    right.plot(
        sizes,
        [point["real_time_factor"] for point in found["size"]],
        "o-",
        label="real-time factor, animating",
    )
    right.plot(
        sizes,
        [point["step_seconds"] for point in found["size"]],
        "s-",
        label="seconds a training step",
    )
    right.set(xscale="log", yscale="log", xlabel="parameters")
    right.legend()
    save(figure, out / "size")


def errors(axes: Any, points: Sequence[dict[str, Any]], key: str, label: str) -> None:
    """LVE of every split, ± the deviation over seeds."""
    for split in points[0]["metrics"]:
        metric = next(iter(points[0]["metrics"][split]))
        spreads = [point["metrics"][split][metric] for point in points]
        deviations = [spread["deviation"] or 0.0 for spread in spreads]
        values = [spread["mean"] for spread in spreads]
        axes.errorbar(
            [point[key] for point in points], values, deviations, fmt="o-", capsize=3, label=split
        )
    axes.set(xscale="log", xlabel=label, ylabel=metric)
    axes.legend()


def save(figure: Any, path: Path) -> None:
    from matplotlib.ticker import NullFormatter

    for axes in figure.axes:
        axes.xaxis.set_minor_formatter(NullFormatter())
    for suffix in (".png", ".svg"):
        with atomic_write(path.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument(
        "--one",
        nargs=2,
        metavar=("SETTINGS", "LENGTH"),
        help="measure in this process and print JSON",
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--longest", type=int, default=LENGTHS[-1])
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/scaling"))
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(Path(options.one[0]), int(options.one[1]))))
        return
    if options.data is None:
        parser.error("DATA is missing: a prepared corpus")
    suite = scaling_suite(options.steps)
    names = [name for name in suite.variants if name != BASE]
    runner = Runner(suite, [options.data], options.out, range(1, options.seeds + 1), names)
    # Nothing is compared with the base here.
    runner.runs = [run for run in runner.runs if run.variant != BASE]
    failed = [state for state in runner.run(options.jobs) if state.state != "done"]
    scores = score_runs(runner)
    found = {
        "about": {
            "steps": options.steps,
            "seeds": options.seeds,
            "protocol": dict(scores[0].protocol),
        },
        "context": results(scores, "window"),
        "size": results(scores, "width"),
        "cost": costs(suite, options.out, options.longest),
    }
    with atomic_write(options.out / "scaling.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
    draw(found, options.out)
    print(f"{options.out}: scaling.json, context.png, context.svg, size.png, size.svg")
    for state in failed:
        print(f"{state.variant}, seed {state.seed}: {state.state}, {state.reason}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
