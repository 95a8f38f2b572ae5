"""``jambatalk info``, ``export`` and ``convert``: networks described, turned into other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from jambatalk.cli.console import handle_errors


def export(
    out: Annotated[
        Path,
        Argument(
            metavar="OUT", help="File to write: .onnx, or .pt2 (torch.export).", show_default=False
        ),
    ],
    model: Annotated[
        Path | None,
        Option(
            metavar="WEIGHTS",
            help="A weights file, or base or light: those in the package.  [default: base]",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[int, Option(metavar="N", help="Streams that the step takes at once.")] = 1,
    int8: Annotated[
        bool,
        Option(
            "--int8",
            help="int8 weights (.onnx): a quarter of the size, faster, motion off by 0.0001 on "
            "average.",
        ),
    ] = False,
    style: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Way of speaking, one of the weights' (jambatalk network lists them).",
        ),
    ] = None,
) -> None:
    """Write one hop of the network, with all its memory explicit, for ONNX runtimes or
    torch.export.

    The file is run over a second of speech beside the network before it takes its name.
    """
    from jambatalk.export.export import export_step
    from jambatalk.talker import DEFAULT_WEIGHTS

    written = export_step(model if model is not None else DEFAULT_WEIGHTS, out, batch, int8, style)
    info, parity = written.info, written.parity
    config = info.config
    typer.echo(
        f"{out}: {info.precision}, {written.bytes / 1e6:.1f} MB; one call takes {config.hop} "
        f"samples of {info.batch} "
        f"stream{'s' * (info.batch > 1)} and gives {config.outputs} values a frame at {config.fps} "
        "frames a second; "
        f"state {written.state_bytes / 1e3:.0f} kB a stream"
    )
    typer.echo(
        f"against the network, over {parity.frames / config.fps:.1f} s of speech: largest "
        f"difference {parity.largest:.1e}, "
        f"mean {parity.mean:.1e}"
    )


convert = typer.Typer(
    help="Convert weights of other programs.", no_args_is_help=True, rich_markup_mode=None
)


@convert.callback()
def _commands() -> None:
    """Convert weights of other programs."""


def released(
    checkpoint: Annotated[
        Path,
        Argument(
            metavar="CHECKPOINT", help="A .pth file of the authors' code.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        Option(
            "-o",
            "--out",
            metavar="FILE",
            help="Weights to write, .safetensors.",
            show_default=False,
        ),
    ],
    preset: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="released-vocaset or released-biwi6.  [default: by the number of vertices]",
        ),
    ] = None,
    without_lip_reader: Annotated[
        bool,
        Option(
            "--without-lip-reader",
            help="Leave out what only training uses: a file of less than half the size.",
        ),
    ] = False,
    half: Annotated[bool, Option("--half", help="Write float16: half the size.")] = False,
) -> None:
    """Turn a checkpoint of the released JambaTalk code into weights for ``jambatalk animate
    --model``.

    Every tensor is mapped by its name; one that is missing, left over or of another shape stops the
    conversion.
    """
    from jambatalk.cli.console import progress_console
    from jambatalk.errors import InputError
    from jambatalk.models.convert_released import convert_released

    if out.suffix != ".safetensors":
        raise InputError(f"{out} is not a name for weights, expected one that ends in .safetensors")
    with progress_console() as console:
        with console.progress(f"converting {checkpoint}") as report:
            done = convert_released(checkpoint, out, preset, not without_lip_reader, half, report)
        kept = f", {done.lip_reader} of them for training alone" if done.lip_reader else ""
        console.log(
            f"{checkpoint} ({done.preset}) -> {out}: {done.tensors} tensors{kept}, "
            f"{out.stat().st_size / 1e6:,.0f} MB; "
            f"moves {done.config.outputs // 3:,} vertices at {done.config.fps} fps"
        )


convert.command()(handle_errors(released))


def info(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[PRESET]",
            help="A preset, a .yaml file or .safetensors weights.  [default: list them]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Describe a network layer by layer, or list the presets there are."""
    from jambatalk.models.presets import FOLDER, preset_names

    if name is None:
        for preset in preset_names():
            comment = (FOLDER / f"{preset}.yaml").read_text(encoding="utf-8").splitlines()[0]
            typer.echo(f"{preset:17} {comment.removeprefix('# ')}")
        return
    facts = _facts(name)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for key in ("encoder", "look-ahead", "output"):
        typer.echo(f"{key:11} {facts[key]}")
    if facts["styles"]:
        typer.echo(f"{'styles':11} {', '.join(facts['styles'])} (the first is the default)")
    wide = max(6, *(len(layer["letter"]) for layer in facts["layers"]))
    typer.echo(f"{'':11} {'layer':{wide}} {'parameters':>12}  {'state, bytes':>12}")
    for place, layer in enumerate(facts["layers"], 1):
        state = f"{layer['state_bytes']:,}" if layer["state_bytes"] is not None else "whole clip"
        typer.echo(
            f"{place:11} {layer['letter']:{wide}} {layer['parameters']:12,}  {state:>12}"
            f"{'  (shared)' if layer['shared'] else ''}"
        )
    typer.echo(f"{'decoder':11} {'':{wide}} {facts['decoder_parameters']:12,}")
    if not facts["parts"]:
        return
    typer.echo(f"{'':11} {'':{wide}} {'parameters':>12}  {'trained':>12}")
    for part in facts["parts"]:
        counts = f"{part['parameters']:12,}  {part['trained']:12,}"
        note = "  (training only)" if part["name"] == "lip reader" else ""
        typer.echo(f"{part['name']:11} {'':{wide}} {counts}{note}")


def _facts(name: str) -> dict[str, Any]:
    """The description of a network; its tensors have shapes but no memory, whatever their size."""
    import torch

    from jambatalk.models.jamba import JambaDecoder
    from jambatalk.models.speech_to_motion import parameter_count
    from jambatalk.models.state import state_bytes

    config = _config(name)
    with torch.device("meta"):
        decoder = JambaDecoder(config.decoder)
        state = decoder.init_state(1)
    layers, seen = [], set()
    for code, place, layer_state in zip(config.decoder.pattern.split(), decoder.places, state):
        layer = decoder.layer(place)
        layers.append(
            {
                "letter": code,
                "parameters": parameter_count(layer),
                "state_bytes": state_bytes(layer_state) if layer.causal else None,
                "shared": place in seen,
            }
        )
        seen.add(place)
    return {
        "encoder": config.encoder.describe(config.fps),
        "look-ahead": f"{config.look_ahead_ms:.0f} ms"
        if config.streaming
        else "the whole recording",
        "output": f"{config.outputs} values at {config.fps} fps",
        "styles": list(config.styles),
        "layers": layers,
        "decoder_parameters": parameter_count(decoder),
        "parts": _parts(name, config),
    }


def _parts(name: str, config: Any) -> list[dict[str, Any]]:
    """Parameters of the whole network by part, with the paper's lip reader for its presets.

    Empty where transformers, which describes pretrained encoders, is not installed.
    """
    from jambatalk.config import CONFIGS
    from jambatalk.errors import MissingExtraError
    from jambatalk.training.config import BlendshapesConfig, TrainConfig, load_train_config
    from jambatalk.training.sizes import training_size

    settings = CONFIGS / f"{name}.yaml"
    if Path(name).suffix or not settings.is_file() or not name.startswith("paper-"):
        longer = BlendshapesConfig(sequence_length=config.delay + 150)
        training = TrainConfig(model=config, blendshapes=longer)
    else:
        training = load_train_config(settings)
    try:
        size = training_size(training)
    except MissingExtraError:
        return []
    rows = [vars(part) for part in size.parts]
    total = {"parameters": size.parameters, "trained": size.trained}
    return [*rows, {"name": "total", **total}]


def _config(name: str) -> Any:
    if Path(name).suffix == ".safetensors":
        from jambatalk.models.checkpoint import read_config

        return read_config(name)
    from jambatalk.models.presets import load_preset

    return load_preset(name)
