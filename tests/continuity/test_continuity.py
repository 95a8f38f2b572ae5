"""What earlier versions wrote still gives the same: motion of the shipped weights, a stored
session, a training run.

On the machine that wrote the files beside this test the results are equal bit for bit; other
processors round differently, hence the tolerances. When the shipped weights change on purpose,
write ``motion.npz`` and ``session.bin`` anew. ``checkpoint.pt`` is of the version before the
packages were renamed (27 November 2026); what it goes on to (``losses.jsonl``) was written anew
when batches came to be made on the network's device, with other random sequences.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import jambatalk
from jambatalk.audio import Speech
from jambatalk.talker import Talker
from tiny_training import losses, tiny_clips, tiny_config, tiny_trainer

HERE = Path(__file__).parent
CUT = 16000 * 3 + 333  # samples after which the session was stored


@pytest.fixture(scope="module")
def talker() -> Talker:
    return jambatalk.load()


@pytest.fixture(scope="module")
def before() -> dict[str, np.ndarray]:
    with np.load(HERE / "motion.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    demo = Path(jambatalk.__file__).parent / "assets" / "demo.flac"
    return Speech.load(demo).samples[: 8 * 16000]


def test_shipped_weights_move_as_before(talker: Talker, before: dict, samples: np.ndarray) -> None:
    assert talker.weights_sha256 == str(before["sha"])
    np.testing.assert_allclose(
        talker.animate(Speech(samples)).weights, before["weights"], atol=1e-4
    )


def test_a_session_stored_before_goes_on(talker: Talker, before: dict, samples: np.ndarray) -> None:
    session = talker.restore((HERE / "session.bin").read_bytes())
    frames = [*session.push(samples[CUT:]), *session.flush()]
    assert len(before["first"]) + len(frames) == 8 * 30
    np.testing.assert_allclose([f.weights for f in frames], before["rest"], atol=1e-4)


def test_a_training_run_begun_before_goes_on(tmp_path: Path) -> None:
    shutil.copy(HERE / "checkpoint.pt", tmp_path / "last.pt")
    shutil.copy(HERE / "losses_before.jsonl", tmp_path / "log.jsonl")
    trainer = tiny_trainer(tiny_config(), tiny_clips(4, "train"), tiny_clips(1, "val"), tmp_path)
    assert trainer.resume()
    trainer.run()
    rows = [json.loads(line) for line in (HERE / "losses.jsonl").read_text().splitlines()]
    found = losses(tmp_path)
    assert list(found) == [row["step"] for row in rows] == list(range(1, 13))
    np.testing.assert_allclose(list(found.values()), [row["loss"] for row in rows], rtol=1e-4)
