"""Whatever a parser raises becomes one short sentence with the file's name."""

from __future__ import annotations

import struct
import tokenize
import zlib

import pytest

from jambatalk.config import read_yaml
from jambatalk.errors import InputError, MissingExtraError, reading, shown


@pytest.mark.parametrize(
    "error",
    [
        ValueError("v" * 5000),
        KeyError("name"),
        RecursionError(),
        MemoryError(),
        OverflowError("too large"),
        zlib.error("Error -3"),
        struct.error("unpack"),
        tokenize.TokenError("EOF"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        AttributeError("x"),
    ],
)
def test_any_error_names_the_file(error):
    with pytest.raises(InputError) as caught, reading("a.dat", "a table"):
        raise error
    message = str(caught.value)
    assert message.startswith("a.dat is damaged, cut off or not a table (")
    assert len(message) < 140
    assert "\n" not in message


def test_own_errors_pass_as_they_are(tmp_path):
    for kind in (InputError, MissingExtraError):
        with pytest.raises(kind, match=r"^mine$"), reading("a.dat"):
            raise kind("mine")
    missing = tmp_path / "none"
    with pytest.raises(InputError, match=r"cannot read .*none: No such file"), reading(missing):
        missing.open().close()
    with pytest.raises(KeyboardInterrupt), reading("a.dat"):
        raise KeyboardInterrupt


def test_values_are_shown_short():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    wide: list = [1]
    for _ in range(60):
        wide = [wide] * 9
    for value in (deep, wide, 10**5000, "x" * 10**6, {"a" * 500: 1}, b"\0" * 9999):
        assert len(shown(value)) <= 80
    assert shown("hop") == "'hop'"
    assert shown({"a": [1, 2.5]}) == "{'a': [1, 2.5]}"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{n}: &{n} [{', '.join(['*' + p] * 9)}]\n" for p, n in zip("abcdefg", "bcdefgh")
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB.encode(), "alias"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, "50 levels deep"),
        (b"a: " + b"9" * 5000, "not YAML with settings"),
        (b"a: 2001-99-99", "not YAML with settings"),
        (b"a: \xff\xfe", "not YAML with settings"),
        (b"\x00", "not YAML with settings"),
        (b"? [a]\n: 1\n", "not YAML with settings"),
        (b"a: 1\n" * 300_000, "more than 1,000,000 bytes"),
        (b"- 1\n", "expected settings"),
    ],
    ids=["aliases", "depth", "digits", "date", "bytes", "zero", "key", "size", "list"],
)
def test_settings_that_multiply_or_are_none(tmp_path, content, message):
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(path)
    assert "s.yaml" in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 180
