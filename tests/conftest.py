"""What several test files share: a small random network and speech-like sound."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from jambatalk.face.head import ARKIT_NAMES
from jambatalk.models.checkpoint import save_weights
from jambatalk.models.speech_to_motion import SpeechToMotion
from small_network import SMALL

# A shell starts background jobs with Ctrl-C ignored, and their programs would ignore it too: tests
# that press it need it heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By far the longest first: with tests side by side the others are done meanwhile."""
    items.sort(key=lambda item: item.name != "test_commands_run")


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
