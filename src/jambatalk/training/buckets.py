"""Batches of whole clips of similar length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError

Array = NDArray[Any]


class LengthBuckets:
    """``batch(step)`` follows from the seed and the step alone: nothing need be stored to resume.

    An epoch is ``per_epoch`` steps. In each, the clips are shuffled, and pools of ``pool`` batches are sorted by length and
    cut into batches, which come in random order. Every clip comes once in an epoch; where the clips do not fill the last
    batch, as many as are missing, drawn at random, come once more (again and again where there are fewer clips than one
    batch holds).

    lengths: of each clip, in any unit. batch: clips per step. pool: 1 is pure chance; more is less padding.
    Raises InputError without clips, ValueError for a batch or pool below 1.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int, pool: int = 16) -> None:
        if not len(lengths):
            raise InputError("no clips to train on: expected at least one")
        if batch < 1 or pool < 1:
            raise ValueError(f"batch is {batch} and pool {pool}, expected at least 1 each")
        self.lengths = np.asarray(lengths)
        self.size, self.seed, self.pool = batch, seed, pool
        self.per_epoch = -(-len(self.lengths) // batch)
        self._planned = -1, np.empty((0, batch), np.int64)

    def batch(self, step: int) -> Array:
        """(batch,) int64 indices of the clips of step ``step``, from 0 on."""
        epoch, place = divmod(step, self.per_epoch)
        if self._planned[0] != epoch:
            self._planned = epoch, self._plan(epoch)
        return np.asarray(self._planned[1][place])

    def _plan(self, epoch: int) -> Array:
        """(per_epoch, batch) indices."""
        rng = np.random.default_rng([self.seed, 11, epoch])
        count = len(self.lengths)
        missing = self.per_epoch * self.size - count
        again = [rng.permutation(count) for _ in range(-(-missing // count))]
        order = np.concatenate([rng.permutation(count), *again])[: count + missing]
        rng.shuffle(order)
        reach = self.pool * self.size
        pools = [order[start : start + reach] for start in range(0, len(order), reach)]
        # Clips of the same length stay in the order of chance.
        in_order = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        plan = in_order.reshape(-1, self.size)[rng.permutation(self.per_epoch)]
        # Processes take neighbouring rows: none is to get the short ones of every batch.
        return rng.permuted(plan, axis=1)
