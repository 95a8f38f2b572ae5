"""Pickles of corpora read without running anything in them: containers, text, numbers and plain numpy arrays, no more.

A pickle is a program that may call any function by its name. Here no name is ever looked up: the few that plain numpy data
need are answered by stand-ins of ours, everything else stops the reading. Arrays are views of the bytes that were read, so
that a large pickle is in memory once.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError

PLAIN_TYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|\?)")
"""Booleans, integers and floats. Objects, records, strings and dates stay out: no corpus needs them."""

ORDER = {"<": "<", ">": ">", "|": "|", "=": "<"}


def read_pickle(path: str | Path) -> Any:
    """What a pickle file holds: dict, list, tuple, set, numbers, str and numpy arrays (read-only, of booleans or numbers).

    Reads protocols 0 to 5, of Python 2 too: its byte strings become str, as latin-1. Raises InputError naming the file, and
    the name it asks for, when it holds anything else, or when it is missing, damaged or cut off. Nothing in it is executed.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            # encoding="bytes" keeps an array's bytes as they are; as text they would have to be copied.
            found = _Unpickler(file, path).load()
        return _Plain(path).plain(found)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # damaged pickles fail in as many ways as there are damages
        raise InputError(
            f"{path} is damaged or no pickle of plain data ({error or type(error).__name__})"
        ) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="bytes")
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        stand_in = _STAND_INS.get((module.replace("numpy._core", "numpy.core"), name))
        if stand_in is None:
            raise InputError(
                f"{self.path} is refused: it asks for {module}.{name}, which plain arrays and numbers never need"
            )
        return stand_in()

    def persistent_load(self, pid: Any) -> NoReturn:
        raise InputError(
            f"{self.path} is refused: it asks for the outside object {str(pid)[:40]!r}, expected plain data"
        )


class _StandIn:
    """Answers a name in a pickle. Instances hold nothing and cannot be given state, so a pickle cannot change them."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> NoReturn:
        raise ValueError("it gives state to a function")


class _Type:
    """A numpy dtype under construction; only its state tells the byte order."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        if not PLAIN_TYPE.fullmatch(text):
            raise ValueError(f"an array of type {text!r}, expected plain numbers")
        self.text = text.replace("?", "b1")

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, subtype, names, fields, item size, alignment, flags): a plain number's has no more than these.
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
        return dict(*pairs)


class _Set(_StandIn):
    def __call__(self, items: Any = ()) -> set[Any]:
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


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _shaped(raw: Any, kind: Any, shape: Any, fortran: bool) -> NDArray[Any]:
    if not isinstance(kind, _Type) or not isinstance(raw, (bytes, bytearray)):
        raise ValueError("an array of objects, expected plain numbers")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"an array of shape {shape!r}")
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
                f"{self.path} is refused: it holds something unfinished, expected plain arrays and numbers"
            )
        # What occurs twice is turned once: nested repetition would otherwise take for ever. None marks what is under way.
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
