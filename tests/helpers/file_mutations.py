"""Mutated files for property-based tests of readers: each gives a result or one InputError."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jambatalk.errors import InputError, MissingExtraError

CASES = int(os.environ.get("FUZZ_CASES", "100"))
"""Mutations of every reader; ``FUZZ_CASES=1000 pytest tests/fuzz`` tries more."""


@dataclass
class Tally:
    """What the fuzz tests of this process have tried so far.

    Args:
        cases: inputs given.
        refused: of them, refused in one sentence.
        slowest: seconds of the case that took longest.
    """

    cases: int = 0
    refused: int = 0
    slowest: float = 0.0

    @contextmanager
    def case(self) -> Iterator[None]:
        """Count one case and its seconds; the case has ``SLOWEST`` seconds at most."""
        self.cases += 1
        began = time.perf_counter()
        with time_limit():
            yield
        self.slowest = max(self.slowest, time.perf_counter() - began)


TALLY = Tally()
"""``tests/fuzz/conftest.py`` shows it at the end of a run."""

SLOWEST = 10
"""Seconds that reading one mutated file may take."""

LONGEST_MESSAGE = 600

PIECES = (
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\x7f",
    b"\x7f\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"\x00\x00\xc0\x7f",
    b"\xff" * 8,
    b"-1",
    b"1e999",
    b"9" * 5000,
    b"NaN",
    b"null",
    b"[]",
    b"{}",
    b"[" * 3000,
    b'"',
    b"\xc3\x28",
    b"../../x",
    b"\n",
    b",",
)
"""What readers trip over: the ends of integers, long numbers, depth, bytes that are not UTF-8."""


class TooSlow(BaseException):
    """Not an Exception, so that no reader turns it into an InputError."""


def mutated(data: bytes, seed: int) -> bytes:
    """``data`` with one to six changes; most zip archives change inside a member."""
    rng = random.Random(seed)
    if data[:2] == b"PK" and rng.random() < 0.7:
        return _mutated_member(data, rng)
    return _changed(data, rng)


def _changed(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        # Headers decide more than what follows them: half of the changes fall into the first bytes.
        reach = len(out) if rng.random() < 0.5 else min(len(out), 200)
        at = rng.randrange(reach + 1)
        end = min(len(out), at + rng.choice((1, 1, 2, 4, 8, 64)))
        kind = rng.randrange(7)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[rng.randrange(len(out) + 1) :]
        elif kind == 2:
            del out[at:end]
        elif kind == 3:
            out[at:at] = out[at:end] * rng.choice((1, 2, 50))
        elif kind == 4:
            piece = rng.choice(PIECES)
            out[at : at + len(piece)] = piece
        elif kind == 5:
            out[at:at] = rng.choice(PIECES)
        else:
            out[at:end] = rng.randbytes(end - at)
    return bytes(out)


def _mutated_member(data: bytes, rng: random.Random) -> bytes:
    """The archive with one member changed, and its checksum made to fit."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as given_, zipfile.ZipFile(out, "w") as made:
        names = given_.namelist()
        chosen = rng.choice(names) if names else ""
        for name in names:
            content = given_.read(name)
            made.writestr(name, _changed(content, rng) if name == chosen else content)
    return out.getvalue()


@contextmanager
def time_limit() -> Iterator[None]:
    """Raise TooSlow when the block takes longer than ``SLOWEST`` seconds (on the main thread)."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise TooSlow(f"reading took longer than {SLOWEST} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SLOWEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def many(cases: int | None = None) -> settings:
    """Hypothesis settings of all fuzz tests: so many cases (``CASES``), the same in every run."""
    return settings(
        max_examples=cases or CASES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def check_reader(data: bytes, read: Callable[[bytes], Any], cases: int | None = None) -> int:
    """Read ``cases`` mutations of ``data`` and return how many were refused.

    Args:
        data: a good file.
        read: reads a file's content; it must raise InputError or MissingExtraError or return.
        cases: number of mutations, ``CASES`` when not given.

    Raises:
        AssertionError: a message is long or has several lines. Any other exception of ``read``
            passes, hypothesis shows the seed.
    """
    refused = 0
    read(data)

    @many(cases)
    @given(seed=st.integers(0, 2**32))
    def run(seed: int) -> None:
        nonlocal refused
        try:
            with TALLY.case():
                read(mutated(data, seed))
        except (InputError, MissingExtraError) as error:
            refused += 1
            TALLY.refused += 1
            message = str(error)
        else:
            message = ""
        assert "\n" not in message
        assert len(message) < LONGEST_MESSAGE, message

    run()
    return refused
