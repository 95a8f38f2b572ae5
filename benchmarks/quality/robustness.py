"""What noise, level and repetition do to the lip gap of the demo clip: python
benchmarks/quality/robustness.py [MODEL].

Prints the figures that the model card gives under its limits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import jambatalk
from jambatalk.audio import Speech
from jambatalk.talker import Talker

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"
SECOND = 25  # frames


def gap_mm(talker: Talker, samples: np.ndarray) -> np.ndarray:
    """(T,) inner-lip gap in millimetres."""
    weights = talker.animate(Speech(samples.astype(np.float32))).weights
    assert weights is not None
    return talker.face.lip_gap(weights) * 1000


def alone(name: str, gap: np.ndarray) -> None:
    """Gap and tremble after the first second."""
    rest = gap[SECOND:]
    tremble = np.abs(np.diff(rest)).mean()
    print(
        f"{name:34} mean {rest.mean():5.2f} mm, 95 % {np.percentile(rest, 95):5.2f}, tremble "
        f"{tremble:5.3f} mm a frame"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="weights; default: those that ship")
    talker = jambatalk.load(parser.parse_args().model)
    rng = np.random.default_rng(0)
    speech = Speech.load(DEMO).samples
    clean = gap_mm(talker, speech)

    def likeness(samples: np.ndarray) -> float:
        return float(np.corrcoef(gap_mm(talker, samples)[: len(clean)], clean)[0, 1])

    alone("demo speech", clean)
    alone("10 s of digital silence", gap_mm(talker, np.zeros(160000)))
    white = rng.standard_normal(160000)
    for level in (0.0005, 0.003, 0.02, 0.1):
        alone(
            f"10 s of white noise at {20 * np.log10(level):.0f} dBFS", gap_mm(talker, white * level)
        )
    brown = np.cumsum(rng.standard_normal(160000))
    brown -= np.convolve(brown, np.ones(1600) / 1600, "same")
    alone("10 s of brown noise at -30 dBFS", gap_mm(talker, brown / brown.std() * 0.03))
    after = np.concatenate([speech, np.zeros(64000, np.float32)])
    print(
        "silence after speech: largest gap in the last 3 s "
        f"{gap_mm(talker, after)[-75:].max():.2f} mm"
    )
    noisy = after + rng.standard_normal(len(after)) * 0.003
    print(
        "noise at -50 dBFS after speech: largest gap in the last 3 s "
        f"{gap_mm(talker, noisy)[-75:].max():.2f} mm"
    )
    for snr in (30, 20, 10):
        noise = rng.standard_normal(len(speech)) * speech.std() * 10 ** (-snr / 20)
        print(
            f"white noise {snr} dB below the speech: correlation with the clean gap "
            f"{likeness(speech + noise):.3f}"
        )
    for level_db in (-30, -12, 6):
        print(
            f"level {level_db:+d} dB: correlation "
            f"{likeness(np.clip(speech * 10 ** (level_db / 20), -1, 1)):.3f}"
        )
    twice = gap_mm(talker, np.concatenate([speech[: len(speech) // 640 * 640]] * 2))
    count = len(speech) // 640
    again = twice[count : 2 * count]
    error = np.sqrt(np.mean((again - clean[:count]) ** 2))
    print(
        f"heard a second time: correlation {np.corrcoef(again, clean[:count])[0, 1]:.3f}, "
        f"{error:.2f} mm apart (RMS)"
    )


if __name__ == "__main__":
    main()
