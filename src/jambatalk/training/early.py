"""Which validation was best, and when it is no use to go on."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Best:
    """The highest score so far, and how many validations have passed since."""

    patience: int  # validations without a better score after which training ends; 0: never
    after: int = 0  # steps before which no validation counts: networks that learn in stages cannot move at first
    score: float = -math.inf
    since: int = 0

    def better(self, score: float, step: int = 0) -> bool:
        """Take in the score of a validation after ``step`` steps; True when it is the highest so far."""
        if step < self.after:
            return False
        if score > self.score:
            self.score, self.since = score, 0
            return True
        self.since += 1
        return False

    @property
    def stop(self) -> bool:
        return 0 < self.patience <= self.since
