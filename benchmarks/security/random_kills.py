"""What is lost when programs are killed: SIGTERM, SIGHUP and SIGKILL at random moments.

    python benchmarks/security/random_kills.py [--kills 5] [--seed 0] [--json out/kills.json]

Six programs that write files are run once to the end, for comparison, and then killed and run again
for each kill: animate over a folder, serve with jobs, train, data prepare, ablate, and study serve
with answers coming in. A kill counts when the program had not ended before. After it, whatever has
the name of a result must be whole (equal to the comparison's); after the second run everything must
be there and equal, and no temporary file may be left. Needs the test helpers of this repository.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "helpers"))

from jambatalk.atomic import is_temporary, write_json
from jambatalk.audio import Speech
from jambatalk.datasets.prepare import prepare
from jambatalk.face.head import default_head
from jambatalk.study.build import build_study
from jambatalk.study.plan import ANSWERS_FILE, Settings, load_study
from jambatalk.study.store import read_raters
from study_clips import write_systems
from tiny_corpora import write_facegood
from tiny_grid import write_grid

SIGNALS = ("SIGTERM", "SIGHUP", "SIGKILL")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
LONGEST = 300.0  # seconds that a program may take to end
RATERS = 4
SETTINGS = """\
task: vertices
steps: 60
batch_size: 2
warmup_steps: 2
validate_every: 10
save_every: 4
num_val_samples: 0
vertices: {spread: true, lips: {choose: file, file: regions.json}, loss: {latent: 0, ctc: 0}}
model:
  outputs: 1404
  mel: {bands: 16}
  encoder: {widths: [8, 8], blocks: 1, kernel: 3}
  decoder:
    {pattern: M T, width: 16, mlp_hidden: 16, heads: 2, kv_heads: 1, window: 8, rope_rank: 2,
     expert_hidden: 8}
"""
SUITE = "about: a test\nbase: {extends: settings, steps: 12}\nvariants:\n" + "".join(
    f"  {name}: {{group: a, about: b, change: {{model: {{decoder: {{pattern: {pattern}}}}}}}}}\n"
    for name, pattern in (("no-mamba", "F T"), ("no-attention", "M F"))
)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def tensors(path: Path) -> str:
    """A hash of the numbers in a weights file; its notes hold times."""
    found = load_file(path)
    return digest(b"".join(name.encode() + found[name].tobytes() for name in sorted(found)))


def files(folder: Path, pattern: str) -> dict[str, str]:
    """Name -> hash of the files that match, temporary ones left out."""
    return {
        str(path.relative_to(folder)): digest(path.read_bytes())
        for path in sorted(folder.glob(pattern))
        if path.is_file() and not is_temporary(path)
    }


def speech(seconds: float, place: int) -> tuple[np.ndarray, int]:
    """A piece of the recording in the package."""
    import jambatalk

    whole = Speech.load(Path(jambatalk.__file__).parent / "assets" / "demo.flac").samples
    return np.resize(whole[place * 4000 :], round(seconds * 16000)), 16000


class Command:
    """A program that ends by itself: its words, its inputs, and what counts as its results."""

    name = ""

    def prepare(self, folder: Path) -> None:
        raise NotImplementedError

    def words(self, folder: Path) -> list[str]:
        raise NotImplementedError

    def results(self, folder: Path) -> dict[str, str]:
        raise NotImplementedError

    def start(self, folder: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "jambatalk", *self.words(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd=folder,
        )

    def whole_run(self, folder: Path) -> float:
        """Run to the end; the seconds that it took."""
        began = time.monotonic()
        status = self.start(folder).wait(LONGEST)
        if status:
            raise SystemExit(f"{self.name} ended with status {status}")
        return time.monotonic() - began

    def kill(self, folder: Path, number: int, after: float) -> tuple[int, bool]:
        """(its exit status, whether it had to be killed)."""
        process = self.start(folder)
        time.sleep(after)
        hit = process.poll() is None
        process.send_signal(number)
        return process.wait(LONGEST), hit


class Animate(Command):
    name = "animate"

    def prepare(self, folder: Path) -> None:
        (folder / "in" / "more").mkdir(parents=True)
        for k in range(6):
            place = folder / "in" / ("more" if k % 2 else "") / f"{k}.wav"
            soundfile.write(place, *speech(3.0, k))

    def words(self, folder: Path) -> list[str]:
        return ["animate", "in", "--out-dir", "out", "--format", "csv,glb,mp4", "--size", "96"]

    def results(self, folder: Path) -> dict[str, str]:
        return {k: v for k, v in files(folder, "out/**/*.*").items() if not k.endswith(".json")}


class Prepare(Command):
    name = "data prepare"

    def prepare(self, folder: Path) -> None:
        write_facegood(folder / "raw", {f"1_{k}": 40.0 for k in range(1, 7)})

    def words(self, folder: Path) -> list[str]:
        return ["data", "prepare", "facegood", "raw", "out", "-j", "1"]

    def results(self, folder: Path) -> dict[str, str]:
        found = files(folder, "out/**/*.npy") | files(folder, "out/**/*.flac")
        manifest = folder / "out" / "manifest.json"
        if manifest.exists():
            found["manifest"] = digest(manifest.read_bytes())
        return found


class Train(Command):
    name = "train"

    def prepare(self, folder: Path) -> None:
        splits = ("train", "train", "train", "val", "test_seen", "test_seen")
        clips = tuple((f"s1_c{k}", "s1", split) for k, split in enumerate(splits))
        write_grid(folder / "raw", default_head(), clips)
        prepare("grid468", folder / "raw", folder / "data")
        (folder / "settings.yaml").write_text(SETTINGS, encoding="utf-8")
        (folder / "suite.yaml").write_text(SUITE, encoding="utf-8")

    def words(self, folder: Path) -> list[str]:
        words = ["train", "settings.yaml", "--data", "data", "--run", "run", "-o", "w.safetensors"]
        return [*words, "--threads", "1"]

    def results(self, folder: Path) -> dict[str, str]:
        found = {path.name: tensors(path) for path in folder.glob("*.safetensors")}
        log = folder / "run" / "log.jsonl"
        if found and log.exists():  # the log's times differ, its losses do not
            rows = map(json.loads, log.read_text().splitlines())
            found["losses"] = str([row.get("loss") for row in rows if "loss" in row])
        return found


class Ablate(Train):
    name = "ablate"

    def words(self, folder: Path) -> list[str]:
        return ["ablate", "suite.yaml", "data", "--seeds", "1", "-o", "out"]

    def results(self, folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): tensors(path)
            for path in sorted(folder.glob("out/**/final.safetensors"))
        } | {path.name: "there" for path in folder.glob("out/*.md")}


def ask(url: str, data: bytes | None = None, kind: str = "application/octet-stream") -> Any:
    """Answer of a server, JSON read; OSError when there is none."""
    request = urllib.request.Request(url, data=data, headers={"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=30) as answer:
        content = answer.read()
        return json.loads(content) if "json" in answer.headers["content-type"] else content


class Server(Command):
    """A program that is asked by HTTP until it is killed."""

    def start_server(self, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
        """The process, and its address once it answers."""
        log = folder / "server.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "jambatalk", *self.words(folder)],
                stdout=file,
                stderr=file,
                env=ENVIRONMENT,
                cwd=folder,
            )
        end = time.monotonic() + 60
        while time.monotonic() < end and process.poll() is None:
            if found := re.search(r"(?:http|ws)://(127\.0\.0\.1:\d+)", log.read_text()):
                with suppress(urllib.error.HTTPError, OSError):
                    with suppress(urllib.error.HTTPError):
                        ask(f"http://{found[1]}/")
                    return process, f"http://{found[1]}"
            time.sleep(0.05)
        process.kill()
        raise SystemExit(f"{self.name} did not start: {log.read_text()}")

    def use(self, folder: Path, url: str) -> None:
        """Ask until everything is done; OSError when the server goes away meanwhile."""
        raise NotImplementedError

    @contextmanager
    def running(self, folder: Path) -> Iterator[str]:
        process, url = self.start_server(folder)
        try:
            yield url
        finally:
            process.terminate()
            if status := process.wait(LONGEST):
                raise SystemExit(f"{self.name} ended with status {status} after SIGTERM")

    def whole_run(self, folder: Path) -> float:
        with self.running(folder) as url:
            began = time.monotonic()
            self.use(folder, url)
            return time.monotonic() - began

    def kill(self, folder: Path, number: int, after: float) -> tuple[int, bool]:
        process, url = self.start_server(folder)
        killer = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import os, time; time.sleep({after}); os.kill({process.pid}, {number})",
            ]
        )
        ended = False
        with suppress(OSError, urllib.error.URLError):
            self.use(folder, url)
            ended = True
        killer.wait()
        return process.wait(LONGEST), not ended


class Jobs(Server):
    name = "serve"

    def prepare(self, folder: Path) -> None:
        self.uploads = []
        for k in range(4):
            file = io.BytesIO()
            soundfile.write(file, *speech(4.0, k), format="WAV")
            self.uploads.append(file.getvalue())

    def words(self, folder: Path) -> list[str]:
        return ["serve", "--port", "0", "--jobs", "jobs", "--model", "light"]

    def use(self, folder: Path, url: str) -> None:
        known = folder / "ids.json"
        identifiers = json.loads(known.read_text()) if known.exists() else []
        while len(identifiers) < len(self.uploads):
            place = len(identifiers)
            query = f"name={place}.wav&" + ("format=mp4&size=96" if place % 2 else "format=csv")
            identifiers.append(ask(f"{url}/v1/jobs?{query}", self.uploads[place])["id"])
            write_json(known, identifiers)
        while True:
            jobs = {job["id"]: job for job in ask(f"{url}/v1/jobs")["jobs"]}
            if missing := set(identifiers) - set(jobs):
                raise SystemExit(f"serve lost jobs that it had accepted: {missing}")
            if failed := [job for job in jobs.values() if job["status"] == "failed"]:
                raise SystemExit(f"serve: {failed}")
            if all(jobs[one]["status"] == "done" for one in identifiers):
                return
            time.sleep(0.1)

    def results(self, folder: Path) -> dict[str, str]:
        found = {}
        for path in folder.glob("jobs/*/job.json"):
            job = json.loads(path.read_text())
            for result in path.parent.glob("result.*"):
                if not is_temporary(result):
                    found[job["name"]] = digest(result.read_bytes())
        return found


class Study(Server):
    name = "study serve"

    def prepare(self, folder: Path) -> None:
        systems = write_systems(folder, ("crimson", "cobalt"), 4)
        build_study(systems, folder / "study", Settings(seed=1, tone_seconds=0.1))

    def words(self, folder: Path) -> list[str]:
        return ["study", "serve", "study", "--port", "0"]

    def use(self, folder: Path, url: str) -> None:
        """Raters answer everything; what the server acknowledged is noted."""
        consent = ask(f"{url}/api/study")["consent_sha256"]
        questions = load_study(folder / "study").settings.question_ids
        for rater in range(RATERS):
            who = f"{rater:032x}"
            body = json.dumps({"rater": who, "consent": consent}).encode()
            joined = ask(f"{url}/api/join", body, "application/json")
            for trial in joined["trials"]:
                tone = trial["kind"] == "headphones"
                answer = {"tone": 1} if tone else dict.fromkeys(questions, "A")
                body = json.dumps(
                    {"rater": who, "trial": trial["id"], "answer": answer, "took_ms": 5, "plays": 1}
                ).encode()
                try:
                    ask(f"{url}/api/answer", body, "application/json")
                except urllib.error.HTTPError as error:
                    raise SystemExit(f"study serve refused: {error.read()!r}") from error
                with (folder / "acknowledged.txt").open("a") as file:
                    file.write(f"{who} {trial['id']}\n")
                time.sleep(0.01)

    def results(self, folder: Path) -> dict[str, str]:
        """Each acknowledged answer that is stored; one that is not makes the results differ."""
        load_study(folder / "study")
        noted = folder / "acknowledged.txt"
        lines = set(noted.read_text().split("\n")) - {""} if noted.exists() else set()
        if not lines:
            return {}
        stored = {
            f"{rater.id} {trial}"
            for rater in read_raters(folder / "study" / ANSWERS_FILE)
            for trial in rater.answers
        }
        return {line: "stored" if line in stored else "lost" for line in lines}


PROGRAMS = (Animate(), Jobs(), Train(), Prepare(), Ablate(), Study())


def left_over(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if is_temporary(path)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=5, help="of each program")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--program", default="", help="only those whose name holds this")
    parser.add_argument("--json", type=Path, default=Path("out/random_kills.json"))
    options = parser.parse_args()
    rng, rows = random.Random(options.seed), []
    head = f"{'':14}{'a run':>8}{'kills':>7}{'lost':>6}{'half':>6}{'left':>6}  statuses"
    print(head, flush=True)
    for program in PROGRAMS:
        if options.program not in program.name:
            continue
        with tempfile.TemporaryDirectory() as name:
            given = Path(name) / "given"
            given.mkdir()
            program.prepare(given)
            for run in ("warm", "whole"):  # the first one may compile kernels
                shutil.copytree(given, whole := Path(name) / run)
                seconds = program.whole_run(whole)
            wanted = program.results(whole)
            row: dict[str, Any] = {
                "program": program.name,
                "seconds": seconds,
                "kills": 0,
                "lost": 0,
                "half": 0,
                "left": 0,
                "notes": [],
            }
            statuses: Counter[str] = Counter()
            k = 0
            while row["kills"] < options.kills and k < 5 * options.kills:
                k += 1
                signal_name = SIGNALS[row["kills"] % len(SIGNALS)]
                shutil.copytree(given, folder := Path(name) / str(k))
                number = getattr(signal, signal_name)
                status, hit = program.kill(folder, number, rng.uniform(0.1, 0.95) * seconds)
                if not hit:
                    continue
                row["kills"] += 1
                statuses[f"{signal_name[3:]} {status}"] += 1
                half = {k for k, v in program.results(folder).items() if wanted.get(k) != v}
                program.whole_run(folder)
                found = program.results(folder)
                lost = {k for k, v in wanted.items() if found.get(k) != v}
                left = left_over(folder)
                row["half"] += len(half)
                row["lost"] += len(lost)
                row["left"] += len(left)
                row["notes"] += [str(one) for one in (half, lost, left) if one]
                shutil.rmtree(folder)
            row["statuses"] = dict(statuses)
        rows.append(row)
        numbers = "".join(f"{row[key]:6}" for key in ("lost", "half", "left"))
        told = ", ".join(f"{key}: {n}" for key, n in sorted(statuses.items()))
        print(f"{program.name:14}{seconds:6.1f} s{row['kills']:7}{numbers}  {told}", flush=True)
        for note in row["notes"]:
            print(f"    {note[:300]}", flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.json, rows)
    total = {key: sum(row[key] for row in rows) for key in ("kills", "lost", "half", "left")}
    print(
        f"{'together':14}{'':8}{total['kills']:7}{total['lost']:6}{total['half']:6}{total['left']:6}"
    )
    sys.exit(1 if total["lost"] or total["half"] or total["left"] else 0)


if __name__ == "__main__":
    main()
