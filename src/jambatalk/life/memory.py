"""What a part of life remembers, as numbers by name."""

from __future__ import annotations

from typing import Any, ClassVar


class Remembering:
    """``remembered``: the attributes that are its whole memory; numbers, truths, or other parts that remember."""

    remembered: ClassVar[tuple[str, ...]] = ()

    def state(self) -> dict[str, Any]:
        """All of it, as JSON values; floats come back to the bit."""
        values = {name: getattr(self, name) for name in self.remembered}
        return {name: value.state() if isinstance(value, Remembering) else value for name, value in values.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. KeyError, TypeError or ValueError when it is none."""
        for name in self.remembered:
            own = getattr(self, name)
            if isinstance(own, Remembering):
                own.load_state(state[name])
            else:
                setattr(self, name, type(own)(state[name]))
