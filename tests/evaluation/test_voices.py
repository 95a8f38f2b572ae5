"""The protocol of voices with systems that know the answers, on speech made up here."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from jambatalk.datasets.articulation import articulate, teeth_edge
from jambatalk.datasets.clip import Clip
from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import EvalClip
from jambatalk.evaluation.metrics.visemes import (
    VISEMES,
    MouthAtPhones,
    Reading,
    contrast,
    join_mouths,
    legibility,
    legibility_of,
    measure_phones,
    mouth_track,
)
from jambatalk.evaluation.protocols.default_weights import AlignedSpeech
from jambatalk.evaluation.protocols.figures import as_numbers, figure, table
from jambatalk.evaluation.protocols.voices import (
    LEADS,
    VoicesData,
    contact_rates,
    load_languages,
    load_spoken,
    make_lead,
    score_filmed,
    score_languages,
    score_rest,
    score_spoken,
    score_voices,
    speech_span,
)
from jambatalk.evaluation.systems import System, static_system
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.motion import Motion
from jambatalk.text.phones import SILENCE, Timed
from running import run

HOP = 640


@pytest.fixture(scope="module")
def head() -> Face:
    return default_head()


def follower(face: Face) -> System:
    """Opens the jaw as loud as the sound is, relative to the loudest so far."""

    def animate(clip: EvalClip, seed: int) -> Motion:
        frames = clip.samples[: len(clip.samples) // HOP * HOP].reshape(-1, HOP)
        level = np.sqrt((frames**2).mean(1))
        level[level < 1e-5] = 0.0
        loudest = np.maximum.accumulate(np.maximum(level, 1e-6))
        weights = np.zeros((len(level), len(face.names)), np.float32)
        weights[:, face.names.index("jawOpen")] = 0.4 * level / loudest
        return Motion(25.0, weights, face.names)

    return System("follower", animate)


def filmed(face: Face, seed: int) -> Clip:
    """A clip whose jaw is its loudness: words from 0.6 to 2.4 s, no sound around them."""
    rng = np.random.default_rng(seed)
    level = np.zeros(75)
    level[15:60] = rng.uniform(0.05, 0.2, 45)
    level[15] = 0.2  # the loudest comes first, so that later levels are relative to it
    samples = (np.repeat(level, HOP) * np.sign(rng.standard_normal(75 * HOP))).astype(np.float32)
    weights = np.zeros((75, len(face.names)), np.float32)
    weights[:, face.names.index("jawOpen")] = 0.4 * level / 0.2
    words = (Timed("sil", 0.0, 0.6), Timed("lay", 0.6, 1.5), Timed("red", 1.5, 2.4))
    motion = Motion(25.0, weights=weights, names=face.names)
    return Clip(f"c{seed}", "s1", "val", samples, motion, words=words, corpus="grid")


def test_leads_do_not_shift_the_motion(head: Face) -> None:
    """The follower is right behind every lead and at every level; a still face never is."""
    clips = [filmed(head, seed) for seed in range(3)]
    found = score_filmed(follower(head), clips, head)
    for lead in LEADS:
        assert found[f"opening, 0 dB, {lead}"].value > 0.99, lead
    assert found["opening, -20 dB, zeros 2 s"].value > 0.99
    assert found["opening, 0 dB, worst"].value == min(
        found[f"opening, 0 dB, {lead}"].value for lead in LEADS
    )
    still = score_filmed(static_system(head), clips, head)
    assert still["opening, 0 dB, worst"].value == 0.0


def test_leads_are_whole_frames_of_the_levels_that_they_name() -> None:
    rng = np.random.default_rng(0)
    for name in LEADS:
        lead = make_lead(name, rng)
        assert len(lead) % HOP == 0
        assert lead.dtype == np.float32
    quiet = make_lead("-45 dBFS", rng)
    assert 20 * np.log10(np.sqrt(np.mean(quiet**2))) == pytest.approx(-45, abs=0.01)
    assert set(np.unique(make_lead("dither 2 s", rng) * 32768)) == {-1.0, 0.0, 1.0}


def test_speech_is_from_the_first_word_to_the_last(head: Face) -> None:
    clip = filmed(head, 0)
    assert speech_span(clip) == slice(15, 60)
    bare = Clip("b", "s", "val", clip.samples, clip.motion)
    assert speech_span(bare) == slice(15, 60)  # by loudness
    assert speech_span(Clip("s", "s", "val", np.zeros(48000, np.float32), clip.motion)) is None


def sentences(seed: int, count: int = 12) -> list[AlignedSpeech]:
    rng = np.random.default_rng(seed)
    known = [*(group.split()[0] for group in VISEMES[:-3]), "i", "u", "ɑ"]
    made = []
    for number in range(count):
        phones = [
            Timed(str(phone), 0.2 + 0.16 * i, 0.2 + 0.16 * (i + 1))
            for i, phone in enumerate(rng.permutation(known))
        ]
        samples = 0.05 * rng.standard_normal(round(2.4 * 16000))
        made.append(AlignedSpeech(str(number), samples.astype(np.float32), tuple(phones)))
    return made


def speaker(face: Face, spoken: list[AlignedSpeech]) -> System:
    """Knows what is said: a mouth half open, articulated by rule."""
    texts = {s.samples[:100].tobytes(): s.phones for s in spoken}

    def animate(clip: EvalClip, seed: int) -> Motion:
        phones = texts.get(np.asarray(clip.samples)[:100].astype(np.float32).tobytes(), ())
        count = len(clip.samples) // HOP
        weights = np.zeros((count, len(face.names)), np.float32)
        weights[:, face.names.index("jawOpen")] = 0.2
        return Motion(25.0, articulate(weights, phones, 25.0, face), face.names)

    return System("speaker", animate)


def test_articulated_motion_is_legible_and_a_still_face_is_not(head: Face) -> None:
    spoken = sentences(1)
    found = score_spoken(speaker(head, spoken), spoken, head)
    assert found["legibility, mean"].value > 0.7
    assert found["legibility, p b m"].value > 0.9
    assert found["/p b m/ within 1 mm"].value == 1.0
    assert found["/f v/ within 1.5 mm of the teeth's edge"].value > 0.9
    assert found["/u w/ less /i/, width, mm"].value < -3
    assert found["/u w/ less /i/, protrusion, mm"].value > 1
    assert found["open vowels closed"].value == 0.0
    still = score_spoken(static_system(head), spoken, head)
    assert still["legibility, mean"].value <= 2 / len(VISEMES)
    assert still["open vowels closed"].value == 1.0


def test_classes_that_differ_are_named_rightly() -> None:
    rng = np.random.default_rng(0)
    phones = np.array([group.split()[0] for group in VISEMES] * 20)
    values = np.zeros((len(phones), 3, 7))
    values[:, 1, 0] = np.tile(np.arange(len(VISEMES)), 20)
    values += 0.01 * rng.standard_normal(values.shape)
    mouths = MouthAtPhones(phones, values, np.arange(len(phones)) // len(VISEMES))
    assert legibility(mouths)["mean"] == 1.0
    mixed = MouthAtPhones(rng.permutation(phones), values, mouths.sentences)
    assert legibility(mixed)["mean"] < 0.3
    nothing = MouthAtPhones(phones[:0], values[:0], mouths.sentences[:0])
    assert math.isnan(legibility(nothing)["mean"])


def test_voices_together_are_counted_phone_by_phone() -> None:
    """Two voices, /p/ right in one of two and in both; intervals come from sentences."""
    first = Reading(np.array([0, 0, 1]), np.array([0, 3, 1]), np.array([0, 1, 2]))
    second = Reading(np.array([0, 0]), np.array([0, 0]), np.array([0, 0]))
    values, intervals = legibility_of([first, second])
    assert values[VISEMES[0]] == 0.75
    assert values[VISEMES[1]] == 1.0
    assert values["mean"] == pytest.approx(0.875)
    assert values["all"] == pytest.approx(0.8)
    low, high = intervals[VISEMES[0]]
    assert low == 0.0  # the sentence that is wrong may be the only one with the viseme
    assert high == 1.0
    assert legibility_of([second])[1] == {}  # one sentence


def test_contrasts_are_differences_of_means() -> None:
    values = np.zeros((6, 3, 7))
    values[:, 1, 1] = [10, 12, 20, 11, 11, 23]
    phones = np.array(["u", "w", "i", "u", "m", "i"])
    mouths = MouthAtPhones(phones, values, np.array([0, 0, 0, 1, 1, 1]))
    assert contrast(mouths, ("u", "w"), ("i",), 1)[0] == pytest.approx(11 - 21.5)
    assert math.isnan(contrast(mouths, ("u", "w"), ("i",), 1)[1])  # two sentences only
    assert math.isnan(contrast(mouths, ("y",), ("i",), 1)[0])
    both = join_mouths([mouths, mouths])
    assert list(np.unique(both.sentences)) == [0, 1, 2, 3]
    value, low, high = contrast(both, ("u", "w"), ("i",), 1)
    assert low <= value <= high
    assert low < high


def test_contacts_are_counted_by_hand() -> None:
    gap = np.full(50, 5.0)
    gap[10] = 0.5  # within /b/
    gap[30] = 0.2  # the middle of the second vowel
    teeth = np.full(50, 4.0)
    teeth[20] = 1.0
    phones = (
        Timed("b", 0.36, 0.44),
        Timed("ɑ", 0.5, 0.7),
        Timed("v", 0.76, 0.84),
        Timed("ɑ", 1.1, 1.3),
        Timed("p", 1.6, 1.7),
    )
    rates = contact_rates(gap, teeth, phones)
    assert rates == {"touch": 0.5, "false": 0.5, "tuck": 1.0}
    assert math.isnan(contact_rates(gap, teeth, phones[1:2])["tuck"])


def test_the_mouth_is_measured_in_millimetres(head: Face) -> None:
    weights = np.zeros((3, len(head.names)), np.float32)
    weights[1, head.names.index("jawOpen")] = 0.3
    weights[2, head.names.index("mouthPucker")] = 1.0
    track = mouth_track(weights, head)
    assert track[:, 0] == pytest.approx(head.lip_gap(weights) * 1e3, abs=1e-3)
    assert track[1, 0] > 5
    assert track[1, 3] < track[0, 3] - 5  # the lower lip goes down from the teeth
    assert track[2, 1] < track[0, 1] - 3  # narrower
    assert track[2, 2] > track[0, 2] + 2  # further forward
    assert abs(teeth_edge(head)) < 1.0
    mouths = measure_phones([weights], [(Timed("sil", 0, 0.04), Timed("u", 0.06, 0.1))], 25.0, head)
    assert list(mouths.phones) == ["u"]
    assert mouths.at("u")[0, 1] == pytest.approx(track[2, 1])


def test_rest_is_watched_where_nobody_speaks(head: Face) -> None:
    spoken = sentences(2, 3)
    still = score_rest(static_system(head), spoken, head)
    assert all(found.value < 0.2 for found in still.values())
    moving = score_rest(follower(head), spoken, head)
    assert moving["digital silence, most"].value < 0.2
    assert moving["music, most"].value > 3
    assert moving["breath, most"].value > 3
    assert moving["before the first word, most"].value > 3  # it follows the room
    assert moving["room at -50 dBFS after speech, most"].value < 2  # far below the speech


def test_intervals_and_the_table(head: Face) -> None:
    found = figure([0.1, 0.2, 0.3, float("nan"), 0.4])
    assert (found.value, found.count) == (pytest.approx(0.25), 4)
    assert found.low < 0.25 < found.high
    assert math.isnan(figure([]).value)
    data = VoicesData({"s1": [filmed(head, 0)]}, {"kal": sentences(3, 5)})
    figures = score_voices(static_system(head), data, head)
    numbers = as_numbers(figures)
    assert numbers["kal: legibility, mean"] <= 0.25
    text = table({"still": figures})
    assert "| kal: /p b m/ within 1 mm | 1.000 [" in text
    assert len(text.splitlines()) == len(figures) + 2


def test_sentences_on_disk(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    for name in ("a", "b"):
        soundfile.write(tmp_path / "audio" / f"{name}.flac", np.zeros(1600), 16000)
    rows = [
        {"id": n, "voice": v, "phones": [["m", 0.0, 0.05]]} for n, v in (("a", "x"), ("b", "y"))
    ]
    (tmp_path / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert list(load_spoken(tmp_path)) == ["x", "y"]
    assert list(load_spoken(tmp_path, ["y"])) == ["y"]
    with pytest.raises(InputError, match="no sentence of nobody"):
        load_spoken(tmp_path, ["nobody"])
    (tmp_path / "clips.jsonl").write_text('{"id": 3}\n')
    with pytest.raises(InputError, match="line 1"):
        load_spoken(tmp_path)
    with pytest.raises(InputError, match="voices_data"):
        load_spoken(tmp_path / "nowhere")


def test_languages_are_scored_with_their_voices_together(head: Face) -> None:
    one, two = sentences(4, 5), sentences(5, 5)
    everybody = speaker(head, [*one, *two])
    found = score_languages(everybody, {"Elvish": {"a": one, "b": two}}, head)
    assert found["Elvish: /p b m/ within 1 mm"].value == 1.0
    assert found["Elvish: /p b m/ within 1 mm"].count == 10
    assert found["Elvish: /u w/ less /i/, width, mm"].high < -3
    assert "Elvish: legibility, p b m" not in found
    assert not any("/y ø/" in name for name in found)  # nobody says it


def test_languages_on_disk(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    rows = []
    for voice in ("Elvish/a", "Elvish/b", "Czech/c"):
        name = voice.replace("/", "_")
        soundfile.write(tmp_path / "audio" / f"{name}.flac", np.zeros(1600), 16000)
        rows.append({"id": name, "voice": voice, "phones": [["m", 0.0, 0.05]]})
    path = tmp_path / "clips.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = load_languages(tmp_path)
    assert {language: list(voices) for language, voices in found.items()} == {
        "Elvish": ["a", "b"],
        "Czech": ["c"],
    }
    path.write_text(path.read_text().replace("Czech/c", "kal"))
    with pytest.raises(InputError, match="the voice 'kal', expected LANGUAGE/VOICE"):
        load_languages(tmp_path)


def test_maps_of_languages_are_complete() -> None:
    """Every map has pauses, lips, and vowels; what is not counted is named on purpose."""
    path = Path(__file__).resolve().parents[2] / "benchmarks/quality/languages.yaml"
    languages = yaml.safe_load(path.read_text(encoding="utf-8"))
    counted = {phone for group in VISEMES for phone in group.split()}
    uncounted = {"ɱ", "ɲ", "ʎ", "x", "c", "ɟ", "r̝", "ts", "dz", "y", "ø", "ʋ", "β", "kʃ", "ʃɾi"}
    assert len(languages) == 8
    for name, language in languages.items():
        phones = language["phones"]
        assert set(phones.values()) <= counted | uncounted | {SILENCE}, name
        assert {"sil", "p", "m", "i", "u"} <= set(phones.values()), name
        assert {"a", "ɑ"} & set(phones.values()), name
        assert len(language["sentences"]) == 15, name
        for sentence in language["sentences"]:
            sentence.encode(language["encoding"])
            assert '"' not in sentence
        assert language["source"].startswith("festival: ")


def test_options_of_other_protocols_are_refused(tmp_path: Path) -> None:
    outcome = run("evaluate", "default", tmp_path, "--protocol", "voices", "--facegood", tmp_path)
    assert outcome.status == 2
    assert "--facegood has no meaning for --protocol voices" in outcome.err
    outcome = run("evaluate", "default", tmp_path, "--protocol", "grid", "--speech", tmp_path)
    assert "--speech has no meaning for --protocol grid" in outcome.err
