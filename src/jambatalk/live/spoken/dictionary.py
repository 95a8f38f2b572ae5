"""The English pronunciation dictionary that comes with pocketsphinx (the extra ``align``), when it is installed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def dictionary() -> Mapping[str, tuple[tuple[str, ...], ...]]:
    """Word in lower case -> its pronunciations, the most usual first, in ARPAbet without stress; empty without it."""
    try:
        from pocketsphinx import get_model_path

        text = Path(get_model_path("en-us/cmudict-en-us.dict")).read_text("utf-8", "ignore")
    except (ImportError, OSError):
        return {}
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in text.splitlines():
        word, _, phones = line.partition(" ")
        # Further pronunciations of a word carry a number in brackets.
        found.setdefault(re.sub(r"\(\d+\)$", "", word), []).append(tuple(phones.split()))
    return {word: tuple(ways) for word, ways in found.items()}
