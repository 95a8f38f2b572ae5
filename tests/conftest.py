"""What several test files share: a small random network and speech-like sound."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from jambatalk.checkpoint import save_weights
from jambatalk.face.arkit import ARKIT_NAMES
from jambatalk.nn.encoder import EncoderConfig
from jambatalk.nn.jamba import DecoderConfig
from jambatalk.nn.mel import MelConfig
from jambatalk.nn.model import ModelConfig, SpeechToMotion

# A shell starts background jobs with Ctrl-C ignored, and their programs would ignore it too: tests that press it need it heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By far the longest first: with tests side by side the others are done meanwhile."""
    items.sort(key=lambda item: item.name != "test_commands_run")


SMALL = ModelConfig(
    mel=MelConfig(bands=24),
    encoder=EncoderConfig(widths=[16, 24], blocks=1, kernel=5),
    decoder=DecoderConfig(width=32, mlp_hidden=48, heads=4, kv_heads=2, window=16, expert_hidden=32),
)


def speechlike(seconds: float, seed: int = 0) -> np.ndarray:
    """(n,) float32: noise whose loudness rises and falls like syllables, with pauses."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * 16000)) / 16000
    envelope = np.clip(np.sin(2 * np.pi * 3.1 * t) * np.sin(2 * np.pi * 0.4 * t + 0.5), 0, 1)
    voice = sum(np.sin(2 * np.pi * 120 * k * t + k) / k for k in range(1, 20))
    return (0.05 * envelope * (voice + 0.5 * rng.standard_normal(len(t)))).astype(np.float32)


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights for a small network that moves all 52 shapes."""
    torch.manual_seed(11)
    model = SpeechToMotion(SMALL)
    torch.nn.init.normal_(model.head.weight, std=0.05)
    torch.nn.init.constant_(model.head.bias, 0.3)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(path, model, ARKIT_NAMES, {"made": "random, for tests"})
    return path
