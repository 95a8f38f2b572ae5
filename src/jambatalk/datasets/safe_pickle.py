"""Pickles of corpora read without running anything in them: containers, text, numbers and plain
numpy arrays, no more.

A pickle is a program that may call any function by its name. Here no name is ever looked up: the
few that plain numpy data need are answered by stand-ins of ours, everything else stops the reading.
Arrays are views of the bytes that were read, so that a large pickle is in memory once.
"""

from __future__ import annotations

import os
import pickle
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError, reading, shortened, shown

PLAIN_TYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|\?)")
"""Booleans, integers and floats. Objects, records, strings and dates stay out: no corpus needs
them.
"""

ORDER = {"<": "<", ">": ">", "|": "|", "=": "<"}


def read_pickle(path: str | Path) -> Any:
    """Read a pickle of plain data: dict, list, tuple, set, numbers, str, and arrays of numbers.

    Reads protocols 0 to 5, of Python 2 too: its byte strings become str, as latin-1. Arrays are
    read-only. Nothing in the file is executed, and its memory stays in proportion to its size.

    Raises:
        InputError: the file is missing, damaged or cut off, or holds anything else; the message has
            the file's name and the name that it asks for.
    """
    path = Path(path)
    with reading(path, "a pickle of plain data"), path.open("rb") as file:
        # encoding="bytes" keeps an array's bytes as they are; as text they would have to be copied.
        return _Plain(path).plain(_Unpickler(file, path).load())


class _Bounded:
    """A file that refuses to read more than it holds, before memory for that much is reserved."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        self.check(count)
        return self.file.read(count)

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]

    def check(self, count: int) -> None:
        if count > self.size:
            raise EOFError(f"it announces {count} bytes and holds {self.size}")


# Python's own implementation: its memo is a dict. That of C reserves memory up to whatever index a
# file names, and fills dicts where nothing can look at their keys before they are hashed.
_PythonUnpickler: Any = pickle._Unpickler


class _Unpickler(_PythonUnpickler):
    dispatch: ClassVar[dict[int, Any]] = dict(_PythonUnpickler.dispatch)

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.path = path
        self.bounded = _Bounded(file)
        super().__init__(self.bounded, encoding="bytes")

    def load_bytearray8(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.bounded.check(length)
        self.append(bytearray(self.read(length)))

    def load_setitem(self) -> None:
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        _check_keys(self.stack[::2])
        super().load_setitems()

    def load_additems(self) -> None:
        _check_keys(self.stack)
        super().load_additems()

    def load_frozenset(self) -> None:
        _check_keys(self.stack)
        super().load_frozenset()

    def load_dict(self) -> None:
        _check_keys(self.stack[::2])
        super().load_dict()

    for _code, _method in (
        (pickle.BYTEARRAY8, load_bytearray8),
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
        (pickle.ADDITEMS, load_additems),
        (pickle.FROZENSET, load_frozenset),
        (pickle.DICT, load_dict),
    ):
        dispatch[_code[0]] = _method

    def find_class(self, module: str, name: str) -> Any:
        stand_in = _STAND_INS.get((module.replace("numpy._core", "numpy.core"), name))
        if stand_in is None:
            raise InputError(
                f"{self.path} is refused: it asks for {shortened(f'{module}.{name}')}, "
                "which plain arrays and numbers never need"
            )
        return stand_in()

    def persistent_load(self, pid: Any) -> NoReturn:
        raise InputError(
            f"{self.path} is refused: it asks for the outside object {shown(pid)}, expected plain "
            "data"
        )


class _StandIn:
    """Answers a name in a pickle. Instances hold nothing and cannot be given state, so a pickle
    cannot change them.
    """

    __slots__ = ()

    def __setstate__(self, state: Any) -> NoReturn:
        raise ValueError("it gives state to a function")


class _Type:
    """A numpy dtype under construction; only its state has the byte order."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        if not PLAIN_TYPE.fullmatch(text):
            raise ValueError(f"an array of type {shown(text)}, expected plain numbers")
        self.text = text.replace("?", "b1")

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, subtype, names, fields, item size, alignment, flags)
        if (
            not isinstance(state, tuple)
            or len(state) < 7
            or any(part is not None for part in state[2:5])
        ):
            raise ValueError("an array of records, expected plain numbers")
        self.text = ORDER[_text(state[1])] + self.text.lstrip("<>|=")

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.text)


class _Array:
    """A numpy array under construction."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        self.array = _shaped(raw, kind, shape, bool(fortran))


class _NewArray(_StandIn):
    def __call__(self, kind: Any, shape: Any, code: Any) -> _Array:
        return _Array()


class _NewType(_StandIn):
    def __call__(self, text: Any, align: Any = False, copy: Any = False) -> _Type:
        return _Type(_text(text))


class _Scalar(_StandIn):
    def __call__(self, kind: Any, raw: Any) -> Any:
        return _shaped(raw, kind, (), False)[()].item()


class _FromBuffer(_StandIn):
    def __call__(self, raw: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> _Array:
        if axes is not None:
            raise ValueError("an array with its axes in an unusual order")
        made = _Array()
        made.array = _shaped(raw, kind, shape, order == "F")
        return made


class _Encode(_StandIn):
    """How Python 3 writes bytes in the protocols of Python 2."""

    def __call__(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or _text(encoding) not in ("latin1", "latin-1"):
            raise ValueError("bytes in an unusual encoding")
        return text.encode("latin-1")


class _Ordered(_StandIn):
    def __call__(self, *pairs: Any) -> dict[Any, Any]:
        for items in pairs:
            _check_keys([key for key, _ in items])
        return dict(*pairs)


class _Set(_StandIn):
    def __call__(self, items: Any = ()) -> set[Any]:
        _check_keys(items)
        return set(items)


class _Bytes(_StandIn):
    def __call__(self, *content: Any) -> bytes:
        if content and not isinstance(content[0], (bytes, bytearray)):
            raise ValueError("bytes made of something else")
        return bytes(content[0]) if content else b""


_STAND_INS: dict[tuple[str, str], type[_StandIn]] = {
    ("numpy.core.multiarray", "_reconstruct"): _NewArray,
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer,
    ("numpy", "ndarray"): _StandIn,
    ("numpy", "dtype"): _NewType,
    ("_codecs", "encode"): _Encode,
    ("collections", "OrderedDict"): _Ordered,
    **{
        (module, name): _Set
        for module in ("builtins", "__builtin__")
        for name in ("set", "frozenset")
    },
    **{(module, "bytes"): _Bytes for module in ("builtins", "__builtin__")},
}


KEYS = (str, bytes, int, float, type(None))


def _check_keys(keys: Iterable[Any]) -> None:
    """Hashing a tuple of tuples takes time that doubles with every level; a flat one is enough."""
    for key in keys:
        parts = key if isinstance(key, tuple) else (key,)
        if not all(isinstance(part, KEYS) for part in parts):
            raise ValueError("a key that is neither text nor a number")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _shaped(raw: Any, kind: Any, shape: Any, fortran: bool) -> NDArray[Any]:
    if not isinstance(kind, _Type) or not isinstance(raw, (bytes, bytearray)):
        raise ValueError("an array of objects, expected plain numbers")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"an array of shape {shown(shape)}")
    flat = np.frombuffer(raw, kind.numpy())
    flat.flags.writeable = False
    return flat.reshape(shape, order="F" if fortran else "C")


class _Plain:
    """Turns what was read into plain data: stand-ins into arrays, byte strings into text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[int, tuple[Any, Any]] = {}

    def plain(self, value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode("latin-1")
        if isinstance(value, (str, int, float, complex, type(None))):
            return value
        if isinstance(value, _Array) and value.array is not None:
            return value.array
        if not isinstance(value, (dict, list, tuple, set)):
            raise InputError(
                f"{self.path} is refused: it holds something unfinished, expected plain arrays and "
                "numbers"
            )
        # What occurs twice is turned once, else nested repetition takes for ever. None: under way.
        if id(value) in self.done:
            made = self.done[id(value)][1]
            if made is None:
                raise InputError(f"{self.path} is refused: it holds a list within itself")
            return made
        self.done[id(value)] = (value, None)
        if isinstance(value, dict):
            made = {self.plain(key): self.plain(item) for key, item in value.items()}
        else:
            made = type(value)(self.plain(item) for item in value)
        self.done[id(value)] = (value, made)
        return made
