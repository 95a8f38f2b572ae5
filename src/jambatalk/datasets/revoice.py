"""Recorded sentences spoken by other voices at the times of the recording: the motion of the face
stays true, the voice is another one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from jambatalk.errors import InputError

TEST_VOICES = ("jf_alpha", "am_onyx", "bm_lewis", "af_nicole", "bf_isabella")
"""Kept out of every clip: voices that nothing learned from, two men and three women, American,
British and Japanese. jf_alpha is also kept out of the corpus of synthetic voices.
"""

VALIDATION_VOICES = ("am_fenrir", "af_kore")
"""Speak the validation split and nothing else."""


def voices_for(clip: str, seed: int, count: int, packs: Sequence[str]) -> tuple[str, ...]:
    """The voices of a clip: ``count`` of ``packs``, as many men as women, one more of either when
    the count is odd; the same for the same id and seed, in whatever order clips are made.

    packs: named as Kokoro does, the second letter m for men, f for women. TEST_VOICES are never
    chosen. InputError when there are too few.
    """
    usable = sorted(set(packs) - set(TEST_VOICES))
    sexes = [[pack for pack in usable if pack[1:2] == sex] for sex in "mf"]
    rng = np.random.default_rng([seed, zlib.crc32(clip.encode())])
    if rng.random() < 0.5:
        sexes.reverse()
    wanted = (count - count // 2, count // 2)
    if any(len(one) < number for one, number in zip(sexes, wanted)):
        raise InputError(
            f"{count} voices a clip, half of them men, from {len(usable)} that are not kept for "
            f"tests ({', '.join(f'{len(one)} {one[0][1]}' for one in sexes if one) or 'none'}): "
            "expected fewer voices a clip or more packs"
        )
    drawn = [list(rng.permutation(one)[:number]) for one, number in zip(sexes, wanted)]
    return tuple(str(name) for name in rng.permutation([name for one in drawn for name in one]))
