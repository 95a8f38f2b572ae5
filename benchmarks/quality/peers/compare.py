"""Measure other open lip-sync programs and jambatalk on the same clips, with the same fit.

    python benchmarks/quality/peers/compare.py prepared/grid --others prepared/others \\
      --speech out/voices --librivox LIBRIVOX --python PEERS_VENV/bin/python -o out/peers [--test]

README.md beside this file says what to install, how each program is driven, and what is fair.
Without --test only validation figures are computed. Outputs are kept in out/peers; what is there is
not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from same_fit import (
    Filmed,
    Fit,
    Output,
    Spoken,
    choose_legible,
    fit_mouth,
    score_filmed,
    score_spoken,
    use_fit,
)

from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.align import SILENT_WORDS, Aligner
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.readers.grid import CODES
from jambatalk.datasets.registry import load_clips, open_corpus
from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import sound_clip
from jambatalk.evaluation.metrics.visemes import VISEMES, mouth_track
from jambatalk.evaluation.protocols.default_weights import align_stubbornly, load_readings
from jambatalk.evaluation.protocols.figures import Figure, Figures
from jambatalk.evaluation.protocols.voices import FPS, load_spoken, make_lead, speech_span
from jambatalk.evaluation.systems import System, open_system
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.text.phones import Timed

Array = NDArray[Any]

HERE = Path(__file__).parent
LEADS = ("none", "zeros 2 s", "-60 dBFS")
RATES = {
    "wlipsync-vowels": 48000,
    "wlipsync-calibrated": 48000,
    "wawa": 48000,
    "headaudio": 24000,
    "rhubarb": SAMPLE_RATE,
    "rhubarb-text": SAMPLE_RATE,
    "pylipsync": SAMPLE_RATE,
    "openfacefx-energy": SAMPLE_RATE,
    "openfacefx-text": SAMPLE_RATE,
    "openfacefx-phones": SAMPLE_RATE,
}
"""The sample rate that each program gets. HeadAudio's features depend on it (it stresses high
frequencies before it resamples), and its model is of a 24 kHz voice.
"""
PYTHON = ("pylipsync", "openfacefx-energy", "openfacefx-text", "openfacefx-phones")
OURS = ("base", "light")
VALIDATION_VOICE = "kal"


@dataclasses.dataclass(frozen=True)
class Sound:
    """A clip as every program gets it.

    Attributes:
        samples: (n,) float32 at 16 kHz.
        text, phones: What is said, for programs that take it.
    """

    id: str
    samples: Array
    text: str = ""
    phones: tuple[Timed, ...] = ()


def text_of(clip: Clip) -> str:
    """Return the words of a GRID clip by its transcript or by its name's six letters."""
    if words := [word.text for word in clip.words if word.text not in SILENT_WORDS]:
        return " ".join(words)
    code = clip.id[-6:]
    if len(code) != 6 or not all(letter in words for words, letter in zip(CODES, code)):
        raise InputError(f"clip {clip.id}: no words, and its name is no GRID sentence")
    return " ".join(words[letter] for words, letter in zip(CODES, code))


def filmed_sounds(
    clips: Sequence[Clip], leads: Sequence[str], aligner: Aligner, face: Face
) -> tuple[list[Sound], list[Filmed]]:
    """Put every lead before every clip, and keep the truth."""
    sounds, truths = [], []
    for number, clip in enumerate(clips):
        span = speech_span(clip)
        if span is None:
            continue
        text = text_of(clip)
        try:
            phones = align_stubbornly(aligner, clip.samples, text)
        except InputError as error:
            raise InputError(f"clip {clip.id}: {error}") from error
        track = mouth_track(clip.weights, face)
        gap = track[:, 0] if clip.gap is None else clip.gap * 1e3
        for lead in leads:
            before = make_lead(lead, np.random.default_rng([7, number]))
            shift = len(before) / SAMPLE_RATE
            name = f"{clip.id}-{lead}".replace(" ", "_")
            moved = tuple(Timed(p.text, p.start + shift, p.end + shift) for p in phones)
            sounds.append(Sound(name, np.concatenate([before, clip.samples]), text, moved))
            truths.append(Filmed(name, lead, round(shift * FPS), span, gap, track[:, 1]))
    return sounds, truths


def spoken_sounds(
    folder: Path, librivox: Path | None
) -> tuple[list[Sound], dict[str, list[Spoken]]]:
    """Read the sentences of voices that no training saw."""
    rows = (folder / "clips.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {row["id"]: row.get("text", "") for row in map(json.loads, rows)}
    voices = load_spoken(folder)
    if librivox is not None:
        voices["LibriVox"] = load_readings(librivox)
        for line in (librivox / "transcription").read_text(encoding="utf-8").splitlines():
            words, _, name = line.strip().rstrip(")").rpartition("(")
            texts[name] = words.replace("<s>", "").replace("</s>", "").strip()
    sounds, spoken = [], {}
    for voice, sentences in voices.items():
        spoken[voice] = [Spoken(s.id, s.phones) for s in sentences]
        sounds += [Sound(s.id, s.samples, texts[s.id], s.phones) for s in sentences]
    return sounds, spoken


def write_job(folder: Path, sounds: Sequence[Sound], rate: int) -> list[dict[str, Any]]:
    """Write the sounds for programs of a rate, and return the entries of their job."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for sound in sounds:
        samples = sound.samples
        if rate != SAMPLE_RATE:
            samples = soxr.resample(samples, SAMPLE_RATE, rate)
        data = np.ascontiguousarray(samples, np.float32).tobytes()
        said = json.dumps([sound.text, sound.phones])
        path = (folder / f"{sound.id}.f32").absolute()
        path.write_bytes(data)
        entries.append(
            {
                "id": sound.id,
                "sha": hashlib.sha256(data + said.encode()).hexdigest()[:16],
                "sound": str(path),
                "text": sound.text,
                "phones": sound.phones,
            }
        )
    return entries


def run_peers(
    out: Path, sounds: Sequence[Sound], kal: Sequence[str], python: Path, peers: Sequence[str]
) -> None:
    """Run every program over the clips for which its output is missing."""
    jobs = {rate: write_job(out / f"sound{rate}", sounds, rate) for rate in {*RATES.values()}}
    profiles = out / "profiles.json"
    if not profiles.exists():
        job = {
            "visemes": VISEMES,
            "clips": [entry for entry in jobs[SAMPLE_RATE] if entry["id"] in kal],
        }
        (out / "kal.json").write_text(json.dumps(job), encoding="utf-8")
        _run([str(python), str(HERE / "run_python.py"), "profiles", out / "kal.json", profiles])
    made = json.loads(profiles.read_text(encoding="utf-8"))
    for rate, clips in jobs.items():
        job = {"rate": rate, "profiles": made, "clips": clips}
        (out / f"job{rate}.json").write_text(json.dumps(job), encoding="utf-8")
    for peer in peers:
        job_file = out / f"job{RATES[peer]}.json"
        program = (
            [str(python), HERE / "run_python.py"] if peer in PYTHON else ["node", HERE / "run.mjs"]
        )
        started = time.monotonic()
        _run([*program, peer, job_file, out / peer])
        print(f"{peer}: {time.monotonic() - started:.0f} s", file=sys.stderr)


def _run(command: Sequence[Any]) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=environment, check=False,
    )  # fmt: skip
    if done.returncode:
        raise InputError(f"{command[1]} {command[2]} ended with: {done.stderr.decode()[-800:]}")


def read_outputs(folder: Path, sounds: Sequence[Sound]) -> dict[str, Output]:
    """Read what a program wrote: clip -> its output."""
    found = {}
    for sound in sounds:
        row = json.loads((folder / f"{sound.id}.json").read_text(encoding="utf-8"))
        weights = np.array(row["weights"], np.float64)
        cpu = row["cpu_seconds"] / row["sound_seconds"]
        found[sound.id] = Output(weights, float(row["rate"]), cpu, row["version"])
    return found


def our_outputs(
    system: System, sounds: Sequence[Sound], face: Face
) -> tuple[dict[str, Output], dict[str, Output]]:
    """Animate every clip.

    Returns:
        The shape weights, and the mouth that they make (``mouth_track``), of each clip.
    """
    shapes, mouths = {}, {}
    system.weights(sound_clip(sounds[0].samples, FPS), face)
    for sound in sounds:
        before = time.process_time()
        weights = system.weights(sound_clip(sound.samples, FPS), face)
        cpu = (time.process_time() - before) / (len(sound.samples) / SAMPLE_RATE)
        shapes[sound.id] = Output(np.asarray(weights, np.float64), FPS, cpu)
        mouths[sound.id] = Output(mouth_track(weights, face), FPS, cpu)
    return shapes, mouths


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grid", type=Path, help="a prepared GRID folder")
    parser.add_argument("--others", type=Path, help="a prepared corpus of other GRID speakers")
    parser.add_argument("--speech", type=Path, required=True, help="of voices_data.py")
    parser.add_argument("--librivox", type=Path)
    parser.add_argument("--python", type=Path, required=True, help="with requirements.txt")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--peers", nargs="*", default=list(RATES), choices=RATES)
    parser.add_argument("--models", nargs="*", default=list(OURS))
    parser.add_argument("--test", action="store_true", help="read the test figures, too")
    options = parser.parse_args()
    try:
        compare(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def compare(options: argparse.Namespace) -> None:
    """Run everything and write table.md and figures.json."""
    face, aligner, out = default_head(), Aligner(), options.output
    sounds, val = filmed_sounds(load_clips(options.grid, "val", face), ["none"], aligner, face)
    filmed: dict[str, list[Filmed]] = {}
    clips = {"s1": load_clips(options.grid, "test_seen", face)}
    clips["others"] = load_clips(options.grid, "test_unseen", face)
    if options.others is not None:
        corpus = open_corpus(options.others)
        clips["others"] += corpus.clips(list(corpus.splits), face)
    for name, group in clips.items():
        more, filmed[name] = filmed_sounds(group, LEADS, aligner, face)
        sounds += more
    more, spoken = spoken_sounds(options.speech, options.librivox)
    sounds += more
    kal = spoken.pop(VALIDATION_VOICE, None)
    if kal is None:
        raise InputError(f"{options.speech} has no sentence of {VALIDATION_VOICE}")
    run_peers(out, sounds, [sentence.id for sentence in kal], options.python, options.peers)

    rows: dict[str, tuple[dict[str, Output], Fit | None]] = {}
    for spec in options.models:
        shapes, mouths = our_outputs(open_system(spec), sounds, face)
        rows[spec] = mouths, None
        rows[f"{spec}, same fit"] = shapes, Fit()
    for peer in options.peers:
        rows[peer] = read_outputs(out / peer, sounds), Fit()
    columns: dict[str, Figures] = {}
    kept: dict[str, Any] = {}
    for name, (outputs, empty) in rows.items():
        fit = None if empty is None else fit_mouth(outputs, val)
        timing = (0.0, 0.0) if fit is None else choose_legible(outputs, kal)
        columns[name] = measure(outputs, fit, timing, val, {VALIDATION_VOICE: kal}, {})
        if options.test:
            columns[name] |= measure(outputs, fit, timing, [], spoken, filmed)
        kept[name] = {
            "version": next(iter(outputs.values())).version,
            "lag_smoothing_s": None if fit is None else [fit.lag, fit.smoothing],
            "legibility_lag_smoothing_s": timing,
            "figures": {key: dataclasses.astuple(f) for key, f in columns[name].items()},
        }
        print(
            f"{name}: lag and smoothing {kept[name]['lag_smoothing_s']}, {timing}", file=sys.stderr
        )
    text = tables(columns)
    (out / "table.md").write_text(text + "\n", encoding="utf-8")
    (out / "figures.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False))
    print(text)


def measure(
    outputs: Mapping[str, Output],
    fit: Fit | None,
    timing: tuple[float, float],
    val: Sequence[Filmed],
    spoken: Mapping[str, Sequence[Spoken]],
    filmed: Mapping[str, Sequence[Filmed]],
) -> Figures:
    """Measure one row of the table."""
    figures: Figures = {}
    mouths = {
        name: Output(output.rows[:, :2], output.rate) if fit is None else use_fit(output, fit)
        for name, output in outputs.items()
    }
    if val:
        found = score_filmed(mouths, val)
        figures |= {f"s1, validation: {key}": value for key, value in found.items()}
    for name, truths in filmed.items():
        figures |= {f"{name}: {key}": f for key, f in score_filmed(mouths, truths).items()}
    flite = [sentences for voice, sentences in spoken.items() if voice != "LibriVox"]
    groups = {"flite, validation" if val else "flite": flite}
    groups |= {"LibriVox": [spoken["LibriVox"]]} if "LibriVox" in spoken else {}
    for name, voices in groups.items():
        found = score_spoken(outputs, voices, timing)
        figures |= {f"{name}: {key}": value for key, value in found.items()}
        found = score_spoken(mouths, voices, (0.0, 0.0))
        figures[f"{name}: legibility of opening and width"] = found["legibility"]
    cpu = [output.cpu for output in outputs.values()]
    figures["seconds of CPU for a second of sound"] = Figure(float(np.mean(cpu)), count=len(cpu))
    return figures


def tables(rows: Mapping[str, Figures]) -> str:
    """Write a Markdown table for each group of figures, with a row for each program."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for figures in rows.values() for name in figures):
        groups.setdefault(name.partition(": ")[0], []).append(name)
    lines = []
    for group, names in groups.items():
        titles = [name.removeprefix(f"{group}: ") for name in names]
        lines += ["", f"| {group} | " + " | ".join(titles) + " |", "|---" * (len(names) + 1) + "|"]
        for row, figures in rows.items():
            cells = []
            for found in (figures.get(name, Figure(float("nan"))) for name in names):
                digits = 3 if np.isnan(found.low) else 2
                interval = f" [{found.low:.2f}, {found.high:.2f}]" if digits == 2 else ""
                cells.append(
                    "–" if np.isnan(found.value) else f"{found.value:.{digits}f}{interval}"
                )
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines[1:])


if __name__ == "__main__":
    sys.exit(main())
