"""All corpora: the kinds that ``data prepare`` reads, and opening a folder for training.

``KINDS`` is the only list. Help texts, errors and the table in docs/how-to/corpora.md are made from
it; a new corpus is one file in ``readers`` and one line here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jambatalk.errors import InputError, shown

if TYPE_CHECKING:
    from jambatalk.datasets.clip import Clip
    from jambatalk.datasets.source import CorpusKind
    from jambatalk.face.face import Face

KINDS = {
    "vocaset": "jambatalk.datasets.readers.vocaset:VOCASET",
    "biwi": "jambatalk.datasets.readers.biwi:BIWI",
    "biwi6": "jambatalk.datasets.readers.faceformer:BIWI6",
    "faceformer-layout": "jambatalk.datasets.readers.faceformer:LAYOUT",
    "grid": "jambatalk.datasets.readers.grid:GRID",
    "grid468": "jambatalk.datasets.readers.grid:GRID468",
    "facegood": "jambatalk.datasets.readers.facegood:FACEGOOD",
    "tts": "jambatalk.datasets.readers.tts:TTS",
    "video": "jambatalk.datasets.readers.video:VIDEO",
}
"""Name of a kind -> where its ``CorpusKind`` is; imported when it is used."""


class Corpus(Protocol):
    """A folder that can be trained on.

    Attributes:
        name: the corpus' name.
        credit: one sentence naming authors and licence, for the model card.
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
    def splits(self) -> dict[str, int]:
        """Split name -> number of clips."""
        ...

    def clips(
        self, split: str | Sequence[str], face: Face, cache: Path | None = None
    ) -> list[Clip]:
        """Read the clips of one or several splits, their motion applied to ``face``."""
        ...


def corpus_kind(name: str) -> CorpusKind:
    """Return the kind of this name. InputError lists the known ones."""
    if name not in KINDS:
        raise InputError(f"no corpus of kind {shown(name)}: choose from {', '.join(KINDS)}")
    module, _, attribute = KINDS[name].partition(":")
    kind: CorpusKind = getattr(import_module(module), attribute)
    return kind


def kinds_table() -> str:
    """Return the table of kinds in docs/how-to/corpora.md."""
    rows = [("kind", "what RAW holds", "splits (the usual one first)", "frames/s", "unit")]
    for kind in map(corpus_kind, KINDS):
        rows.append((f"`{kind.name}`", kind.holds, kind.splits, kind.rate, kind.unit))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def open_corpus(folder: str | Path) -> Corpus:
    """Open the corpus that lies in ``folder``, prepared or of a kind that needs no preparing.

    Raises:
        InputError: the folder is missing, or nothing here recognises it.
    """
    from jambatalk.datasets.dataset import PreparedFolder

    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}")
    direct = [kind.corpus for kind in map(corpus_kind, KINDS) if kind.corpus is not None]
    readers: list[Any] = [*direct, PreparedFolder]
    for reader in readers:
        if reader.recognises(folder):
            corpus: Corpus = reader.open(folder)
            return corpus
    known = "; ".join(f"{reader.name}: {reader.__doc__.splitlines()[0]}" for reader in readers)
    raise InputError(f"{folder} is not a corpus known here ({known})")


def load_clips(
    folder: str | Path,
    split: str | Sequence[str] = "train",
    face: Face | None = None,
    cache: str | Path | None = None,
) -> list[Clip]:
    """Read the clips of a corpus' split(s) for training.

    Args:
        folder: the corpus, see ``open_corpus``.
        split: one name or several.
        face: the head that the motion is applied to; None is the default one.
        cache: a folder in which retargeted motion is kept, so that the next start is immediate.
    """
    if face is None:
        from jambatalk.face.head import default_head

        face = default_head()
    return open_corpus(folder).clips(split, face, None if cache is None else Path(cache))
