"""Fit how visemes are read off ARKit's shapes, and measure it on voices that nothing was fitted on.

    python tools/fit_shape_sets.py TTS VOICES [--librivox FOLDER] -o
        src/jambatalk/assets/shape_sets.npz

TTS: synthetic voices with phone times (``jambatalk data prepare tts`` reads it). VOICES: what
``benchmarks/quality/voices_data.py`` wrote: kal chooses the penalty, the others are the test.
FOLDER: ID.wav files with their ``transcription`` (Debian's pocketsphinx-testdata). The networks
that ship speak every sentence; frames in the middle half of each phone are the examples, each class
with the same weight. Prints the tables of docs/reference/shape-sets.md. Seeded; the same data give
the same file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import jambatalk
from jambatalk.atomic import atomic_write
from jambatalk.audio import Speech
from jambatalk.datasets.articulation import spoken_part
from jambatalk.datasets.readers.tts import read_entries
from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.visemes import mouth_track
from jambatalk.evaluation.protocols.default_weights import load_readings
from jambatalk.evaluation.protocols.voices import load_spoken
from jambatalk.face.head import default_head
from jambatalk.face.shape_sets import (
    MICROSOFT,
    OCULUS,
    VRM,
    ShapeConverter,
    _microsoft,
    _oculus,
    fitted,
)
from jambatalk.text.phones import SILENCE, Timed

Array = NDArray[Any]
Clip = tuple[Array, Sequence[Timed]]

NETWORKS = ("base", "light")
PENALTIES = (1e-4, 3e-5, 1e-5, 3e-6)
CLIPS = 400  # of TTS
CHOSEN_ON = "kal"
AMOUNT_OF_VOWELS = 0.75  # at least, of a vowel at its fullest


def classes(groups: Sequence[str]) -> dict[str, int]:
    return {phone: k for k, phones in enumerate(groups) for phone in phones.split()}


def examples(
    clips: Sequence[Clip], classed: dict[str, int], places: Sequence[float]
) -> tuple[Array, Array]:
    """Frames at these places of each phone (0.5: its centre), and their classes."""
    weights, labels = [], []
    for motion, phones in clips:
        for phone, start, end in map(spoken_part, phones):
            label = 0 if phone == SILENCE else classed.get(phone)
            if label is None:
                continue
            times = start + (end - start) * np.array(places)
            for frame in np.unique(np.clip(np.round(times * 25), 0, len(motion) - 1).astype(int)):
                weights.append(motion[frame])
                labels.append(label)
    return np.array(weights, np.float64), np.array(labels)


def fit(weights: Array, labels: Array, count: int, penalty: float) -> tuple[Array, Array]:
    """Multinomial logistic regression, each class with the same weight."""
    x, y = torch.tensor(weights), torch.tensor(labels)
    each = 1.0 / torch.bincount(y, minlength=count).clamp(min=20).double()
    matrix = torch.zeros(x.shape[1], count, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(count, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([matrix, bias], max_iter=400, line_search_fn="strong_wolfe")

    def loss() -> Any:
        search.zero_grad()
        found = torch.nn.functional.cross_entropy(x @ matrix + bias, y, weight=each / each.mean())
        found = found + penalty * (matrix**2).sum()
        found.backward()
        return found

    search.step(loss)
    return matrix.detach().numpy(), bias.detach().numpy()


def rate(found: Array, labels: Array) -> float:
    """Mean over the classes of how often the most probable one is right."""
    return float(np.mean([(found[labels == k].argmax(1) == k).mean() for k in np.unique(labels)]))


def vrm_matrix(weights: Array, labels: Array, found: Array) -> Array:
    """(15, 5): how much of each vowel a viseme is."""
    vowels = [list(OCULUS).index(name) for name in VRM.values()]
    gap = mouth_track(weights, default_head())[:, 0]
    opened = np.array([np.median(gap[labels == k]) for k in range(len(OCULUS))])
    opened = np.clip(opened / opened[vowels[0]], 0.0, 1.0)
    matrix = np.zeros((len(OCULUS), len(vowels)))
    for k in range(2, len(OCULUS)):  # sil and PP are no vowel
        if k in vowels:
            matrix[k, vowels.index(k)] = max(opened[k], AMOUNT_OF_VOWELS)
        else:
            shares = found[labels == k][:, vowels].mean(0)
            matrix[k] = opened[k] * shares / shares.sum()
    return matrix


def shut_rate(clips: Sequence[Clip], to_vrm: ShapeConverter) -> float:
    """How often the vowels leave the mouth shut in some frame of a bilabial."""
    found = []
    for motion, phones in clips:
        amount = to_vrm(motion)[:, :5].sum(1)
        for phone, start, end in map(spoken_part, phones):
            if phone in OCULUS["PP"].split():
                frames = slice(int(start * 25), int(np.ceil(end * 25)) + 1)
                found.append(amount[frames].min(initial=1.0) < 0.2)
    return float(np.mean(found))


def spoken(tts: Path, voices: Path, librivox: Path | None) -> dict[str, dict[str, list[Clip]]]:
    """Network -> voice -> (weights, phones) of each sentence."""
    entries, _ = read_entries(tts / "clips.jsonl")
    order = np.random.default_rng(0).permutation(len(entries))[:CLIPS]
    sounds = {
        "tts": [
            (Speech.load(tts / "audio" / f"{entries[i].id}.flac").samples, entries[i].phones)
            for i in order
        ]
    }
    for voice, rows in load_spoken(voices).items():
        sounds[voice] = [(row.samples, row.phones) for row in rows]
    if librivox is not None:
        sounds["librivox"] = [(row.samples, row.phones) for row in load_readings(librivox)]
    found: dict[str, dict[str, list[Clip]]] = {}
    for name in NETWORKS:
        talker = jambatalk.load(name)
        found[name] = {
            voice: [(np.array(talker.animate(Speech(one)).weights), phones) for one, phones in rows]
            for voice, rows in sounds.items()
        }
        print(f"{name}: {', '.join(f'{v} {len(rows)}' for v, rows in found[name].items())}")
    return found


def report(found: dict[str, dict[str, list[Clip]]]) -> None:
    """Print the tables, with the map that is in use."""
    oculus, vowels = list(OCULUS), list(VRM)
    classed = classes(list(OCULUS.values()))
    to_vrm = ShapeConverter(default_head().names, "vrm")
    for network, voices in found.items():
        print(f"\n{network}: right of visemes, PP, FF, Microsoft's ids, vowels aa ih ou ee oh;")
        print("share of the frames that each vowel leads; shut at p b m")
        for voice, clips in voices.items():
            weights, labels = examples(clips, classed, (0.5,))
            seen = _oculus(weights, fitted())
            ids, id_labels = examples(clips, classes(MICROSOFT), (0.5,))
            right = rate(_microsoft(ids, fitted()), id_labels)
            at = {name: labels == oculus.index(name) for name in oculus}
            hit = {
                n: float((seen[at[n]].argmax(1) == oculus.index(n)).mean()) for n in ("PP", "FF")
            }
            vrm = to_vrm(weights)[:, :5]
            each = [
                float((vrm[at[VRM[name]]].argmax(1) == k).mean()) for k, name in enumerate(vowels)
            ]
            every = np.concatenate([to_vrm(motion)[:, :5] for motion, _ in clips])
            open_frames = every[every.sum(1) > 0.2]
            shares = np.bincount(open_frames.argmax(1), minlength=5) / len(open_frames)
            shut = shut_rate(clips, to_vrm)
            print(
                f"| {voice} | {rate(seen, labels):.2f} | {hit['PP']:.2f} | {hit['FF']:.2f} "
                f"| {right:.2f} | {' '.join(f'{v:.2f}' for v in each)} "
                f"| {' '.join(f'{v:.2f}' for v in shares)} | {shut:.2f} |"
            )
    clips = [
        clip
        for voice, rows in found["base"].items()
        if voice not in ("tts", CHOSEN_ON)
        for clip in rows
    ]
    weights, labels = examples(clips, classed, (0.5,))
    seen = _oculus(weights, fitted()).argmax(1)
    print("\nbase, all test voices: said (rows), read (columns), per cent")
    print("| |" + "|".join(oculus) + "|")
    for k, name in enumerate(oculus):
        row = np.bincount(seen[labels == k], minlength=len(oculus)) / max((labels == k).sum(), 1)
        print(f"| {name} |" + "|".join(f"{100 * v:.0f}" if v >= 0.005 else "" for v in row) + "|")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tts", type=Path)
    parser.add_argument("voices", type=Path)
    parser.add_argument("--librivox", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        found = spoken(options.tts, options.voices, options.librivox)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    head = default_head()
    assert head.gap_vertices is not None
    top, bottom = head.gap_vertices
    arrays = {"gap": 1e3 * (head.basis[:, top, 1] - head.basis[:, bottom, 1])}
    for kind, groups in (("oculus", list(OCULUS.values())), ("microsoft", list(MICROSOFT))):
        classed = classes(groups)
        parts = [examples(found[n]["tts"], classed, (0.25, 0.5, 0.75)) for n in NETWORKS]
        weights = np.concatenate([part[0] for part in parts])
        labels = np.concatenate([part[1] for part in parts])
        tried = {}
        for penalty in PENALTIES:
            matrix, bias = fit(weights, labels, len(groups), penalty)
            rates = []
            for network in NETWORKS:
                at, said = examples(found[network][CHOSEN_ON], classed, (0.5,))
                rates.append(rate(at @ matrix + bias, said))
            tried[penalty] = (float(np.mean(rates)), matrix, bias)
            print(f"{kind}: penalty {penalty:g}: {tried[penalty][0]:.3f} on {CHOSEN_ON}")
        _, matrix, bias = max(tried.values(), key=lambda one: one[0])
        arrays |= {f"{kind}_weight": matrix, f"{kind}_bias": bias}
        if kind == "oculus":
            arrays["vrm"] = vrm_matrix(weights, labels, _oculus(weights, arrays))
    with atomic_write(options.output) as temporary:
        np.savez(temporary, **{name: value.astype(np.float32) for name, value in arrays.items()})
    fitted.cache_clear()
    report(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
