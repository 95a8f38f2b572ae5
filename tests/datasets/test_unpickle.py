"""Pickles: plain data of every protocol comes back, anything else is refused and never run."""

from __future__ import annotations

import collections
import datetime
import os
import pickle
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jambatalk.datasets.safe_pickle import read_pickle
from jambatalk.errors import InputError
from tiny_corpora import write_python2

VALUE = {
    "subject": {
        "f4": np.arange(12, dtype=np.float32).reshape(4, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">i2"),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float16),
        "scalar": np.float64(0.25),
    },
    "numbers": [1, -2, 3.5, 2**70, None, True],
    "tuple": (1, ("é", "")),
    7: {0: 100, 1: 101},
}


def same(a: Any, b: Any) -> None:
    if isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray)
        assert (a.shape, a.dtype.kind, a.dtype.itemsize) == (
            b.shape,
            b.dtype.kind,
            b.dtype.itemsize,
        )
        assert np.array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    else:
        assert a == b


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_comes_back(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(VALUE, protocol))
    same(VALUE, read_pickle(path))


def test_pickles_of_python_2(tmp_path: Path) -> None:
    write_python2(tmp_path / "a.pkl", VALUE)
    raw = (tmp_path / "a.pkl").read_bytes()
    assert b"cnumpy.core.multiarray\n_reconstruct" in raw
    assert b"_codecs" not in raw  # arrays' bytes are plain strings, as Python 2 wrote them
    same(VALUE, pickle.loads(raw, encoding="latin1"))
    same(VALUE, read_pickle(tmp_path / "a.pkl"))


def test_sets_and_ordered_dicts(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    for protocol in (2, 4):
        path.write_bytes(
            pickle.dumps([collections.OrderedDict(a=1, b=np.ones(2)), {1, 2}], protocol)
        )
        ordered, numbers = read_pickle(path)
        assert list(ordered) == ["a", "b"]
        assert numbers == {1, 2}


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class Mine:
    pass


MARK = "touched-by-a-pickle"


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (Calls(os.system, f"echo > {MARK}"), r"\w+\.system"),
        (Calls(eval, f"open({MARK!r}, 'w')"), r"(builtins|__builtin__)\.eval"),
        (Calls(exec, f"open({MARK!r}, 'w')"), r"(builtins|__builtin__)\.exec"),
        (Calls(getattr, "", "upper"), r"(builtins|__builtin__)\.getattr"),
        (Calls(open, MARK, "w"), r"_?io\.open"),
        (Calls(np.load, MARK), r"numpy\S*\.load"),
        (Mine(), r"([\w.]*test_unpickle\.Mine|copy_?reg\._reconstructor)"),
        (datetime.date(2020, 1, 1), r"datetime\.date"),
        (Path("x"), r"pathlib\S*\.PosixPath|pathlib\S*\.WindowsPath"),
    ],
)
def test_hostile_pickles_are_refused_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, asked: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "raw_audio_fixed.pkl"
    path.write_bytes(pickle.dumps({"subject": [value]}, protocol))
    with pytest.raises(
        InputError, match=rf"raw_audio_fixed.pkl is refused: it asks for ({asked}), which"
    ):
        read_pickle(path)
    assert os.listdir() == ["raw_audio_fixed.pkl"]


@pytest.mark.parametrize(
    "value",
    [
        np.array([Calls(os.system, f"echo > {MARK}")], dtype=object),
        np.array([1, "x"], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["text"]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.array([1j]),
    ],
)
def test_arrays_of_anything_but_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, 2))
    with pytest.raises(InputError, match=r"a.pkl is (refused|damaged)"):
        read_pickle(tmp_path / "a.pkl")
    assert os.listdir() == ["a.pkl"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        b"\x80\x02",
        b"\x80\x09.",
        b"\x80\x02}q\x00.extra"[:5],
        b"cos\nsystem\n(S'echo > touched'\ntR.",
        b"ccollections\nOrderedDict\n(tR}(S'__class__'\nI1\nsb.",  # state for what may have none
        b"cnumpy\ndtype\n}(S'__call__'\nI1\nsb.",  # state for a function of ours
        b"cnumpy\nndarray\n)\x81.",
        b"cnumpy\nndarray\n.",
        b"cbuiltins\nset\n.",
        b"cnumpy.core.multiarray\n_reconstruct\n(I1\nI2\nI3\ntR.",  # an array without content
        b"cnumpy.core.multiarray\n_reconstruct\n(I1\nI2\nI3\ntR(I1\n(I-5\ntcnumpy\ndtype\n(S'f4'\ntRI00\nS'abcd'\ntb.",
        b"cnumpy.core.multiarray\n_reconstruct\n(I1\nI2\nI3\ntR(I1\n(I99\ntcnumpy\ndtype\n(S'f4'\ntRI00\nS'abcd'\ntb.",
        b"Pos.system\n.",
        b"(lp0\ng0\na.",
    ],
)
def test_damaged_and_crafted_pickles(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a.pkl is (refused|damaged)"):
        read_pickle(path)


def test_every_truncation_is_an_input_error(tmp_path: Path) -> None:
    write_python2(tmp_path / "whole.pkl", VALUE)
    raw = (tmp_path / "whole.pkl").read_bytes()
    path = tmp_path / "a.pkl"
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(InputError, match=r"a\.pkl is"):
            read_pickle(path)


def test_every_flipped_byte_is_data_or_an_input_error(tmp_path: Path) -> None:
    write_python2(tmp_path / "whole.pkl", {"a": {"b": np.ones(2, np.float32), "c": 5}})
    raw = (tmp_path / "whole.pkl").read_bytes()
    path = tmp_path / "a.pkl"
    refused = 0
    for place in range(len(raw)):
        for value in (0x00, 0x2E, 0x52, 0x62, raw[place] ^ 1):
            path.write_bytes(raw[:place] + bytes([value]) + raw[place + 1 :])
            try:
                read_pickle(path)
            except InputError:
                refused += 1
    assert refused > len(raw)


def test_repetition_within_repetition_ends(tmp_path: Path) -> None:
    value: Any = [1]
    for _ in range(60):
        value = [value, value]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    assert len(read_pickle(tmp_path / "a.pkl")) == 2


def test_a_large_pickle_is_in_memory_once(tmp_path: Path) -> None:
    size = 200_000
    write_python2(tmp_path / "a.pkl", {f"s{i}": np.full(size // 2, i, np.int16) for i in range(50)})
    tracemalloc.start()
    try:
        found = read_pickle(tmp_path / "a.pkl")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found["s49"][-1] == 49
    assert peak < 1.2 * 50 * size


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_pickle(tmp_path / "none.pkl")


@pytest.mark.parametrize(
    "content",
    [
        b"Nr\xff\xff\xff\x0e.",  # a memo of 250 million places
        b"\x80\x05\x96" + (250_000_000).to_bytes(8, "little") + b".",  # a byte array as long
        b"\x80\x04\x8e" + (1 << 60).to_bytes(8, "little") + b".",
        b"\x80\x04\x95" + (1 << 40).to_bytes(8, "little") + b"N.",
        b"}("
        + b"K\x01\x85"
        + b"2\x86" * 59
        + b"NsN.",  # tuples nested 59 deep, each twice, as a key
        b"c__builtin__\nset\n(]" + b"K\x01\x85" + b"2\x86" * 59 + b"atR.",
        b"(" * 100_000 + b"t" * 100_000 + b".",
    ],
    ids=["memo", "bytearray", "bytes", "frame", "key", "set", "depth"],
)
def test_little_that_announces_much(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with suppress(InputError):
            read_pickle(path)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 50e6
