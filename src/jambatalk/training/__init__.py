"""Training: settings and corpus folders in, weights out. ``Trainer`` is the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from jambatalk.training.config import TrainConfig
from jambatalk.training.task import Task

Progress = Callable[[int, int], None]


def build_task(
    config: TrainConfig,
    folders: Sequence[Path],
    cache: Path,
    progress: Progress | None = None,
    most: int | None = None,
) -> Task:
    """Make the task that ``config.task`` names, on the data of ``folders``.

    Args:
        config: The settings.
        folders: Corpora.
        cache: A folder in which costly features of the data are kept from run to run.
        progress: Called with (done, total) meanwhile.
        most: Clips of a split and folder that are used; None: all.

    Raises:
        InputError: A folder does not hold a known corpus, or not what the settings need.
    """
    return TASKS[config.task](config, folders, cache, progress, most)


def blendshape_task(
    config: TrainConfig,
    folders: Sequence[Path],
    cache: Path,
    progress: Progress | None,
    most: int | None,
) -> Task:
    """Blendshape weights of the default head, from the clips of the splits train and val."""
    from jambatalk.datasets.registry import load_clips
    from jambatalk.face.head import default_head
    from jambatalk.training.blendshapes import BlendshapeTask

    face = default_head()
    train, val = (
        [clip for folder in folders for clip in load_clips(folder, split, face, cache)[:most]]
        for split in ("train", "val")
    )
    teacher = None
    settings = config.blendshapes
    if settings.articulation:
        from jambatalk.datasets.articulation import articulated

        train = [articulated(clip, face) for clip in train]
    if settings.loss.teacher or settings.loss.latent:
        from jambatalk.training.distillation import extract_teacher_features

        features = extract_teacher_features(train, settings.teacher, cache / "teacher", progress)
        teacher = lambda clip: features[clip.corpus, clip.id]  # noqa: E731
    return BlendshapeTask(config, face, train, val, progress, teacher)


def vertex_task(
    config: TrainConfig,
    folders: Sequence[Path],
    cache: Path,
    progress: Progress | None,
    most: int | None,
) -> Task:
    """Vertices of the mesh of prepared corpora."""
    from jambatalk.training.vertices import VertexTask

    return VertexTask(config, folders, cache, most)


Builder = Callable[[TrainConfig, Sequence[Path], Path, Progress | None, int | None], Task]
TASKS: dict[str, Builder] = {"blendshapes": blendshape_task, "vertices": vertex_task}
"""The kinds of training: ``task`` of the settings -> what makes it."""
