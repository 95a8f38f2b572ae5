"""Frame rates in a stream are those of a whole motion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jambatalk.streaming.resampler import FrameRate, resample_frames


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 60),
    fps=st.sampled_from([1.0, 12.5, 24.0, 25.0, 29.97, 30.0, 50.0, 60.0, 120.0]),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_pieces_give_the_whole(count: int, fps: float, cuts: list[int]) -> None:
    values = np.random.default_rng(count).random((count, 3)).astype(np.float32)
    stream, parts = FrameRate(25.0, fps), []
    for piece in np.split(values, sorted(min(cut, count) for cut in cuts)):
        parts.append(stream(piece))
        fresh = FrameRate(25.0, fps)
        fresh.load_state(stream.state())
        stream = fresh
    parts.append(stream(values[:0], last=True))
    made, wanted = np.concatenate(parts), resample_frames(values, 25.0, fps)
    assert len(made) - len(wanted) in ((0,) if fps >= 25.0 else (0, 1))
    np.testing.assert_allclose(made[: len(wanted)], wanted, atol=1e-6)


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0, 90.0])
def test_frames_wait_no_longer_than_said(fps: float) -> None:
    stream, made = FrameRate(25.0, fps), 0
    for t in range(200):
        made += len(stream(np.zeros((1, 2), np.float32)))
        # After the input frame at t / 25 all outputs up to t / 25 - delay are out.
        assert made / fps > t / 25.0 - stream.delay - 1e-9


def test_memory_is_a_few_frames() -> None:
    stream = FrameRate(25.0, 30.0)
    for _ in range(500):
        stream(np.zeros((1, 2), np.float32))
    assert len(stream.state()["kept"]) <= 5
