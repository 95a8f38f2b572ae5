"""Send frames at their time."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pacer:
    """Waits until a media time has come on a clock that only runs forward.

    Every wait is measured from the same origin, so errors do not add up; after a stall nothing
    waits until the frames have caught up.

    Args:
        slack: None for a recording. For a microphone, whose clock is not ours, the seconds by which
            a frame may be early or late before the origin follows; without it the delay would grow
            by the difference of the two clocks.
        clock, sleep: for tests.
    """

    def __init__(
        self,
        slack: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.slack, self.clock, self._sleep = slack, clock, sleep
        self.origin: float | None = None

    def start(self, delay: float = 0.0) -> None:
        """Set media time 0 to ``delay`` seconds from now."""
        self.origin = self.clock() + delay

    def shift(self, seconds: float) -> None:
        """Begin media time anew, ``seconds`` after its last beginning."""
        assert self.origin is not None, "start() comes first"
        self.origin += seconds

    def wait(self, media_time: float, arrived: float | None = None) -> float:
        """Return when ``media_time`` (seconds) has come.

        Without ``start``, the first frame that is waited for is on time.

        Args:
            media_time: of the frame.
            arrived: when the sound that the frame needed came, on the same clock; None is now. The
                slack is measured against it, not against the moment of asking: a caller that waits
                asks later and later, and would never see that the other clock is fast.

        Returns:
            By how many seconds that is too late, 0 or more.
        """
        came = self.clock() if arrived is None else arrived
        if self.origin is None:
            self.origin = came - media_time
        early = self.origin + media_time - came
        if self.slack is not None and abs(early) > self.slack:
            self.origin -= early - self.slack if early > 0 else early + self.slack
        early = self.origin + media_time - self.clock()
        # A sleep may end early on some systems.
        while early > 0:
            self._sleep(early)
            early = self.origin + media_time - self.clock()
        return -early
