"""Install the wheel as a new user does, outside the checkout, and run what the README shows.

    python tools/try_wheel.py                 # README
    python tools/try_wheel.py --docs          # and every page of docs
    python tools/try_wheel.py --keep FOLDER   # leave the environment and what was made there

Builds the wheel, makes an empty environment (torch as constraints.txt says), installs the wheel and
the extras that the README names, and runs each command and each block of Python from a folder that
holds a sound file, a folder of recordings and a small corpus in GRID's form, and nothing else; for
docs, also miniatures of VOCASET and of the authors' weights.
Trainings take two steps. Prints a line for each with its seconds and ends with status 1 if one
failed. Also told: the seconds from nothing to the first film, and what is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from fences import Fence, fences

ROOT = Path(__file__).parents[1]
EXTRAS = "encoders,evaluate,live,mesh,onnx,train"
STEPS = "2"  # of a training
LONGEST = 600.0  # seconds of one command
INPUTS = """\
import sys, numpy as np, soundfile
from importlib.resources import files
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tiny_grid import write_grid
from jambatalk.face.head import default_head
speech, rate = soundfile.read(str(files("jambatalk") / "assets" / "demo.flac"))
soundfile.write("hello.wav", speech[: 2 * rate], rate)
soundfile.write("speech.wav", speech[: 2 * rate], rate)
Path("interviews").mkdir()
soundfile.write("interviews/one.wav", speech[rate : int(1.6 * rate)], rate)
splits = ["train"] * 4 + ["val", "test_seen"]
clips = tuple((f"c{k}", "s1", split) for k, split in enumerate(splits))
write_grid(Path("GRID"), default_head(), clips)
"""
DOCS_INPUTS = """\
import shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tiny_checkout import write_checkout
from tiny_corpora import write_vocaset
write_checkout(Path("tiny"))
shutil.move("tiny/vocaset.pth", "vocaset.pth")
shutil.move("tiny/template.ply", "FLAME_sample.ply")
shutil.rmtree("tiny")
write_vocaset(Path("VOCASET"), sentences=(1, 21))
"""
STAND_INS = """\
import numpy as np
voice = microphone = np.split((0.2 * np.sin(np.arange(24000) / 20)).astype(np.float32), 10)
show = lambda *_: None
"""


class Step(NamedTuple):
    """What was run, how long it took, and its last line if it failed."""

    name: str
    seconds: float
    trouble: str = ""


class Place:
    """An environment and a folder, both empty at first."""

    def __init__(self, folder: Path) -> None:
        self.home, self.folder = folder / "environment", folder / "work"
        self.folder.mkdir(parents=True)
        self.steps: list[Step] = []
        self.bin = self.home / ("Scripts" if os.name == "nt" else "bin")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
        self.environment = inherited | {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}

    def run(self, name: str, words: list[str], where: Path | None = None) -> bool:
        """Run a program there; whether it went well."""
        began = time.perf_counter()
        try:
            done = subprocess.run(
                words,
                cwd=where or self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=LONGEST,
                stdin=subprocess.DEVNULL,
            )
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no words"]
            trouble = "" if done.returncode == 0 else f"status {done.returncode}: {last[0]}"
        except (OSError, subprocess.TimeoutExpired) as error:
            trouble = str(error)
        step = Step(name, time.perf_counter() - began, trouble)
        self.steps.append(step)
        print(f"{step.seconds:7.1f} s  {'FAILED' if trouble else 'ok':6}  {name[:100]}", flush=True)
        if trouble:
            print(f"{'':19}{trouble[:300]}", flush=True)
        return not trouble

    def megabytes(self) -> float:
        """What the environment takes on the disk."""
        files = (path for path in self.home.rglob("*") if path.is_file() and not path.is_symlink())
        return sum(path.stat().st_size for path in files) / 1e6


def install(place: Place) -> bool:
    """Build the wheel and install it with torch; then the extras."""
    venv.create(place.home, with_pip=True)
    python = str(place.bin / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    constraints = ["-c", str(ROOT / "constraints.txt")]
    wheels = place.folder.parent / "wheels"
    built = place.run(
        "build the wheel", [*pip, "wheel", "--no-deps", "-q", "-w", str(wheels), str(ROOT)]
    )
    if not built:
        return False
    wheel = next(wheels.glob("jambatalk-*.whl"))
    print(f"{'':19}{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
    return (
        place.run("install torch", [*pip, "install", "-q", "torch", *constraints])
        and place.run("install the wheel", [*pip, "install", "-q", str(wheel), *constraints])
        and place.run("write the inputs", [python, "-c", INPUTS, str(ROOT / "tests" / "helpers")])
    )


def commands(fence: Fence) -> list[list[str]]:
    """The jambatalk commands of a block; trainings are cut short."""
    found = []
    for line in fence.commands:
        words = shlex.split(line, comments=True)
        if words[:1] == ["jambatalk"]:
            short = words[1:2] in (["train"], ["ablate"]) and "--smoke" not in words
            found.append([*words, *(["--steps", STEPS] if short else [])])
    return found


def run_page(place: Place, page: Path) -> None:
    """Run the blocks of a page that its test runs, too."""
    code = STAND_INS
    for fence in fences(page):
        if fence.reason is not None:
            continue
        if fence.language == "bash":
            for words in commands(fence):
                place.run(shlex.join(words), words)
        elif fence.language == "python":
            # Blocks of a page go on from one another: all so far run again.
            code += re.sub(r"^from __future__.*\n", "", fence.code) + "\n"
            script = place.folder.parent / "block.py"
            script.write_text(code, encoding="utf-8")
            place.run(f"Python at {fence.where}", [str(place.bin / "python"), str(script)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--docs", action="store_true", help="also run the pages of docs")
    parser.add_argument("--keep", type=Path, help="an empty or missing folder to work in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Place(options.keep or Path(name))
        began = time.perf_counter()
        if not install(place):
            sys.exit(1)
        film = ["jambatalk", "animate", "hello.wav"]
        place.run(shlex.join(film), film)
        print(
            f"{'':19}from nothing to the first film: {time.perf_counter() - began:.0f} s, "
            f"installed {place.megabytes():,.0f} MB",
            flush=True,
        )
        python = str(place.bin / "python")
        first = "import jambatalk; jambatalk.load().animate('hello.wav')"
        place.run("import, load and first result", [python, "-c", first])
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        wheel = next((place.folder.parent / "wheels").glob("jambatalk-*.whl"))
        constraints = ["-c", str(ROOT / "constraints.txt")]
        place.run(f"install [{EXTRAS}]", [*pip, f"{wheel}[{EXTRAS}]", *constraints])
        run_page(place, ROOT / "README.md")
        if options.docs:
            helpers = str(ROOT / "tests" / "helpers")
            place.run("write the inputs of docs", [python, "-c", DOCS_INPUTS, helpers])
        for page in sorted((ROOT / "docs").rglob("*.md")) if options.docs else ():
            run_page(place, page)
        failed = [step for step in place.steps if step.trouble]
        total = sum(step.seconds for step in place.steps)
        print(f"{len(place.steps)} steps in {total:.0f} s, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
