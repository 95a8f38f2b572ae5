"""``jambatalk network``: what a preset or a file of weights is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def network(
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
    typer.echo(f"{'':11} {'layer':6} {'parameters':>12}  {'state, bytes':>12}")
    for place, layer in enumerate(facts["layers"], 1):
        state = f"{layer['state_bytes']:,}" if layer["state_bytes"] is not None else "whole clip"
        typer.echo(
            f"{place:11} {layer['letter']:6} {layer['parameters']:12,}  {state:>12}{'  (shared)' if layer['shared'] else ''}"
        )
    typer.echo(f"{'decoder':11} {'':6} {facts['decoder_parameters']:12,}")


def _facts(name: str) -> dict[str, Any]:
    """The network's description; its tensors have shapes but no memory, so that any size is described at once."""
    import torch

    from jambatalk.models.jamba import LAYERS, JambaDecoder

    config = _config(name)
    with torch.device("meta"):
        decoder = JambaDecoder(config.decoder)
        state = decoder.init_state(1)
    layers, seen = [], set()
    for letter, place, held in zip(config.decoder.pattern.split(), decoder.places, state):
        layers.append(
            {
                "letter": letter,
                "parameters": sum(p.numel() for p in decoder.layers[place].parameters()),
                "state_bytes": _bytes(held) if LAYERS[letter].is_causal(config.decoder) else None,
                "shared": place in seen,
            }
        )
        seen.add(place)
    encoder: Any = config.encoder
    return {
        "encoder": f"built in, widths {encoder.widths}"
        if encoder.kind == "streaming"
        else f"{encoder.name or encoder.architecture.get('model_type', 'unnamed')}, {encoder.align} aligned to {config.fps} fps",
        "look-ahead": f"{config.look_ahead_ms:.0f} ms"
        if config.streaming
        else "the whole recording",
        "output": f"{config.outputs} values at {config.fps} fps",
        "styles": list(config.styles),
        "layers": layers,
        "decoder_parameters": sum(p.numel() for p in decoder.parameters()),
    }


def _config(name: str) -> Any:
    if Path(name).suffix == ".safetensors":
        from jambatalk.models.checkpoint import read_config

        return read_config(name)
    from jambatalk.models.presets import load_preset

    return load_preset(name)


def _bytes(state: Any) -> int:
    """Size of all tensors in a layer's state."""
    import torch

    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    return sum(_bytes(value) for value in vars(state).values())
