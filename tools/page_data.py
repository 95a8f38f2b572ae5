"""Write what the page of `jambatalk serve` shares with Python: materials, lights and idle motion.

    python tools/page_data.py            write web/src/generated/*.json and the tests' reference
    python tools/page_data.py --check    exit with 1 if a committed file is not what Python gives

The page draws with the numbers of ``jambatalk.render`` and waits with those of ``jambatalk.idle``;
neither is written by hand a second time. ``web/tests/idle_reference.json`` holds a minute of idle
motion that the page's own code must reproduce.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

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


FILES = {
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
