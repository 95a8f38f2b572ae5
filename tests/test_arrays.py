"""Archives of arrays: what they hold, and what a hostile one cannot do."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jambatalk.arrays import FREE_BYTES, read_arrays
from jambatalk.errors import InputError


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_arrays_come_back_as_numpy_reads_them(tmp_path):
    arrays = {
        "a": np.arange(12.0).reshape(3, 4),
        "b": np.array(["jawOpen", "x"]),
        "c": np.float64(25.0),
        "d": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        "e": np.zeros((0, 5), np.float32),
    }
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.asarray(array).dtype


@pytest.mark.parametrize("shape", ["(9000000000000, 3)", "(2, 4)", "(4294967296, 4294967296)"])
def test_a_shape_that_is_not_there_allocates_nothing(shape, tmp_path):
    content = npy(np.zeros((1, 3))).replace(b"(1, 3), }", f"{shape}, }}".encode())
    with pytest.raises(InputError, match=r"said to have the shape|damaged"):
        read_arrays(archive(tmp_path / "a.npz", a=content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "damaged, cut off or not an .npz archive"),
        (npy(np.zeros(3))[:70], "damaged"),
        (b"\x93NUMPY\x09\x00" + npy(np.zeros(3))[8:], "version"),
        (npy(np.zeros(300))[:-8], "said to have the shape"),
        (npy(np.array([{}], object)), "holds Python objects"),
    ],
)
def test_damaged_members(content, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_arrays(archive(tmp_path / "a.npz", a=content))


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(1000.0))
    content = bytearray(path.read_bytes())
    content[5000] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match="CRC"):
        read_arrays(path)


def test_a_bomb_is_not_unpacked(tmp_path):
    """A small file that would fill the memory, refused by what its directory says."""
    path = archive(tmp_path / "a.npz", a=npy(np.zeros(FREE_BYTES // 8, np.float64)))
    assert path.stat().st_size < 2e6
    with pytest.raises(InputError, match=r"would unpack to 0\.3 GB"):
        read_arrays(path)
    with pytest.raises(InputError, match="No such file"):
        read_arrays(tmp_path / "none.npz")
