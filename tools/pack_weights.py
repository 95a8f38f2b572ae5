"""Write trained weights in the form in which they ship, and say what that changes.

    python tools/pack_weights.py runs/base/final.safetensors -o base.safetensors [--half]

Large matrices become int8 with a scale for each row, the rest float16; with --half all are float16.
Prints how far the motion of the bundled speech moves.
"""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np

import jambatalk
from jambatalk.errors import InputError
from jambatalk.face.head import default_head
from jambatalk.models.checkpoint import load_weights, save_weights


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--half", action="store_true", help="float16 for all")
    options = parser.parse_args()
    try:
        network, names, notes = load_weights(options.weights)
        save_weights(options.output, network, names, notes, half=True, int8=not options.half)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    speech = jambatalk.Speech.load((files("jambatalk") / "assets" / "demo.flac").read_bytes())
    before, after = (
        jambatalk.load(path).animate(speech).weights for path in (options.weights, options.output)
    )
    face = default_head()
    gap = 1000.0 * (face.lip_gap(after) - face.lip_gap(before))
    print(
        f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB "
        f"(before {options.weights.stat().st_size / 1e6:.1f}); bundled speech: weights differ by "
        f"{np.sqrt(np.mean((after - before) ** 2)):.4f} (root mean square) and "
        f"{np.abs(after - before).max():.3f} (most), the gap between the lips by "
        f"{np.sqrt(np.mean(gap**2)):.3f} mm and {np.abs(gap).max():.2f} mm"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
