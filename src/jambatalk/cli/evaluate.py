"""``jambatalk evaluate``: systems and a corpus in, a table of metrics out."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from jambatalk.datasets.regions import Regions
    from jambatalk.evaluation.dataset import EvalDataset
    from jambatalk.evaluation.protocols.default_weights import AlignedSpeech


class Protocol(str, Enum):
    """What is measured."""

    vertices = "vertices"
    grid = "grid"
    default = "default"
    voices = "voices"


RegionsOption = Annotated[
    Path | None, typer.Option(help="Regions of the mesh, as an earlier run saved them.")
]
LipsOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE[:NAME]",
        help="Vertex indices of the lips: .npy, .txt, .json or .pkl; NAME+NAME joins two regions.",
    ),
]
UpperFaceOption = Annotated[
    str | None, typer.Option(metavar="FILE[:NAME]", help="Vertex indices of the upper face.")
]
OpeningOption = Annotated[
    str | None,
    typer.Option(metavar="UPPER,LOWER", help="The two vertices in the middle of the inner lips."),
]
MaskOption = Annotated[
    str | None,
    typer.Option(
        help="flame (FLAME_masks.pkl in the data's folder), biwi6 (the paper's box) or geometry. "
        "With --regions or --lips: what these masks are called, for numbers published under the "
        "name."
    ),
]


def list_metrics(wanted: bool) -> None:
    """Print the metrics and end."""
    if wanted:
        from jambatalk.evaluation.metrics import metrics_table

        typer.echo(metrics_table())
        raise typer.Exit


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... DATA",
            help="default, a file of weights (@STYLE after it for a style) or a folder of "
            "predictions CLIP.npy; NAME= before it for a name. Last, the data: the folder of a "
            "prepared corpus, or for the other protocols a GRID folder.",
            show_default=False,
        ),
    ],
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="vertices: errors of vertices on a prepared corpus. grid: lip gap on the default "
            "head against the speakers' tracked gap. default: all that the default weights "
            "promise. voices: unknown voices, silence first, what can be read off the mouth, rest."
        ),
    ] = Protocol.vertices,
    split: Annotated[
        list[str] | None,
        typer.Option(help="A split; give the option again for more. Default: those named test..."),
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="Another way to split the corpus than its usual one.")
    ] = None,
    regions: RegionsOption = None,
    lips: LipsOption = None,
    upper_face: UpperFaceOption = None,
    opening: OpeningOption = None,
    mask: MaskOption = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Predictions of a model that draws at random.")
    ] = 10,
    compat: Annotated[
        bool,
        typer.Option(
            "--compat",
            help="Also what the authors' released script computes (not the field's quantities).",
        ),
    ] = False,
    speed: Annotated[bool, typer.Option(help="Measure real-time factors.")] = True,
    facegood: Annotated[
        Path | None,
        typer.Option(help="Protocol default: a FACEGOOD folder (columns.json, ID.npy, ID.flac)."),
    ] = None,
    librivox: Annotated[
        Path | None,
        typer.Option(
            help="Protocols default and voices: a folder of .wav files and their transcription."
        ),
    ] = None,
    voice: Annotated[
        Path | None,
        typer.Option(
            help="Protocols default and voices: a prepared corpus of synthetic voices (test_voice)."
        ),
    ] = None,
    others: Annotated[
        Path | None,
        typer.Option(help="Protocol voices: a prepared corpus of more filmed speakers."),
    ] = None,
    speech: Annotated[
        Path | None,
        typer.Option(
            help="Protocol voices: a folder of benchmarks/quality/voices_data.py; "
            "FOLDER:VOICE,... for some of its voices."
        ),
    ] = None,
    languages: Annotated[
        Path | None, typer.Option(help="Protocol voices: a folder of voices_data.py --languages.")
    ] = None,
    most: Annotated[
        int | None, typer.Option(min=1, help="Protocol voices: clips of each part, for a trial.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Protocols grid and default: a folder that keeps retargeted motion."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Write result.json, clips.csv and regions.json into this folder."
        ),
    ] = None,
    metrics: Annotated[
        bool,
        typer.Option(
            "--list-metrics",
            callback=list_metrics,
            is_eager=True,
            help="Print the metrics with their definitions, and end.",
        ),
    ] = False,
) -> None:
    """Score systems on a corpus beside the truth, a still face and other references."""
    from jambatalk.errors import InputError

    *specs, data = models
    vertex_options: dict[str, object] = {
        "--split": split,
        "--scheme": scheme,
        "--regions": regions,
        "--lips": lips,
        "--upper-face": upper_face,
        "--opening": opening,
        "--mask": mask,
        "--compat": compat,
    }
    readings: dict[str, object] = {"--librivox": librivox, "--voice": voice}
    of_voices: dict[str, object] = {
        "--others": others,
        "--speech": speech,
        "--languages": languages,
        "--most": most,
    }
    of_default = {**readings, "--facegood": facegood}
    not_split = {name: value for name, value in vertex_options.items() if name != "--split"}
    wrong = {
        Protocol.vertices: {**of_default, **of_voices, "--cache": cache},
        Protocol.grid: {**vertex_options, **of_default, **of_voices},
        Protocol.default: {**vertex_options, **of_voices},
        Protocol.voices: {**not_split, "--facegood": facegood},
    }[protocol]
    if given := [name for name, value in wrong.items() if value]:
        raise InputError(f"{given[0]} has no meaning for --protocol {protocol.value}")
    if not specs and protocol is not Protocol.grid:
        raise InputError(
            f"only {data} is named: expected at least one model and, last, the folder of the data"
        )
    if protocol is Protocol.grid:
        _grid(specs, Path(data), cache, out)
        return
    if protocol is Protocol.default:
        _default(specs, Path(data), facegood, librivox, voice, cache, out)
        return

    if protocol is Protocol.voices:
        parts = VoicesParts(others, speech, languages, librivox, voice)
        _voices(specs, Path(data), split, parts, most, cache, out)
        return

    from jambatalk.cli.console import progress_console
    from jambatalk.datasets.regions import FILE
    from jambatalk.evaluation.dataset import load_test_set
    from jambatalk.evaluation.evaluate import evaluate as score
    from jambatalk.evaluation.systems import open_system
    from jambatalk.evaluation.tables import save_results, text_table

    test_set = load_test_set(data, split, scheme)
    chosen = regions_from_options(test_set, regions, lips, upper_face, opening, mask)
    systems = [open_system(spec, test_set) for spec in specs]
    with progress_console() as console:
        for line in chosen.lines:
            console.log(line)
        if not test_set.has_training:
            console.log(
                "no training split in this corpus: the row of the mean training motion is left out"
            )
        with console.progress("scoring") as report:
            scored = score(
                systems,
                test_set,
                chosen,
                seeds=range(seeds),
                compat=compat,
                speed=speed,
                progress=lambda system, done, total: report(done, total),
            )
    if out is not None:
        save_results(out, scored)
        chosen.save(out / FILE)
    typer.echo(text_table(scored))


def _grid(specs: list[str], data: Path, cache: Path | None, out: Path | None) -> None:
    from rich.console import Console

    from jambatalk.atomic import write_json
    from jambatalk.evaluation.protocols.grid import print_table, score_folder
    from jambatalk.evaluation.systems import open_system
    from jambatalk.evaluation.tables import RESULT
    from jambatalk.face.head import default_head

    systems = [open_system(spec) for spec in specs]
    rows = score_folder(systems, data, default_head(), cache)
    if out is not None:
        write_json(out / RESULT, {"models": specs, "rows": [row.as_dict() for row in rows]})
    print_table(rows, Console(width=170))


def _default(
    specs: list[str],
    grid: Path,
    facegood: Path | None,
    librivox: Path | None,
    voice: Path | None,
    cache: Path | None,
    out: Path | None,
) -> None:
    from rich.console import Console

    from jambatalk.atomic import write_json
    from jambatalk.datasets.registry import load_clips
    from jambatalk.evaluation.protocols.default_weights import (
        ProtocolData,
        finite,
        load_performance,
        load_readings,
        load_voice,
        score_all,
    )
    from jambatalk.evaluation.protocols.grid import SPLITS
    from jambatalk.evaluation.protocols.promises import print_table
    from jambatalk.evaluation.systems import open_system
    from jambatalk.evaluation.tables import RESULT
    from jambatalk.face.head import default_head

    face = default_head()
    systems = [open_system(spec) for spec in specs]
    data = ProtocolData(
        load_clips(grid, SPLITS, face, cache),
        load_readings(librivox) if librivox else (),
        load_voice(voice) if voice else (),
        load_performance(facegood) if facegood else None,
    )
    columns = score_all(systems, data, face)
    if out is not None:
        found = {name: finite(numbers) for name, numbers in columns.items()}
        write_json(out / RESULT, {"models": specs, "columns": found})
    unseen = [clip.id for clip in data.grid if clip.split == "test_unseen"]
    print_table(columns, unseen, Console(width=max(100, 64 + 20 * len(columns))))


class VoicesParts(NamedTuple):
    """What protocol voices is given beside filmed speech."""

    others: Path | None
    speech: Path | None
    languages: Path | None
    librivox: Path | None
    voice: Path | None


def _voices(
    specs: list[str],
    grid: Path,
    split: list[str] | None,
    parts: VoicesParts,
    most: int | None,
    cache: Path | None,
    out: Path | None,
) -> None:
    from jambatalk.atomic import atomic_write, write_json
    from jambatalk.cli.console import progress_console
    from jambatalk.datasets.registry import load_clips, open_corpus
    from jambatalk.evaluation.protocols import voices as protocol
    from jambatalk.evaluation.protocols.default_weights import finite, load_readings, load_voice
    from jambatalk.evaluation.protocols.figures import as_numbers, table
    from jambatalk.evaluation.systems import check_names, open_system
    from jambatalk.evaluation.tables import RESULT
    from jambatalk.face.head import default_head

    face = default_head()
    systems = [open_system(spec) for spec in specs]
    check_names(systems)
    splits = split or ["val"]
    filmed = {"s1": load_clips(grid, splits, face, cache)}
    if parts.others is not None:
        corpus = open_corpus(parts.others)
        filmed["others"] = corpus.clips(list(corpus.splits), face, cache)
    spoken: dict[str, list[AlignedSpeech]] = {}
    if parts.speech is not None:
        folder, _, names = str(parts.speech).partition(":")
        spoken |= protocol.load_spoken(Path(folder), [n for n in names.split(",") if n])
    if parts.librivox is not None:
        spoken["LibriVox"] = load_readings(parts.librivox)
    if parts.voice is not None:
        split_of_voice = "val" if "val" in splits else "test_voice"
        spoken["synthetic voice"] = load_voice(parts.voice, split_of_voice)
    languages = {} if parts.languages is None else protocol.load_languages(parts.languages)
    languages = {
        language: {voice: sentences[:most] for voice, sentences in voices.items()}
        for language, voices in languages.items()
    }
    data = protocol.VoicesData(
        {name: clips[:most] for name, clips in filmed.items()},
        {name: sentences[:most] for name, sentences in spoken.items()},
    )
    columns = {}
    with progress_console() as console:
        missing = [f"--{name}" for name, path in parts._asdict().items() if path is None]
        if missing:
            console.log(f"left out, since no data is named: {', '.join(missing)}")
        with console.progress("scoring") as report:
            for done, system in enumerate(systems):
                report(done, len(systems))
                columns[system.name] = protocol.score_voices(system, data, face)
                columns[system.name] |= protocol.score_languages(system, languages, face)
            report(len(systems), len(systems))
    text = table(columns)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        numbers = {name: finite(as_numbers(f)) for name, f in columns.items()}
        write_json(out / RESULT, {"models": specs, "splits": splits, "columns": numbers})
        with atomic_write(out / "voices.md") as path:
            path.write_text(text + "\n", encoding="utf-8")
    typer.echo(text)


def regions_from_options(
    test_set: EvalDataset,
    file: Path | None,
    lips: str | None,
    upper_face: str | None,
    opening: str | None,
    mask: str | None,
) -> Regions:
    """Choose the regions of a test set by the options of a command; none given: find them."""
    from dataclasses import replace

    from jambatalk.datasets.regions import Regions, regions_from_files
    from jambatalk.errors import InputError

    masks = {"--lips": lips, "--upper-face": upper_face, "--opening": opening}
    given = [name for name, value in masks.items() if value is not None]
    if file is not None:
        if given:
            raise InputError(f"--regions and {given[0]} are both given, expected one or the other")
        found = Regions.load(file, test_set.vertices)
    elif lips is not None and upper_face is not None and opening is not None:
        found = regions_from_files(lips, upper_face, _pair(opening), test_set.vertices)
    elif given:
        lacking = next(name for name in masks if name not in given)
        raise InputError(
            f"{given[0]} is given without {lacking}: expected --lips, --upper-face and --opening "
            "together"
        )
    else:
        return test_set.regions(mask or "")
    return found if mask is None else replace(found, source=mask)


def _pair(text: str) -> tuple[int, int]:
    from jambatalk.errors import InputError

    upper, comma, lower = text.partition(",")
    if not (comma and upper.strip().isdigit() and lower.strip().isdigit()):
        raise InputError(
            f"--opening is {text!r}, expected the numbers of two vertices such as 13,14"
        )
    return int(upper), int(lower)
