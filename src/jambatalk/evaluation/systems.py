"""What is compared: anything that turns a clip's sound into moving vertices of the test set's mesh."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import EvalClip, EvalDataset
from jambatalk.face.face import Face
from jambatalk.streaming.frame_rate import resample_frames

Array = NDArray[Any]
TRUTH, STATIC, MEAN, DEFAULT = "truth", "static", "mean", "default"


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    animate: (clip, seed) -> (T, V, 3) float32 offsets from the clip's template, T the clip's frames. look_ahead_ms: infinite
    when the whole clip is heard first, nan where the word has no meaning. parameters, path, sha256: None where there are none.
    stochastic: whether another seed gives another motion. runs: whether animating computes the motion, so that its speed can
    be measured. notes: of the weights' file.
    """

    name: str
    animate: Callable[[EvalClip, int], Array]
    look_ahead_ms: float = math.nan
    parameters: int | None = None
    path: Path | None = None
    sha256: str | None = None
    stochastic: bool = False
    notes: str = ""
    runs: bool = False


def open_entry(spec: str, test_set: EvalDataset) -> Entry:
    """What ``spec`` names: "truth", "static", "mean" (the mean training motion), "default" (the weights that ship), a file of
    weights of jambatalk (with @STYLE behind it, in that way of speaking) or of a baseline, fitted visemes, a folder of
    predictions <clip>.npy of shape (T, V, 3) or (T, 3 V); with NAME= before it, under that name.

    InputError when there is no such thing, or it moves another mesh than the test set's.
    """
    name, equals, rest = spec.partition("=")
    if equals and name and "/" not in name and not Path(spec).exists():
        return replace(open_entry(rest, test_set), name=name)

    plain = {TRUTH: truth_entry, STATIC: static_entry, MEAN: lambda: mean_entry(test_set)}
    if spec in plain:
        return plain[spec]()
    path = Path(spec)
    if path.is_dir():
        return folder_entry(path, test_set)
    if spec.partition("@")[0] != DEFAULT and path.is_file():
        from jambatalk.baselines.checkpoint import is_baseline
        from jambatalk.baselines.visemes import is_visemes

        if is_baseline(path):
            return baseline_entry(path, test_set)
        if is_visemes(path):
            return viseme_entry(path, test_set)
    return talker_entry(spec, test_set)


def talker_entry(spec: str, test_set: EvalDataset) -> Entry:
    """A network of jambatalk, of vertices or of weights worn by the default head; errors as ``open_entry``."""
    import jambatalk
    from jambatalk.audio import Speech
    from jambatalk.models.speech_to_motion import SpeechToMotion, parameter_count

    file, _, style = spec.partition("@")
    if file != DEFAULT and not Path(file).is_file():
        raise InputError(
            f"no weights at {file}: expected truth, static, mean, default, a file of weights or a folder of predictions"
        )
    talker = jambatalk.load(None if file == DEFAULT else file, style=style or None)
    if talker.names:
        if test_set.face is None:
            raise InputError(
                f"{spec} gives weights of shapes of the default head, but {test_set.folder} holds {test_set.vertices} vertices"
            )
        basis = test_set.face.basis[test_set.face.columns(talker.names)]
    else:
        check_vertices(spec, talker.model.config.outputs // 3, test_set)

    def animate(clip: EvalClip, seed: int) -> Array:
        motion = talker.animate(Speech(clip.samples))
        if motion.weights is not None:
            weights = _at_rate(motion.weights, motion.fps, clip.fps)
            return fitted_frames(np.tensordot(weights, basis, 1), clip, spec)
        assert motion.offsets is not None
        return fitted_frames(_at_rate(motion.offsets, motion.fps, clip.fps), clip, spec)

    count = parameter_count(talker.model) if isinstance(talker.model, SpeechToMotion) else None
    label = f"{Path(file).stem if file != DEFAULT else 'jambatalk'}{f' ({style})' if style else ''}"
    return Entry(
        label, animate, talker.look_ahead_ms, count, talker.path, talker.weights_sha256, runs=True
    )


def baseline_entry(path: Path, test_set: EvalDataset) -> Entry:
    """A trained baseline; errors as ``open_entry``. A speaker that it was trained on speaks as himself, others as its first."""
    import torch

    from jambatalk.atomic import file_sha256
    from jambatalk.baselines.checkpoint import load_baseline
    from jambatalk.models.speech_to_motion import parameter_count

    network, notes = load_baseline(path)
    check_vertices(str(path), network.config.outputs // 3, test_set)
    known = {subject: index for index, subject in enumerate(network.config.subjects)}
    fps = float(network.config.fps)

    def animate(clip: EvalClip, seed: int) -> Array:
        subjects = torch.tensor([known[clip.subject]]) if clip.subject in known else None
        frames = clip.frames if fps == clip.fps else math.ceil(clip.frames / clip.fps * fps)
        with torch.inference_mode():
            moved = network.animate(
                torch.from_numpy(clip.samples.copy())[None], frames, subjects, seed
            )[0]
        offsets = moved.float().cpu().numpy().reshape(len(moved), -1, 3)
        return fitted_frames(_at_rate(offsets, fps, clip.fps), clip, str(path))

    return Entry(
        name=path.stem,
        animate=animate,
        look_ahead_ms=network.look_ahead_ms,
        parameters=parameter_count(network),
        path=path,
        sha256=file_sha256(path),
        stochastic=network.stochastic,
        notes=", ".join(
            f"{key} {value}" for key, value in notes.items() if isinstance(value, (str, int, float))
        )[:500],
        runs=True,
    )


def viseme_entry(path: Path, test_set: EvalDataset) -> Entry:
    """Shapes keyed by each clip's own timed phones, which a person or an aligner wrote: it is told what others have to hear.

    Pauses last from the end of a phone to the start of the next, so the whole text is known before. Errors as ``open_entry``;
    InputError too for a clip without phones or a corpus in another unit.
    """
    from jambatalk.atomic import file_sha256
    from jambatalk.baselines.visemes import load_visemes

    visemes = load_visemes(path)
    check_vertices(str(path), visemes.shapes.shape[1] // 3, test_set)
    if visemes.unit != test_set.unit:
        raise InputError(
            f"{path} was fitted in {visemes.unit}, but {test_set.folder} is in {test_set.unit}"
        )
    if untold := [clip.name for clip in test_set.clips if not clip.phones]:
        raise InputError(
            f"{path} needs timed phones, but clip {untold[0]} of {test_set.folder} has none"
        )

    def animate(clip: EvalClip, seed: int) -> Array:
        return fitted_frames(
            visemes.animate_phones(clip.phones or (), clip.frames, clip.fps), clip, str(path)
        )

    return Entry(
        path.stem,
        animate,
        math.inf,
        visemes.shapes.size,
        path,
        file_sha256(path),
        notes="told each clip's phones and times",
    )


def folder_entry(folder: Path, test_set: EvalDataset) -> Entry:
    """What any other program predicted: <clip>.npy, (T, V, 3) or (T, 3 V) floats, the offsets from the subject's template at the
    clip's frame rate and in the set's unit. InputError for a clip without a file, or a file of another mesh."""

    def animate(clip: EvalClip, seed: int) -> Array:
        path = folder / f"{clip.name}.npy"
        try:
            found = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{path} is missing or damaged ({error}): expected the offsets of clip {clip.name}"
            ) from error
        return fitted_frames(found, clip, str(path))

    for clip in test_set.clips:
        if not (folder / f"{clip.name}.npy").is_file():
            raise InputError(
                f"{folder} has no {clip.name}.npy: expected one file for each of {len(test_set.clips)} clips"
            )
    return Entry(folder.name or str(folder), animate)


def check_vertices(what: str, vertices: int, test_set: EvalDataset) -> None:
    """InputError unless the mesh has as many vertices as the test set's."""
    if vertices != test_set.vertices:
        raise InputError(
            f"{what} moves {vertices} vertices, but {test_set.folder} has {test_set.vertices}"
        )


def fitted_frames(offsets: Array, clip: EvalClip, what: str) -> Array:
    """(T, V, 3) float32 with the clip's frames and vertices: cut, or continued with the last frame.

    InputError for another mesh, no frames, or values that are not finite.
    """
    vertices = len(clip.template)
    if offsets.dtype.kind != "f" or offsets.shape[1:] not in ((vertices, 3), (3 * vertices,)):
        raise InputError(
            f"{what}: {offsets.dtype} of shape {offsets.shape} for clip {clip.name}, expected floats (T, {vertices}, 3)"
        )
    if not len(offsets):
        raise InputError(f"{what}: no frames for clip {clip.name}")
    rows = np.minimum(np.arange(clip.frames), len(offsets) - 1)
    fitted = np.asarray(offsets[rows], np.float32).reshape(clip.frames, vertices, 3)
    if not np.isfinite(fitted).all():
        raise InputError(f"{what}: values that are not finite for clip {clip.name}")
    return fitted


def _at_rate(frames: Array, fps: float, wanted: float) -> Array:
    if fps == wanted:
        return frames
    return resample_frames(frames, fps, wanted)


# What is scored: anything that turns samples into weights on one face's shapes.


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
    from jambatalk.models.speech_to_motion import SpeechToMotion, parameter_count

    file, _, style = model.partition("@")
    talker = jambatalk.load(None if file == "default" else file, style=style or None)
    if not talker.names:
        raise InputError(
            f"{model} gives vertex offsets; this protocol needs weights on the default head's shapes"
        )
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
    """The baseline of ``baselines/bigru_blendshapes.py``."""
    from jambatalk.baselines.bigru_blendshapes import load_bigru
    from jambatalk.models.speech_to_motion import parameter_count

    network, names = load_bigru(path)
    columns = face.columns(names)

    def animate(samples: Array) -> Array:
        moved = network.animate(samples)
        weights = np.zeros((len(moved), len(face.names)), np.float32)
        weights[:, columns] = moved
        return (
            weights
            if network.config.fps == FPS
            else resample_frames(weights, network.config.fps, FPS)
        )

    return System("BiGRU", animate, float("inf"), parameter_count(network), path)


def static_system(face: Face) -> System:
    """A face that never moves."""
    return System(
        "static face",
        lambda samples: np.zeros(
            (max(1, round(len(samples) / 16000 * FPS)), len(face.names)), np.float32
        ),
    )


def system_real_time_factor(system: System, samples: Array, repeats: int = 3) -> float:
    """Seconds that animating takes over the seconds that the samples last: the quickest of ``repeats``, after a first run."""
    system.animate(samples)
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        system.animate(samples)
        taken.append(time.perf_counter() - started)
    return min(taken) / (len(samples) / 16000)


# The rows that every table begins with: they show what the numbers mean on this data, and that they are not broken.


def truth_entry() -> Entry:
    """The truth against itself: every error is 0."""
    return Entry(TRUTH, lambda clip, seed: clip.truth, notes="the recorded motion against itself")


def static_entry() -> Entry:
    """The subject's template, which never moves."""
    return Entry(
        STATIC,
        lambda clip, seed: np.zeros((clip.frames, len(clip.template), 3), np.float32),
        notes="the template",
    )


def mean_entry(test_set: EvalDataset) -> Entry:
    """The mean of all training frames, in every frame. InputError when the corpus has no training split."""
    mean = test_set.mean_offset()

    def animate(clip: EvalClip, seed: int) -> Array:
        return np.repeat(mean[None], clip.frames, axis=0)

    return Entry(MEAN, animate, notes="the mean of the training motion")


def sanity_entries(test_set: EvalDataset) -> list[Entry]:
    """Truth, static and mean; without a training split the last one is not known and left out."""
    entries = [truth_entry(), static_entry()]
    if test_set.has_training:
        entries.append(mean_entry(test_set))
    return entries


# Speed, measured the same way for every system.


SECONDS = 10
REPEATS = 3


def timing_clip(test_set: EvalDataset, seconds: float = SECONDS) -> EvalClip:
    """The set's first clips joined, and repeated as needed, to one of ``seconds``; it has no truth."""
    first = test_set.clips[0]
    wanted, parts, found = round(seconds * SAMPLE_RATE), [], 0
    for clip in test_set.clips:
        parts.append(clip.samples)
        found += len(parts[-1])
        if found >= wanted:
            break
    samples = np.resize(np.concatenate(parts), wanted).astype(np.float32)
    frames = int(seconds * first.fps)
    return replace(
        first, name="timing", frames=frames, read_samples=lambda: samples, phones=None, words=None
    )


def real_time_factor(entry: Entry, test_set: EvalDataset, seconds: float = SECONDS) -> float:
    """Seconds that animating takes over the seconds that the sound lasts: the quickest of three runs after a first one.

    0.1 is ten times as fast as the sound. Reading the sound is not counted; on a machine that does other work it is no fact
    about the system.
    """
    clip = timing_clip(test_set, seconds)
    entry.animate(clip, 0)
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        entry.animate(clip, 0)
        taken.append(time.perf_counter() - started)
    return min(taken) / seconds
