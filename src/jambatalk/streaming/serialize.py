"""A tree of numbers, texts and arrays as bytes: a safetensors file, which no reader can be tricked with."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from jambatalk.errors import InputError
from jambatalk.models.state import named_state, rebuilt_state

ARRAY = "$array"


def serialize(tree: dict[str, Any]) -> bytes:
    """A tree of dicts, lists, JSON values and arrays -> bytes. Floats and arrays come back to the bit."""
    arrays: dict[str, Any] = {}

    def plain(node: Any) -> Any:
        if isinstance(node, np.ndarray):
            name = f"{len(arrays)}"
            # safetensors stores no arrays of size 0 in every version, so their shape stands in the tree.
            arrays[name] = np.ascontiguousarray(node) if node.size else np.zeros(1, node.dtype)
            return {ARRAY: name, "shape": list(node.shape)}
        if isinstance(node, dict):
            return {key: plain(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            return [plain(value) for value in node]
        return node.item() if isinstance(node, np.generic) else node

    text = json.dumps(plain(tree), allow_nan=False)
    return save({"none": np.zeros(1, np.float32)} | arrays, metadata={"tree": text})


def deserialize(data: bytes) -> dict[str, Any]:
    """What ``serialize`` made bytes of. InputError for anything else."""
    try:
        arrays = load(data)
        # The library reads a file's metadata by its name only; the header is JSON behind its length.
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        tree = json.loads(header["__metadata__"]["tree"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError("the saved session is damaged or none at all") from error

    def full(node: Any) -> Any:
        if isinstance(node, dict):
            if ARRAY in node:
                array = arrays[node[ARRAY]]
                return (
                    (array if np.prod(node["shape"]) else array[:0]).reshape(node["shape"]).copy()
                )
            return {key: full(value) for key, value in node.items()}
        return [full(value) for value in node] if isinstance(node, list) else node

    try:
        found = full(tree)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError("the saved session is damaged") from error
    if not isinstance(found, dict):
        raise InputError("the saved session is damaged")
    return found


def tensors_of(state: Any) -> dict[str, Tensor]:
    """A network's state as tensors by name."""
    known = getattr(state, "tensors", None)  # a network that runs elsewhere keeps them by name
    return known if isinstance(known, dict) else named_state(state)


def with_tensors(like: Any, tensors: dict[str, Tensor]) -> Any:
    """The state ``like`` with these tensors in place of its own. ValueError unless their names and types agree."""
    own = tensors_of(like)
    if list(own) != list(tensors) or any(own[name].dtype != tensors[name].dtype for name in own):
        raise ValueError("the network's state has other tensors")
    if isinstance(getattr(like, "tensors", None), dict):
        return dataclasses.replace(like, tensors=dict(tensors))
    device = next(iter(own.values())).device
    return rebuilt_state(like, [tensor.to(device) for tensor in tensors.values()])
