"""Hooks of the documentation site (mkdocs): the page of commands, and links that leave docs/."""

from __future__ import annotations

import re
from typing import Any

import typer

COMMANDS = "<!-- commands -->"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in the commands; name files outside docs/ that the site does not hold."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, commands())
    return re.sub(
        r"\[([^\]]+)\]\((?:\.\./)+((?:src|tools|tests|examples|benchmarks)/[^)]+)\)",
        r"\1 (`\2`)",
        markdown,
    )


def commands() -> str:
    """One section for each command, from the help of the command line."""
    from jambatalk.cli.main import app

    parts: list[str] = []
    _describe(typer.main.get_command(app), "jambatalk", parts)
    return "\n\n".join(parts)


def _describe(command: Any, name: str, parts: list[str]) -> None:
    """Append the sections of a command, or of those in a group (whose class depends on typer)."""
    if hasattr(command, "commands"):
        for child_name, child in command.commands.items():
            _describe(child, f"{name} {child_name}", parts)
        return
    context = command.context_class(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    parts.append(f"## {name}\n\n{_plain(command.help)}\n\n`{name} {usage}`")
    rows = [record for p in command.get_params(context) if (record := p.get_help_record(context))]
    if rows:
        table = [f"| `{left.replace('|', ' or ')}` | {_cell(right)} |" for left, right in rows]
        parts.append("\n".join(["| option | |", "|---|---|", *table]))


def _plain(text: str | None) -> str:
    return re.sub(r"(?<!\n)\n(?!\n)", " ", (text or "").replace("\b", "").strip())


def _cell(text: str) -> str:
    # Brackets would be taken for references to other pages.
    return " ".join(re.sub(r"([|\[\]])", r"\\\1", text).split())
