"""The BiGRU baseline learns, and comes back from disk as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jambatalk.baselines.bigru_blendshapes import (
    BiGRU,
    BiGRUConfig,
    BiGRUTraining,
    load_bigru,
    save_bigru,
    train_bigru,
)
from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.mouth import correlation
from jambatalk.models.config import MelConfig
from jambatalk.models.speech_to_motion import parameter_count
from small_network import speechlike
from tiny_training import NAMES, tiny_clips, tiny_face

TINY = BiGRUConfig(mel=MelConfig(bands=24), hidden=24, layers=1, dropout=0.0, outputs=3)


def test_it_overfits_one_tiny_clip() -> None:
    torch.set_num_threads(1)
    clips, losses = tiny_clips(1, "train"), []
    training = BiGRUTraining(steps=100, batch=4, frames=40, learning_rate=1e-2, warmup=5, noise=0.0)
    network = train_bigru(
        clips, tiny_face(), TINY, training, lambda step, loss: losses.append(loss)
    )
    assert len(losses) == 100
    assert np.mean(losses[-10:]) < 0.1 * np.mean(losses[:5])
    moved = network.animate(clips[0].samples)
    assert moved.shape == (50, 3)
    assert correlation(moved[:, 0], clips[0].weights[:50, 0]) > 0.95


def test_the_same_seed_gives_the_same_weights() -> None:
    torch.set_num_threads(1)
    training = BiGRUTraining(
        steps=3, batch=2, frames=60
    )  # longer than the clips: they are filled up
    one, other = (
        train_bigru(tiny_clips(2, "train"), tiny_face(), TINY, training) for _ in range(2)
    )
    third = train_bigru(tiny_clips(2, "train"), tiny_face(), TINY, replace(training, seed=2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(next(iter(one.parameters())), next(iter(third.parameters())))


def test_size_and_level() -> None:
    assert 2.7e6 < parameter_count(BiGRU(BiGRUConfig())) < 2.95e6
    torch.manual_seed(0)
    network, samples = (
        BiGRU(TINY).eval(),
        speechlike(1.0) + 0.01 * np.random.default_rng(0).standard_normal(16000),
    )
    loud, soft = (network.animate((samples * factor).astype(np.float32)) for factor in (1.0, 0.5))
    assert loud == pytest.approx(soft, abs=1e-3)  # the clip's mean takes the level away
    assert network.animate(np.zeros(10, np.float32)).shape == (1, 3)


def test_saved_and_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, path = BiGRU(TINY).eval(), tmp_path / "bigru.safetensors"
    save_bigru(path, network, NAMES, {"made": "for a test"})
    again, names = load_bigru(path)
    samples = speechlike(0.5)
    assert names == NAMES
    assert np.array_equal(again.animate(samples), network.animate(samples))


def test_bad_files_and_data(tmp_path: Path, small_weights: Path) -> None:
    with pytest.raises(InputError, match="no weights at"):
        load_bigru(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="of format 'jambatalk-1', expected 'jambatalk-bigru-1'"):
        load_bigru(small_weights)
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"torn\.safetensors is damaged"):
        load_bigru(tmp_path / "torn.safetensors")
    with pytest.raises(InputError, match="no clips to train on"):
        train_bigru([], tiny_face(), TINY, BiGRUTraining())
    with pytest.raises(ValueError, match=r"fps is 30\.0"):
        BiGRUConfig(fps=30.0)
