"""The paper's experiments on a corpus, from the owner's files to tables, report and user study.

A plan comes first; then every step, each of which goes on where it was stopped and may be skipped.
The trainings and tables are those of ``experiments.runner`` and ``experiments.results``.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jambatalk.atomic import write_json
from jambatalk.audio import Speech
from jambatalk.datasets.check import check
from jambatalk.datasets.dataset import open_prepared
from jambatalk.datasets.prepare import prepare
from jambatalk.datasets.source import IN_METRES
from jambatalk.errors import InputError, shown
from jambatalk.evaluation.report.collect import open_report_system
from jambatalk.evaluation.report.page import require_extra, write_report
from jambatalk.evaluation.systems import TRUTH, open_system
from jambatalk.experiments.results import (
    WEIGHTS,
    Scoring,
    compare,
    prepare_scoring,
    save_table,
    score_runs,
    text_table,
)
from jambatalk.experiments.runner import DONE, Runner, logged, read_json
from jambatalk.experiments.suite import BASE, Suite, load_suite
from jambatalk.experiments.trial import trial_settings, write_speech_network
from jambatalk.models.encoders.pretrained import read_architecture, transformers_library
from jambatalk.motion import Motion
from jambatalk.ops.backend import chosen_backend
from jambatalk.study.build import build_study
from jambatalk.study.plan import Settings
from jambatalk.training.sizes import TrainingSize, training_size
from jambatalk.training.smoke_test import free_memory

Log = Callable[[str], None]
PREPARE, CHECK, TRAIN, EVALUATE, ABLATE, COMPARE, STUDY = STEPS = (
    "prepare",
    "check",
    "train",
    "evaluate",
    "ablate",
    "compare",
    "study",
)
SUITES = {
    "vocaset": ("experiments/paper-vocaset", "experiments/paper-vocaset-ablation"),
    "biwi6": ("experiments/paper-biwi6", "experiments/paper-biwi6-ablation"),
    "grid468": ("experiments/grid468", "experiments/ablation"),
}
"""Corpus -> the suite of systems and that of ablations."""
CLIP_SECONDS = 4.0
"""Of a clip, for estimates before the corpus is prepared."""
CLIPS, TRIAL_CLIPS = 10, 2
"""Clips of each system in the user study."""
PER_SPLIT = 3
"""Clips of each split in a trial."""
EFFICIENCY = 0.35
"""Of a training's products beside large square ones; estimates of time are rough."""
NAME = "jambatalk"
"""What the suite's base is called where people read it."""


@dataclass(frozen=True)
class ReproduceOptions:
    """How the experiments are run.

    Args:
        smoke: Small networks and few clips: everything in minutes, for nothing but to see it work.
        seeds: Trainings of each variant.
        jobs: Trainings at a time.
        device, slow: See ``Trainer``.
        skip: Steps that are left out.
        changes: KEY=VALUE for every training.
        networks: Hub id -> folder or other id, for machines without a hub.
        force: Go on although disk or memory will not do.
    """

    smoke: bool = False
    seeds: int = 1
    jobs: int = 1
    device: str = "cpu"
    slow: bool = False
    skip: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    networks: Mapping[str, str] = field(default_factory=dict)
    force: bool = False

    def __post_init__(self) -> None:
        if unknown := [step for step in self.skip if step not in STEPS]:
            raise InputError(f"no step {unknown[0]!r} to skip: choose from {', '.join(STEPS)}")


class Reproduction:
    """The experiments on one corpus in one folder.

    Args:
        corpus: One of ``SUITES``.
        raw: The corpus as its owner ships it.
        out: Gets ``data``, ``trainings``, ``systems``, ``ablation``, ``report.html``, ``study``.

    Raises:
        InputError: The corpus is unknown, or settings do not fit each other.
    """

    def __init__(self, corpus: str, raw: Path, out: Path, options: ReproduceOptions) -> None:
        if corpus not in SUITES:
            raise InputError(f"no corpus {shown(corpus)}: choose from {', '.join(SUITES)}")
        self.corpus, self.raw, self.out, self.options = corpus, raw, out, options
        self.data = out / "data"
        self.systems, self.ablation = (self._suite(name) for name in SUITES[corpus])

    def _suite(self, name: str) -> Suite:
        suite = load_suite(name, self.options.changes, adapt=self._adapted)
        if self.options.smoke:
            suite.memory = False
        return suite

    def _adapted(self, values: dict[str, Any]) -> dict[str, Any]:
        if self.options.smoke:
            return trial_settings(values, self.out / "speech-network")
        return _renamed(values, self.options.networks)

    def _names(self, suite: Suite) -> list[str]:
        """The variants to train: in a trial of the ablations one of each group."""
        if suite is self.systems or not self.options.smoke:
            return list(suite.variants)
        first = {variant.group: name for name, variant in reversed(suite.variants.items())}
        return [name for name in suite.variants if name in first.values()]

    def _runner(self, suite: Suite) -> Runner:
        options = self.options
        return Runner(
            suite,
            [self.data],
            self.out / "trainings",
            range(1, options.seeds + 1),
            self._names(suite),
            options.device,
            options.slow,
        )

    # The plan.

    def plan(self) -> list[str]:
        """Lines that say what will be done, with disk, memory and time on this machine.

        A trial's speech network is written for it.
        """
        options, disk = self.options, self._data_size()
        if options.smoke and self.corpus != "grid468":
            write_speech_network(self.out / "speech-network")
        where = "auto" if options.device == "auto" else options.device
        lines = [
            f"reproduce {self.corpus}: {self.raw} -> {self.out}, training on {where}, kernels: "
            f"{chosen_backend(device=self._device)[0]}"
            + (", a trial with small networks" if options.smoke else "")
        ]
        seconds = 0.0
        what = {
            PREPARE: f"{self.raw} -> {self.data}, about {_bytes(disk)}",
            CHECK: "clips, splits, regions, settings of all trainings, speech networks, disk",
            TRAIN: f"{len(self._names(self.systems))} systems x {options.seeds} seed(s)",
            EVALUATE: "table of the systems beside truth, still face and mean motion",
            ABLATE: f"{len(self._names(self.ablation))} variants x {options.seeds} seed(s), table",
            COMPARE: "report.html",
            STUDY: "videos of all systems, trials for raters",
        }
        for number, step in enumerate(STEPS, 1):
            skipped = " (skipped)" if step in options.skip else ""
            lines.append(f"  {number} {step:9} {what[step]}{skipped}")
            suite = {TRAIN: self.systems, ABLATE: self.ablation}.get(step)
            if suite is None or skipped:
                continue
            for name in self._names(suite):
                if suite is self.ablation and name == BASE:
                    continue  # trained with the systems
                size, took = self._size(suite, name), self._seconds(suite, name)
                seconds, disk = seconds + options.seeds * took, disk + options.seeds * size.disk
                lines.append(
                    f"      {name:22} {size.parameters / 1e6:8.1f} M parameters "
                    f"({size.trained / 1e6:.1f} M trained), {suite.run(name, 1).config.steps:,} "
                    f"steps; {_bytes(size.memory)} of weights in memory, {_bytes(size.disk)} of "
                    f"disk, about {_time(took)}"
                )
        memory = self._memory()
        free = shutil.disk_usage(_existing(self.out)).free
        available = free_memory()
        lines.append(
            f"  sum: {_bytes(disk)} of disk ({_bytes(free)} free); {_bytes(memory)} for weights of "
            f"the largest trainings at a time"
            + ("" if available is None else f" ({_bytes(available)} free)")
            + f", activations on top; about {_time(seconds / max(1, options.jobs))}, a rough guess "
            "from this machine's products"
        )
        self._needed = disk
        return lines

    _needed = 0

    @cached_property
    def _device(self) -> str:
        wanted = self.options.device
        if wanted != "auto":
            return wanted if wanted == "cpu" or torch.cuda.is_available() else "cpu"
        return "cuda" if torch.cuda.is_available() else "cpu"

    def _size(self, suite: Suite, name: str) -> TrainingSize:
        if name not in self._sizes.setdefault(suite.name, {}):
            self._sizes[suite.name][name] = training_size(suite.run(name, 1).config)
        return self._sizes[suite.name][name]

    @cached_property
    def _sizes(self) -> dict[str, dict[str, TrainingSize]]:
        return {}

    def _memory(self) -> int:
        sizes = [
            self._size(suite, name).memory
            for suite in (self.systems, self.ablation)
            for name in self._names(suite)
        ]
        return sum(sorted(sizes)[-max(1, self.options.jobs) :])

    def _data_size(self) -> int:
        """Bytes of the prepared corpus: what is there, or what the raw one has at most."""
        place = self.data if (self.data / "manifest.json").is_file() else self.raw
        if not place.is_dir():
            raise InputError(f"no such folder: {place}")
        return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())

    @cached_property
    def _clip_seconds(self) -> float:
        if not (self.data / "manifest.json").is_file():
            return CLIP_SECONDS
        clips = open_prepared(self.data).clips()
        return sum(clip.frames / clip.fps for clip in clips) / max(1, len(clips))

    def _seconds(self, suite: Suite, name: str) -> float:
        """Of one training: by its own log where it has begun, else by its products."""
        run = suite.run(name, 1)
        if (self.data / "manifest.json").is_file():
            rows = logged(self._runner(suite).folder(run))
            if times := [row["seconds"] for row in rows if "seconds" in row]:
                return float(np.median(times)) * (run.config.steps - len(rows))
        parts = {part.name: part.parameters for part in self._size(suite, name).parts}
        speech = parts.pop("encoder", 0) + parts.pop("lip reader", 0)
        clip = min(self._clip_seconds, run.config.vertices.seconds or math.inf)
        frames = 50.0 * speech + (run.config.model.fps or 25) * sum(parts.values())
        products = 6.0 * frames * clip * run.config.batch_size
        return run.config.steps * products / (EFFICIENCY * self._speed)

    @cached_property
    def _speed(self) -> float:
        """Products per second of this device, measured on matrices for a fifth of a second."""
        a = torch.randn(1024, 1024, device=self._device)
        (a @ a).sum().item()
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < 0.2:
            (a @ a).sum().item()
            count += 1
        return 2 * 1024**3 * count / (time.perf_counter() - started)

    # The steps.

    def run(self, log: Log) -> list[str]:
        """Do all steps that are not skipped.

        Returns:
            What failed, one line each.

        Raises:
            InputError: A check failed; nothing has been trained then.
            MissingExtraError: Something that a step needs is not installed.
        """
        skip, failed = self.options.skip, []
        self.out.mkdir(parents=True, exist_ok=True)
        if not self._needed:
            self.plan()
        if COMPARE not in skip:
            require_extra()
        self._check_room(log)
        if PREPARE not in skip:
            self._prepare(log)
        scorings = self._check(log)
        suites = {TRAIN: self.systems, ABLATE: self.ablation}
        for step in (TRAIN, EVALUATE, ABLATE):
            if step in skip:
                continue
            suite = suites.get(step, self.systems)
            runner, scoring = self._runner(suite), scorings[suite.name]
            if step in suites:
                log(f"{step}: {suite.about}")
                jobs = 0 if self.options.smoke else self.options.jobs
                states = runner.run(jobs, log)
                failed += [
                    f"{state.variant}, seed {state.seed}: {state.reason}; see {state.folder}"
                    for state in states
                    if state.state != "done"
                ]
            if step != TRAIN:
                table = compare(suite, score_runs(runner, scoring, log))
                folder = self.out / ("systems" if suite is self.systems else "ablation")
                save_table(folder, table)
                log(text_table(table))
                log(f"{step}: {folder}/table.md, .csv, .json")
        if COMPARE not in skip:
            self._compare(scorings[self.systems.name], log)
        if STUDY not in skip:
            self._study(scorings[self.systems.name], log)
        return failed

    def _check_room(self, log: Log) -> None:
        options, free = self.options, shutil.disk_usage(_existing(self.out)).free
        available = free_memory()
        problems = []
        if self._needed > free:
            problems.append(f"{_bytes(self._needed)} of disk are needed, {_bytes(free)} are free")
        memory = self._memory()
        if self._device == "cpu" and available is not None and memory > available:
            problems.append(
                f"{_bytes(memory)} of memory are needed for the weights alone, "
                f"{_bytes(available)} are free"
            )
        if problems and not options.force:
            raise InputError(
                f"{'; '.join(problems)}: leave steps out with --skip, or go on with --force"
            )
        for problem in problems:
            log(f"WARNING: {problem}")

    def _prepare(self, log: Log) -> None:
        per_split = PER_SPLIT if self.options.smoke else None
        done = prepare(self.corpus, self.raw, self.data, per_split=per_split)
        for issue in done.failed:
            log(f"left out: {issue.name}: {issue.reason}")
        log(f"prepare: {done.made} clips made, {done.kept} kept, {len(done.failed)} left out")
        for line in done.lines:
            log(line)

    def _check(self, log: Log) -> dict[str, Scoring]:
        """Everything that could fail after hours: clips, splits, regions, settings, networks."""
        if CHECK not in self.options.skip:
            found = check(self.data)
            write_json(self.out / "check.json", found.as_dict())
            for issue in found.problems[:20]:
                log(f"problem: {issue.name}: {issue.reason}")
            log(f"check: {len(found.problems)} problems in {found.clips} clips, see check.json")
        names: set[str] = set()
        for suite in (self.systems, self.ablation):
            self._runner(suite).check()
            for variant in self._names(suite):
                names |= _network_names(suite.run(variant, 1).config)
        found_networks = {
            name: read_architecture(transformers_library(), name) for name in sorted(names)
        }
        for suite in (self.systems, self.ablation):
            for variant in self._names(suite):
                _check_reader(variant, suite.run(variant, 1).config.baseline, found_networks)
        scorings = {}
        for suite in (self.systems, self.ablation):
            scorings[suite.name] = prepare_scoring(self.data, suite)
        for line in next(iter(scorings.values())).regions.lines:
            log(line)
        return scorings

    def _trained(self) -> dict[str, Path]:
        """Name -> weights of the first seed of each system that is done."""
        runner = self._runner(self.systems)
        found: dict[str, Path] = {}
        for run in runner.runs:
            folder = runner.folder(run)
            if (folder / DONE).exists():
                found.setdefault(NAME if run.variant == BASE else run.variant, folder / WEIGHTS)
        return found

    def _compare(self, scoring: Scoring, log: Log) -> None:
        path, key = self.out / "report.html", self._key(scoring)
        if path.is_file() and self._record.get(COMPARE) == key:
            log(f"compare: {path} is there")
            return
        specs = [f"{name}={weights}" for name, weights in self._trained().items()]
        systems = [open_report_system(spec, scoring.test_set) for spec in specs]
        if not systems:
            raise InputError("no training is done, so there is nothing to compare")
        write_report(
            systems,
            scoring.test_set,
            scoring.regions,
            path,
            videos=0 if self.options.smoke else 3,
            command=f"jambatalk reproduce {self.corpus}",
        )
        self._note(COMPARE, key)
        log(f"compare: {path}")

    def _study(self, scoring: Scoring, log: Log) -> None:
        """Film some test clips of truth and every system, and make trials of them."""
        study, key = self.out / "study", self._key(scoring)
        if study.exists():
            old = " of other weights" if self._record.get(STUDY) != key else ""
            log(f"study: {study} is there{old}; delete it for a new one")
            return
        test_set = scoring.test_set
        if test_set.triangles is None:
            log(f"study: left out, {self.data} has no triangles to draw faces with")
            return
        weights = self._trained()
        specs = [TRUTH, *(f"{name}={path}" for name, path in weights.items())]
        corpus = open_prepared(self.data)
        count = TRIAL_CLIPS if self.options.smoke else CLIPS
        clips = test_set.clips[:: max(1, len(test_set.clips) // count)][:count]
        scale = np.float32(IN_METRES.get(test_set.unit, 1.0))
        size = (64, 64) if self.options.smoke else (512, 512)
        videos = self.out / "videos"
        folders: dict[str, str | Path] = {}
        for spec in specs:
            system = open_system(spec, test_set)
            folders[system.name] = folder = videos / system.name
            for clip in clips:
                target = folder / f"{clip.name}.mp4"
                if target.is_file() and self._record.get("videos") == key:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                offsets = scale * system.offsets(clip, 0, test_set.face)
                face = corpus.face(clip.subject)
                speech = Speech(clip.samples)
                Motion(clip.fps, offsets=offsets, face=face, speech=speech).save(target, size=size)
        self._note("videos", key)
        settings = Settings(against=NAME if NAME in folders else None, seed=1)
        build_study(folders, study, settings)
        self._note(STUDY, key)
        log(f"study: {study}, {len(folders)} systems, {len(clips)} clips; jambatalk study serve")

    # What has been done, so that it is not done again.

    def _key(self, scoring: Scoring) -> str:
        runner = self._runner(self.systems)
        runs = [runner.folder(run).name for run in runner.runs]
        done = [read_json(runner.folder(run) / DONE) is not None for run in runner.runs]
        return json.dumps([runs, done, scoring.regions.hash, scoring.test_set.data_hash])

    @property
    def _record(self) -> dict[str, object]:
        return read_json(self.out / "reproduce.json") or {}

    def _note(self, step: str, key: str) -> None:
        write_json(self.out / "reproduce.json", {**self._record, step: key})


def _renamed(values: dict[str, Any], networks: Mapping[str, str]) -> dict[str, Any]:
    """Settings with other speech networks, wherever their names stand."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: changed(one) for key, one in value.items()}
        return networks.get(value, value) if isinstance(value, str) else value

    if not networks:
        return values
    found = changed(values)
    model = found.get("model", {})
    if str(model.get("extends", "")).startswith("paper-") and "name" not in model.get(
        "encoder", {}
    ):
        # The preset's own name is not among the settings.
        usual = "jonatasgrosman/wav2vec2-large-xlsr-53-english"
        found["model"] = {**model, "encoder": {"name": networks.get(usual, usual)}}
    return dict(found)


def _network_names(config: Any) -> set[str]:
    """Hub ids or folders of the speech networks that a training loads."""
    names = set()
    loss = config.vertices.loss
    if config.baseline:
        encoder = config.baseline.get("encoder", {})
        names |= {encoder.get("name"), config.baseline.get("recognizer")}
    else:
        names.add(getattr(config.model.encoder, "name", None))
        if loss.latent or loss.ctc:
            names.add(config.vertices.lip_reading.recognizer)
    return {str(name) for name in names if name and name != "letters"}


def _check_reader(
    variant: str, baseline: Mapping[str, Any], networks: Mapping[str, Mapping[str, Any]]
) -> None:
    """InputError unless the lip reader of a baseline has the sizes of its recognizer."""
    if not (name := baseline.get("recognizer")):
        return
    has = networks[name].get("hidden_size"), networks[name].get("vocab_size")
    wanted = baseline.get("read_width"), baseline.get("letters")
    if has != wanted:
        raise InputError(
            f"{variant}: the recognizer {name!r} has width {has[0]} and {has[1]} letters, but "
            f"read_width is {wanted[0]} and letters {wanted[1]}"
        )


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"


def steps_of(words: Sequence[str]) -> tuple[str, ...]:
    """Names of steps that may be joined by commas."""
    return tuple(step for word in words for step in word.split(",") if step)
