"""The command ``jambatalk``: one function per file, put together here."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jambatalk.cli.ablate import ablate
from jambatalk.cli.animate import animate, demo
from jambatalk.cli.compare import compare
from jambatalk.cli.console import handle_errors
from jambatalk.cli.data import data
from jambatalk.cli.doctor import doctor
from jambatalk.cli.evaluate import evaluate
from jambatalk.cli.export import convert, export, info
from jambatalk.cli.face import face
from jambatalk.cli.live import live
from jambatalk.cli.reproduce import reproduce
from jambatalk.cli.serve import serve
from jambatalk.cli.study import study
from jambatalk.cli.train import train
from jambatalk.version import __version__

TASKS = {
    "Make faces talk": ("animate", "demo", "live", "serve", "face"),
    "Train and compare networks": (
        "data",
        "train",
        "ablate",
        "reproduce",
        "evaluate",
        "compare",
        "study",
    ),
    "Look into networks and move them": ("info", "export", "convert"),
    "This machine": ("doctor",),
}
"""The commands by task, as the help lists them."""

EXAMPLES = {
    "ablate": "ablate experiments/ablation data/grid",
    "animate": "animate hello.wav -o hello.mp4 -o hello.glb",
    "compare": "compare default mine.safetensors data/grid -o report.html",
    "demo": "demo -o demo.mp4",
    "doctor": "doctor",
    "evaluate": "evaluate default mine=mine.safetensors data/grid",
    "export": "export step.onnx",
    "info": "info base",
    "live": "live --mic --to livelink://127.0.0.1",
    "reproduce": "reproduce vocaset VOCASET/ reproduction --plan",
    "serve": "serve --host 0.0.0.0 --token random",
    "train": "train light-grid --data data/grid -o mine.safetensors",
}


class TaskGroup(TyperGroup):
    """Lists commands by task, with their whole first sentences."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = {
            name: command.get_short_help_str(limit=1000)
            for name, command in self.commands.items()
            if not command.hidden
        }
        tasks = TASKS if ctx.parent is None else {"Commands": tuple(rows)}
        for task, names in tasks.items():
            with formatter.section(task):
                formatter.write_dl([(name, rows[name]) for name in names])


# Plain help and errors: one line is easier to read, to search for and to parse than a box.
app = typer.Typer(
    name="jambatalk",
    cls=TaskGroup,
    help="Give it speech, get a 3D face that talks.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (
    ablate,
    animate,
    compare,
    demo,
    doctor,
    evaluate,
    export,
    info,
    live,
    reproduce,
    serve,
    train,
):
    example = f"Example: jambatalk {EXAMPLES[command.__name__]}"
    app.command(epilog=example)(handle_errors(command))
app.command("network", hidden=True)(handle_errors(info))  # the name of before
for name, group in (("convert", convert), ("data", data), ("face", face), ("study", study)):
    app.add_typer(group, name=name, cls=TaskGroup)


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
    """Run the command line.

    Bad input ends with one line on standard error and status 2, Ctrl-C with 130.
    """
    for stream in (sys.stdout, sys.stderr):
        # A console that cannot show a character of a file's name (Windows) shows another one, and
        # no traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app()
    except BrokenPipeError:
        # The reader of our output has gone (for example `| head`); Python would complain once more
        # while closing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
