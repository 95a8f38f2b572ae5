"""What a live server allows."""

from __future__ import annotations

from dataclasses import dataclass

from jambatalk.errors import InputError


@dataclass(frozen=True)
class ServerSettings:
    """Limits and secrets of a server. Times in seconds.

    token: what clients must bring, None for none. hosts: names that the ``Host`` header may have, None for any: against pages
    elsewhere whose name was made to point here (DNS rebinding). upload_bytes, longest_sound (seconds): of a job; upload_timeout:
    how long nothing may come of one; longest_upload: how long it may take in all.
    """

    token: str | None = None
    hosts: tuple[str, ...] | None = None
    max_sessions: int = 32
    message_bytes: int = 1 << 20
    start_timeout: float = 10.0
    idle_timeout: float = 300.0
    send_timeout: float = 10.0
    longest_session: float = 4 * 3600.0
    upload_bytes: int = 200 << 20
    upload_timeout: float = 30.0
    longest_upload: float = 3600.0
    longest_sound: float = 2 * 3600.0

    def __post_init__(self) -> None:
        token = self.token
        if token is not None and not (
            8 <= len(token) <= 200 and token.isascii() and token.isprintable() and " " not in token
        ):
            raise InputError(
                "the token has blanks, other than ASCII characters, or not 8 to 200 of them"
            )
        if not 1 <= self.max_sessions <= 1000:
            raise InputError(f"max_sessions is {self.max_sessions}, expected 1 to 1000")
        if not 1 <= self.upload_bytes <= 1 << 40:
            raise InputError(f"upload_bytes is {self.upload_bytes}, expected 1 to 2**40")
