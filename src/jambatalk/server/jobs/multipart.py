"""Uploads as forms (multipart/form-data, RFC 7578): the first file of a form, as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.message import Message

from jambatalk.errors import InputError

MAX_HEAD = 16_384
"""Bytes of a part's head, and of fields that come before the file."""


def multipart_boundary(content_type: str) -> bytes | None:
    """The boundary that a Content-Type names; None for anything but a form."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/form-data" or not boundary:
        return None
    return boundary.encode("latin-1", "replace")


async def uploaded_file(
    pieces: AsyncIterator[bytes], boundary: bytes
) -> tuple[str, AsyncIterator[bytes]]:
    """Find the first file of a form.

    Returns:
        Its name ("" if it has none), and its content piece by piece.

    Raises:
        InputError: the form has no file, or is damaged.
    """
    buffer, mark = b"\r\n", b"\r\n--" + boundary
    while True:
        start, head_end = buffer.find(mark), -1
        if start >= 0:
            head_end = buffer.find(b"\r\n\r\n", start + len(mark))
        if head_end >= 0:
            name = _file_name(buffer[start + len(mark) : head_end])
            if name is not None:
                return name, _content(pieces, buffer[head_end + 4 :], mark)
            # A field: the next boundary follows its value (which may be empty).
            buffer = buffer[head_end + 2 :]
            continue
        if len(buffer) > MAX_HEAD:
            raise InputError(f"the form has no file in its first {MAX_HEAD:,} bytes")
        piece = await anext(pieces, None)
        if piece is None:
            raise InputError("the form has no file, expected one such as -F file=@speech.wav")
        buffer += piece


def _file_name(head: bytes) -> str | None:
    """The file's name in a part's head; None for a field."""
    message = Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon and name.strip().lower() == "content-disposition":
            message["Content-Disposition"] = value.strip()
    return message.get_filename()


async def _content(
    pieces: AsyncIterator[bytes], buffer: bytes, mark: bytes
) -> AsyncIterator[bytes]:
    while (end := buffer.find(mark)) < 0:
        # The last bytes may be the beginning of the boundary.
        ready = max(len(buffer) - len(mark), 0)
        if ready:
            yield buffer[:ready]
            buffer = buffer[ready:]
        piece = await anext(pieces, None)
        if piece is None:
            raise InputError("the form broke off before its last boundary")
        buffer += piece
    yield buffer[:end]
    async for _ in pieces:
        pass  # what follows the file is read, so that the answer can be
