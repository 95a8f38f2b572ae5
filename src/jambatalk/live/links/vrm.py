"""From ARKit's shapes to the five vowels and the blink that every VRM avatar has.

Names are those of the VMC specification's table of VRM 0 and VRM 1 (protocol.vmc.info/marionette-spec); capitals matter. That has
a blink for each eye only; the one for both is ``Blink`` in vrm.dev's list of VRM 0's presets, and ``blink`` in VRM 1.
"""

from __future__ import annotations

from collections.abc import Mapping

VRM0 = ("A", "I", "U", "E", "O", "Blink")
VRM1 = ("aa", "ih", "ou", "ee", "oh", "blink")


def presets(weights: Mapping[str, float]) -> tuple[float, float, float, float, float, float]:
    """Weights in 0..1 by ARKit name (missing: 0) -> A, I, U, E, O, Blink in 0..1.

    Three questions, each 0..1: how open is the mouth (jaw open, less lips closed over it), how round (funnel or pucker), how
    wide (stretched or smiling)? A is open; E open and wide; O open and round; I wide; U round. The vowels add up to at most 1.
    """

    def get(name: str) -> float:
        return weights.get(name, 0.0)

    opened = max(get("jawOpen") - get("mouthClose"), 0.0)
    rounded = max(get("mouthFunnel"), get("mouthPucker"))
    wide = max(get(f"mouth{kind}Left") + get(f"mouth{kind}Right") for kind in ("Stretch", "Smile")) / 2
    spread = (1 - rounded) * wide
    return (
        opened * (1 - rounded) * (1 - wide),
        (1 - opened) * spread,
        (1 - opened) * rounded,
        opened * spread,
        opened * rounded,
        (get("eyeBlinkLeft") + get("eyeBlinkRight")) / 2,
    )
