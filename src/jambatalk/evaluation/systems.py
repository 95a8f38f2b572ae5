"""What is scored: anything that turns samples into weights on one face's shapes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.face.resample import resample_frames

Array = NDArray[Any]
FPS = 25.0


@dataclass(frozen=True)
class System:
    """One column of the table.

    animate: (n,) float32 samples at 16 kHz -> (T, K) weights at 25 frames a second on the face's shapes.
    look_ahead_ms: infinite when the whole clip is heard first. parameters, path: None where there are none.
    """

    name: str
    animate: Callable[[Array], Array]
    look_ahead_ms: float = 0.0
    parameters: int | None = None
    path: Path | None = None


def talker_system(name: str, model: str, face: Face) -> System:
    """A network of jambatalk: a weights' file, or "default" for the weights that ship; with @ and a style behind it, in that."""
    import jambatalk
    from jambatalk.nn.model import SpeechToMotion, parameter_count

    file, _, style = model.partition("@")
    talker = jambatalk.load(None if file == "default" else file, style=style or None)
    if not talker.names:
        raise InputError(f"{model} gives vertex offsets; this protocol needs weights on the default head's shapes")
    columns = face.columns(talker.names)

    def animate(samples: Array) -> Array:
        motion = talker.animate(Speech(samples))
        assert motion.weights is not None
        weights = np.zeros((len(motion), len(face.names)), np.float32)
        weights[:, columns] = motion.weights
        return weights if motion.fps == FPS else resample_frames(weights, motion.fps, FPS)

    count = parameter_count(talker.model) if isinstance(talker.model, SpeechToMotion) else None
    return System(name, animate, talker.look_ahead_ms, count, talker.path)


def bigru_system(path: Path, face: Face) -> System:
    """The baseline of ``baselines/bigru.py``."""
    from jambatalk.baselines.bigru import load_bigru
    from jambatalk.nn.model import parameter_count

    network, names = load_bigru(path)
    columns = face.columns(names)

    def animate(samples: Array) -> Array:
        moved = network.animate(samples)
        weights = np.zeros((len(moved), len(face.names)), np.float32)
        weights[:, columns] = moved
        return weights if network.config.fps == FPS else resample_frames(weights, network.config.fps, FPS)

    return System("BiGRU", animate, float("inf"), parameter_count(network), path)


def static_system(face: Face) -> System:
    """A face that never moves."""
    return System(
        "static face", lambda samples: np.zeros((max(1, round(len(samples) / 16000 * FPS)), len(face.names)), np.float32)
    )


def real_time_factor(system: System, samples: Array, repeats: int = 3) -> float:
    """Seconds that animating takes over the seconds that the samples last: the quickest of ``repeats``, after a first run."""
    system.animate(samples)
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        system.animate(samples)
        taken.append(time.perf_counter() - started)
    return min(taken) / (len(samples) / 16000)
