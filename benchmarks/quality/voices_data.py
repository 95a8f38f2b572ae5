"""Make speech with phone times in voices that no training saw, for `evaluate --protocol voices`.

    python benchmarks/quality/voices_data.py CLIPS.jsonl -o out/voices [--voices kal slt rms awb]
    python benchmarks/quality/voices_data.py --languages -o out/languages

The first line speaks the texts of CLIPS.jsonl (as data/tts has it: one JSON object a line with
"text") with Debian's flite (BSD-like licence), aligned by pocketsphinx (extra align). The second
speaks the sentences of languages.yaml with Debian's festival voices, which tell their own phone
times. Both write audio/ID.flac and clips.jsonl with id, voice, text and phones. Voice kal is for
choices, the others are for tests.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import soundfile
import yaml

from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.datasets.align import Aligner
from jambatalk.errors import InputError
from jambatalk.evaluation.protocols.default_weights import align_stubbornly
from jambatalk.text.phones import SILENCE, Timed

LANGUAGES = Path(__file__).with_name("languages.yaml")

FESTIVAL = """
(define (say text base)
  (set! said (eval (list 'Utterance 'Text text)))
  (utt.synth said)
  (utt.save.wave said (string-append base ".wav") 'riff)
  (set! times (fopen (string-append base ".txt") "w"))
  (mapcar
    (lambda (segment)
      (format times "%s %f\\n" (item.name segment) (item.feat segment 'segment_end)))
    (utt.relation.items said 'Segment))
  (fclose times))
({voice})
{settings}
"""
SETTINGS = """
(Parameter.set 'Int_Method 'Simple)
(set! int_simple_params '((f0_mean 120) (f0_std 20)))
"""
"""The Indian voices leave their intonation to a default voice, which need not be there."""


def texts_of(path: Path, count: int) -> list[str]:
    """Choose every n-th different text of a clips.jsonl, ``count`` in all."""
    lines = path.read_text(encoding="utf-8").splitlines()
    texts = list(dict.fromkeys(json.loads(line)["text"] for line in lines if line.strip()))
    return texts[:: max(len(texts) // count, 1)][:count]


Row = tuple[str, str, str, Sequence[Timed], Any]
"""Id, voice, text, phones and samples (n,) of a sentence."""


def english(path: Path, voices: Sequence[str], count: int) -> Iterator[Row]:
    """Speak texts with flite and align them; sentences that cannot be aligned are left out."""
    require("flite", "flite")
    aligner = Aligner()
    for voice in voices:
        for number, text in enumerate(texts_of(path, count)):
            name = f"{voice}_{number:03d}"
            with tempfile.TemporaryDirectory() as folder:
                wav = Path(folder) / "said.wav"
                command = ["flite", "-voice", voice, "-t", text, "-o", str(wav)]
                subprocess.run(command, check=True, capture_output=True)
                samples = Speech.load(wav).samples
            try:
                yield name, voice, text, align_stubbornly(aligner, samples, text), samples
            except InputError as error:
                print(f"{name}: left out, {error}", file=sys.stderr)


def other_languages() -> Iterator[Row]:
    """Speak the sentences of languages.yaml with festival; voices are named LANGUAGE/VOICE."""
    require("festival", "festival")
    languages = yaml.safe_load(LANGUAGES.read_text(encoding="utf-8"))
    for language, of in languages.items():
        for voice, function in of["voices"].items():
            try:
                said = list(festival(function, of))
            except InputError as error:
                print(f"{language}/{voice}: left out, {error}", file=sys.stderr)
                continue
            for number, (text, phones, samples) in enumerate(said):
                name = f"{language.lower()}_{voice}_{number:03d}"
                yield name, f"{language}/{voice}", text, phones, samples


def festival(function: str, language: dict[str, Any]) -> Iterator[tuple[str, list[Timed], Any]]:
    """Speak the sentences of a language with one voice: text, phones in IPA, samples."""
    sentences, names = language["sentences"], language["phones"]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        settings = SETTINGS if "NSK" in function else ""
        lines = [FESTIVAL.replace("{voice}", f"voice_{function}").replace("{settings}", settings)]
        lines += [f'(say "{text}" "{base / str(n)}")' for n, text in enumerate(sentences)]
        script = base / "say.scm"
        script.write_bytes("\n".join(lines).encode(language["encoding"]))
        done = subprocess.run(["festival", "-b", str(script)], capture_output=True, check=False)
        if done.returncode or not (base / f"{len(sentences) - 1}.txt").is_file():
            packages = " ".join(language["packages"])
            said = (done.stderr + done.stdout).decode("latin-1").splitlines()
            why = [line for line in said if "ERROR" in line] or ["a sentence ended it"]
            raise InputError(
                f"festival did not speak: {why[0]}; the voice needs Debian's packages {packages}"
            )
        for n, text in enumerate(sentences):
            phones, start = [], 0.0
            for line in (base / f"{n}.txt").read_text(encoding="latin-1").splitlines():
                symbol, end = line.rsplit(" ", 1)
                if symbol not in names:
                    raise InputError(f"{LANGUAGES.name} lacks the phone {symbol!r} of {function}")
                phones.append(Timed(names[symbol], round(start, 4), round(float(end), 4)))
                start = float(end)
            spoken = [phone for phone in phones if phone.end > phone.start]
            if all(phone.text == SILENCE for phone in spoken):
                raise InputError(f"{function} said nothing for {text!r}")
            yield text, spoken, Speech.load(base / f"{n}.wav").samples


def require(program: str, package: str) -> None:
    """Raise InputError where a program is missing."""
    if shutil.which(program) is None:
        raise InputError(f"no program {program} on this machine: install Debian's {package}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="?")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--voices", nargs="+", default=["kal", "slt", "rms", "awb"])
    parser.add_argument("--sentences", type=int, default=40, help="of each English voice")
    parser.add_argument("--languages", action="store_true", help="speak languages.yaml instead")
    options = parser.parse_args()
    try:
        if options.languages == (options.clips is not None):
            raise InputError("expected either a clips.jsonl or --languages")
        (options.output / "audio").mkdir(parents=True, exist_ok=True)
        said = (
            other_languages()
            if options.languages
            else english(options.clips, options.voices, options.sentences)
        )
        lines, counts = [], dict[str, int]()
        for name, voice, text, phones, samples in said:
            audio = options.output / "audio" / f"{name}.flac"
            soundfile.write(audio, samples, SAMPLE_RATE, subtype="PCM_16")
            row = {"id": name, "voice": voice, "text": text, "phones": phones}
            lines.append(json.dumps(row, ensure_ascii=False))
            counts[voice] = counts.get(voice, 0) + 1
        if not lines:
            raise InputError("nothing was spoken")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    (options.output / "clips.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(", ".join(f"{voice}: {count}" for voice, count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
