"""``jambatalk study``: ask people which talking face is better, and say what their answers mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from jambatalk.cli.console import handle_errors
from jambatalk.errors import InputError

study = typer.Typer(
    help="Ask people which talking face is better.", no_args_is_help=True, rich_markup_mode=None
)


@study.callback()
def _commands() -> None:
    """Ask people which talking face is better."""


def build(
    systems: Annotated[
        list[str],
        Argument(
            metavar="SYSTEM=FOLDER...",
            help="Videos or motions of each system, same clip names.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, Option("-o", "--out", metavar="STUDY", help="New folder.", show_default=False)
    ],
    kind: Annotated[
        str, Option(metavar="NAME", help="ab: two videos, which one? mos: one video, 1 to 5.")
    ] = "ab",
    question: Annotated[
        list[str] | None,
        Option(
            "-q",
            "--question",
            help="What is asked, the first one about the lips; may be repeated.",
            show_default=False,
        ),
    ] = None,
    ties: Annotated[bool, Option("--ties", help="ab: allow the answer 'no difference'.")] = False,
    trials_per_rater: Annotated[
        int | None, Option(help="[default: all, at most 24]", show_default=False)
    ] = None,
    checks: Annotated[int, Option(help="Attention checks per rater.")] = 4,
    headphones: Annotated[int, Option(help="Trials of the headphones check; 0 for none.")] = 6,
    against: Annotated[
        str | None,
        Option(metavar="SYSTEM", help="ab: compare only with this one.", show_default=False),
    ] = None,
    consent: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Consent text (UTF-8).  [default: a short general one]",
            show_default=False,
        ),
    ] = None,
    title: Annotated[str, Option(help="Title of the page.")] = "Talking faces",
    common: Annotated[
        bool, Option("--common", help="Use the clips that all systems have.")
    ] = False,
    size: Annotated[
        str, Option(metavar="WxH", help="Motions: size of the videos in pixels.")
    ] = "512",
    face: Annotated[
        Path | None,
        Option(
            metavar="MESH",
            help="Motions: the mesh that vertex offsets belong to.",
            show_default=False,
        ),
    ] = None,
    fps: Annotated[
        float | None, Option(help="Motions: frames per second of .npy files.", show_default=False)
    ] = None,
    speech: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Motions: sounds named like the clips.  [default: beside them]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, Option(help="Of everything random.  [default: a new one]", show_default=False)
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a study of videos or motions: who sees what in which order, attention checks, headphones
    check, consent.

    STUDY holds the key, which file shows which system; serve never sends it.
    """
    from jambatalk.cli.console import parse_fps, parse_size, progress_console
    from jambatalk.study.build import build_study
    from jambatalk.study.media import RenderOptions
    from jambatalk.study.plan import CONSENT, Settings
    from jambatalk.study.trials import trials_per_rater as count

    settings = Settings(
        kind,
        tuple(question or ()),
        ties,
        trials_per_rater,
        checks,
        headphones,
        against,
        seed=seed,
        title=title,
        consent=CONSENT if consent is None else _text(consent),
    )
    options = RenderOptions(
        parse_size(size), face, parse_fps(None if fps is None else str(fps)), speech
    )
    with progress_console() as console:
        with console.progress(f"building {out}") as report:
            built = build_study(
                _named(systems), out, settings, options=options, common=common, progress=report
            )
        for note in built.notes:
            console.log(f"note: {note}")
        made = built.study
        per_rater, checked = count(made), len(made.mismatches)
        console.log(
            f"{out}: {len(made.systems)} systems, {len(made.clips)} clips; "
            f"{per_rater} trials and {settings.checks} checks per rater"
        )
        if settings.kind == "ab" and settings.checks and not checked:
            console.log(
                "note: one clip alone allows no wrong-clip checks, all checks are instructions"
            )
    if as_json:
        result = {
            "ok": True,
            "out": str(out),
            "id": made.id,
            "systems": list(made.systems),
            "clips": len(made.clips),
            "trials_per_rater": per_rater,
            "checks": settings.checks,
            "seed": made.settings.seed,
            "notes": list(built.notes),
        }
        typer.echo(json.dumps(result, ensure_ascii=False))


def serve(
    folder: Annotated[
        Path, Argument(metavar="STUDY", help="A folder made by study build.", show_default=False)
    ],
    host: Annotated[str, Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, Option(help="0 takes any free one.")] = 8000,
    token: Annotated[
        str | None,
        Option(
            help="What the link must hold; 'random' makes one.  [default: none needed]",
            show_default=False,
        ),
    ] = None,
    max_raters: Annotated[int, Option(min=1, help="Raters that may join.")] = 10_000,
    allow_host: Annotated[
        list[str] | None,
        Option(
            metavar="NAME",
            help="Name under which a proxy passes requests on; may be repeated.  "
            "[default: those of this machine, any with another --host]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show a study on a web page and store the answers in STUDY/answers.sqlite, until Ctrl-C. Stop
    and start at any time.
    """
    import secrets
    from contextlib import closing

    from jambatalk.cli.console import progress_console
    from jambatalk.study.plan import ANSWERS_FILE, load_study
    from jambatalk.study.server import LOOPBACK, listen, require_server
    from jambatalk.study.server import serve as run
    from jambatalk.study.store import Store

    require_server()
    made = load_study(folder)
    if token == "random":
        token = secrets.token_urlsafe(16)
    if token is not None and not (
        8 <= len(token) <= 200
        and token.isascii()
        and token.replace("-", "").replace("_", "").isalnum()
    ):
        raise InputError(
            "--token must have 8 to 200 letters, digits, - or _, or be the word random"
        )
    with (
        listen(host, port) as listening,
        closing(Store(made.folder / ANSWERS_FILE)) as store,
        progress_console() as console,
    ):
        name = f"[{host}]" if ":" in host else host
        link = f"http://{name}:{listening.getsockname()[1]}/" + (f"#token={token}" if token else "")
        console.log(f"{made.settings.title}: {link} (Ctrl-C ends)")
        names = [*LOOPBACK, *map(str.lower, allow_host or [])]
        hosts = names if host in LOOPBACK or allow_host else None
        run(store, made, listening, token=token, most=max_raters, hosts=hosts)
        raters, answers = store.counts()
        console.log(f"{folder}: {raters} raters, {answers} answers stored")


def report(
    folder: Annotated[
        Path, Argument(metavar="STUDY", help="A folder made by study build.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        Option(
            "-o",
            "--out",
            metavar="DIR",
            help="Folder for report.md, report.json and .csv files.",
            show_default=False,
        ),
    ] = None,
    allow_missed: Annotated[int, Option(help="Attention checks that may fail.")] = 0,
    fastest: Annotated[
        float, Option(help="Seconds after a video's end before which an answer is too fast.")
    ] = 0.3,
    keep_incomplete: Annotated[
        bool, Option("--keep-incomplete", help="Count raters who stopped early.")
    ] = False,
    without_headphones: Annotated[
        bool, Option("--without-headphones", help="Count raters who failed that check.")
    ] = False,
    as_json: Annotated[bool, Option("--json", help="Print report.json.")] = False,
) -> None:
    """Say what the answers mean: preferences, strengths, opinions, agreement, and who is left out
    and why.
    """
    from jambatalk.study.exclusions import Rules
    from jambatalk.study.report import report_study, write_report

    rules = Rules(
        allow_missed, fastest, incomplete=keep_incomplete, headphones=not without_headphones
    )
    found = report_study(folder, rules)
    if out is not None:
        write_report(found, out)
    typer.echo(
        json.dumps(found.found, indent=1, ensure_ascii=False) if as_json else found.text.rstrip()
    )


def _named(systems: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in systems:
        name, equals, folder = text.partition("=")
        if not equals or not name.strip() or not folder:
            raise InputError(f"a system is given as {text!r}, expected NAME=FOLDER")
        if name.strip() in found:
            raise InputError(f"system {name.strip()} is given twice, expected different names")
        found[name.strip()] = Path(folder)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


for command in (build, serve, report):
    study.command()(handle_errors(command))
