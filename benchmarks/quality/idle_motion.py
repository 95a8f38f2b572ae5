"""What life does over recordings: blinks a minute, angles of the head, looks away, the cost of a
frame.

python benchmarks/quality/idle_motion.py [IN...] [--seeds N]     (without a recording: the bundled
one, and silence)
"""

from __future__ import annotations

import argparse
import time
from importlib.resources import files

import numpy as np

from jambatalk.audio import Speech
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.idle import IdleMotion, IdleSettings

MINUTES = 5
FPS = 25.0


def measure(samples: np.ndarray, seeds: int) -> dict[str, float]:
    """Means over the seeds, of five minutes in which the sound is repeated."""
    sound = np.resize(samples, MINUTES * 60 * 16000).astype(np.float32)
    rest = np.zeros((int(MINUTES * 60 * FPS), len(ARKIT_NAMES)), np.float32)
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        life = IdleMotion(IdleSettings(seed=seed), ARKIT_NAMES, FPS)
        began = time.perf_counter()
        for k in range(len(rest)):  # frame by frame, as a session does
            life.feed(sound[640 * k : 640 * (k + 1)])
            life.apply(rest[k : k + 1])
        cost = time.perf_counter() - began
        again = IdleMotion(IdleSettings(seed=seed), ARKIT_NAMES, FPS)
        again.feed(sound)
        weights, pose = again.apply(rest)
        if pose is None:
            raise RuntimeError("life is on, so there is a pose")
        closed = weights[:, ARKIT_NAMES.index("eyeBlinkLeft")] > 0.5
        degrees = np.degrees(pose)
        values = {
            "blinks a minute": float((closed[1:] & ~closed[:-1]).sum() / MINUTES),
            "pitch sd": float(degrees[:, 0].std()),
            "yaw sd": float(degrees[:, 1].std()),
            "roll sd": float(degrees[:, 2].std()),
            "largest angle": float(np.abs(degrees).max()),
            "fastest a second": float(np.abs(np.diff(degrees, axis=0)).max() * FPS),
            "us a frame": 1e6 * cost / len(rest),
        }
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("inputs", nargs="*")
    parser.add_argument("--seeds", type=int, default=6)
    given = parser.parse_args()
    sounds = {name: Speech.load(name).samples for name in given.inputs}
    if not sounds:
        demo = Speech.load((files("jambatalk") / "assets" / "demo.flac").read_bytes()).samples
        sounds = {"bundled recording": demo, "silence": np.zeros(16000, np.float32)}
    rows = {name: measure(samples, given.seeds) for name, samples in sounds.items()}
    print("| sound | " + " | ".join(next(iter(rows.values()))) + " |")
    print("|---|" + "---|" * len(next(iter(rows.values()))))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in row.values()) + " |")


if __name__ == "__main__":
    main()
