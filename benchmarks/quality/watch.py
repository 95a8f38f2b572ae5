"""Render what there is to listen to and look at: a video with sound and a sheet of pictures for
each of several sounds.

    python benchmarks/quality/watch.py [MODEL] -o out/watch [--librivox DIR] [--facegood DIR] [--tts
    FILE] [--no-video]

LibriVox sentences (as in jambatalk evaluate --protocol default); a synthesised voice (--tts: a
recording, its phones from ``clips.jsonl`` one folder up when that names it); Mandarin (FACEGOOD's
held-out clip); a whisper, a song and slow speech, made out of the first LibriVox sentence (see
benchmarks/quality/made_sounds.py); pink noise; plucked chords with a drum. A sheet shows the mouth
at even times with the phone spoken, in ARPAbet letters. Where phones are known a second sheet shows
every /p b m/ at its smallest gap and every open vowel in its middle, each with the gap in
millimetres.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import jambatalk
from jambatalk.audio import Speech
from jambatalk.audio.noise import coloured_noise
from jambatalk.errors import InputError
from jambatalk.evaluation.protocols.default_weights import HELD_OUT, load_readings
from jambatalk.face.face import Face
from jambatalk.motion import Motion
from jambatalk.render import Camera, Renderer, contact_sheet, frame_face, save_png
from jambatalk.text.phones import ARPABET, BILABIALS, OPEN_VOWELS, SILENCE, Timed, tidy
from made_sounds import RATE, music, slowed, sung, whisper

LETTERS = {phone: symbol for symbol, phone in ARPABET.items()} | {
    "ə": "AX",
    "ɨ": "IX",
    "ɾ": "DX",
    "e": "E",
    "a": "A",
    "o": "O",
}
MANDARIN_SECONDS = 12.0
SONG_PACE = 2.0
MOUTH_METRES = 0.105  # from the nose to the chin


@dataclass(frozen=True)
class Case:
    """Something to watch. phones: as far as known."""

    name: str
    samples: np.ndarray
    phones: tuple[Timed, ...] = ()


def tts_case(path: Path) -> Case:
    """A recording, with its phones when the corpus beside it knows them."""
    index, phones = path.parent.parent / "clips.jsonl", ()
    if index.is_file():
        for line in index.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row.get("id") == path.stem and "phones" in row:
                phones = tidy(row["phones"])
    return Case(f"voice-{path.stem}", Speech.load(path).samples, phones)


def cases(librivox: Path | None, facegood: Path | None, tts: Sequence[Path]) -> list[Case]:
    found: list[Case] = []
    if librivox is not None:
        found += [
            Case(f"librivox-{r.id.split('-')[-1]}", r.samples, r.phones)
            for r in load_readings(librivox)
        ]
        first = found[0]
        found.append(Case("whisper", whisper(first.samples), first.phones))
        later = tuple(
            Timed(text, SONG_PACE * start, SONG_PACE * end) for text, start, end in first.phones
        )
        found.append(Case("song", sung(first.samples, SONG_PACE), later))
        found.append(Case("slow", slowed(first.samples, SONG_PACE), later))
    found += [tts_case(path) for path in tts]
    if facegood is not None:
        mandarin = Speech.load(facegood / f"{HELD_OUT}.flac").samples
        found.append(Case("mandarin", mandarin[: round(MANDARIN_SECONDS * RATE)]))
    noise = coloured_noise(5 * RATE, 1.0, np.random.default_rng(0))
    found.append(Case("noise", (0.03 * noise / noise.std()).astype(np.float32)))
    found.append(Case("music", music(6.0)))
    return found


def mouth_camera(face: Face) -> Camera:
    """The portrait camera, near the mouth."""
    x, y, z = (float(value) for value in face.vertices[face.regions["lips"]].mean(0))
    return frame_face(face).closer((x, y - 0.012, z), MOUTH_METRES)


def spoken_at(phones: Sequence[Timed], time: float) -> str:
    """The phone in ARPAbet letters, "-" in a pause, "" when nothing is known."""
    phone = next((p.text for p in phones if p.start <= time < p.end), SILENCE if phones else "")
    return "-" if phone == SILENCE else LETTERS.get(phone, phone)


def even_sheet(
    motion: Motion, phones: Sequence[Timed], renderer: Renderer, count: int
) -> np.ndarray:
    """(H, W, 3) uint8: the mouth at ``count`` even times."""
    assert motion.weights is not None
    frames = np.linspace(0, len(motion) - 1, min(count, len(motion))).round().astype(int)
    images = [renderer.render(renderer.face.pose(motion.weights[t])) for t in frames]
    labels = [f"{t / motion.fps:.2f} {spoken_at(phones, t / motion.fps)}".strip() for t in frames]
    return contact_sheet(images, labels, 8)


def contact_moments(motion: Motion, phones: Sequence[Timed], face: Face) -> list[tuple[int, str]]:
    """(frame, label) of every bilabial's smallest gap and every open vowel's middle."""
    assert motion.weights is not None
    gap, fps, found = face.lip_gap(motion.weights) * 1e3, motion.fps, []
    for phone, start, end in phones:
        first, last = (min(round(time * fps), len(motion) - 1) for time in (start, end))
        if phone in BILABIALS:
            frame = first + int(np.argmin(gap[first : last + 1]))
        elif phone in OPEN_VOWELS:
            frame = (first + last) // 2
        else:
            continue
        found.append((frame, f"{LETTERS[phone]} {frame / fps:.2f} {gap[frame]:.1f}mm"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", help="weights; default: those that ship")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for the videos and sheets"
    )
    parser.add_argument("--librivox", type=Path)
    parser.add_argument("--facegood", type=Path)
    parser.add_argument(
        "--tts",
        type=Path,
        action="append",
        default=[],
        help="a recording; may be given several times",
    )
    parser.add_argument("--size", type=int, default=384, help="pixels of a video's side")
    parser.add_argument("--no-video", action="store_true", help="sheets alone")
    options = parser.parse_args()
    try:
        talker = jambatalk.load(options.model)
        face = talker.face
        if face is None:
            raise InputError(
                "these weights move vertices, not shapes of a face: there is no face to watch"
            )
        options.output.mkdir(parents=True, exist_ok=True)
        renderer = Renderer(face, (160, 128), camera=mouth_camera(face))
        for case in cases(options.librivox, options.facegood, options.tts):
            motion = replace(talker.animate(Speech(case.samples)), face=face)
            assert motion.weights is not None
            gap = face.lip_gap(motion.weights) * 1e3
            print(
                f"{case.name:28} {motion.seconds:5.1f} s, gap mean {gap.mean():5.2f} mm, 95 % "
                f"{np.percentile(gap, 95):5.2f} mm"
            )
            save_png(
                even_sheet(motion, case.phones, renderer, 40), options.output / f"{case.name}.png"
            )
            if moments := contact_moments(motion, case.phones, face):
                images = [renderer.render(face.pose(motion.weights[frame])) for frame, _ in moments]
                sheet = contact_sheet(images, [label for _, label in moments], 8)
                save_png(sheet, options.output / f"{case.name}-contact.png")
            if not options.no_video:
                motion.save(options.output / f"{case.name}.mp4", size=(options.size, options.size))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
