"""Streaming: the same frames as offline, a kept look-ahead, memory that does not grow."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch

import jambatalk
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.models.checkpoint import load_weights
from jambatalk.session import Session
from jambatalk.talker import Talker
from small_network import speechlike

# Matrix products of different heights round differently: 1e-6 in one layer, some 1e-5 after six.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def talker(small_weights: Path) -> Talker:
    return jambatalk.load(small_weights)


def _streamed(session: Session, samples: np.ndarray, sizes: list[int]) -> np.ndarray:
    frames, at, i = [], 0, 0
    while at < len(samples):
        frames += session.push(samples[at : at + sizes[i % len(sizes)]])
        at += sizes[i % len(sizes)]
        i += 1
    frames += session.flush()
    np.testing.assert_allclose([f.time for f in frames], np.arange(len(frames)) / 25, atol=1e-9)
    return np.stack([f.weights for f in frames])


@pytest.mark.parametrize("milliseconds", [10, 20, 100, 1000])
def test_stream_equals_offline(talker: Talker, milliseconds: int) -> None:
    samples = speechlike(4.43)
    offline = talker.animate(Speech(samples)).weights
    assert offline is not None
    assert offline.std(axis=0).max() > 0.01  # the network does move something
    streamed = _streamed(talker.stream(), samples, [milliseconds * 16])
    np.testing.assert_allclose(streamed, offline, atol=TOLERANCE)


def test_stream_equals_offline_for_random_pieces(talker: Talker) -> None:
    samples = speechlike(6.0, seed=1)
    offline = talker.animate(Speech(samples)).weights
    sizes = np.random.default_rng(0).integers(0, 5000, 100).tolist()
    np.testing.assert_allclose(_streamed(talker.stream(), samples, sizes), offline, atol=TOLERANCE)


def test_shipped_weights_stream_equals_offline() -> None:
    talker = jambatalk.load()
    samples = Speech.load(Path(jambatalk.__file__).parent / "assets" / "demo.flac").samples[
        : 4 * 16000
    ]
    offline = talker.animate(Speech(samples)).weights
    for size in (160, 320, 1600, 16000):
        np.testing.assert_allclose(
            _streamed(talker.stream(), samples, [size]), offline, atol=TOLERANCE
        )


@pytest.mark.parametrize("count", [1, 639, 640, 641, 16000])
def test_frame_count_is_the_sound_rounded_up(talker: Talker, count: int) -> None:
    assert len(talker.animate(Speech(speechlike(2.0)[:count]))) == -(-count // 640)


def test_look_ahead_is_kept_and_tight(talker: Talker) -> None:
    """Sound from t + look-ahead on does not touch frame t; sound just before does."""
    samples = speechlike(4.0)
    frame = 50
    limit = round((frame / 25 + talker.look_ahead_ms / 1000) * 16000)
    base = talker.animate(Speech(samples)).weights
    after, before = samples.copy(), samples.copy()
    after[limit:] = np.random.default_rng(0).standard_normal(len(after) - limit) * 0.3
    before[limit - 640 :] = after[limit - 640 :] = (
        np.random.default_rng(1).standard_normal(len(after) - limit + 640) * 0.3
    )
    after[limit - 640 : limit] = samples[limit - 640 : limit]
    changed_after, changed_before = (
        talker.animate(Speech(after)).weights,
        talker.animate(Speech(before)).weights,
    )
    assert base is not None
    assert changed_after is not None
    assert changed_before is not None
    np.testing.assert_allclose(changed_after[: frame + 1], base[: frame + 1], atol=1e-5)
    assert np.abs(changed_before[frame] - base[frame]).max() > 1e-5


def test_frames_come_as_soon_as_the_look_ahead_is_heard(talker: Talker) -> None:
    session = talker.stream()
    first = round(talker.look_ahead_ms * 16)
    assert session.push(speechlike(1.0)[: first - 1]) == []
    frames = session.push(speechlike(1.0)[first - 1 : first])
    assert [f.time for f in frames] == [0.0]


def test_session_starts_afresh_after_flush_and_reset(talker: Talker) -> None:
    samples = speechlike(1.0)
    session = talker.stream()
    first = np.stack([f.weights for f in session.push(samples) + session.flush()])
    again = np.stack([f.weights for f in session.push(samples) + session.flush()])
    np.testing.assert_array_equal(first, again)
    session.push(speechlike(0.7, seed=5))
    session.reset()
    np.testing.assert_array_equal(
        np.stack([f.weights for f in session.push(samples) + session.flush()]), first
    )
    assert talker.stream().flush() == []


def test_int16_and_other_rates(talker: Talker) -> None:
    samples = speechlike(2.0)
    wanted = talker.animate(Speech(samples)).weights
    as_int = _streamed(talker.stream(), (samples * 32767).astype(np.int16), [1600])
    np.testing.assert_allclose(as_int, wanted, atol=0.02)
    high = soxr.resample(samples, 16000, 48000)
    resampled = _streamed(talker.stream(rate=48000), high, [4800])
    assert len(resampled) == len(wanted)  # type: ignore[arg-type]
    assert np.abs(resampled - wanted).mean() < 0.02


def test_same_sound_same_bytes(talker: Talker) -> None:
    a, b = (talker.animate(Speech(speechlike(3.0))).weights for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_memory_does_not_grow_over_an_hour(talker: Talker) -> None:
    """An hour in pieces of 20 s: what the session holds is the same size after a minute and after
    the hour."""

    def held(value: object) -> int:
        if isinstance(value, torch.Tensor):
            return value.untyped_storage().nbytes()
        if isinstance(value, np.ndarray):
            return value.nbytes
        if isinstance(value, (list, tuple)):
            return sum(held(v) for v in value)
        if hasattr(value, "__dict__") and not isinstance(value, (Talker, type)):
            return sum(held(v) for v in vars(value).values())
        return 0

    session = talker.stream()
    piece = speechlike(20.0)
    sizes = []
    for _ in range(180):
        assert np.isfinite([f.weights for f in session.push(piece)]).all()
        gc.collect(0)
        sizes.append(held(session.core))
    assert sizes[-1] == sizes[3]


def test_vertex_offsets_are_not_clipped_as_weights_are(small_weights: Path) -> None:
    """A network without shape names moves vertices: its numbers are metres, not weights in 0..1."""
    model, names, _ = load_weights(small_weights)
    with torch.no_grad():
        model.head.bias[::2] = -2.0
        model.head.bias[1::2] = 2.0
    samples = speechlike(1.0)
    first, weights = Talker(model, names, small_weights).stream().push_array(samples)
    _, offsets = Talker(model, (), small_weights).stream().push_array(samples)
    assert first == 0
    assert weights.shape == offsets.shape == (21, 52)
    np.testing.assert_array_equal(weights, np.clip(offsets, 0.0, 1.0))
    assert offsets.min() < -1.0
    assert offsets.max() > 1.0
    assert Talker(model, (), small_weights).stream().push_array(samples[:10])[1].shape == (0, 52)


def test_bad_samples_are_named(talker: Talker) -> None:
    session = talker.stream()
    with pytest.raises(InputError, match="NaN"):
        session.push(np.array([0.0, np.nan], np.float32))
    with pytest.raises(InputError, match=r"\(2, 100\)"):
        session.push(np.zeros((2, 100), np.float32))
    with pytest.raises(InputError, match="int64"):
        session.push(np.zeros(10, np.int64))
    with pytest.raises(InputError, match="sample rate is 0"):
        talker.stream(rate=0)


def test_what_a_newcomer_types(talker: Talker) -> None:
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, 16000).astype(np.float32)
    assert repr(talker) == "Talker(small.safetensors, 52 shapes, 25 fps, 200 ms look-ahead, cpu)"
    plain, alive = (talker.animate(Speech(samples), life=life) for life in (False, True))
    assert plain.head_pose is None
    assert alive.head_pose is not None
    assert talker.stream(life=True).push(samples)[0].head_pose is not None
    assert talker.stream(life=False).push(samples)[0].head_pose is None
    pair = talker.animate((16000, samples)).weights
    np.testing.assert_array_equal(pair, talker.animate((samples, 16000)).weights)
    for life in (7, {"blinks": 1}):
        with pytest.raises(InputError, match=r"life is a (int|dict), expected True, a text"):
            talker.animate(Speech(samples), life=life)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="expected True, a text"):
            talker.stream(life=life)  # type: ignore[arg-type]
    frame = talker.stream().push(samples)[0]
    assert frame["jawOpen"] == frame.weights[frame.names.index("jawOpen")]
    with pytest.raises(KeyError, match="unknown shape 'jawopen', did you mean 'jawOpen'"):
        frame["jawopen"]


def test_sound_in_the_shapes_that_microphones_and_sockets_give(talker: Talker) -> None:
    ints = (speechlike(1.0) * 32767).astype("<i2")
    _, wanted = talker.stream().push_array(ints)
    floats = ints.astype(np.float32) / 32768
    data = ints.tobytes()
    for samples in (
        ints[:, None],
        ints[None],
        floats[:, None],
        data,
        bytearray(data),
        memoryview(data),
        memoryview(ints),
        torch.from_numpy(floats),
    ):
        np.testing.assert_array_equal(talker.stream().push_array(samples)[1], wanted)
    session = talker.stream()
    parts = [session.push_array(data[at : at + 333])[1] for at in range(0, len(data), 333)]
    np.testing.assert_allclose(np.concatenate(parts), wanted, atol=TOLERANCE)


def test_sound_on_another_scale_is_refused(talker: Talker) -> None:
    ints = (speechlike(0.2) * 32767).astype("<i2")
    with pytest.raises(InputError, match=r"expected -1\.\.1: divide"):
        talker.stream().push(ints.astype(np.float32))
    with pytest.raises(InputError, match="two bytes"):
        talker.stream().push(b"123", at=0)


def test_a_damaged_session_is_refused_or_gives_numbers(talker: Talker) -> None:
    """With and without the checksum, which earlier versions did not store."""
    session = talker.stream(rate=8000, fps=30)
    session.push(speechlike(0.4), at=0)
    saved = session.save()
    again = talker.restore(saved)
    np.testing.assert_array_equal(again.flush_array()[1], session.flush_array()[1])
    random = np.random.default_rng(0)
    start = 8 + int.from_bytes(saved[:8], "little")
    for k in range(40):
        damaged = bytearray(saved)
        at = int(random.integers(start if k % 2 else 0, len(saved)))
        damaged[at] ^= 1 << int(random.integers(8))
        with pytest.raises(InputError):
            talker.restore(bytes(damaged))
    plain = saved.replace(b'"sha256"', b'"unused"')
    for _ in range(40):
        damaged = bytearray(plain)
        for at in random.integers(start, len(plain), 20):
            damaged[at] = random.integers(256)
        with contextlib.suppress(InputError):
            found = talker.restore(bytes(damaged))
            frames = found.push(speechlike(0.1)) + found.flush()
            assert all(np.isfinite(frame.weights).all() for frame in frames)
