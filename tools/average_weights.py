"""Weights between those before and after a stage of training: python tools/average_weights.py
BEFORE AFTER --share 0.6 -o OUT.

share: of AFTER. What fine-tuning on broader data gains is mostly kept, and less is lost of what was
known before (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). AFTER must have been
begun with BEFORE (jambatalk train --init); the averaging takes place in AFTER's units, and what
only AFTER has (styles, contact) is AFTER's.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

import torch

from jambatalk.atomic import file_sha256
from jambatalk.errors import InputError
from jambatalk.models.checkpoint import load_weights, save_weights
from jambatalk.training.task import initialize_network


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--share", type=float, default=0.6, help="of AFTER, 0 to 1")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        if not 0.0 <= options.share <= 1.0:
            raise InputError(f"share is {options.share}, expected 0 to 1")
        after, names, notes = load_weights(options.after)
        before = copy.deepcopy(after)
        initialize_network(options.before, before, names)
        with torch.no_grad():
            for name, value in after.state_dict().items():
                value.lerp_(before.state_dict()[name], 1.0 - options.share)
        notes |= {"averaged": {"with": file_sha256(options.before), "share": options.share}}
        save_weights(options.out, after, names, notes, half=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {options.share:g} of {options.after}, the rest of {options.before}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
