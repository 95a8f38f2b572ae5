from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from jambatalk.datasets.clip import Clip
from jambatalk.training.blendshapes import Teacher
from jambatalk.training.config import TrainConfig
from jambatalk.training.task import Task

# From settings and corpus folders to a task: a small registry, one line per kind of training.


Progress = Callable[[int, int], None]


def shapes_task(
    config: TrainConfig,
    folders: Sequence[Path],
    cache: Path,
    progress: Progress | None,
    most: int | None,
) -> Task:
    """Shape weights of the default head, from all folders' clips of the splits train and val."""
    from jambatalk.datasets.registry import load_clips
    from jambatalk.face.head import default_head
    from jambatalk.training.blendshapes import BlendshapeTask

    face = default_head()
    train, val = (
        [clip for folder in folders for clip in load_clips(folder, split, face, cache)[:most]]
        for split in ("train", "val")
    )
    return BlendshapeTask(
        config, face, train, val, progress, _teacher(config, train, cache, progress)
    )


def _teacher(
    config: TrainConfig, clips: Sequence[Clip], cache: Path, progress: Progress | None
) -> Teacher | None:
    """What the settings' teacher hears in the clips, where a loss term asks for it."""
    if not config.shapes.loss.teacher and not config.shapes.loss.latent:
        return None
    from jambatalk.training.distillation import extract_teacher_features

    heard = extract_teacher_features(clips, config.shapes.teacher, cache / "teacher", progress)
    return lambda clip: heard[clip.corpus, clip.id]


def vertices_task(
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
TASKS: dict[str, Builder] = {"shapes": shapes_task, "vertices": vertices_task}


def build_task(
    config: TrainConfig,
    folders: Sequence[Path],
    cache: Path,
    progress: Progress | None = None,
    most: int | None = None,
) -> Task:
    """The task that ``config.task`` names, on the data of ``folders``.

    cache: a folder in which what is costly to make of the data is kept. progress: called with (done, total) meanwhile.
    most: clips of a split and folder that are taken, None for all of them.
    InputError when a folder holds no corpus known here, or not what the settings need.
    """
    return TASKS[config.task](config, folders, cache, progress, most)
