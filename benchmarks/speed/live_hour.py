"""An hour of speech through one session: memory, drift, and what lost and late packets do.

    python benchmarks/speed/live_hour.py [--minutes 60] [--json out/live_hour.json]

The demo clip again and again at 16 kHz in packets of 40 ms with indices: once whole, once with 5 %
of the packets lost and 10 % late by 20 to 240 ms. Drift is the shift of the last minute's jawOpen
against the first's that fits best, to a tenth of a frame; the correlation is that of the damaged
stream with the whole one over the last minute. Resident memory, after the first minute and at the
end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import jambatalk
from jambatalk.atomic import write_json
from jambatalk.audio import Speech
from jambatalk.talker import Talker

DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"
PACKET = 640


def resident_mb() -> float:
    """This process's memory now (Linux; elsewhere nan)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096 / 1e6
    except OSError:
        return float("nan")


def streamed(
    talker: Talker, sound: np.ndarray, packets: int, damaged: bool
) -> tuple[np.ndarray, float, float, dict[str, float]]:
    """(jawOpen of every frame, MB after a minute, MB at the end, seconds lost and late) of an
    endless repetition.
    """
    rng = np.random.default_rng(0)
    session, jaw = talker.stream(), talker.names.index("jawOpen")
    waiting: list[tuple[float, int]] = []
    made: list[float] = []
    early = 0.0
    for k in range(packets):
        if not (damaged and k > 2 and rng.random() < 0.05):
            waiting.append(
                (
                    k
                    + (rng.uniform(0.5, 6.0) if damaged and k > 2 and rng.random() < 0.10 else 0.0),
                    k,
                )
            )
        waiting.sort()
        while waiting and waiting[0][0] <= k:
            at = waiting.pop(0)[1] * PACKET
            first = at % len(sound)
            made += [
                float(frame.weights[jaw])
                for frame in session.push(sound[first : first + PACKET], at)
            ]
        if k == 60 * 25:
            early = resident_mb()
    losses = session.losses
    late = resident_mb()
    made += [float(frame.weights[jaw]) for frame in session.flush()]
    return np.array(made), early, late, {"lost": losses.lost / 16000, "late": losses.late / 16000}


def shift(a: np.ndarray, b: np.ndarray, period: float) -> float:
    """Milliseconds by which b lags behind a, both of the same sound, by the best correlation within
    one second.
    """
    fine = np.arange(0, len(a) - 1, 0.1)
    fa, fb = np.interp(fine, np.arange(len(a)), a), np.interp(fine, np.arange(len(b)), b)
    lags = range(-250, 251)
    fits = [np.corrcoef(fa[250:-250], fb[250 + lag : len(fb) - 250 + lag])[0, 1] for lag in lags]
    return 1000 * lags[int(np.argmax(fits))] * 0.1 * period


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", type=Path, default=Path("out/live_hour.json"))
    options = parser.parse_args()
    talker, sound = jambatalk.load(), Speech.load(DEMO).samples
    sound = sound[: len(sound) // PACKET * PACKET]
    packets, period = int(options.minutes * 60 * 25), len(sound) // PACKET
    rows, whole = {}, np.zeros(0)
    columns = ("frames", "owed", "MB at 1 min", "MB at end", "drift ms", "lost s", "late s", "r")
    print(f"{'':12}" + "".join(f"{column:>12}" for column in columns))
    for name, damaged in (("whole", False), ("damaged", True)):
        jaw, early, late, losses = streamed(talker, sound, packets, damaged)
        minute = 60 * 25
        begin = (len(jaw) - minute) // period * period
        drift = shift(jaw[period : period + minute], jaw[begin : begin + minute][:minute], 1 / 25)
        whole = whole if damaged else jaw
        r = float(np.corrcoef(jaw[-minute:], whole[: len(jaw)][-minute:])[0, 1])
        values = (
            f"{early:.1f}",
            f"{late:.1f}",
            f"{drift:.1f}",
            f"{losses['lost']:.1f}",
            f"{losses['late']:.1f}",
            f"{r:.3f}",
        )
        print(
            f"{name:12}{len(jaw):12d}{packets:12d}" + "".join(f"{value:>12}" for value in values),
            flush=True,
        )
        rows[name] = {
            "frames": len(jaw),
            "owed": packets,
            "mb_early": early,
            "mb_end": late,
            "drift_ms": drift,
            "r": r,
        } | losses
    write_json(options.json, rows)


if __name__ == "__main__":
    main()
