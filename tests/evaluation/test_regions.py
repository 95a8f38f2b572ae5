"""Regions from files, faces and geometry; their hash; where evaluate finds them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.evaluation.regions import (
    Regions,
    boundary_loops,
    components,
    regions_from_files,
    regions_from_geometry,
    regions_of_face,
)
from jambatalk.face.head import default_head

FACE468 = Path(__file__).parents[3] / "shared" / "data" / "grid" / "face468.npz"


def mask_mesh(
    columns: int = 31, rows: int = 41, eyes: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """A mask of a face, 15 by 20 units, bulging towards the viewer, with holes for a mouth of 5
    units at height -4.5 and eyes.
    """
    x, y = np.meshgrid(np.linspace(-7.5, 7.5, columns), np.linspace(-10, 10, rows))
    vertices = (
        np.stack([x, y, 6 - 0.08 * x**2 - 0.02 * y**2], axis=2).reshape(-1, 3).astype(np.float32)
    )
    middle = np.arange(rows * columns).reshape(rows, columns)
    squares = np.stack(
        [middle[:-1, :-1], middle[:-1, 1:], middle[1:, 1:], middle[1:, :-1]], axis=2
    ).reshape(-1, 4)
    centre = vertices[squares].mean(1)
    hole = ((centre[:, 0] / 2.5) ** 2 + ((centre[:, 1] + 4.5) / 1.2) ** 2) < 1
    if eyes:
        hole |= (((np.abs(centre[:, 0]) - 3) / 1.3) ** 2 + ((centre[:, 1] - 3) / 0.8) ** 2) < 1
    kept = squares[~hole]
    return vertices, np.concatenate([kept[:, [0, 1, 2]], kept[:, [0, 2, 3]]])


def regions(**changes: object) -> Regions:
    given: dict = {
        "lips": [1, 2],
        "upper_face": [3],
        "opening": (1, 2),
        "source": "any",
        "vertices": 9,
    } | changes
    return Regions(**given)


def test_geometry_finds_the_mouth_of_a_mask() -> None:
    vertices, triangles = mask_mesh()
    found = regions_from_geometry(vertices, triangles)
    around = vertices[found.lips]
    assert np.abs(around[:, 0]).max() < 4
    assert np.abs(around[:, 1] + 4.5).max() < 3
    upper, lower = vertices[list(found.opening)]
    assert upper[1] > -4.5 > lower[1]
    assert np.abs([upper[0], lower[0]]).max() < 0.5
    assert vertices[found.upper_face, 1].min() > 1  # the mouth is 5 wide: 1.3 widths above -4.5
    assert found.source == "geometry (the mouth's boundary ring)"


def test_other_surfaces_and_their_holes_are_no_mouth() -> None:
    vertices, triangles = mask_mesh()
    shift = np.float32([0, -4.5, 1])
    teeth = (
        vertices * np.float32(0.1) + shift
    )  # a small surface of its own, with holes in its middle
    both = regions_from_geometry(
        np.concatenate([vertices, teeth]), np.concatenate([triangles, triangles + len(vertices)])
    )
    assert both.lips.tolist() == regions_from_geometry(vertices, triangles).lips.tolist()


def test_a_mesh_without_a_mouth_is_refused() -> None:
    vertices, triangles = mask_mesh()
    closed = [triangles[~np.isin(triangles, np.flatnonzero(vertices[:, 1] < -2)).any(1)]]
    with pytest.raises(
        InputError, match="no hole where a mouth would be: expected regions from mask files"
    ):
        regions_from_geometry(vertices, closed[0])


def test_boundaries_and_surfaces() -> None:
    vertices, triangles = mask_mesh()
    lengths = sorted(len(loop) for loop in boundary_loops(triangles))
    assert len(lengths) == 4  # two eyes, mouth, rim
    assert lengths[-1] == 2 * (31 + 41) - 4
    assert (
        len(np.unique(components(len(vertices), triangles))) <= 2
    )  # one surface, and vertices that no triangle uses
    two = np.array([[0, 1, 2], [2, 3, 4]])  # two triangles that share one corner
    assert sorted(sorted(loop.tolist()) for loop in boundary_loops(two)) == [[0, 1, 2], [2, 3, 4]]


def test_mediapipes_face_has_eighty_lip_vertices() -> None:
    if not FACE468.is_file():
        pytest.skip("needs the canonical face of ../shared/data/grid")
    with np.load(FACE468) as face:
        found = regions_from_geometry(face["vertices"], face["faces"])
        in_metres = regions_from_geometry(face["vertices"] * np.float32(0.01), face["faces"])
    assert len(found.lips) == 80
    assert found.opening == (13, 14)
    assert {0, 17, 61, 291, 78, 308} <= set(found.lips.tolist())
    assert {10, 70, 105, 334, 300} <= set(found.upper_face.tolist())  # forehead and brows
    assert not {1, 152, 13} & set(found.upper_face.tolist())  # tip of the nose, chin, lip
    assert in_metres.hash == found.hash


def test_the_default_head_by_its_names_and_by_its_geometry() -> None:
    head = default_head()
    named = regions_of_face(head)
    assert named.opening == head.gap_vertices
    assert named.lips.tolist() == sorted(head.regions["lips"].tolist())
    # Without its mouth cavity the skin has a hole between the lips; further holes, such as the
    # eyes', stay what they are.
    skin = np.isin(
        head.triangles, np.setdiff1d(head.regions["skin"], head.regions["mouth_cavity"])
    ).all(1)
    found = regions_from_geometry(head.vertices, head.triangles[skin])
    middle = head.vertices[list(named.opening)].mean(0)
    assert np.abs(head.vertices[list(found.opening)].mean(0) - middle).max() < 0.012
    assert np.abs(head.vertices[list(found.opening), 0]).max() < 0.003
    assert head.vertices[found.upper_face, 1].min() > head.vertices[named.lips, 1].max() + 0.03


def test_the_hash_tells_every_change_and_nothing_else() -> None:
    one = regions()
    assert one.hash == regions(lips=[2, 1, 1], source="other").hash
    for changed in (
        {"lips": [1, 4]},
        {"upper_face": [3, 4]},
        {"opening": (2, 1)},
        {"vertices": 10},
        {"lips": [1], "upper_face": [2, 3]},
    ):
        assert regions(**changed).hash != one.hash
    assert len(one.hash) == 12


def test_saving_and_loading(tmp_path: Path) -> None:
    path = tmp_path / "regions.json"
    regions().save(path)
    assert Regions.load(path, 9).hash == regions().hash
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"lips": [1, 5]}))
    with pytest.raises(InputError, match="was it changed by hand"):
        Regions.load(path, 9)
    path.write_text(json.dumps({name: stored[name] for name in ("lips", "upper_face", "opening")}))
    assert Regions.load(path, 9).hash == regions().hash
    regions().save(path)
    with pytest.raises(InputError, match="of a mesh of 9 vertices, expected 468"):
        Regions.load(path, 468)
    for broken in ("[]", "{", '{"lips": [1]}'):
        path.write_text(broken)
        with pytest.raises(InputError, match="missing or not a file of regions"):
            Regions.load(path, 9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lips": []}, "lips of any"),
        ({"upper_face": [9]}, "outside 0..8"),
        ({"opening": (1, 1)}, "two different vertices"),
    ],
)
def test_wrong_indices_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        regions(**changes)


def test_mask_files_of_all_kinds(tmp_path: Path) -> None:
    lips, upper = tmp_path / "lips.txt", tmp_path / "masks.pkl"
    lips.write_text("4 2\n3")
    upper.write_bytes(pickle.dumps({"lips": np.array([1]), "upper_face": np.array([7, 8])}))
    found = regions_from_files(lips, upper, (2, 3), 9)
    assert found.lips.tolist() == [2, 3, 4]
    assert found.upper_face.tolist() == [7, 8]
    assert found.source == "lips.txt and masks.pkl"
    mask = np.zeros(9, bool)
    mask[[2, 3, 4]] = True
    np.save(tmp_path / "lips.npy", mask)
    assert regions_from_files(tmp_path / "lips.npy", upper, (2, 3), 9).hash == found.hash
