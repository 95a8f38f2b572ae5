"""The libraries of the live server."""

from __future__ import annotations

from jambatalk.errors import MissingExtraError


def require_live() -> None:
    """MissingExtraError unless the libraries of the server are there."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise MissingExtraError('the live server needs more libraries: pip install "jambatalk[live]"') from error
