"""The command ``jambatalk``: one function per file, put together here."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from jambatalk.cli.ablate import ablate
from jambatalk.cli.animate import animate
from jambatalk.cli.compare import compare
from jambatalk.cli.console import handle_errors
from jambatalk.cli.convert import convert
from jambatalk.cli.data import data
from jambatalk.cli.demo import demo
from jambatalk.cli.doctor import doctor
from jambatalk.cli.evaluate import evaluate
from jambatalk.cli.export import export
from jambatalk.cli.fit_phones import fit_phones
from jambatalk.cli.info import info
from jambatalk.cli.live import live
from jambatalk.cli.serve import serve
from jambatalk.cli.study import study
from jambatalk.cli.train import train
from jambatalk.version import __version__

# Plain help and errors: one line is easier to read, to search for and to parse than a box around it.
app = typer.Typer(
    name="jambatalk",
    help="Give it speech, get a 3D face that talks.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (ablate, animate, compare, demo, doctor, evaluate, export, info, live, serve, train):
    app.command()(handle_errors(command))
app.command("network", hidden=True)(handle_errors(info))  # the name of before
app.add_typer(convert, name="convert")
data.command("fit-phones")(handle_errors(fit_phones))
app.add_typer(data, name="data")
app.add_typer(study, name="study")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jambatalk {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Give it speech, get a 3D face that talks."""


def main() -> None:
    """Run the command line; bad input ends with one line on standard error and status 2, Ctrl-C with 130."""
    for stream in (sys.stdout, sys.stderr):
        # A console that cannot show a character of a file's name (Windows) is to show a stand-in, not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app()
    except BrokenPipeError:
        # The reader of our output has gone (for example `| head`); Python would complain once more while closing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
