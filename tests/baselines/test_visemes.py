"""The viseme baseline: how phones are blended, and that shapes and dominance are found again in
made speech.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from jambatalk.baselines.visemes import (
    CLASSES,
    CLOSED,
    CLOSURE,
    RIDGE,
    VISEMES,
    Array,
    Dominance,
    Sums,
    Visemes,
    changed,
    class_of,
    counting,
    fit_visemes,
    load_visemes,
    pulls,
    save_visemes,
    segments,
    viseme_error,
)
from jambatalk.datasets.dataset import (
    FORMAT,
    VERSION,
    PreparedCorpus,
    open_prepared,
    write_array,
    write_clip,
    write_json,
)
from jambatalk.errors import InputError
from jambatalk.text.phones import BILABIALS, OPEN_VOWELS, SILENCE, Timed

SCRIPT = Path(__file__).parents[2] / "tools" / "fit_visemes.py"
UPPER, LOWER = 1, 4
"""Where y of the upper and of the lower lip is among a frame's six values."""


def spoken(sounds: Sequence[str], length: float = 0.1, start: float = 0.3) -> tuple[Timed, ...]:
    """Phones one after the other."""
    return tuple(
        Timed(sound, start + i * length, start + (i + 1) * length) for i, sound in enumerate(sounds)
    )


def at_random(
    rng: np.random.Generator, choice: Sequence[str], count: int = 12
) -> tuple[Timed, ...]:
    ends = 0.3 + np.cumsum(rng.uniform(0.05, 0.16, count))
    sounds = rng.choice(choice, count)
    return tuple(
        Timed(str(s), float(e0), float(e1))
        for s, e0, e1 in zip(sounds, [0.3, *ends], ends, strict=False)
    )


def corpus(
    folder: Path,
    clips: Sequence[tuple[tuple[Timed, ...] | None, Array]],
    splits: Sequence[str] = (),
) -> PreparedCorpus:
    """A prepared corpus of two vertices at 50 fps from phones and (T, 6) offsets."""
    records = []
    for i, (phones, offsets) in enumerate(clips):
        details = {
            "subject": "mei",
            "sentence": f"s{i}",
            "fps": 50.0,
            "text": None,
            "pseudo": False,
            "phones": None if phones is None else [list(phone) for phone in phones],
        }
        moved = offsets.reshape(-1, 2, 3).astype(np.float32)
        records.append(write_clip(folder, f"mei_s{i}", moved, np.zeros(640, np.float32), details))
    write_array(folder / "templates" / "mei.npy", np.zeros((2, 3), np.float32))
    for i, record in enumerate(records):
        record["splits"] = {"made": splits[i] if splits else "train"}
    write_json(
        folder / "manifest.json",
        {
            "format": FORMAT,
            "version": VERSION,
            "corpus": "made",
            "licence": "none",
            "source": "made",
            "unit": "metres",
            "fps": 50.0,
            "motion": "offsets",
            "vertices": 2,
            "subjects": {"mei": "templates/mei.npy"},
            "schemes": ["made"],
            "failed": {},
            "clips": records,
        },
    )
    return open_prepared(folder)


def made_visemes(dominance: Dominance, seed: int = 0) -> Visemes:
    shapes = np.random.default_rng(seed).standard_normal((len(VISEMES), 6)).astype(np.float32)
    return Visemes(shapes, np.ones(len(VISEMES)), dominance, "metres", {})


def made_clips(
    visemes: Visemes, count: int, choice: Sequence[str]
) -> list[tuple[tuple[Timed, ...], Array]]:
    rng = np.random.default_rng(5)
    sequences = [at_random(rng, choice) for _ in range(count)]
    return [(phones, visemes.animate_phones(phones, 110, 50)) for phones in sequences]


def test_a_lone_phone_reaches_its_shape_and_silence_lies_around() -> None:
    visemes = made_visemes(Dominance())
    moved = visemes.animate_phones([Timed("ɑ", 1.0, 1.4)], 120, 50)
    ah, rest = visemes.shapes[VISEMES.index("ɑ")], visemes.shapes[VISEMES.index(SILENCE)]
    apart = np.linalg.norm(ah - rest)
    assert moved.shape == (120, 6)
    assert moved.dtype == np.float32
    assert np.linalg.norm(moved[60] - ah) < 0.05 * apart
    assert np.linalg.norm(moved[0] - rest) < 1e-3 * apart
    assert np.linalg.norm(moved[-1] - rest) < 1e-3 * apart
    np.testing.assert_allclose(visemes.animate_phones([], 5, 50), np.tile(rest, (5, 1)), rtol=1e-6)


def test_shares_sum_to_one_and_change_smoothly() -> None:
    phones = at_random(np.random.default_rng(1), VISEMES[1:], 20)
    dominance = Dominance()
    shares = pulls(phones, 3000, 1000, dominance)
    np.testing.assert_allclose(shares.sum(1), 1.0)
    assert shares.min() >= 0
    # What is blended by exponentials changes by at most a quarter of the difference of their
    # slopes, here (20 + 20) a second.
    assert np.abs(np.diff(shares, axis=0)).max() <= (20 + 20) / 4 / 1000 * 1.01


def test_the_order_of_the_phones_does_not_matter() -> None:
    phones = [*spoken("hɛloʊ"[:3]), Timed("oʊ", 0.7, 0.9), Timed(SILENCE, 0.9, 2.0)]
    shares = pulls(phones, 100, 50, Dominance())
    assert np.array_equal(shares, pulls(phones[::-1], 100, 50, Dominance()))
    assert np.array_equal(
        shares, pulls(phones[:-1], 100, 50, Dominance())
    )  # silence that is given and that is left out


def test_diphthongs_are_two_vowels_and_long_gaps_are_pauses() -> None:
    names = [
        VISEMES[i]
        for i, _, _ in segments(
            [
                Timed("m", 0.1, 0.2),
                Timed("aɪ", 0.2, 0.4),
                Timed("n", 0.45, 0.5),
                Timed("t", 0.7, 0.8),
            ]
        )
    ]
    assert names == ["sil", "m", "a", "ɪ", "n", "sil", "t", "sil"]
    assert segments([Timed("aɪ", 0.2, 0.4)])[1:3] == [
        (VISEMES.index("a"), 0.2, pytest.approx(0.3)),
        (VISEMES.index("ɪ"), pytest.approx(0.3), 0.4),
    ]


def test_stronger_phones_win_over_their_neighbours() -> None:
    dominance = Dominance()
    shares = pulls(spoken("ɑbɑtɑ"), 100, 100, dominance)
    closed, tongue = shares[45, VISEMES.index("b")], shares[65, VISEMES.index("t")]
    assert closed > 0.85
    assert closed > tongue + 0.1
    with pytest.raises(
        ValueError, match=r"strength of bilabials is 1.0, expected 4 times the others' 2.0 or more"
    ):
        Dominance(strength=[1.0, 1.0, 1.0, 2.0, 1.0, 0.5])
    assert (
        changed(
            dominance, "strength", CLASSES.index("vowel"), 2.1 * dominance.strength[2] / CLOSURE
        )
        is None
    )
    assert {class_of(phone) for phone in VISEMES} == set(CLASSES)
    assert class_of("w") == class_of("ʃ") == "rounded"


def test_lips_close_at_a_bilabial(tmp_path: Path) -> None:
    """Made of jaw and lips that go from one place to the next on straight ways, not of dominance
    functions.
    """
    rng, clips = np.random.default_rng(2), []
    for _ in range(12):
        phones = at_random(rng, ["ɑ", "æ", "m", "b", "p", "t", "s"])
        opened = [
            0.0 if p.text in BILABIALS else 0.012 if p.text in OPEN_VOWELS else 0.004
            for p in phones
        ]
        gap = np.interp(
            np.arange(110) / 50,
            [0.25, *((p.start + p.end) / 2 for p in phones), phones[-1].end + 0.1],
            [0.0, *opened, 0.0],
        )
        moved = np.zeros((110, 6))
        moved[:, UPPER], moved[:, LOWER] = 0.3 * gap, -0.7 * gap
        clips.append((phones, moved))
    visemes = fit_visemes(corpus(tmp_path, clips).clips())
    shown = visemes.animate_phones(spoken("ɑmɑbɑpɑ", 0.14), 200, 100)
    gap = shown[:, UPPER] - shown[:, LOWER]
    vowels, closures = gap[[37, 65, 93, 121]], gap[[51, 79, 107]]
    assert vowels.min() > 0.006
    assert closures.max() < 0.15 * vowels.min()


def test_ridge_finds_made_shapes_again(tmp_path: Path) -> None:
    dominance = Dominance(before=[0.04] * 6, after=[0.03] * 6, lead=0.02)
    made = made_visemes(dominance)
    clips = corpus(tmp_path, made_clips(made, 40, VISEMES[1:])).clips()
    found = fit_visemes(clips, dominance, ridge=1e-6)
    np.testing.assert_allclose(found.shapes, made.shapes, atol=0.01)
    assert found.seen.sum() == pytest.approx(40 * 110)
    assert found.notes["frames"] == 40 * 110
    held = fit_visemes(clips, dominance, ridge=1e9)
    assert np.abs(held.shapes - held.shapes.mean(0)).max() < 1e-3  # nothing but the mean face


def test_a_phone_that_never_occurs_is_like_those_made_alike(tmp_path: Path) -> None:
    made = made_visemes(Dominance())
    for pair in ("fv", "sz", "td"):  # voice does not show
        made.shapes[VISEMES.index(pair[1])] = made.shapes[VISEMES.index(pair[0])]
    known = [phone for phone in VISEMES if phone not in ("v", SILENCE)]
    found = fit_visemes(corpus(tmp_path, made_clips(made, 30, known)).clips(), Dominance())
    shape = {phone: found.shapes[VISEMES.index(phone)] for phone in VISEMES}
    assert found.seen[VISEMES.index("v")] == 0
    from_like = np.linalg.norm(shape["v"] - shape["f"])
    assert from_like < 0.5 * np.median(
        [np.linalg.norm(shape["v"] - shape[phone]) for phone in known if phone != "f"]
    )


def test_search_comes_closer_than_where_it_starts(tmp_path: Path) -> None:
    dominance = Dominance(
        strength=[0.5, 1.0, 16.0, 4.0, 2.0, 0.25], before=[0.12] * 6, after=[0.03] * 6, lead=0.06
    )
    clips = corpus(
        tmp_path, made_clips(made_visemes(dominance), 16, ["ɑ", "i", "u", "m", "f", "w", "t", "s"])
    ).clips()
    lines: list[str] = []
    searched, plain = (
        fit_visemes(clips[:10], progress=lines.append),
        fit_visemes(clips[:10], Dominance()),
    )
    assert viseme_error(searched, clips[10:])[0] < 0.5 * viseme_error(plain, clips[10:])[0]
    assert lines


def test_error_from_sums_is_the_error() -> None:
    rng = np.random.default_rng(3)
    pull, motion, shapes = (
        rng.random((50, len(VISEMES))),
        rng.random((50, 4)),
        rng.random((len(VISEMES), 4)),
    )
    sums, counts = Sums(), rng.uniform(1, 3, 50)
    sums.add(pull[:20], motion[:20], counts[:20])
    sums.add(pull[20:], motion[20:], counts[20:])
    assert sums.error(shapes) == pytest.approx(
        np.average(np.square(motion - pull @ shapes).sum(1), weights=counts)
    )
    assert sums.error(sums.shapes(RIDGE)) < sums.error(
        np.tile(motion.mean(0), (len(VISEMES), 1)) / len(VISEMES)
    )


def test_the_middle_of_a_bilabial_counts_most() -> None:
    phones = [
        Timed("m", 0.1, 0.3),
        Timed("ɑ", 0.3, 0.5),
        Timed("b", 0.5, 0.58),
        Timed("p", 0.9, 1.1),
    ]
    counts = counting(phones, 45, 50)
    assert np.flatnonzero(counts > 1).tolist() == [
        10,
        27,
    ]  # the last one's middle lies behind the end
    assert set(counts) == {1.0, CLOSED}


def test_file_gives_the_same_motion(tmp_path: Path) -> None:
    visemes = made_visemes(Dominance(lead=0.02))
    save_visemes(tmp_path / "v.safetensors", visemes)
    loaded = load_visemes(tmp_path / "v.safetensors")
    assert (loaded.dominance, loaded.unit, loaded.notes) == (visemes.dominance, "metres", {})
    phones = spoken("mɑ")
    assert np.array_equal(
        loaded.animate_phones(phones, 40, 25), visemes.animate_phones(phones, 40, 25)
    )


def test_what_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    visemes = made_visemes(Dominance())
    with pytest.raises(InputError, match="'xx' is not a known phone"):
        visemes.animate_phones([Timed("xx", 0, 1)], 5, 25)
    with pytest.raises(InputError, match=r"phone 'm' lasts from 1\.0 to 0\.5 s"):
        visemes.animate_phones([Timed("m", 1.0, 0.5)], 5, 25)
    with pytest.raises(InputError, match="no visemes at"):
        load_visemes(tmp_path / "none.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(InputError, match="not a file of visemes"):
        load_visemes(tmp_path / "other.safetensors")
    silent = corpus(tmp_path, [(None, np.zeros((5, 6)))]).clips()
    with pytest.raises(InputError, match="none of the 1 clips has timed phones"):
        fit_visemes(silent)
    with pytest.raises(InputError, match="none of the 1 clips has timed phones"):
        viseme_error(visemes, silent)


def test_script_fits_and_measures(tmp_path: Path) -> None:
    clips = made_clips(made_visemes(Dominance()), 6, ["ɑ", "m", "s"])
    corpus(tmp_path / "data", clips, ["train"] * 4 + ["val"] * 2)
    out = tmp_path / "v.safetensors"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "data"), "-o", str(out)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "val: rms error of a vertex" in done.stdout
    notes = load_visemes(out).notes
    assert notes["clips"] == 4
    assert notes["val"]["rms"] < 0.3 * notes["val"]["rms_at_rest"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), "-o", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
