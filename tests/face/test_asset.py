"""The face file: what is written is read back, and what is no face is refused with one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.face.face import Face


def a_face(seed: int = 0, vertices: int = 60) -> Face:
    random = np.random.default_rng(seed)
    basis = random.normal(0, 0.01, (3, vertices, 3)).astype(np.float32)
    basis[1, 10:] = 0.0
    basis[2] = 0.0
    return Face(
        vertices=random.normal(0, 0.1, (vertices, 3)).astype(np.float32),
        triangles=random.integers(0, vertices, (80, 3)).astype(np.int32),
        regions={
            "lips": np.array([5, 3, 4], np.int32),
            "none": np.zeros(0, np.int32),
            "all": np.arange(vertices, dtype=np.int32),
        },
        names=("jawOpen", "mouthClose", "tongueOut"),
        basis=basis,
        colours=random.random((vertices, 3)).astype(np.float32),
        materials=random.integers(0, 2, 80).astype(np.uint8),
        material_names=("skin", "teeth"),
        gap_vertices=(3, 4),
        identities={"ann": random.normal(0, 0.01, (vertices, 3)).astype(np.float32)},
        uv=random.random((vertices, 2)).astype(np.float32),
        identity_colours={"ann": random.random((vertices, 3)).astype(np.float32)},
    )


def test_round_trip(tmp_path: Path) -> None:
    face = a_face()
    face.save(tmp_path / "face.npz")
    back = Face.load(tmp_path / "face.npz")
    np.testing.assert_array_equal(back.vertices, face.vertices)
    np.testing.assert_array_equal(back.triangles, face.triangles)
    np.testing.assert_array_equal(back.materials, face.materials)
    np.testing.assert_array_equal(back.uv, face.uv)
    assert (back.names, back.material_names, back.gap_vertices) == (
        face.names,
        face.material_names,
        face.gap_vertices,
    )
    assert {name: list(region) for name, region in back.regions.items()} == {
        name: list(region) for name, region in face.regions.items()
    }
    # Half a step of 1/32767 of the largest offset, and what is too small to keep.
    for shape, kept in zip(face.basis, back.basis):
        assert np.abs(kept - shape).max() <= np.abs(shape).max() / 65534 * 1.01 + 2e-6
    assert (
        np.abs(back.identities["ann"] - face.identities["ann"]).max()
        <= np.abs(face.identities["ann"]).max() / 65534 * 1.01
    )
    assert np.abs(back.colours - face.colours).max() <= 0.5 / 255 + 1e-6
    assert (
        np.abs(back.identity_colours["ann"] - face.identity_colours["ann"]).max()
        <= 0.5 / 255 + 1e-6
    )
    assert back.basis.dtype == back.vertices.dtype == back.colours.dtype == np.float32


def test_writing_twice_gives_the_same_face(tmp_path: Path) -> None:
    """What was rounded once stays: the second generation equals the first."""
    a_face().save(tmp_path / "one.npz")
    first = Face.load(tmp_path / "one.npz")
    first.save(tmp_path / "two.npz")
    second = Face.load(tmp_path / "two.npz")
    np.testing.assert_allclose(second.basis, first.basis, atol=1e-8)
    np.testing.assert_array_equal(second.colours, first.colours)


def test_a_bare_face(tmp_path: Path) -> None:
    """Only vertices and triangles: nothing else is made up."""
    bare = Face(vertices=np.eye(3, dtype=np.float32), triangles=np.array([[0, 1, 2]], np.int32))
    bare.save(tmp_path / "bare.npz")
    back = Face.load(tmp_path / "bare.npz")
    assert back.colours is None
    assert back.materials is None
    assert back.gap_vertices is None
    assert (back.names, dict(back.regions), dict(back.identities)) == ((), {}, {})


def test_large_meshes_keep_their_indices(tmp_path: Path) -> None:
    vertices = np.zeros((70000, 3), np.float32)
    face = Face(
        vertices=vertices,
        triangles=np.array([[0, 1, 69999]], np.int32),
        regions={"end": np.array([69999], np.int32)},
    )
    face.save(tmp_path / "large.npz")
    back = Face.load(tmp_path / "large.npz")
    assert back.triangles.max() == 69999
    assert back.regions["end"][0] == 69999


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no face at"):
        Face.load(tmp_path / "none.npz")


def test_other_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(InputError, match="is not a face"):
        Face.load(tmp_path / "other.npz")


@pytest.mark.parametrize("keep", [0, 10, 400, 0.5, 0.95])
def test_damaged_file(tmp_path: Path, keep: float) -> None:
    whole = tmp_path / "face.npz"
    a_face().save(whole)
    data = whole.read_bytes()
    count = int(keep * len(data)) if isinstance(keep, float) else keep
    (tmp_path / "cut.npz").write_bytes(data[:count])
    with pytest.raises(InputError, match=r"cut\.npz is"):
        Face.load(tmp_path / "cut.npz")


def test_text_named_npz(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputError, match="is damaged"):
        Face.load(tmp_path / "text.npz")


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickle.npz", format=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="holds Python objects"):
        Face.load(tmp_path / "pickle.npz")


def test_colours_without_a_person(tmp_path: Path) -> None:
    face = a_face()
    lost = Face(
        vertices=face.vertices,
        triangles=face.triangles,
        colours=face.colours,
        identity_colours={"bob": face.vertices},
    )
    with pytest.raises(InputError, match="identity_colours"):
        lost.save(tmp_path / "lost.npz")
    assert list(tmp_path.iterdir()) == []


def _rewritten(tmp_path: Path, **changes: np.ndarray) -> Path:
    """A good face's file with some arrays replaced."""
    a_face().save(tmp_path / "face.npz")
    with np.load(tmp_path / "face.npz") as file:
        arrays = dict(file) | changes
    np.savez(tmp_path / "face.npz", **arrays)
    return tmp_path / "face.npz"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"triangles": np.array([[0, 1, 60000]], np.uint16)}, "names a vertex that is not there"),
        ({"vertices": np.zeros((4, 2), np.float32)}, "damaged|holds no mesh"),
        ({"materials": np.full(99, 3, np.uint8)}, "one of its materials"),
        ({"identity_scale": np.array([np.inf], np.float32)}, "not finite"),
    ],
)
def test_parts_that_do_not_belong_together(tmp_path, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        Face.load(_rewritten(tmp_path, **changes))
