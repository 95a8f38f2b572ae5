"""A live session: turns, gaps, barge-in, frame rates, styles, and its state stored to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jambatalk
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.session import Frame
from jambatalk.streaming.serialize import deserialize, serialize
from jambatalk.talker import Talker
from small_network import speechlike


@pytest.fixture(scope="module")
def talker(small_weights: Path) -> Talker:
    return jambatalk.load(small_weights)


@pytest.fixture(scope="module")
def shipped() -> Talker:
    return jambatalk.load()


def table(frames: list[Frame]) -> np.ndarray:
    return np.stack([frame.weights for frame in frames])


def test_turns_are_counted_and_time_starts_anew(talker: Talker) -> None:
    session = talker.stream()
    for turn in range(3):
        frames = session.push(speechlike(0.5)) + session.flush()
        assert [(f.turn, f.index) for f in frames] == [(turn, i) for i in range(13)]
        np.testing.assert_allclose([f.time for f in frames], np.arange(13) / 25)


@pytest.mark.parametrize("fps", [24.0, 29.97, 30.0, 60.0])
def test_frame_rates_equal_the_offline_motion(talker: Talker, fps: float) -> None:
    samples = speechlike(3.0)
    wanted = talker.animate(Speech(samples), fps=fps).weights
    session = talker.stream(fps=fps)
    frames = [
        f for i in range(0, len(samples), 700) for f in session.push(samples[i : i + 700])
    ] + session.flush()
    np.testing.assert_allclose(table(frames), wanted, atol=1e-4)
    np.testing.assert_allclose([f.time for f in frames], np.arange(len(frames)) / fps)


@pytest.mark.parametrize(
    ("rate", "fps"), [(16000, None), (16000, 60.0), (48000, None), (44100, 30.0), (8000, 25.0)]
)
def test_look_ahead_is_kept(talker: Talker, rate: int, fps: float | None) -> None:
    """No frame waits longer than said: after s seconds of sound, all frames up to s - look-ahead
    are out."""
    session = talker.stream(rate=rate, fps=fps)
    step, made = rate // 100, 0
    for i in range(200):
        made += len(session.push(np.zeros(step, np.float32)))
        assert made / session.fps > (i + 1) * step / rate - session.look_ahead_ms / 1000 - 1e-9
    assert made


@pytest.mark.parametrize(("rate", "fps"), [(16000, None), (48000, 60.0), (44100, 30.0)])
def test_a_stored_session_goes_on_to_the_bit(talker: Talker, rate: int, fps: float | None) -> None:
    rng = np.random.default_rng(3)
    sound = rng.standard_normal(4 * rate).astype(np.float32) * 0.2
    sent = [(i, sound[i : i + 777]) for i in range(0, len(sound), 777) if rng.random() > 0.1]
    whole = talker.stream(rate=rate, fps=fps)
    parts = talker.stream(rate=rate, fps=fps)
    first, second = [], []
    for at, samples in sent:
        first += whole.push(samples, at)
        parts = talker.restore(parts.save())
        second += parts.push(samples, at)
    first += whole.flush()
    second += talker.restore(parts.save()).flush()
    np.testing.assert_array_equal(table(second), table(first))
    assert [(f.turn, f.index) for f in second] == [(f.turn, f.index) for f in first]


class Nods:
    """A layer: the head nods with the sound heard, blinks every 30th frame; whatever way both are
    cut."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.reset()

    def reset(self) -> None:
        self.frames, self.heard, self.energy = 0, 0, np.zeros(0)

    def feed(self, samples: np.ndarray) -> None:
        self.heard += len(samples)
        self.energy = np.concatenate([self.energy, np.asarray(samples, np.float64) ** 2])

    def apply(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        out, pose = weights.copy(), np.zeros((len(weights), 3), np.float32)
        for i in range(len(weights)):
            assert self.heard >= (self.frames + i + 1) * 640 - 1
            pose[i, 0] = self.energy[(self.frames + i) * 640 : (self.frames + i + 1) * 640].sum()
            if (self.frames + i) % 30 == 0:
                out[i, self.names.index("eyeBlinkLeft")] = 1.0
        self.frames += len(weights)
        return out, pose

    def state(self) -> dict[str, object]:
        return {"frames": self.frames, "heard": self.heard, "energy": self.energy}

    def load_state(self, state: dict[str, object]) -> None:
        self.frames, self.heard, self.energy = state["frames"], state["heard"], state["energy"]  # type: ignore[assignment]


def test_a_layer_goes_over_the_frames_through_turns_and_a_stored_session(talker: Talker) -> None:
    sound = speechlike(1.7)
    whole = talker.stream(life=Nods(talker.names))
    frames = (
        whole.push(sound)
        + whole.flush()
        + whole.push(sound)
        + whole.interrupt()
        + whole.push(sound)
        + whole.flush()
    )
    parts = talker.stream(life=Nods(talker.names))
    again: list[Frame] = []
    for turn in range(3):
        for i in range(0, len(sound), 999):
            again += parts.push(sound[i : i + 999])
        parts = talker.restore(parts.save(), life=Nods(talker.names))
        again += parts.interrupt() if turn == 1 else parts.flush()
    np.testing.assert_array_equal(
        np.stack([f.head_pose for f in again]),  # type: ignore[arg-type]
        np.stack([f.head_pose for f in frames]),  # type: ignore[arg-type]
    )
    assert [f["eyeBlinkLeft"] == 1.0 for f in frames] == [i % 30 == 0 for i in range(len(frames))]
    energy = (sound[: 42 * 640].reshape(42, 640).astype(np.float64) ** 2).sum(axis=1)
    np.testing.assert_allclose([f.head_pose[0] for f in frames[:42]], energy, rtol=1e-4)  # type: ignore[index]
    mouth = talker.names.index("jawOpen")
    plain = talker.stream()
    np.testing.assert_array_equal(
        table(frames)[:43, mouth], table(plain.push(sound) + plain.flush())[:, mouth]
    )
    with pytest.raises(InputError, match="overlay"):
        talker.restore(parts.save())


def test_a_damaged_or_foreign_state_is_refused(talker: Talker, shipped: Talker) -> None:
    session = talker.stream()
    session.push(speechlike(0.5))
    data = session.save()
    with pytest.raises(InputError, match="expected those of this talker"):
        shipped.restore(data)
    for damaged in (b"", b"no", data[: len(data) // 2], data[8:]):
        with pytest.raises(InputError, match="damaged"):
            talker.restore(damaged)
    tree = deserialize(data)
    for key in ("pending", "network", "packets"):
        with pytest.raises(InputError):
            talker.restore(serialize({k: v for k, v in tree.items() if k != key}))
    with pytest.raises(InputError):
        talker.restore(serialize(tree | {"network": {"samples": np.zeros(3, np.float32)}}))


def test_a_session_recovers_from_lost_and_late_packets(shipped: Talker) -> None:
    """5 % of the packets lost and 10 % late: in time with the whole, near it, and equal again a
    while after the last loss."""
    samples = Speech.load(Path(jambatalk.__file__).parent / "assets" / "demo.flac").samples
    samples = samples[: len(samples) // 320 * 320]
    wanted = shipped.animate(Speech(samples)).weights
    rng = np.random.default_rng(0)
    sent = [(i, samples[i : i + 320]) for i in range(0, len(samples), 320)]
    clean = len(sent) - 150  # the last 3 s come whole
    order = []
    for k, packet in enumerate(sent):
        if 2 < k < clean and rng.random() < 0.05:
            continue
        late = rng.uniform(1, 6) if 2 < k < clean and rng.random() < 0.10 else 0.0
        order.append((k + late, packet))
    session = shipped.stream()
    frames = [
        f
        for _, (at, packet) in sorted(order, key=lambda one: one[0])
        for f in session.push(packet, at)
    ] + session.flush()
    made = table(frames)
    assert len(made) == len(wanted)  # type: ignore[arg-type]
    assert session.losses.lost
    jaw = shipped.names.index("jawOpen")
    assert np.corrcoef(made[:, jaw], wanted[:, jaw])[0, 1] > 0.88  # type: ignore[index]
    assert np.abs(made[-50:] - wanted[-50:]).max() < 0.05  # type: ignore[index]
    assert np.isfinite(made).all()


def test_sound_that_stays_away_brings_the_face_to_rest(shipped: Talker) -> None:
    samples = Speech.load(Path(jambatalk.__file__).parent / "assets" / "demo.flac").samples[
        : 2 * 16000
    ]
    session = shipped.stream()
    frames = session.push(samples, 0) + session.advance(4 * 16000)
    frames += session.push(samples, 4 * 16000) + session.flush()
    weights = table(frames)
    assert weights[:50].max() > 0.1
    assert not weights[
        70:100
    ].any()  # 0.3 s of patience and 0.3 s of fall after the sound's end at frame 50
    assert weights[110:].max() > 0.1
    assert np.abs(np.diff(weights, axis=0)).max() < 0.5
    assert len(frames) == 150


def test_barge_in_brings_the_face_to_rest_without_a_jump(shipped: Talker) -> None:
    samples = Speech.load(Path(jambatalk.__file__).parent / "assets" / "demo.flac").samples
    session = shipped.stream(fps=50)
    before = session.push(samples[:40000])
    rest = session.interrupt()
    assert [f.index for f in rest] == list(range(len(before), len(before) + 8))
    steps = np.abs(np.diff(table([before[-1], *rest]), axis=0))
    assert steps.max() <= 0.25 * max(before[-1].weights.max(), 1e-6) + 1e-6
    assert not rest[-1].weights.any()
    after = session.push(samples[:16000]) + session.flush()
    fresh = shipped.stream(fps=50)
    np.testing.assert_array_equal(table(after), table(fresh.push(samples[:16000]) + fresh.flush()))
    assert {f.turn for f in after} == {1}
    assert shipped.stream().interrupt() == []


def test_each_session_has_its_own_style(shipped: Talker) -> None:
    samples = speechlike(2.0)
    for style in shipped.styles:
        session = shipped.stream(style=style)
        wanted = jambatalk.load(style=style).animate(Speech(samples)).weights
        np.testing.assert_allclose(
            table(session.push(samples) + session.flush()), wanted, atol=1e-4
        )
    with pytest.raises(InputError, match=r"choose from .*performer"):
        shipped.stream(style="sad")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate": 10}, "rate"),
        ({"rate": 10**6}, "rate"),
        ({"fps": 0.5}, "fps"),
        ({"fps": 1000}, "fps"),
        ({"patience": -1}, "patience"),
    ],
)
def test_options_are_checked(talker: Talker, options: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        talker.stream(**options)  # type: ignore[arg-type]


def test_a_wrong_index_is_refused_and_harms_nothing(talker: Talker) -> None:
    session, clean = talker.stream(), talker.stream()
    samples = speechlike(1.0)
    first = session.push(samples[:8000], 0)
    for at in (-1, 1 << 62, 10**9):
        with pytest.raises(InputError):
            session.push(samples[:320], at)
    frames = first + session.push(samples[8000:], 8000) + session.flush()
    np.testing.assert_array_equal(
        table(frames),
        table(clean.push(samples[:8000]) + clean.push(samples[8000:]) + clean.flush()),
    )


def test_engine_seams_refuse_a_wrong_order(talker: Talker) -> None:
    core = talker.stream().core
    core.feed(speechlike(0.5))
    with pytest.raises(RuntimeError, match="end"):
        core.finish_turn()
    core.end_turn()
    with pytest.raises(InputError, match="ended"):
        core.feed(speechlike(0.5))
