"""The report on a prepared corpus as pictures: faces and diagrams in one folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jambatalk.data.plots import plots, require_matplotlib
from jambatalk.data.prepared import open_prepared
from jambatalk.data.sheet import sheet
from jambatalk.render import save_png


def write_report(folder: str | Path, out: str | Path, progress: Callable[[int, int], None] | None = None) -> list[Path]:
    """Write sheet.png (where there is a mesh to draw) and the diagrams of ``plots`` into ``out``; gives the files.

    progress: called with (done, in all) faces. Raises MissingExtraError without matplotlib, InputError when ``folder`` is no
    prepared corpus or ``out`` cannot be written.
    """
    require_matplotlib()
    corpus, out, written = open_prepared(folder), Path(out), []
    faces = sheet(corpus, progress=progress)
    if faces is not None:
        save_png(faces, out / "sheet.png")
        written.append(out / "sheet.png")
    return written + plots(corpus, out)
