"""The fenced blocks of a Markdown page, each with the reason why it is not run, if one is given.

A block that cannot be run stands below a comment that says why:

    <!-- not run: needs the VOCASET corpus -->
    ```bash
    jambatalk data prepare vocaset VOCASET/ prepared/vocaset
    ```
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]*?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<code>.*?)^(?P=indent)```",
    re.M | re.S,
)


@dataclass(frozen=True)
class Fence:
    page: Path
    line: int
    language: str
    code: str
    reason: str | None
    """Why it is not run; None for a block that a test must run."""

    @property
    def where(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """One command each: continued lines joined, comments and empty lines left out."""
        joined = re.sub(r"\\\n\s*", "", self.code)
        lines = (re.sub(r"\s+# .*", "", line).strip() for line in joined.splitlines())
        return [line for line in lines if line and not line.startswith("#")]

    @property
    def arguments(self) -> list[list[str]]:
        return [shlex.split(command) for command in self.commands]


def fences(page: Path) -> list[Fence]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        indent = match["indent"]
        code = re.sub(rf"(?m)^{indent}", "", match["code"]) if indent else match["code"]
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Fence(page, line, match["language"], code, match["reason"]))
    return found
