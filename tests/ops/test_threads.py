"""One rule for threads: what the machine allows, what the work is worth, and the setting put back
whatever happens.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import jambatalk
from jambatalk.errors import InputError
from jambatalk.ops import threads
from jambatalk.ops.threads import (
    all_threads,
    cpu_quota,
    free_threads,
    one_thread,
    run_bands,
    set_thread_limit,
    thread_count,
    thread_limit,
    usable_cores,
)


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with three cores that nobody else uses, on which nothing is asked for."""
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", threads.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "_affinity", lambda: 3)
    monkeypatch.setattr(threads, "cpu_quota", lambda: None)
    monkeypatch.setattr(threads, "_free_cores", lambda: 3)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)
    set_thread_limit(None)


def test_inside_and_after() -> None:
    assert thread_count(10, 1) == 3
    with one_thread():
        assert (torch.get_num_threads(), thread_count(10, 1)) == (1, 1)
        with one_thread(), free_threads():
            assert torch.get_num_threads() == 1
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


def watched_threads(talker, monkeypatch: pytest.MonkeyPatch) -> list[int]:  # type: ignore[no-untyped-def]
    """The number of threads of each call of the talker's network from now on."""
    seen: list[int] = []
    forward = talker.model.forward

    def watched(*arguments, **options):  # type: ignore[no-untyped-def]
        seen.append(torch.get_num_threads())
        return forward(*arguments, **options)

    monkeypatch.setattr(talker.model, "forward", watched)
    return seen


def test_a_live_session_uses_one_thread(small_weights, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    talker = jambatalk.load(small_weights)
    seen = watched_threads(talker, monkeypatch)
    session = talker.stream()
    session.push(np.zeros(640, np.float32))
    session.push(np.zeros(640 * 100, np.float32))  # long enough to be shared out
    assert seen == [1, 3]
    assert torch.get_num_threads() == 3


def test_offline_work_leaves_busy_cores_alone(  # type: ignore[no-untyped-def]
    small_weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    talker = jambatalk.load(small_weights)
    seen = watched_threads(talker, monkeypatch)
    monkeypatch.setattr(threads, "_free_cores", lambda: 1)
    talker.animate(jambatalk.Speech(np.zeros(32000, np.float32)))
    assert set(seen) == {1}
    with all_threads():
        assert torch.get_num_threads() == 3


def test_what_the_user_names_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_free_cores", lambda: 1)
    monkeypatch.setenv(threads.VARIABLE, "5")
    with free_threads():
        assert torch.get_num_threads() == 5
    set_thread_limit(2)
    assert thread_limit() == (2, "--threads")
    with free_threads():
        assert (torch.get_num_threads(), thread_count(10, 1)) == (2, 2)
    set_thread_limit(None)
    monkeypatch.delenv(threads.VARIABLE)
    monkeypatch.setenv("OMP_NUM_THREADS", "16,2")
    assert thread_limit() == (3, "OMP_NUM_THREADS")


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "99999999999"])
def test_bad_values_are_one_sentence(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.VARIABLE, value)
    with pytest.raises(InputError, match=f"JAMBATALK_THREADS is '{value}', expected a number"):
        thread_limit()


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        # The smallest quota on the way up holds.
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "200000 100000"}, 2.0),
        # A container that sees its own group as the root, under the name that it has outside.
        ("0::/docker/1234\n", {"cpu.max": "50000 100000"}, 0.5),
        (
            "4:memory:/x\n3:cpu,cpuacct:/x\n0::/\n",
            {
                "cpu,cpuacct/x/cpu.cfs_quota_us": "300000",
                "cpu,cpuacct/x/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
        ("2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("1:memory:/\n", {}, None),
        ("", {}, None),
        ("0::/\n", {"cpu.max": "damaged"}, None),
    ],
)
def test_quotas(
    membership: str, files: dict[str, str], cores: float | None, tmp_path: Path
) -> None:
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "membership") == cores


@pytest.mark.parametrize(("quota", "cores"), [(None, 3), (2.0, 2), (1.5, 1), (0.2, 1), (64.0, 3)])
def test_a_quota_limits(quota: float | None, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    assert usable_cores() == cores
    with all_threads():
        assert torch.get_num_threads() == cores


def test_free_cores_are_those_that_nobody_else_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four cores over seconds: alone, beside one busy loop, beside four, alone again."""
    monkeypatch.undo()
    usage = threads._Usage(0.0, 0.0, 0.0)
    monkeypatch.setattr(threads, "_seen", usage)
    monkeypatch.setattr(threads, "_free", 0)

    def after(seconds: float, idle: float, own: float) -> int:
        nonlocal usage
        usage = threads._Usage(usage.clock + seconds, usage.idle + idle, usage.own + own)
        monkeypatch.setattr(threads, "_usage", lambda: usage)
        return threads._free_cores()

    assert after(0.01, 0.04, 0.0) == 1  # not watched for long enough
    assert after(0.2, 0.6, 0.2) == 4
    assert after(0.05, 0.0, 0.05) == 4  # the next decision comes later
    assert after(0.2, 0.0, 0.6) == 2  # 0.6 in 0.25 s
    assert after(0.2, 0.0, 0.05) == 1
    assert after(0.5, 1.5, 0.5) == 1  # not again at the first pause of the others
    assert after(0.6, 1.8, 0.6) == 4
    monkeypatch.setattr(threads, "_usage", lambda: None)
    assert threads._free_cores() == 1


def test_bands_are_all_drawn_once() -> None:
    drawn: list[tuple[int, int]] = []
    run_bands(lambda first, step: drawn.append((first, step)), 5)
    assert sorted(drawn) == [(first, 5) for first in range(5)]


def _forked(queue, talker, speech) -> None:  # type: ignore[no-untyped-def]
    queue.put((torch.get_num_threads(), thread_limit(), talker.animate(speech).weights))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system starts processes without fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_animates(small_weights) -> None:  # type: ignore[no-untyped-def]
    """As in ``multiprocessing.Pool(2).map(talker.animate, files)``, after the parent used several
    threads.
    """
    talker = jambatalk.load(small_weights)
    rng = np.random.default_rng(0)
    speech = jambatalk.Speech(rng.uniform(-0.3, 0.3, 64000).astype(np.float32))
    whole = talker.animate(speech).weights
    assert whole is not None
    torch.randn(800, 800) @ torch.randn(800, 800)  # OpenMP's threads are there
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_forked, args=(queue, talker, speech))
    child.start()
    try:
        count, limit, weights = queue.get(timeout=60)
    finally:
        child.kill()
        child.join()
    assert (count, limit) == (1, (1, "forked process"))
    np.testing.assert_allclose(weights, whole, atol=1e-5)
    assert torch.get_num_threads() == 3
