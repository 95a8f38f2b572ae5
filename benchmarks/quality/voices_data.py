"""Make speech with phone times in voices that no training saw, for `evaluate --protocol voices`.

    python benchmarks/quality/voices_data.py CLIPS.jsonl -o out/voices [--voices kal slt rms awb]

Sentences are the texts of CLIPS.jsonl (as data/tts has it: one JSON object a line with "text"),
spoken by Debian's flite (BSD-like licence) and aligned by pocketsphinx (extra align). Writes
audio/ID.flac and clips.jsonl with id, voice, text and phones. Voice kal is for choices, the others
are for tests.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile

from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.datasets.align import Aligner
from jambatalk.errors import InputError
from jambatalk.evaluation.protocols.default_weights import align_stubbornly


def texts_of(path: Path, count: int) -> list[str]:
    """Choose every n-th different text of a clips.jsonl, ``count`` in all."""
    lines = path.read_text(encoding="utf-8").splitlines()
    texts = list(dict.fromkeys(json.loads(line)["text"] for line in lines if line.strip()))
    return texts[:: max(len(texts) // count, 1)][:count]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--voices", nargs="+", default=["kal", "slt", "rms", "awb"])
    parser.add_argument("--sentences", type=int, default=40, help="of each voice")
    options = parser.parse_args()
    try:
        if shutil.which("flite") is None:
            raise InputError("no program flite on this machine: install Debian's package flite")
        aligner = Aligner()
        texts = texts_of(options.clips, options.sentences)
        (options.output / "audio").mkdir(parents=True, exist_ok=True)
        rows = []
        for voice in options.voices:
            for number, text in enumerate(texts):
                name = f"{voice}_{number:03d}"
                with tempfile.TemporaryDirectory() as folder:
                    wav = Path(folder) / "said.wav"
                    command = ["flite", "-voice", voice, "-t", text, "-o", str(wav)]
                    subprocess.run(command, check=True, capture_output=True)
                    samples = Speech.load(wav).samples
                try:
                    phones = align_stubbornly(aligner, samples, text)
                except InputError as error:
                    print(f"{name}: left out, {error}", file=sys.stderr)
                    continue
                audio = options.output / "audio" / f"{name}.flac"
                soundfile.write(audio, samples, SAMPLE_RATE, subtype="PCM_16")
                rows.append({"id": name, "voice": voice, "text": text, "phones": phones})
            print(f"{voice}: {sum(row['voice'] == voice for row in rows)} of {len(texts)}")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (options.output / "clips.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
