"""``jambatalk info``: what a preset or a file of weights is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


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
    }


def _config(name: str) -> Any:
    if Path(name).suffix == ".safetensors":
        from jambatalk.models.checkpoint import read_config

        return read_config(name)
    from jambatalk.models.presets import load_preset

    return load_preset(name)
