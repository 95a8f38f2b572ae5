"""``python -m jambatalk`` is the command ``jambatalk``."""

from __future__ import annotations

from jambatalk.cli.main import main

if __name__ == "__main__":
    main()
