"""Programs set torch's default type and device; the motion stays the same to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import jambatalk
from sounds import tone


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16, "meta"])
def test_any_defaults(default):
    sound = tone(0.5, 16000)
    talker = jambatalk.load()
    right = talker.animate(jambatalk.Speech(sound)).weights

    def streamed() -> np.ndarray:
        session = talker.stream()
        return np.array([frame.weights for frame in session.push(sound) + session.flush()])

    live = streamed()
    try:
        if default == "meta":
            torch.set_default_device(default)
        else:
            torch.set_default_dtype(default)
        loaded = jambatalk.load().animate(jambatalk.Speech(sound)).weights
        np.testing.assert_array_equal(loaded, right)
        np.testing.assert_array_equal(talker.animate(jambatalk.Speech(sound)).weights, right)
        np.testing.assert_array_equal(streamed(), live)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
