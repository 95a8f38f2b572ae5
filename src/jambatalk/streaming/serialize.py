"""A tree of numbers, texts and arrays as bytes: a safetensors file, which cannot run code."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any, NoReturn

import numpy as np
from safetensors.numpy import load, save
from torch import Tensor

from jambatalk.errors import InputError, reading
from jambatalk.models.state import named_state, rebuilt_state

ARRAY = "$array"
DAMAGED = "the saved session is damaged"


def serialize(tree: dict[str, Any]) -> bytes:
    """Store a tree of dicts, lists, JSON values and arrays. Floats and arrays come back exactly."""
    arrays: dict[str, Any] = {}

    def plain(node: Any) -> Any:
        if isinstance(node, np.ndarray):
            name = f"{len(arrays)}"
            # Not every version of safetensors stores arrays of size 0: their shape is in the tree.
            arrays[name] = np.ascontiguousarray(node) if node.size else np.zeros(1, node.dtype)
            return {ARRAY: name, "shape": list(node.shape)}
        if isinstance(node, dict):
            return {key: plain(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            return [plain(value) for value in node]
        return node.item() if isinstance(node, np.generic) else node

    text = json.dumps(plain(tree), allow_nan=False)
    metadata = {"tree": text, "sha256": _checksum(text, arrays)}
    return save({"none": np.zeros(1, np.float32)} | arrays, metadata=metadata)


def deserialize(data: bytes) -> dict[str, Any]:
    """Read what ``serialize`` stored.

    Raises:
        InputError: it is something else, damaged, or holds NaN or infinity.
    """
    with reading("the saved session", "a saved session"):
        arrays = load(data)
        # The library gives the metadata of a file on disk only; the header is JSON.
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        text = header["__metadata__"]["tree"]
        checksum = header["__metadata__"].get("sha256")  # earlier versions stored none
        tree = json.loads(text, parse_constant=_no_number)
        arrays.pop("none", None)
        intact = checksum in (None, _checksum(text, arrays))
    if not intact or not all(np.isfinite(a).all() for a in arrays.values() if a.dtype.kind == "f"):
        raise InputError(DAMAGED)

    def full(node: Any) -> Any:
        if isinstance(node, dict):
            if ARRAY in node:
                array, shape = arrays[node[ARRAY]], node["shape"]
                return (array if math.prod(shape) else array[:0]).reshape(shape).copy()
            return {key: full(value) for key, value in node.items()}
        return [full(value) for value in node] if isinstance(node, list) else node

    with reading("the saved session"):
        found = full(tree)
    if not isinstance(found, dict):
        raise InputError(DAMAGED)
    return found


def _checksum(text: str, arrays: dict[str, Any]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def tensors_of(state: Any) -> dict[str, Tensor]:
    """Name the tensors of a network's state."""
    known = getattr(state, "tensors", None)  # an exported network keeps them by name
    return known if isinstance(known, dict) else named_state(state)


def with_tensors(like: Any, tensors: dict[str, Tensor]) -> Any:
    """Put ``tensors`` in place of those of the state ``like``.

    Raises:
        ValueError: their names, types or numbers of axes differ.
    """
    own = tensors_of(like)
    if list(own) != list(tensors):
        raise ValueError("the network's state has other tensors")
    for name, tensor in tensors.items():
        if tensor.dtype != own[name].dtype or tensor.ndim != own[name].ndim:
            raise ValueError(f"the network's state has another {name}")
    if isinstance(getattr(like, "tensors", None), dict):
        return dataclasses.replace(like, tensors=dict(tensors))
    device = next(iter(own.values())).device
    return rebuilt_state(like, [tensor.to(device) for tensor in tensors.values()])
