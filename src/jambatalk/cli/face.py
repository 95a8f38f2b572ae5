"""``jambatalk face``: look at your own character before it speaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from jambatalk.cli.console import handle_errors
from jambatalk.errors import InputError

if TYPE_CHECKING:
    from jambatalk.face.report import FaceReport

face = typer.Typer(
    help="Look at your own character: what was found, which shapes move, what is missing.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def show(
    file: Annotated[
        str, Argument(metavar="FILE", help="A character (.glb .gltf .vrm), model, mesh or folder.")
    ],
    out: Annotated[
        str | None, Option("-o", "--out", metavar="PNG", help="Sheet of pictures to draw.")
    ] = None,
    size: Annotated[
        int, Option(metavar="N", min=64, max=1024, help="Pixels of one picture of the sheet.")
    ] = 256,
    as_json: Annotated[
        bool, Option("--json", help="Print the result as JSON on standard output.")
    ] = False,
) -> None:
    """List what is found in a character's file, and draw it: at rest, in the mouths of speech, and
    shape by shape."""
    from jambatalk.face.face import Face
    from jambatalk.face.report import report_on

    if out is not None and Path(out).suffix.lower() != ".png":
        raise InputError(f"cannot draw {out}: expected a name ending in .png")
    found = Face.load(file)
    report = report_on(found)
    if as_json:
        typer.echo(json.dumps({"ok": report.problem is None, **report.as_dict()}, indent=2))
    else:
        for line in lines_of(file, report):
            typer.echo(line)
    if out is not None:
        from jambatalk.render import save_png
        from jambatalk.render.face_sheet import face_sheet

        save_png(face_sheet(found, report, size), out)
        typer.echo(f"drawn: {out}", err=True)


def lines_of(file: str, report: FaceReport) -> list[str]:
    """The report in words, a line for each thing."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.dialects.items()))
    lines = [
        f"{file}: {report.vertices:,} vertices, {report.triangles:,} triangles, "
        f"{report.shapes} shapes ({kinds or 'none with a known name'})"
    ]
    for name, shapes in (
        ("move the mouth", report.speaking),
        ("move eyes, brows, cheeks", report.other),
        ("have a known name, but move nothing", report.empty),
        ("have an unknown name", report.unknown),
        ("of ARKit are missing", report.missing),
    ):
        if shapes:
            lines.append(f"{len(shapes)} {name}: {', '.join(shapes)}")
    if report.joints:
        lines.append(f"joints: {', '.join(report.joints)}")
    if report.mouth is None:
        lines.append("lips: not found, so shapes go by the table of their names")
    else:
        lines.append(f"lips: found, {report.mouth['width_mm']} mm wide")
        for mouth, measures in report.mouths.items():
            wanted = ", ".join(
                f"{measure} {made:+.1f} of {goal:+.1f} mm"
                for measure, (goal, made) in measures.items()
            )
            if mouth not in ("rest", "blink"):
                lines.append(f"  {mouth}: {wanted}")
    lines.append(f"it cannot speak: {report.problem}" if report.problem else "it can speak")
    return lines


face.command(epilog="Example: jambatalk face show avatar.glb -o sheet.png")(handle_errors(show))
