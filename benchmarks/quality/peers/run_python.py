"""Run one peer of PyPI over clips and write its visemes over time.

    PEERS_VENV/bin/python run_python.py PEER CLIPS.json OUT

In an environment of its own with requirements.txt, without jambatalk. CLIPS.json and OUT are as in
run.mjs; clips also have "phones" [[IPA, start s, end s], …]. PEER "profiles" writes OUT, a file:
profiles for wLipSync, see make_profiles.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 60
"""Rows a second."""
SOUND_RATE = 16000
WINDOW = 1024
"""Samples that uLipSync looks at (64 ms), and templates of each class in a calibrated profile."""
TEMPLATES = 16

Rows = tuple[list[str], np.ndarray]


def pylipsync() -> Callable[[dict[str, Any], np.ndarray], Rows]:
    from pylipsync import PhonemeAnalyzer

    analyzer = PhonemeAnalyzer()

    def run(clip: dict[str, Any], samples: np.ndarray) -> Rows:
        segments = analyzer.extract_phoneme_segments(samples, SOUND_RATE, fps=RATE)
        names = [phoneme.name for phoneme in segments[0].phonemes]
        rows = [[phoneme.target for phoneme in segment.phonemes] for segment in segments]
        # Its hop is a whole number of samples, so its rows come a little faster than it says.
        hop = SOUND_RATE // RATE
        at = np.arange(len(samples) / SOUND_RATE * RATE) / RATE * SOUND_RATE / hop
        found = np.array(rows)
        return names, np.stack([np.interp(at, np.arange(len(found)), c) for c in found.T], 1)

    return run


def openfacefx(kind: str) -> Callable[[dict[str, Any], np.ndarray], Rows]:
    from openfacefx import generate_from_alignment, generate_from_energy, generate_naive
    from openfacefx.aligners_acoustic import from_phone_timestamps
    from openfacefx.visemes import VISEMES

    def run(clip: dict[str, Any], samples: np.ndarray) -> Rows:
        seconds = len(samples) / SOUND_RATE
        if kind == "energy":
            with tempfile.TemporaryDirectory() as folder:
                wav = f"{folder}/clip.wav"
                soundfile.write(wav, samples, SOUND_RATE, subtype="PCM_16")
                track = generate_from_energy(wav)
        elif kind == "text":
            track = generate_naive(clip["text"], seconds)
        else:
            spoken = [(s, e, SPELLING.get(p, p)) for p, s, e in clip["phones"] if p != "sil"]
            track = generate_from_alignment(from_phone_timestamps(spoken))
        times = np.arange(seconds * RATE) / RATE
        rows = np.zeros((len(times), len(VISEMES)))
        for channel in track.channels:
            if channel.name in VISEMES and channel.keys:
                keys = [(key.time, key.value) for key in channel.keys]
                rows[:, list(VISEMES).index(channel.name)] = np.interp(times, *zip(*keys))
        return list(VISEMES), rows

    return run


SPELLING = {"ʧ": "tʃ", "ʤ": "dʒ", "ɡ": "g"}
"""IPA as OpenFaceFX spells it."""


def make_profiles(job: dict[str, Any]) -> dict[str, Any]:
    """Make wLipSync's profiles, which its package lacks.

    "vowels": the templates that pyLipSync ships (A E I O U and silence, a woman's voice).
    "calibrated": templates of every viseme at the centres of a validation voice's phones, as the
    manual of uLipSync asks its users to record them.

    Returns:
        Name -> a profile as uLipSync exports it.
    """
    import pylipsync
    from pylipsync.utils import compute_mfcc

    path = Path(pylipsync.__file__).parent / "phonemes" / "template.json"
    vowels = json.loads(path.read_text(encoding="utf-8"))["phonemes"]
    found: dict[str, list[list[float]]] = {}
    for clip in job["clips"]:
        samples = np.fromfile(clip["sound"], np.float32)
        for phone, start, end in clip["phones"]:
            viseme = next((v for v in job["visemes"] if phone in v.split()), None)
            at = round((start + end) / 2 * SOUND_RATE) - WINDOW // 2
            if viseme is not None and at >= 0 and at + WINDOW <= len(samples):
                mfcc = compute_mfcc(samples[at : at + WINDOW], SOUND_RATE)
                found.setdefault(viseme, []).append(mfcc)
    chosen = {}
    for viseme, templates in found.items():
        at = np.linspace(0, len(templates) - 1, TEMPLATES).round().astype(int)
        chosen[viseme] = [templates[n] for n in at]
    return {"vowels": profile(vowels), "calibrated": profile(chosen)}


def profile(templates: dict[str, list[list[float]]]) -> dict[str, Any]:
    """Write templates of 12 coefficients as uLipSync exports a profile."""
    entries = [
        {"name": name, "mfccCalibrationDataList": [{"array": array} for array in arrays]}
        for name, arrays in templates.items()
    ]
    return {
        "targetSampleRate": SOUND_RATE,
        "sampleCount": WINDOW,
        "melFilterBankChannels": 26,
        "compareMethod": 2,  # cosine similarity, the default of both
        "mfccNum": 12,
        "mfccDataCount": len(next(iter(templates.values()))),
        "useStandardization": True,
        "mfccs": entries,
    }


PEERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "pylipsync": ("pylipsync", pylipsync),
    "openfacefx-energy": ("openfacefx", lambda: openfacefx("energy")),
    "openfacefx-text": ("openfacefx", lambda: openfacefx("text")),
    "openfacefx-phones": ("openfacefx", lambda: openfacefx("phones")),
}


def main() -> int:
    if len(sys.argv) != 4 or sys.argv[1] not in (*PEERS, "profiles"):
        print(f"usage: run_python.py {'|'.join(PEERS)}|profiles CLIPS.json OUT", file=sys.stderr)
        return 2
    name, job_path, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    job = json.loads(job_path.read_text(encoding="utf-8"))
    if name == "profiles":
        out.write_text(json.dumps(make_profiles(job)), encoding="utf-8")
        return 0
    out.mkdir(parents=True, exist_ok=True)
    package, make = PEERS[name]
    run = None
    for clip in job["clips"]:
        path = out / f"{clip['id']}.json"
        if path.exists() and json.loads(path.read_text(encoding="utf-8"))["sha"] == clip["sha"]:
            continue
        samples = np.fromfile(clip["sound"], np.float32)
        if run is None:
            run = make()
            run(clip, samples)  # compiles and caches
        before = time.process_time()
        names, weights = run(clip, samples)
        found = {
            "sha": clip["sha"],
            "version": version(package),
            "names": names,
            "rate": RATE,
            "cpu_seconds": time.process_time() - before,
            "sound_seconds": len(samples) / SOUND_RATE,
            "weights": np.round(weights, 4).tolist(),
        }
        path.write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
