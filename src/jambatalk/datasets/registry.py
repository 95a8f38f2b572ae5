"""Opening a corpus by its folder: a small registry, one file per corpus and one line here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from jambatalk.datasets.clip import Clip
from jambatalk.datasets.dataset import MANIFEST, open_prepared
from jambatalk.datasets.readers.facegood import FacegoodCorpus
from jambatalk.datasets.readers.grid import GridCorpus
from jambatalk.errors import InputError
from jambatalk.face.face import Face


class Corpus(Protocol):
    """What every corpus offers.

    name: the corpus' name. credit: one sentence naming authors and licence, for the model card.
    splits: split name -> number of clips.
    """

    name: str
    credit: str

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether ``folder`` holds this corpus; looks at file names only."""
        ...

    @classmethod
    def open(cls, folder: Path) -> Corpus: ...

    @property
    def splits(self) -> dict[str, int]: ...

    def clips(
        self, split: str | Sequence[str], face: Face, cache: Path | None = None
    ) -> list[Clip]:
        """The clips of one or several splits, their motion worn by ``face``, speech in memory."""
        ...


class PreparedFolder:
    """a folder with manifest.json, written by jambatalk data prepare

    Raises InputError when the manifest is damaged.
    """

    name = "prepared"

    def __init__(self, folder: Path) -> None:
        self.corpus = open_prepared(folder)
        self.name, self.credit = self.corpus.name, self.corpus.licence

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return (folder / MANIFEST).is_file()

    @classmethod
    def open(cls, folder: Path) -> PreparedFolder:
        return cls(folder)

    @property
    def splits(self) -> dict[str, int]:
        return self.corpus.splits()

    def clips(
        self, split: str | Sequence[str], face: Face, cache: Path | None = None
    ) -> list[Clip]:
        """The clips by the corpus' usual scheme. Vertices stay on the corpus' own mesh; weights become those of ``face``,
        0 for shapes that the corpus lacks. InputError when it moves shapes that the face lacks."""
        return [_worn(clip.clip(), face) for clip in self.corpus.clips(split)]


def _worn(clip: Clip, face: Face) -> Clip:
    motion = clip.motion
    if motion.weights is None or motion.names == face.names:
        return clip
    if absent := [name for name in motion.names if name not in face.names]:
        raise InputError(
            f"clip {clip.id} moves {absent[0]}, a shape that the face lacks: it has {', '.join(face.names)}"
        )
    weights = np.zeros((len(motion), len(face.names)), np.float32)
    weights[:, [face.names.index(name) for name in motion.names]] = motion.weights
    return replace(clip, motion=replace(motion, weights=weights, names=face.names))


READERS: tuple[type[Corpus], ...] = (GridCorpus, FacegoodCorpus, PreparedFolder)


def open_corpus(folder: str | Path) -> Corpus:
    """The corpus that lies in ``folder``. InputError when the folder is missing or no reader knows it."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}")
    for reader in READERS:
        if reader.recognises(folder):
            return reader.open(folder)
    known = "; ".join(
        f"{reader.name}: {reader.__doc__.splitlines()[0]}" for reader in READERS if reader.__doc__
    )
    raise InputError(f"{folder} is no corpus known here ({known})")


def load_clips(
    folder: str | Path,
    split: str | Sequence[str] = "train",
    face: Face | None = None,
    cache: str | Path | None = None,
) -> list[Clip]:
    """The clips of a corpus' split(s) with motion worn by ``face`` (the default head), ready for training.

    cache: a folder in which the carried motion is kept, so that the next start is immediate; None keeps nothing.
    """
    if face is None:
        from jambatalk.face.head import default_head

        face = default_head()
    return open_corpus(folder).clips(split, face, None if cache is None else Path(cache))
