"""A receiver's address as text, such as ``vmc://192.168.1.7?shapes=vrm``, taken apart and checked."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from jambatalk.errors import InputError


@dataclass(frozen=True)
class Target:
    """url: as typed. port: 1..65535. path: with its leading slash, or empty. options: what follows ``?``, decoded."""

    url: str
    scheme: str
    host: str
    port: int
    path: str
    options: dict[str, str]

    def option(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """An option's value; InputError unless it is one of ``choices``."""
        value = self.options.get(name, default)
        if value not in choices:
            raise InputError(f"{self.url}: {name} is {value!r}, expected {' or '.join(choices)}")
        return value


def parse(url: str, default_port: int | None, options: tuple[str, ...], path: bool) -> Target:
    """InputError for a host, port, path or option that cannot be. default_port None: the port must be given."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InputError(f"{url}: the port or the address cannot be read ({error}), expected host:port") from error
    if not host:
        raise InputError(f"{url} names no host, expected {parts.scheme}://host{'' if default_port else ':port'}")
    port = default_port if port is None else port
    if port is None:
        raise InputError(f"{url} names no port, expected {parts.scheme}://{host}:port")
    if port == 0:
        raise InputError(f"{url}: port 0 cannot be sent to, expected 1 to 65535")
    if not path and parts.path not in ("", "/"):
        raise InputError(f"{url} has a path {parts.path!r}, but {parts.scheme} takes none")
    return Target(url, parts.scheme, host, port, unquote(parts.path).rstrip("/"), _options(url, parts, options))


def _options(url: str, parts: SplitResult, known: tuple[str, ...]) -> dict[str, str]:
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in given:
        if name not in known:
            raise InputError(f"{url}: unknown option {name!r}, expected {', '.join(known) or 'none'}")
    return given


def resolve(target: Target) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    """The host's address for UDP; InputError when its name is not known."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise InputError(f"{target.url}: the host {target.host!r} was not found ({error})") from error
    # Receivers on "localhost" nearly always listen on IPv4 only.
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, address
