"""Systems under evaluation: anything that turns a clip's sound into a face's motion."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.errors import InputError, reading
from jambatalk.evaluation.dataset import EvalClip, EvalDataset
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.models.checkpoint import find_weights
from jambatalk.motion import Motion
from jambatalk.streaming.resampler import resample_frames

Array = NDArray[Any]
TRUTH, STATIC, MEAN, DEFAULT = "truth", "static", "mean", "default"
SECONDS, REPEATS = 10, 3
"""Sound that the speed is measured on, and timed runs after a first one."""


@dataclass(frozen=True)
class System:
    """One row of a table.

    Args:
        name: The row's title.
        animate: (clip, seed) -> the motion. Offsets are in the dataset's unit; frame rate and
            length may differ from the clip's.
        look_ahead_ms: Infinite for a system that needs the whole clip, nan where it has no meaning.
        parameters, path, sha256: None where there are none.
        stochastic: Whether another seed gives another motion.
        runs: Whether ``animate`` computes the motion, so that its speed can be measured.
        notes: From the file of the weights.
    """

    name: str
    animate: Callable[[EvalClip, int], Motion]
    look_ahead_ms: float = math.nan
    parameters: int | None = None
    path: Path | None = None
    sha256: str | None = None
    stochastic: bool = False
    notes: str = ""
    runs: bool = False

    def offsets(self, clip: EvalClip, seed: int = 0, face: Face | None = None) -> Array:
        """Animate as vertices: (T, V, 3) float32 with the clip's frame rate, frames and mesh.

        Args:
            face: Moved by shape weights; None for the default head.

        Raises:
            InputError: The motion is of another mesh, empty or not finite.
        """
        motion = self.animate(clip, seed)
        if motion.offsets is not None:
            frames = _at_rate(motion.offsets, motion.fps, clip.fps)
        else:
            face = face or default_head()
            weights = _at_rate(_weights(motion), motion.fps, clip.fps)
            frames = np.tensordot(weights, face.basis[face.columns(motion.names)], 1)
        return fit_frames(frames, clip, str(self.path or self.name))

    def weights(self, clip: EvalClip, face: Face, seed: int = 0) -> Array:
        """Animate as shape weights: (T, K) float32 on ``face.names`` at the clip's frame rate.

        Raises:
            InputError: The motion is vertex offsets.
        """
        motion = self.animate(clip, seed)
        if motion.weights is None:
            raise _no_weights(self.name)
        weights = np.zeros((len(motion), len(face.names)), np.float32)
        weights[:, face.columns(motion.names)] = motion.weights
        return _at_rate(weights, motion.fps, clip.fps)


def open_system(spec: str, test_set: EvalDataset | None = None) -> System:
    """Open what ``spec`` names, with NAME= before it under that name.

    ``truth``, ``static``, ``mean`` (the mean training motion), ``default`` (the shipped weights), a
    file of weights of jambatalk (``@STYLE`` after it for a style), of a baseline or of fitted
    visemes, or a folder of predictions CLIP.npy of shape (T, V, 3) or (T, 3 V).

    Args:
        test_set: What is animated. None for protocols that compare shape weights on the default
            head; only systems that give shape weights can be opened then.

    Raises:
        InputError: Nothing is there, or it moves another mesh than the dataset's.
    """
    name, equals, rest = spec.partition("=")
    if equals and name and "/" not in name and not Path(spec).exists():
        return replace(open_system(rest, test_set), name=name)
    path = Path(spec)
    if spec == STATIC:
        return static_system()
    if spec.partition("@")[0] != DEFAULT and path.is_file():
        from jambatalk.baselines import bigru_blendshapes, is_baseline
        from jambatalk.baselines.visemes import is_visemes

        if bigru_blendshapes.is_bigru(path):
            return bigru_system(path, test_set)
        if is_baseline(path) or is_visemes(path):
            if test_set is None:
                raise _no_weights(spec)
            opened = baseline_system if is_baseline(path) else viseme_system
            return opened(path, test_set)
    if spec in (TRUTH, MEAN) or path.is_dir():
        if test_set is None:
            raise _no_weights(spec)
        if path.is_dir():
            return prediction_system(path, test_set)
        return truth_system() if spec == TRUTH else mean_system(test_set)
    return talker_system(spec, test_set)


def talker_system(spec: str, test_set: EvalDataset | None) -> System:
    """Open a network of jambatalk; see ``open_system``."""
    import jambatalk
    from jambatalk.models.speech_to_motion import SpeechToMotion, parameter_count

    file, _, style = spec.partition("@")
    if file != DEFAULT and not find_weights(file).is_file():
        raise InputError(
            f"no weights at {file}: expected truth, static, mean, default, light, a file of "
            "weights or a folder of predictions"
        )
    talker = jambatalk.load(None if file == DEFAULT else file, style=style or None)
    if talker.names:
        check_takes_weights(spec, test_set)
    elif test_set is None:
        raise _no_weights(spec)
    else:
        check_vertices(spec, talker.model.config.outputs // 3, test_set)
    count = parameter_count(talker.model) if isinstance(talker.model, SpeechToMotion) else None
    label = "jambatalk" if file == DEFAULT else Path(file).stem
    return System(
        name=f"{label} ({style})" if style else label,
        animate=lambda clip, seed: talker.animate(Speech(clip.samples)),
        look_ahead_ms=talker.look_ahead_ms,
        parameters=count,
        path=talker.path,
        sha256=talker.weights_sha256,
        runs=True,
    )


def baseline_system(path: Path, test_set: EvalDataset) -> System:
    """Open a trained baseline of vertices; see ``open_system``.

    A subject of its training is animated in that subject's manner, any other in the first one's.
    """
    import torch

    from jambatalk.atomic import file_sha256
    from jambatalk.baselines import load_baseline
    from jambatalk.models.speech_to_motion import parameter_count

    network, notes = load_baseline(path)
    check_vertices(str(path), network.config.outputs // 3, test_set)
    known = {subject: index for index, subject in enumerate(network.config.subjects)}
    fps = float(network.config.fps)

    def animate(clip: EvalClip, seed: int) -> Motion:
        subjects = torch.tensor([known[clip.subject]]) if clip.subject in known else None
        frames = clip.frames if fps == clip.fps else math.ceil(clip.frames / clip.fps * fps)
        samples = torch.from_numpy(clip.samples.copy())[None]
        with torch.inference_mode():
            moved = network.animate(samples, frames, subjects, seed)[0]
        return Motion(fps, offsets=moved.float().cpu().numpy().reshape(len(moved), -1, 3))

    plain = {key: value for key, value in notes.items() if isinstance(value, (str, int, float))}
    return System(
        name=path.stem,
        animate=animate,
        look_ahead_ms=network.look_ahead_ms,
        parameters=parameter_count(network),
        path=path,
        sha256=file_sha256(path),
        stochastic=network.stochastic,
        notes=", ".join(f"{key} {value}" for key, value in plain.items())[:500],
        runs=True,
    )


def bigru_system(path: Path, test_set: EvalDataset | None) -> System:
    """Open the bidirectional GRU of shape weights; see ``open_system``."""
    from jambatalk.atomic import file_sha256
    from jambatalk.baselines.bigru_blendshapes import load_bigru
    from jambatalk.models.speech_to_motion import parameter_count

    network, names = load_bigru(path)
    check_takes_weights(str(path), test_set)
    return System(
        name=path.stem,
        animate=lambda clip, seed: Motion(network.config.fps, network.animate(clip.samples), names),
        look_ahead_ms=math.inf,
        parameters=parameter_count(network),
        path=path,
        sha256=file_sha256(path),
        runs=True,
    )


def viseme_system(path: Path, test_set: EvalDataset) -> System:
    """Open fitted visemes, which use each clip's own timed phones instead of its sound.

    Raises:
        InputError: As ``open_system``; also for a clip without phones or another unit.
    """
    from jambatalk.atomic import file_sha256
    from jambatalk.baselines.visemes import load_visemes

    visemes = load_visemes(path)
    check_vertices(str(path), visemes.shapes.shape[1] // 3, test_set)
    if visemes.unit != test_set.unit:
        raise InputError(
            f"{path} was fitted in {visemes.unit}, but {test_set.folder} is in {test_set.unit}"
        )
    if without := [clip.name for clip in test_set.clips if not clip.phones]:
        raise InputError(
            f"{path} needs timed phones, but clip {without[0]} of {test_set.folder} has none"
        )

    def animate(clip: EvalClip, seed: int) -> Motion:
        moved = visemes.animate_phones(clip.phones or (), clip.frames, clip.fps)
        return Motion(clip.fps, offsets=moved.reshape(len(moved), -1, 3))

    return System(
        name=path.stem,
        animate=animate,
        look_ahead_ms=math.inf,  # the whole text is known before
        parameters=visemes.shapes.size,
        path=path,
        sha256=file_sha256(path),
        notes="told each clip's phones and times",
    )


def prediction_system(folder: Path, test_set: EvalDataset) -> System:
    """Read the predictions of another program: CLIP.npy, (T, V, 3) or (T, 3 V) floats.

    They are offsets from the subject's template at the clip's frame rate, in the dataset's unit.

    Raises:
        InputError: A clip has no file. When animating: a file is damaged or of another mesh.
    """

    def animate(clip: EvalClip, seed: int) -> Motion:
        path = folder / f"{clip.name}.npy"
        with reading(path, f"an .npy file with the offsets of clip {clip.name}"):
            found = np.load(path, allow_pickle=False)
        return Motion(clip.fps, offsets=fit_frames(found, clip, str(path)))

    for clip in test_set.clips:
        if not (folder / f"{clip.name}.npy").is_file():
            raise InputError(
                f"{folder} has no {clip.name}.npy: expected one file for each of "
                f"{len(test_set.clips)} clips"
            )
    return System(folder.name or str(folder), animate)


# The reference systems: they show what the numbers mean on this data, and that they are right.


def truth_system() -> System:
    """Compare the truth with itself: every error is 0."""
    return System(
        TRUTH,
        lambda clip, seed: Motion(clip.fps, offsets=clip.truth),
        notes="the recorded motion against itself",
    )


def static_system(face: Face | None = None) -> System:
    """Never move: the subject's template, or zero weights of ``face`` where one is given."""

    def animate(clip: EvalClip, seed: int) -> Motion:
        if clip.template is not None:
            shape = (clip.frames, len(clip.template), 3)
            return Motion(clip.fps, offsets=np.zeros(shape, np.float32))
        names = (face or default_head()).names
        return Motion(clip.fps, np.zeros((clip.frames, len(names)), np.float32), names)

    return System(STATIC, animate, notes="the template")


def mean_system(test_set: EvalDataset) -> System:
    """Show the mean of all training frames. InputError when there is no training split."""
    mean = test_set.mean_offset()
    return System(
        MEAN,
        lambda clip, seed: Motion(clip.fps, offsets=np.repeat(mean[None], clip.frames, axis=0)),
        notes="the mean of the training motion",
    )


def reference_systems(test_set: EvalDataset) -> list[System]:
    """Truth, static and, where there is a training split, mean."""
    systems = [truth_system(), static_system()]
    if test_set.has_training:
        systems.append(mean_system(test_set))
    return systems


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str: ...


def check_names(systems: Sequence[Named]) -> None:
    """InputError when two systems have the same name."""
    names = [system.name for system in systems]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise InputError(
            f"two systems are called {twice[0]}: expected different names, NAME=MODEL gives one"
        )


def check_vertices(what: str, vertices: int, test_set: EvalDataset) -> None:
    """InputError unless a system moves as many vertices as the dataset has."""
    if vertices != test_set.vertices:
        raise InputError(
            f"{what} moves {vertices} vertices, but {test_set.folder} has {test_set.vertices}"
        )


def check_takes_weights(what: str, test_set: EvalDataset | None) -> None:
    """InputError when the dataset is on a mesh that the default head's shapes do not move."""
    if test_set is not None and test_set.face is None:
        raise InputError(
            f"{what} gives weights of shapes of the default head, but {test_set.folder} holds "
            f"{test_set.vertices} vertices"
        )


def fit_frames(offsets: Array, clip: EvalClip, what: str) -> Array:
    """Cut, or continue with the last frame: (T, V, 3) float32 with the clip's frames.

    Raises:
        InputError: Another mesh, no frames, or values that are not finite.
    """
    assert clip.template is not None
    vertices = len(clip.template)
    if offsets.dtype.kind != "f" or offsets.shape[1:] not in ((vertices, 3), (3 * vertices,)):
        raise InputError(
            f"{what}: {offsets.dtype} of shape {offsets.shape} for clip {clip.name}, expected "
            f"floats (T, {vertices}, 3)"
        )
    if not len(offsets):
        raise InputError(f"{what}: no frames for clip {clip.name}")
    rows = np.minimum(np.arange(clip.frames), len(offsets) - 1)
    fitted = np.asarray(offsets[rows], np.float32).reshape(clip.frames, vertices, 3)
    if not np.isfinite(fitted).all():
        raise InputError(f"{what}: values that are not finite for clip {clip.name}")
    return fitted


def _at_rate(frames: Array, fps: float, wanted: float) -> Array:
    return frames if fps == wanted else resample_frames(frames, fps, wanted)


def _weights(motion: Motion) -> Array:
    assert motion.weights is not None
    return motion.weights


def _no_weights(what: str) -> InputError:
    return InputError(
        f"{what} gives vertex offsets; this protocol needs weights on the default head's shapes"
    )


# Speed, measured the same way for every system.


def real_time_factor(system: System, clip: EvalClip, repeats: int = REPEATS) -> float:
    """Seconds that animating a clip takes per second of its sound: the quickest of several runs.

    A first run is not counted, and neither is reading the sound. 0.1 is ten times as fast as the
    sound. On a busy machine it is not a property of the system.
    """
    samples = clip.samples
    clip = replace(clip, read_samples=lambda: samples)
    system.animate(clip, 0)
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        system.animate(clip, 0)
        taken.append(time.perf_counter() - started)
    return min(taken) / (len(samples) / SAMPLE_RATE)


def timing_clip(test_set: EvalDataset, seconds: float = SECONDS) -> EvalClip:
    """Join the dataset's first clips, repeated as needed, to one of ``seconds`` without truth."""
    first = test_set.clips[0]
    wanted, parts, found = round(seconds * SAMPLE_RATE), [], 0
    for clip in test_set.clips:
        parts.append(clip.samples)
        found += len(parts[-1])
        if found >= wanted:
            break
    samples = np.resize(np.concatenate(parts), wanted).astype(np.float32)
    return replace(
        first,
        name="timing",
        frames=int(seconds * first.fps),
        read_samples=lambda: samples,
        phones=None,
        words=None,
    )
