"""What each metric is called and means, for the heads and the foot of the tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """title: short, for a column's head. meaning: a sentence. frames: whether all frames of all clips count alike, so that a
    longer clip weighs more."""

    title: str
    meaning: str
    frames: bool = False


TERMS: dict[str, Term] = {
    "LVE2": Term(
        "LVE, squared",
        "Lip vertex error: the largest squared distance of a lip vertex in a frame, mean over frames.",
        True,
    ),
    "LVE": Term("LVE", "The largest distance of a lip vertex in a frame, mean over frames.", True),
    "opening_correlation": Term(
        "opening r", "Correlation of the lip opening over time with the true one, mean over clips."
    ),
    "MVE": Term(
        "MVE", "Distance of a vertex from its true place, mean over all vertices and frames.", True
    ),
    "FDD": Term(
        "FDD",
        "Upper-face dynamics deviation: how much less than the true one the upper face moves; below 0 it moves more.",
    ),
    "absFDD": Term("|FDD|", "The same without its sign in each clip, mean over clips."),
    "MOD": Term("MOD", "Distance of the lip opening from the true one, mean over frames.", True),
    "LDTW": Term(
        "LDTW",
        "Distance of the lips from the true ones after both are warped onto each other in time.",
    ),
    "MTM": Term(
        "MTM",
        "How far openings and closings of the mouth are in time from the true ones they match.",
    ),
    "MTM_matched": Term(
        "matched", "Share of the true openings and closings that have such a partner."
    ),
    "closure": Term(
        "closes at p b m",
        "Share of /p b m/ at which the lips close, by the system's own range of opening.",
    ),
    "closure_false": Term(
        "closes in vowels", "Share of open vowels in which they do: should be low."
    ),
    "lag": Term("lag", "How late the opening comes after the true one."),
    "sound_lag": Term(
        "lag to sound",
        "How late the opening comes after the loudness of the sound; compare it with the truth's.",
    ),
    "jitter": Term(
        "jitter",
        "Mean length of the third difference of positions: roughness; compare it with the truth's.",
        True,
    ),
    "lip_spread_ratio": Term(
        "lip motion", "How much the lips move, as a share of the truth; 1 is right."
    ),
    "FFE": Term(
        "FFE",
        "Squared difference of the Fourier transforms over time: the squared error times the frames of a clip.",
    ),
    "FFE_amplitude": Term(
        "FFE, amplitudes", "The same of the amplitudes alone, whatever the timing."
    ),
    "MEE": Term("MEE", "LVE of the mean of several random answers.", True),
    "CE": Term("CE", "LVE of the best of several random answers in each clip.", True),
    "diversity": Term("diversity", "How far several random answers are apart."),
}
"""In the order of the columns."""

_SIGNS = {"own2": "unit²", "own": "unit", "percent": "%", "mm2": "mm²", "cm2": "cm²", "m2": "m²"}


def split_name(metric: str) -> tuple[str, str]:
    """A metric's full name -> (key in TERMS, its unit as it is printed); the name itself where it is not known."""
    stem, _, unit = metric.rpartition("_")
    if unit not in ("mm", "ms", "own", "percent", "m2", "cm2", "mm2", "own2"):
        return metric, ""
    area = unit.endswith("2") and stem in ("LVE", "FDD", "absFDD", "MEE", "CE")
    return ("LVE2" if stem == "LVE" and area else stem), _SIGNS.get(unit, unit)


def term(metric: str) -> Term:
    """The term of a metric by its full name; one that is not known stands for itself."""
    return TERMS.get(split_name(metric)[0], Term(metric, ""))


def ordered(metrics: list[str]) -> list[str]:
    """In the order of TERMS, unknown ones last."""
    keys = list(TERMS)
    return sorted(
        metrics,
        key=lambda name: keys.index(key) if (key := split_name(name)[0]) in TERMS else len(keys),
    )
