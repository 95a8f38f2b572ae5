"""A study's results as Markdown that reads well on a terminal too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Cell = Any


def as_markdown(found: dict[str, Any]) -> str:
    """The whole report; ``found`` as in report.json."""
    who = found["raters"]
    lines = [
        f"# {found['title']}",
        "",
        f"{found['kind']} study of {', '.join(found['systems'])} on {found['clips']} clips: "
        f"{who['all']} raters, {who['kept']} kept.",
        "",
    ]
    for question, kept in found["kept"]["questions"].items():
        everybody = found["all"]["questions"][question]
        lines += [f"## {question}: {kept['text']}", ""]
        lines += (
            _comparisons(kept, everybody) if found["kind"] == "ab" else _opinions(kept, everybody)
        )
        lines += [_agreement(kept["agreement"]), ""]
    return "\n".join([*lines, *_exclusions(found), *_method(found)]) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """A Markdown table with aligned columns, and an empty line after it."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
        for row in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:], ""]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _range(interval: Sequence[float] | None, percent: bool = False) -> str:
    if interval is None:
        return "–"
    low, high = (f"{100 * one:.1f}" if percent else f"{one:.2f}" for one in interval)
    return f"{low} to {high}"


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _comparisons(kept: dict[str, Any], everybody: dict[str, Any]) -> list[str]:
    rows = [
        [
            f"{one['first']} over {one['second']}",
            f"{one['wins']}:{one['losses']}",
            one["ties"],
            _share(one["share"]),
            _range(one["wilson_95"], True),
            _range(one["raters_95"], True),
            _p(one["p"]),
            _p(one["p_holm"]),
            f"{other['wins']}:{other['losses']} ({_share(other['share'])})",
        ]
        for one, other in zip(kept["pairs"], everybody["pairs"])
    ]
    head = [
        "pair",
        "won",
        "ties",
        "share",
        "Wilson 95 %",
        "over raters 95 %",
        "p",
        "p (Holm)",
        "all raters",
    ]
    lines = table(head, rows)
    if "bradley_terry" in kept:
        ranked = sorted(kept["bradley_terry"], key=lambda one: -(one["log_strength"] or 0.0))
        other = {one["system"]: one["log_strength"] for one in everybody["bradley_terry"]}
        rows = [
            [
                one["system"],
                _value(one["log_strength"]),
                _range(one["raters_95"]),
                _value(other[one["system"]]),
            ]
            for one in ranked
        ]
        lines += table(["Bradley–Terry", "log strength", "over raters 95 %", "all raters"], rows)
    side = kept["chose_a"]
    return [
        *lines,
        f"A was chosen {side['count']} times of {side['of']} ({_share(side['share'])}, p "
        f"{_p(side['p'])}).",
        "",
    ]


def _opinions(kept: dict[str, Any], everybody: dict[str, Any]) -> list[str]:
    rows = [
        [
            one["system"],
            _value(one["mos"]),
            _range(one["raters_95"]),
            one["raters"],
            " ".join(map(str, one["counts"])),
            _value(other["mos"]),
        ]
        for one, other in zip(kept["systems"], everybody["systems"])
    ]
    lines = table(["system", "MOS", "95 %", "raters", "marks 1 2 3 4 5", "all raters"], rows)
    rows = [
        [
            f"{one['first']} − {one['second']}",
            _value(one["difference"]),
            _range(one["raters_95"]),
            one["raters"],
            _p(one["p"]),
            _p(one["p_holm"]),
        ]
        for one in kept["pairs"]
    ]
    return lines + (
        table(["pair", "difference", "95 %", "raters", "p", "p (Holm)"], rows) if rows else []
    )


def _agreement(one: dict[str, Any]) -> str:
    alpha = one["krippendorff_alpha"]
    return (
        f"Agreement between raters: Krippendorff's alpha ({one['metric']}) "
        f"{'–' if alpha is None else f'{alpha:.2f}'} "
        f"over {one['items_rated_twice_or_more']} items rated twice or more."
    )


def _exclusions(found: dict[str, Any]) -> list[str]:
    who = found["raters"]
    lines = [
        "## Exclusions",
        "",
        f"{who['all'] - who['kept']} of {who['all']} raters are left out.",
    ]
    chance = who["random_clicker_passes_checks"]
    if chance is not None:
        lines.append(
            "Someone who answers at random passes the attention checks with probability "
            f"{chance:.3g}."
        )
    lines.append("")
    lines += [f"* {rater}: {'; '.join(why)}" for rater, why in who["excluded"].items()]
    return [*lines, ""] if who["excluded"] else lines


def _method(found: dict[str, Any]) -> list[str]:
    lines = ["## How this was computed", ""]
    if found["kind"] == "ab":
        lines += [
            "* share: of the answers without ties. p: exact binomial test, two-sided, against one "
            "half, and Wilson's interval;",
            "  both take answers as independent. Holm: corrected for the number of pairs within a "
            "question.",
            f"* over raters: percentiles of {found['bootstrap_draws']} bootstrap samples of "
            "raters, whose answers stay together.",
        ]
        if len(found["systems"]) > 2:
            lines += [
                "* Bradley–Terry: log strengths of mean 0; i beats j with probability 1 / (1 + "
                "exp(j − i)). A tie is half a win."
            ]
    else:
        lines += [
            "* MOS: the mean over raters of each rater's mean; the interval is Student's t over "
            "raters.",
            "* p: Wilcoxon's signed-rank test on the raters' differences, two-sided. Holm: "
            "corrected for the number of pairs.",
        ]
    lines += [
        "* Krippendorff's alpha, not Fleiss' kappa, since raters see different parts of the study: "
        "1 is perfect, 0 chance."
    ]
    return lines
