"""Small work on one thread, and the setting put back whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import jambatalk
from jambatalk.ops.backend import one_thread
from jambatalk.ops.cpu.threads import thread_count


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_inside_and_after() -> None:
    assert thread_count(10, 1) == 3
    with one_thread():
        assert (torch.get_num_threads(), thread_count(10, 1)) == (1, 1)
        with one_thread():
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(RuntimeError, match="no"), one_thread():
        raise RuntimeError("no")
    assert torch.get_num_threads() == 3


def test_threads_that_overlap_leave_no_trace() -> None:
    inside, leave = threading.Event(), threading.Event()
    seen: list[int] = []

    def work() -> None:
        with one_thread():
            inside.set()
            leave.wait(10)
        seen.append(torch.get_num_threads())

    other = threading.Thread(target=work)
    with one_thread():
        other.start()
        assert inside.wait(10)
    leave.set()
    other.join()
    assert (seen, torch.get_num_threads()) == ([3], 3)


def test_a_live_session_uses_one_thread(small_weights, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    talker = jambatalk.load(small_weights)
    seen: list[int] = []
    forward = talker.model.forward

    def watched(*arguments, **options):  # type: ignore[no-untyped-def]
        seen.append(torch.get_num_threads())
        return forward(*arguments, **options)

    monkeypatch.setattr(talker.model, "forward", watched)
    session = talker.stream()
    session.push(np.zeros(640, np.float32))
    session.push(np.zeros(640 * 100, np.float32))  # long enough to be shared out
    assert seen == [1, 3]
    assert torch.get_num_threads() == 3
