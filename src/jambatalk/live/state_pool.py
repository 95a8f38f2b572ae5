"""Network states of many streams in one set of tensors, a row for each: no stream's state is copied but within the rows.

Joining states and parting them again, tensor by tensor, took half as long as the network itself for twenty sessions.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

from jambatalk.nn.step import rebuilt_state
from jambatalk.streaming.saving import tensors_of


class Held:
    """A stream's state that lies in a pool's row; the row is free again once nobody has this object."""

    def __init__(self, pool: StatePool, row: int) -> None:
        self.pool, self.row = pool, row

    @property
    def tensors(self) -> dict[str, Tensor]:
        """A copy of the state's tensors by name (``streaming.saving.tensors_of``)."""
        return {name: tensor[self.row : self.row + 1].clone() for name, tensor in zip(self.pool.names, self.pool.tensors)}

    def __del__(self) -> None:
        self.pool.free.append(self.row)


class StatePool:
    """Room for as many states as come; it grows by doubling and does not shrink.

    like: a state of one stream, whose tensors have the batch in their first axis. Not for several threads at once.
    """

    def __init__(self, like: Any, rows: int = 8) -> None:
        self._like = like
        own = tensors_of(like)
        self.names = tuple(own)
        self.tensors = [tensor.new_empty(rows, *tensor.shape[1:]) for tensor in own.values()]
        self.free: deque[int] = deque(range(rows))

    def join(self, states: list[Any]) -> tuple[Any, list[Held]]:
        """States of single streams, ``Held`` or as the network makes them -> (their state as a batch, where each is held)."""
        held = [state if isinstance(state, Held) else self._hold(state) for state in states]
        rows = [one.row for one in held]
        first = rows[0]
        if rows == list(range(first, first + len(rows))):
            batch = [tensor[first : first + len(rows)] for tensor in self.tensors]
        else:
            index = self._index(rows)
            batch = [tensor.index_select(0, index) for tensor in self.tensors]
        return rebuilt_state(self._like, batch), held

    def keep(self, held: list[Held], state: Any) -> None:
        """The states of these streams are now those of the batch ``state``, in this order."""
        index = self._index([one.row for one in held])
        for tensor, new in zip(self.tensors, tensors_of(state).values(), strict=True):
            tensor.index_copy_(0, index, new)

    def _hold(self, state: Any) -> Held:
        if not self.free:
            count = len(self.tensors[0])
            self.tensors = [torch.cat([tensor, torch.empty_like(tensor)]) for tensor in self.tensors]
            self.free.extend(range(count, 2 * count))
        held = Held(self, self.free.popleft())
        for tensor, own in zip(self.tensors, tensors_of(state).values(), strict=True):
            tensor[held.row].copy_(own[0])
        return held

    def _index(self, rows: list[int]) -> Tensor:
        return torch.tensor(rows, device=self.tensors[0].device)
