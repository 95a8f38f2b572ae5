"""Write what the page of `jambatalk serve` shares with Python: materials, lights, idle motion, and
how characters speak.

    python tools/page_data.py            write web/src/generated/*.json and the tests' reference
    python tools/page_data.py --check    exit with 1 if a committed file is not what Python gives

The page draws with the numbers of ``jambatalk.render`` and waits with those of ``jambatalk.idle``;
neither is written by hand a second time. ``web/tests/idle_reference.json`` holds a minute of idle
motion that the page's own code must reproduce, ``characters_reference.json`` a small character.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from jambatalk.face import dialects, lips, transfer
from jambatalk.face.deform import EYE_DEGREES, NECK_SHARE
from jambatalk.face.dialects import known_dialects
from jambatalk.face.face import Face
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.idle import IdleMotion, IdleSettings, behaviours, idle
from jambatalk.render import lighting, occlusion
from jambatalk.render.lighting import LightRig
from jambatalk.render.materials import MATERIALS, Material

WEB = Path(__file__).parents[1] / "web"
REFERENCE_FPS = 60.0
REFERENCE_SECONDS = 60.0
REFERENCE_STEP = 37
"""Every so many frames of the reference are kept; not a round number, to meet every phase."""


def materials() -> dict[str, Any]:
    """Every material, the lights, the tone curve and the mouth's shade, in the page's spelling."""
    rig = LightRig()
    return {
        "materials": {name: _material(material) for name, material in MATERIALS.items()},
        "lights": {
            name: {"towards": light.towards, "colour": light.colour}
            for name, light in zip(("key", "fill", "rim"), rig.lights())
        },
        "room": {"above": rig.above, "below": rig.below},
        "shoulder": lighting.SHOULDER,
        "mouth": {
            "wide": occlusion.WIDE,
            "reachClosed": occlusion.REACH_CLOSED,
            "reachOpen": occlusion.REACH_OPEN,
            "lipThickness": occlusion.LIP_THICKNESS,
            "deepest": occlusion.DEEPEST,
        },
    }


def idle_motion() -> dict[str, Any]:
    """The constants of idle motion that a face at rest, in silence, needs."""
    b = behaviours
    return {
        "blinks": {
            "median": b.MEDIAN,
            "spread": b.BLINK_SPREAD,
            "close": b.CLOSE,
            "closed": b.CLOSED,
            "open": b.OPEN,
            "double": b.DOUBLE,
        },
        "gaze": {"fixation": b.FIXATION, "spot": b.SPOT},
        "head": {"drift": b.DRIFT, "step": b.STEP, "calm": b.CALM},
        "breath": {
            "in": b.IN,
            "out": b.OUT,
            "spread": b.BREATH_SPREAD,
            "soft": b.SOFT,
            "lift": b.LIFT,
            "brow": b.BROW,
        },
        "eyes": {
            "sideward": idle.SIDEWARD,
            "upward": idle.UPWARD,
            "downward": idle.DOWNWARD,
            "lidDown": idle.LID_DOWN,
            "lidUp": idle.LID_UP,
        },
        "seed": IdleSettings().seed,
    }


def idle_reference() -> dict[str, Any]:
    """Frames of a resting face, for the test of the page's own idle motion."""
    settings = IdleSettings(blinks=1.0, gaze=0.8, head=0.9, breath=1.0, seed=3)
    motion = IdleMotion(settings, ("jawOpen",), REFERENCE_FPS)
    count = round(REFERENCE_SECONDS * REFERENCE_FPS)
    weights, pose = motion.apply(np.zeros((count, 1), np.float32))
    assert pose is not None
    kept = np.arange(0, count, REFERENCE_STEP)
    return {
        "settings": {f.name: getattr(settings, f.name) for f in fields(settings)},
        "fps": REFERENCE_FPS,
        "names": motion.names[1:],
        "frames": kept.tolist(),
        "weights": np.round(weights[kept, 1:].astype(float), 6).tolist(),
        "pose": np.round(pose[kept].astype(float), 6).tolist(),
    }


def characters() -> dict[str, Any]:
    """What the page needs to let a dropped character speak: names, and the default head's lips."""
    table, measures, width = known_dialects(), *transfer.default_measures(ARKIT_NAMES)
    return {
        "names": list(ARKIT_NAMES),
        "spellings": dict(table.spellings),
        "recipes": {meaning: dict(recipe) for meaning, recipe in table.recipes.items()},
        "bothSides": {meaning: list(sides) for meaning, sides in dialects.BOTH_SIDES.items()},
        "shortestSuffix": dialects.SHORTEST_SUFFIX,
        "opening": list(lips.OPENING),
        "lips": {
            "still": lips.STILL,
            "strip": lips.STRIP,
            "near": lips.NEAR,
            "band": lips.BAND,
            "depth": lips.DEPTH,
            "cornerNear": lips.CORNER_NEAR,
            "cornerParts": lips.CORNER_PARTS,
            "hidden": lips.HIDDEN,
            "mostNear": lips.MOST_NEAR,
        },
        "transfer": {
            "counts": list(transfer.COUNTS),
            "prior": transfer.PRIOR,
            "more": transfer.MORE,
            "closed": transfer.CLOSED,
            "closedCounts": transfer.CLOSED_COUNTS,
            "spread": transfer.SPREAD,
            "sweeps": transfer.SWEEPS,
            "enough": transfer.ENOUGH,
            "aboutMouth": list(transfer.ABOUT_MOUTH),
        },
        "neckShare": NECK_SHARE,
        "eyeDegrees": list(EYE_DEGREES),
        "measures": np.round(measures, 7).tolist(),
        "width": round(width, 7),
    }


def characters_reference() -> dict[str, Any]:
    """A small character and what Python makes of it, for the test of the page's own code.

    Two lips over a chin, in a wall of skin, with three vowels and a blink.
    """
    face = _doll()
    rng = np.random.default_rng(6)
    weights = rng.uniform(0, 0.5, (12, len(ARKIT_NAMES)))
    weights[:, [ARKIT_NAMES.index(name) for name in ("mouthClose", "jawForward")]] = 0
    weights[0] = 0
    found = lips.find_lips(face)
    assert found is not None
    own = transfer.ShapeTransfer(face, ARKIT_NAMES)
    return {
        "names": list(face.names),
        "vertices": np.round(face.vertices.astype(float), 6).tolist(),
        "triangles": face.triangles.tolist(),
        "basis": np.round(face.basis.astype(float), 6).tolist(),
        "meanings": dict(face.meanings),
        "lips": [found.upper, found.lower, *found.right.tolist(), *found.left.tolist()],
        "weights": np.round(weights, 4).tolist(),
        "solved": np.round(own(np.round(weights, 4)).astype(float), 5).tolist(),
    }


def _doll() -> Face:
    x, y = np.meshgrid(np.linspace(-0.07, 0.07, 15), np.linspace(0.06, -0.06, 13))
    wall = np.stack([x, y, 0.09 - 6 * x**2 - 2 * y**2], -1).reshape(-1, 3)
    # The row in the middle is doubled: the lips, which touch.
    middle = np.flatnonzero(np.abs(wall[:, 1]) < 1e-9)
    lips_at = middle[np.abs(wall[middle, 0]) < 0.025]
    twin = {int(v): len(wall) + n for n, v in enumerate(lips_at)}
    vertices = np.concatenate([wall, wall[lips_at]]).astype(np.float32)
    corners = []
    for row in range(12):
        for column in range(14):
            a = 15 * row + column
            quad = [a, a + 15, a + 16, a + 1]
            if row >= 6:  # below the lips: their lower copies
                quad = [twin.get(v, v) for v in quad]
            corners += [[quad[0], quad[1], quad[2]], [quad[0], quad[2], quad[3]]]
    lower = np.zeros(len(vertices), bool)
    lower[list(twin.values())] = True
    below = lower | ((vertices[:, 1] < -1e-6) & (np.abs(vertices[:, 0]) < 0.05))
    near = np.exp(-((vertices[:, 0] / 0.03) ** 2) - ((vertices[:, 1] / 0.03) ** 2))
    basis = np.zeros((4, len(vertices), 3), np.float32)
    basis[0, below, 1] = -0.02 * np.exp(-((vertices[below, 0] / 0.035) ** 2))
    basis[1, :, 0] = -0.4 * vertices[:, 0] * near
    basis[1, :, 2] = 0.008 * near
    basis[1, lower, 1] = -0.004
    basis[2, :, 0] = 0.3 * vertices[:, 0] * near
    basis[2, lower, 1] = -0.006
    basis[3, vertices[:, 1] > 0.045, 1] = -0.004
    names = ("Fcl_MTH_A", "Fcl_MTH_U", "Fcl_MTH_I", "まばたき")
    meanings = known_dialects().meanings(names)
    triangles = np.array(corners, np.int32)
    return Face(vertices, triangles, names=names, basis=basis, meanings=meanings)


FILES = {
    WEB / "src" / "generated" / "characters.json": characters,
    WEB / "tests" / "characters_reference.json": characters_reference,
    WEB / "src" / "generated" / "materials.json": materials,
    WEB / "src" / "generated" / "idle.json": idle_motion,
    WEB / "tests" / "idle_reference.json": idle_reference,
}


def text_of(value: Any) -> str:
    """One entry a line, so that a change shows as what it is."""
    lines = []
    for name, entry in value.items():
        if isinstance(entry, dict) and any(isinstance(inner, dict) for inner in entry.values()):
            inner = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in entry.items())
            lines.append(f" {json.dumps(name)}: {{\n{inner}\n }}")
        else:
            lines.append(f" {json.dumps(name)}: {json.dumps(entry)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(arguments: list[str]) -> int:
    """Write or check the files; the exit status."""
    stale = []
    for path, make in FILES.items():
        text = text_of(make())
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    for path in stale:
        print(f"{'stale' if '--check' in arguments else 'written'}: {path.relative_to(WEB.parent)}")
    return int(bool(stale) and "--check" in arguments)


def _material(material: Material) -> dict[str, Any]:
    values = {f.name: getattr(material, f.name) for f in fields(material)}
    wrap = [values.pop(f"wrap_{colour}") for colour in ("red", "green", "blue")]
    del values["smoothing"]  # the glb's normals have it already
    return {"wrap": wrap} | {_camel(name): value for name, value in values.items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
