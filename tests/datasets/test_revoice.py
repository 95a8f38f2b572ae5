"""Recorded sentences in other voices: the plan of a sentence, the choice of voices, what is kept
and dropped, and Kokoro's graph with durations from outside.
"""

from __future__ import annotations

import itertools
import json
import os
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jambatalk.audio import Speech
from jambatalk.cli.data import data
from jambatalk.datasets.dataset import open_prepared
from jambatalk.datasets.kokoro import (
    DURATIONS,
    EDGE,
    LEAD,
    LONGEST_END,
    LONGEST_START,
    RATE,
    ROUND,
    STEP,
    STYLES,
    Kokoro,
    Take,
    symbols_of,
    take_durations,
    take_of_phones,
    take_of_symbols,
)
from jambatalk.datasets.prepare import Outcome, prepare
from jambatalk.datasets.revoice import (
    LEAST_ENVELOPE,
    MOST_LAG,
    TEST_VOICES,
    VALIDATION_VOICES,
    Sentences,
    likeness,
    read_symbols,
    revoice,
    voices_for,
)
from jambatalk.datasets.source import SHAPES, ClipData, CorpusKind, SourceClip, SourceCorpus
from jambatalk.datasets.source import own_splits as own
from jambatalk.errors import InputError
from jambatalk.text.phones import DIPHTHONGS, PHONES, SILENCE, Timed
from running import Outcome as Printed

VOCABULARY = {
    symbol: number
    for number, symbol in enumerate(" .ˈWIAOYbdfhijklmnpstuvwzæðŋɑɔəɛɜɡɪɹʃʊʌʒʤʧθeoaɨɾ", start=1)
}
PACKS = tuple(f"a{sex}_{n}" for sex in "mf" for n in range(8)) + TEST_VOICES + VALIDATION_VOICES
NAMES = ("jawOpen", "mouthClose")

BIN_BLUE = [
    Timed(SILENCE, 0.0, 0.54),
    Timed("b", 0.54, 0.60),
    Timed("ɪ", 0.60, 0.70),
    Timed("n", 0.70, 0.78),
    Timed("b", 0.78, 0.84),
    Timed("l", 0.84, 0.89),
    Timed("u", 0.89, 1.02),
    Timed(SILENCE, 1.02, 1.60),
]
WORDS = [Timed("sil", 0.0, 0.5), Timed("bin", 0.5, 0.78), Timed("blue", 0.78, 1.02)]


def text_of(take: Take) -> str:
    names = {number: symbol for symbol, number in VOCABULARY.items()}
    return "".join(names[token] for token in take.tokens[1:-1])


def begins(take: Take) -> dict[int, float]:
    """Token's place -> when it is heard, in seconds."""
    ends = (take.before + np.cumsum(take.steps)) * STEP - LEAD
    return {i: float(ends[i - 1]) for i in range(1, len(ends))}


# --- the plan --------------------------------------------------------------------------------


def test_a_sentence_is_planned_at_its_times() -> None:
    take = take_of_phones(BIN_BLUE, 1.6, VOCABULARY, WORDS)
    assert text_of(take) == "bˈɪn blˈu"
    assert (take.tokens[0], take.tokens[-1]) == (EDGE, EDGE)
    assert min(take.steps) >= 1
    # Silence is no business of the network: it would put a sound into it.
    assert (take.steps[0], take.steps[-1]) == (LONGEST_START, LONGEST_END)
    assert (take.before + LONGEST_START) * STEP - LEAD == pytest.approx(0.54, abs=STEP / 2)
    heard = begins(take)
    for place, time in ((1, 0.54), (4, 0.70), (6, 0.78), (9, 1.02 - 0.13 + STEP)):
        assert heard[place] == pytest.approx(time, abs=STEP)


def test_rounding_does_not_add_up() -> None:
    """Two hundred phones of 36 ms, which is one and a half steps: the last is where it belongs."""
    phones = [Timed("s", 0.5 + 0.036 * i, 0.5 + 0.036 * (i + 1)) for i in range(200)]
    take = take_of_phones(phones, 9.0, VOCABULARY)
    heard = begins(take)
    errors = [heard[i + 1] - phone.start for i, phone in enumerate(phones)]
    assert np.abs(errors).max() <= STEP / 2 + 1e-9
    assert take.before * STEP + sum(take.steps) * STEP <= 9.0


def test_phones_shorter_than_a_step_borrow_from_both_sides() -> None:
    phones = [Timed("ɑ", 0.5, 0.8)]
    phones += [Timed(phone, 0.8 + 0.01 * i, 0.81 + 0.01 * i) for i, phone in enumerate("stzdn")]
    phones += [Timed("u", 0.85, 1.2)]
    take = take_of_phones(phones, 1.5, VOCABULARY)
    assert min(take.steps) == 1
    heard = begins(take)
    short = heard[3] - 0.80, heard[len(take.tokens) - 2] - 0.85
    assert short[0] < 0 < short[1]  # earlier before, later after: no one neighbour pays for all
    assert abs(sum(short)) <= 2 * STEP


@pytest.mark.parametrize("seed", range(20))
def test_any_phones_fill_the_clip(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = np.cumsum(rng.uniform(0.01, 0.2, 30))
    spoken = [phone for phone in PHONES if phone != SILENCE]
    phones = [
        Timed(str(rng.choice(spoken)), float(a), float(b)) for a, b in itertools.pairwise(edges)
    ]
    seconds = float(edges[-1] + rng.uniform(0.3, 1.0))
    words = [Timed("w", phones[i].start, phones[min(i + 3, 28)].end) for i in range(0, 29, 4)]
    take = take_of_phones(phones, seconds, VOCABULARY, words)
    assert len(take.tokens) == len(take.steps)
    assert min(take.steps) >= 1
    filled = take.before + sum(take.steps) - take.steps[-1]
    end = int(np.ceil(seconds / STEP - 1e-6))
    assert take.steps[-1] == min(end - filled, LONGEST_END)
    assert filled * STEP - LEAD == pytest.approx(phones[-1].end, abs=2 * STEP)


def test_how_phones_are_written() -> None:
    def written(*phones: tuple[str, float]) -> str:
        times = np.cumsum([0.0, *(length for _, length in phones)])
        timed = [Timed(name, times[i], times[i + 1]) for i, (name, _) in enumerate(phones)]
        return "".join(symbol.text for symbol in symbols_of(timed))

    assert [written((one, 0.05)) for one in DIPHTHONGS] == ["A", "I", "Y", "W", "O"]
    assert written(("tʃ", 0.1), ("ɝ", 0.12)) == "ʧˈɜɹ"
    assert written(("b", 0.1), ("ɪ", 0.1), ("t", 0.05), ("ɝ", 0.12)) == "bˈɪtəɹ"
    # The first vowel that lasts is the stressed one; a short "ʌ" is the vowel of "about".
    assert written(("ʌ", 0.04), ("b", 0.05), ("aʊ", 0.15), ("t", 0.05)) == "əbˈWt"
    assert written(("k", 0.05), ("ʌ", 0.1), ("t", 0.05)) == "kˈʌt"


def test_a_pause_is_a_space_of_its_length() -> None:
    phones = [Timed("s", 0.2, 0.4), Timed(SILENCE, 0.4, 0.7), Timed("s", 0.7, 0.9)]
    take = take_of_phones(phones, 1.2, VOCABULARY)
    assert text_of(take) == "s s"
    assert take.steps[2] * STEP == pytest.approx(0.3)


def test_the_synthesisers_own_symbols_keep_their_steps() -> None:
    marks = [("^", 0.0, 0.25), ("ð", 0.25, 0.275), ("ə", 0.275, 0.3), (" ", 0.3, 0.35)]
    marks += [("ˈ", 0.35, 0.425), ("I", 0.425, 0.6), (".", 0.6, 0.75), ("$", 0.75, 0.8)]
    take = take_of_symbols([Timed(*mark) for mark in marks], 0.875, VOCABULARY)
    assert text_of(take) == "ðə ˈI."
    assert take.steps == (13, 1, 1, 2, 3, 7, 6, 2)


def test_what_cannot_be_spoken() -> None:
    with pytest.raises(InputError, match="alphabet lacks ʘ, ǃ"):
        take_of_phones([Timed("ʘ", 0, 0.1), Timed("ǃ", 0.1, 0.2)], 1.0, VOCABULARY)
    with pytest.raises(InputError, match="no phones to speak"):
        take_of_phones([Timed(SILENCE, 0, 1)], 1.0, VOCABULARY)
    many = [Timed("s", 0.1 * i, 0.1 * i + 0.1) for i in range(600)]
    with pytest.raises(InputError, match="600 symbols, expected at most 508"):
        take_of_phones(many, 60.0, VOCABULARY)
    with pytest.raises(InputError, match=r"20 symbols in 0\.20 s, expected at least 25 ms"):
        take_of_phones([Timed("s", 0.01 * i, 0.01 * i + 0.01) for i in range(20)], 0.2, VOCABULARY)


# --- voices ----------------------------------------------------------------------------------


def test_men_and_women_alike_and_test_voices_never() -> None:
    counts: Counter[str] = Counter()
    for clip in range(400):
        voices = voices_for(f"clip{clip}", 3, 6, PACKS)
        assert len(set(voices)) == 6
        assert sum(voice[1] == "m" for voice in voices) == 3
        counts.update(voices)
    assert not set(counts) & set(TEST_VOICES)
    assert min(counts.values()) > 0.6 * max(counts.values())
    odd = Counter(voice[1] for clip in range(400) for voice in voices_for(f"{clip}", 0, 1, PACKS))
    assert 150 < odd["m"] < 250
    assert voices_for("a", 0, 6, PACKS) == voices_for("a", 0, 6, PACKS[::-1])
    assert len({voices_for("a", seed, 6, PACKS) for seed in range(5)}) > 1
    with pytest.raises(InputError, match="40 voices a clip, half of them men, from 9 men and 9"):
        voices_for("a", 0, 40, PACKS)


# --- corpora ---------------------------------------------------------------------------------


def noise_of(take: Take, seed: int = 0) -> np.ndarray:
    """Noise with a level for each token, at the times at which a synthesiser would be heard."""
    edges = (take.before + np.concatenate([[0], np.cumsum(take.steps)])) * STEP - LEAD
    level = np.zeros(round(take.seconds * 16000), np.float32)
    for token, start, end in zip(take.tokens, edges, edges[1:]):
        inside = slice(max(0, round(start * 16000)), max(0, round(end * 16000)))
        level[inside] = 0.0 if token == EDGE else 0.05 + 0.2 * (token % 5) / 5
    noise = np.random.default_rng(seed).normal(0, 1, len(level)).astype(np.float32)
    return np.clip(level * noise, -1, 1)


@dataclass
class Fake:
    """A synthesiser of noise. late: voice -> seconds by which it comes late."""

    packs: tuple[str, ...] = PACKS
    vocabulary: dict[str, int] = field(default_factory=lambda: dict(VOCABULARY))
    sha256: str = "0" * 64
    late: dict[str, float] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    spoken: list[str] = field(default_factory=list)

    def speak(self, take: Take, voice: str) -> np.ndarray:
        self.spoken.append(voice)
        if voice in self.silent:
            return np.zeros(round(take.seconds * 16000), np.float32)
        return np.roll(
            noise_of(take, zlib.crc32(voice.encode())), round(self.late.get(voice, 0.0) * 16000)
        )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three clips without words, of which one validates and one tests."""
    raw = tmp_path / "raw"
    raw.mkdir()
    splits = {"one": "train", "two": "val", "three": "test_seen"}
    for name in splits:
        (raw / name).write_text(name)

    def load(seed: int) -> ClipData:
        weights = np.random.default_rng(seed).uniform(0, 1, (40, 2))
        sound = noise_of(take_of_phones(BIN_BLUE, 1.6, VOCABULARY), 9)
        gap = np.full(40, 0.001 * seed)
        return ClipData(weights, Speech(sound), gap, np.arange(40) % 2 == 0)

    clips = tuple(
        SourceClip(
            "s1", name, (raw / name,), lambda seed=i: load(seed), phones=tuple(BIN_BLUE), id=name
        )
        for i, name in enumerate(splits)
    )
    scheme = own({("s1", name): split for name, split in splits.items()})
    source = SourceCorpus(
        "made", raw, "CC0.", 25.0, SHAPES, {}, None, {"own": scheme}, clips, names=NAMES
    )
    kind = CorpusKind("made", lambda folder, options: source, "", "", "25", SHAPES)
    assert prepare(kind, raw, tmp_path / "prepared").failed == ()
    return tmp_path / "prepared"


def test_the_same_motion_in_other_voices(corpus: Path, tmp_path: Path) -> None:
    done = revoice(corpus, tmp_path / "out", Fake(), per_clip=4, jobs=2)
    assert (done.made, done.kept, done.failed) == (6, 0, ())
    assert done.splits == {"own": {"train": 4, "val": 2}}
    made = open_prepared(tmp_path / "out")
    assert "Kokoro-82M" in made.licence
    assert "CC0" in made.licence
    originals = {clip.name: clip for clip in open_prepared(corpus).clips()}
    for clip in made.clips():
        original = originals[clip.sentence]
        assert np.array_equal(clip.weights, original.weights)
        assert np.array_equal(clip.gap, original.gap)
        assert np.array_equal(clip.tracked, original.tracked)
        assert clip.samples_count == original.samples_count
        assert clip.phones == original.phones
        assert not np.array_equal(clip.samples, original.samples)
        assert likeness(original.samples, clip.samples).envelope > LEAST_ENVELOPE
        assert (clip.splits["own"] == "val") == (clip.subject in VALIDATION_VOICES)
    records = json.loads((tmp_path / "out" / "manifest.json").read_text())["clips"]
    for record in records:
        assert record["revoiced"]["voice"] == record["subject"]
        assert record["revoiced"]["clip"] == record["sentence"]
        assert "Apache-2.0" in record["revoiced"]["licence"]
        assert record["likeness"]["envelope"] > LEAST_ENVELOPE


def test_an_earlier_run_goes_on(corpus: Path, tmp_path: Path) -> None:
    """What is whole stays, what was dropped is not made again, until something changes."""
    fake = Fake(silent=("am_fenrir",))
    first = revoice(corpus, tmp_path / "out", fake, per_clip=4, jobs=1, limit=3)
    assert first.limited
    assert len(fake.spoken) == 3
    revoice(corpus, tmp_path / "out", fake, per_clip=4, jobs=1)
    assert len(fake.spoken) == 6
    again = revoice(corpus, tmp_path / "out", fake, per_clip=4, jobs=1)
    assert (again.made, again.kept, len(again.failed)) == (0, 5, 1)
    assert len(fake.spoken) == 6
    (
        tmp_path / "out" / "clips" / f"{open_prepared(tmp_path / 'out').clips()[0].name}.flac"
    ).unlink()
    assert revoice(corpus, tmp_path / "out", fake, per_clip=4, jobs=1).made == 1
    other = Fake(sha256="1" * 64)
    assert revoice(corpus, tmp_path / "out", other, per_clip=4, jobs=1).made == 6


def failures(done: Outcome) -> dict[str, str]:
    return {issue.name: issue.reason for issue in done.failed}


def test_takes_that_do_not_keep_to_the_original_are_dropped(corpus: Path, tmp_path: Path) -> None:
    fake = Fake(silent=("am_fenrir",), late={"af_kore": 0.075})
    done = revoice(corpus, tmp_path / "out", fake, per_clip=2, jobs=1)
    reasons = failures(done)
    assert set(reasons) == {"am_fenrir_two", "af_kore_two"}
    assert "follows the original at" in reasons["am_fenrir_two"]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["failed"] == reasons
    assert {clip.sentence for clip in open_prepared(tmp_path / "out").clips()} == {"one"}


def test_likeness_finds_a_lag() -> None:
    sound = noise_of(take_of_phones(BIN_BLUE, 1.6, VOCABULARY))
    assert likeness(sound, 0.1 * sound).fault is None  # another level is no fault
    assert likeness(sound, np.roll(sound, 1600)).lag == pytest.approx(0.1)
    assert likeness(sound, np.roll(sound, 1600)).fault is not None
    slow = np.repeat(np.random.default_rng(0).uniform(0.1, 1, 8), 6400).astype(np.float32)
    late = likeness(slow, np.roll(slow, 1200))
    assert late.envelope > LEAST_ENVELOPE
    assert abs(late.lag) > MOST_LAG
    assert late.fault == "it lies +75 ms from the original, expected within 50"
    assert likeness(slow, np.roll(slow, 1200), 0.02).fault is None  # the words know better
    assert likeness(sound, sound, 0.2).fault == (
        "its words begin 200 ms from the original's, expected 60"
    )
    assert likeness(sound, sound, float("inf")).fault == "its words were not found in its sound"


def test_symbols_of_a_file_come_before_phones(corpus: Path, tmp_path: Path) -> None:
    marks = [["^", 0, 0.5], ["s", 0.5, 0.8], [".", 0.8, 1.0], ["$", 1.0, 1.6]]
    path = tmp_path / "clips.jsonl"
    path.write_text(json.dumps({"id": "one", "phones": marks}) + "\n", encoding="utf-8")
    one, two = open_prepared(corpus).clips()[0], open_prepared(corpus).clips()[2]
    assert {one.name, two.name} == {"one", "two"}
    sentences = Sentences(read_symbols(path))
    assert text_of(sentences.take(one, VOCABULARY)) == "s."
    assert text_of(sentences.take(two, VOCABULARY)) == "bˈɪnblu"  # one word, one stress
    done = revoice(corpus, tmp_path / "out", Fake(), per_clip=2, symbols=path, jobs=1)
    assert done.made + len(done.failed) == 4
    path.write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"clips\.jsonl"):
        revoice(corpus, tmp_path / "out2", Fake(), symbols=path)


def test_refusals(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 voices a clip"):
        revoice(corpus, tmp_path / "out", Fake(), per_clip=0)
    with pytest.raises(InputError, match="is not a prepared corpus"):
        revoice(tmp_path / "raw", tmp_path / "out", Fake())
    with pytest.raises(InputError, match="corpus made"):
        revoice(corpus, corpus, Fake())
    strange = Fake(vocabulary={"b": 1})
    done = revoice(corpus, tmp_path / "out", strange, per_clip=2, jobs=1)
    assert all("alphabet lacks" in reason for reason in failures(done).values())


# --- Kokoro's graph ---------------------------------------------------------------------------


@pytest.fixture
def kokoro(tmp_path: Path) -> Path:
    """A folder with a miniature of the network: as many samples as the rounded durations say, all
    of a quarter; two voices, the alphabet.
    """
    onnx = pytest.importorskip("onnx", reason="needs pip install 'jambatalk[onnx]'")
    pytest.importorskip("onnxruntime", reason="needs pip install 'jambatalk[onnx]'")
    from onnx import TensorProto, helper

    node = helper.make_node
    quarter = helper.make_tensor("quarter", TensorProto.FLOAT, [1], [0.25])
    nodes = [
        node("Cast", ["tokens"], ["floats"], to=TensorProto.FLOAT),
        node("Div", ["floats", "speed"], ["predicted"], name="/encoder/Div"),
        node("Round", ["predicted"], ["rounded"], name=ROUND),
        node("ReduceSum", ["rounded"], ["total"], keepdims=0),
        node("Mul", ["total", "size"], ["count"]),
        node("Cast", ["count"], ["whole"], to=TensorProto.INT64),
        node("Unsqueeze", ["whole", "zero"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["flat"], value=quarter),
        node("ReduceSum", ["style"], ["styles"], keepdims=0),
        node("Mul", ["styles", "nothing"], ["none"]),
        node("Add", ["flat", "none"], ["audio"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "miniature",
        [
            value("tokens", TensorProto.INT64, [1, "n"]),
            value("style", TensorProto.FLOAT, [1, 256]),
            value("speed", TensorProto.FLOAT, [1]),
        ],
        [value("audio", TensorProto.FLOAT, ["samples"])],
        [
            helper.make_tensor("size", TensorProto.FLOAT, [], [STEP * RATE]),
            helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0]),
            helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "kokoro.onnx")
    (tmp_path / "voices").mkdir()
    for voice in ("am_0", "af_0", *VALIDATION_VOICES):
        np.zeros(STYLES, "<f4").tofile(tmp_path / "voices" / f"{voice}.bin")
    (tmp_path / "config.json").write_text(json.dumps({"vocab": VOCABULARY}), encoding="utf-8")
    return tmp_path


def test_durations_become_an_input(kokoro: Path) -> None:
    import onnx

    model = onnx.load(kokoro / "kokoro.onnx")
    take_durations(model.graph, "it")
    onnx.checker.check_model(model)
    assert [one.name for one in model.graph.input][-1] == DURATIONS
    assert all(node.name != ROUND for node in model.graph.node)
    (reader,) = [node for node in model.graph.node if DURATIONS in node.input]
    assert reader.op_type == "ReduceSum"
    with pytest.raises(InputError, match="it has 0 nodes /encoder/Round"):
        take_durations(model.graph, "it")


def test_the_synthesiser_speaks_as_long_as_it_is_told(kokoro: Path) -> None:
    take = take_of_phones(BIN_BLUE, 1.59, VOCABULARY, WORDS)
    synthesiser = Kokoro(kokoro)
    sound = synthesiser.speak(take, "am_0")
    assert (sound.dtype, sound.shape) == (np.float32, (round(1.59 * 16000),))
    first, length = take.before * STEP, sum(take.steps) * STEP
    start, end, margin = round(first * 16000), round((first + length) * 16000), 320
    assert 0 < start < end < len(sound)
    assert np.allclose(sound[start + margin : end - margin], 0.25, atol=1e-3)
    assert not sound[:start].any()
    assert not sound[end + margin :].any()
    apart = Kokoro(kokoro / "kokoro.onnx", kokoro / "voices", kokoro / "config.json")
    assert apart.packs == ("af_0", "af_kore", "am_0", "am_fenrir")
    assert np.array_equal(apart.speak(take, "af_0"), sound)
    with pytest.raises(InputError, match=r"no voice 'x' in .*: choose from af_0"):
        synthesiser.speak(take, "x")


def test_a_synthesiser_that_is_missing_or_damaged(kokoro: Path, tmp_path: Path) -> None:
    take = take_of_phones(BIN_BLUE, 1.6, VOCABULARY)
    with pytest.raises(InputError, match=r"no synthesiser at .*absent\.onnx"):
        Kokoro(kokoro / "absent.onnx")
    with pytest.raises(InputError, match="no voices in"):
        Kokoro(kokoro, kokoro / "nowhere")
    with pytest.raises(InputError, match=r"absent\.json"):
        Kokoro(kokoro, vocabulary=kokoro / "absent.json")
    (kokoro / "voices" / "am_0.bin").write_bytes(b"1234")
    with pytest.raises(InputError, match=r"am_0\.bin holds 1 numbers, expected 130560"):
        Kokoro(kokoro).speak(take, "am_0")
    (kokoro / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        Kokoro(kokoro)
    (kokoro / "kokoro.onnx").write_bytes(b"not a network")
    with pytest.raises(InputError, match=r"(config\.json|kokoro\.onnx) is damaged"):
        Kokoro(kokoro)


def run(*arguments: object) -> Printed:
    result = CliRunner().invoke(data, ["revoice", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Printed(result.exit_code, result.stdout, result.stderr)


def test_the_command(corpus: Path, kokoro: Path, tmp_path: Path) -> None:
    """A miniature that speaks nothing: every take is dropped, the reasons are named, status 2."""
    out = tmp_path / "out"
    done = run(corpus, out, "--model", kokoro, "--per-clip", 2, "--json", "-j", 1)
    assert done.status == 2
    assert "checksum" in done.err
    assert "was kept" in done.err
    result = json.loads(done.out)
    assert (result["ok"], result["made"], len(result["dropped"])) == (False, 0, 4)
    absent = run(corpus, out, "--model", kokoro / "absent.onnx")
    assert absent.status == 2
    assert "no synthesiser at" in absent.err


REAL = os.environ.get("JAMBATALK_KOKORO", "")


@pytest.mark.skipif(not REAL, reason="JAMBATALK_KOKORO names no folder with Kokoro's three parts")
def test_a_real_voice_keeps_to_the_recording() -> None:
    pytest.importorskip("pocketsphinx", reason="needs pip install 'jambatalk[align]'")
    from jambatalk.datasets.align import Aligner

    sound = Speech.load((files("jambatalk") / "assets" / "demo.flac").read_bytes()).samples
    text = (
        "Had he married a more amiable woman, he might have been made still more respectable than "
        "he was: he might even have been made amiable himself."
    )
    aligner = Aligner()
    phones, words = aligner.align(sound, text)
    synthesiser = Kokoro(Path(REAL))
    take = take_of_phones(phones, len(sound) / 16000, synthesiser.vocabulary, words)
    spoken = synthesiser.speak(take, "am_michael")
    again = aligner.align(spoken, text)[1]
    onset = float(np.median([abs(a.start - b.start) for a, b in zip(again, words)]))
    assert likeness(sound, spoken, onset).fault is None


def test_words_unknown_and_phones_unknown(corpus: Path) -> None:
    clip = open_prepared(corpus).clips()[0]
    assert Sentences().of(clip) == (tuple(BIN_BLUE), ())
    assert Sentences().onset(clip, clip.samples) is None
    with pytest.raises(InputError, match="neither phones nor words"):
        Sentences().of(replace(clip, phones=None))
