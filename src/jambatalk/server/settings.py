"""What a live server allows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from jambatalk.errors import InputError


@dataclass(frozen=True)
class ServerSettings:
    """Limits and secrets of a server. Times in seconds.

    Args:
        token: what clients must send, None for none.
        hosts: names that the ``Host`` header may have, None for any: against pages elsewhere whose
            name was made to point here (DNS rebinding).
        origins: other sites whose pages may use the server, such as http://localhost:3000.
        max_sessions: live sessions at the same time.
        message_bytes: largest message of a live session.
        start_timeout: until the start message of a live session.
        idle_timeout: without any message.
        send_timeout: for a client that reads nothing.
        longest_session: a live session in all.
        upload_bytes: of a job's sound.
        upload_timeout: without any byte of an upload.
        longest_upload: an upload in all.
        longest_sound: of a job.
        character: file of a character that speaks in jobs' results, and on the page where that can
            read it; None for the default head.

    Raises:
        InputError: a value is not valid.
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
    origins: tuple[str, ...] = ()
    character: Path | None = None

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
        object.__setattr__(self, "origins", tuple(map(_origin, self.origins)))

    @property
    def shown_character(self) -> Path | None:
        """The character's file where the page can read it: .glb or .vrm."""
        if self.character is None or self.character.suffix.lower() not in (".glb", ".vrm"):
            return None
        return self.character


def _origin(url: str) -> str:
    """An origin as browsers write it: ``HTTP://Host:80/`` -> ``http://host``."""
    try:
        parts = urlsplit(url.strip().lower())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise InputError(f"origin is {url[:80]!r}, expected one such as http://localhost:3000")
    usual = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")
