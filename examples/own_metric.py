"""A metric of your own, on two motions of the same speech: the shipped network's two styles.

A metric is a function from a ``ClipPair`` to a ``Ratio``; one line in ``METRICS`` of
``jambatalk.evaluation.metrics`` puts it into every table.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np

import jambatalk
from jambatalk.datasets.regions import Regions
from jambatalk.evaluation.metrics.base import ClipPair, Ratio, Unit


def lip_drift(pair: ClipPair) -> Ratio:
    """Measure how far the lips' mean position is from the truth's, in millimetres."""
    lips = pair.regions.lips
    apart = (pair.predicted[:, lips] - pair.truth[:, lips]).mean((0, 1))
    return Ratio(float(np.linalg.norm(apart)) * pair.unit.to_mm, 1)


def main() -> None:
    recording = files("jambatalk") / "assets" / "demo.flac"
    neutral, performer = (jambatalk.load(style=style) for style in ("neutral", "performer"))
    face = neutral.face
    offsets = [
        face.pose(talker.animate(recording).weights) - face.vertices
        for talker in (neutral, performer)
    ]
    regions = Regions(
        lips=face.regions["lips"],
        upper_face=face.regions["upper_face"],
        opening=face.gap_vertices,
        source="the default head",
        vertices=len(face.vertices),
    )
    pair = ClipPair("demo", *offsets, face.vertices, neutral.fps, regions, Unit("metres"))
    print(f"lip drift {lip_drift(pair).value:.2f} mm")


if __name__ == "__main__":
    main()
