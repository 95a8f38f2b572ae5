"""Regions from files, faces and geometry; their hash; where evaluate finds them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from jambatalk.datasets.masks import named_region, read_region
from jambatalk.datasets.regions import (
    TOPOLOGIES,
    Regions,
    mesh_regions,
    opening_by_motion,
    recognize,
    regions_from_files,
    regions_from_geometry,
    regions_of_face,
)
from jambatalk.errors import InputError
from jambatalk.face.head import default_head
from jambatalk.face.mesh import load_mesh
from jambatalk.face.mouth import boundary_loops, components, find_mouth, middle_of_ring
from made_faces import RIM_LOWER, RIM_UPPER, biwi6_like, flame_like, save_flame_masks

DATA = Path(__file__).parents[3] / "shared" / "data"
FACE468 = DATA / "grid" / "face468.npz"
ICT = DATA / "ict" / "FaceXModel" / "generic_neutral_mesh.obj"


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
    assert found.source == "geometry (the rim of the lips seen from the front)"


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
    # The whole head, with a bag behind its lips, teeth, lashes and a shirt that is wider than it.
    found = regions_from_geometry(head.vertices, head.triangles)
    assert len(np.intersect1d(found.lips, named.lips)) > 0.97 * len(named.lips)
    assert _farthest(head.vertices, found.lips, named.lips) < 0.005
    assert np.isin(head.regions["inner_lip_ring"], found.lips).all()
    apart = head.vertices[list(found.opening)] - head.vertices[list(named.opening)]
    assert np.linalg.norm(apart, axis=1).max() < 0.001
    assert found.opening[0] == named.opening[0]
    assert len(np.intersect1d(found.upper_face, named.upper_face)) > 0.95 * len(found.upper_face)


def _farthest(vertices: np.ndarray, some: np.ndarray, others: np.ndarray) -> float:
    """How far the one of ``some`` that is farthest from all of ``others`` is from them."""
    apart = np.linalg.norm(vertices[some][:, None] - vertices[others][None], axis=2)
    return float(apart.min(1).max())


@pytest.mark.parametrize("make", [flame_like, biwi6_like])
def test_folded_lips_are_found_where_they_meet_and_not_at_the_rim_behind(make: object) -> None:
    face = make()  # type: ignore[operator]
    (rim,) = boundary_loops(face.triangles)
    assert np.ptp(face.template[rim, 1]) == pytest.approx(0.017, abs=1e-4)  # 17 mm, as FLAME's
    assert set(middle_of_ring(face.template, rim)) != set(face.opening)
    found = regions_from_geometry(face.template, face.triangles)
    assert found.opening == face.opening
    gap = face.template[found.opening[0], 1] - face.template[found.opening[1], 1]
    assert gap == pytest.approx(0.0024, abs=1e-4)
    assert np.isin(face.lips, found.lips).all()
    # Of the skin around them no more than a ring.
    assert len(face.lips) > 0.8 * len(found.lips)
    assert _farthest(face.template, found.lips, face.lips) < 0.0125
    assert not {RIM_UPPER, RIM_LOWER} & set(found.lips.tolist())
    assert not np.isin(rim, found.lips).any()
    # Either side of the triangles may be the outer one, and the unit may be any.
    turned = regions_from_geometry(1000 * face.template, face.triangles[:, ::-1])
    assert turned.hash == found.hash


def test_the_lips_of_ict_are_those_of_its_landmarks() -> None:
    if not ICT.is_file():
        pytest.skip("needs ../shared/data/ict")
    face = load_mesh(ICT)
    inner = [5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966]
    outer = [5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841]
    found = regions_from_geometry(face.vertices, face.triangles)
    assert np.isin(inner + outer, found.lips).all()
    assert found.opening[0] == 5533
    lower = np.linalg.norm(face.vertices[found.opening[1]] - face.vertices[5517])
    assert lower < 0.2  # centimeters
    lips, marks = face.vertices[found.lips], face.vertices[outer]
    assert np.abs(lips[:, 0]).max() < np.abs(marks[:, 0]).max() + 0.5
    assert lips[:, 1].min() > marks[:, 1].min() - 0.5
    # Brows and forehead are above, nose and lower lids are not.
    brows = [268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509]
    assert np.isin(brows, found.upper_face).all()
    assert not np.isin([2075, 1147, 0, 5518, 966], found.upper_face).any()


def test_flame_is_known_by_its_topology_and_takes_its_own_masks(tmp_path: Path) -> None:
    face = flame_like()
    known = recognize(face.template, face.triangles)
    assert known is TOPOLOGIES["flame"]
    assert recognize(face.template, None) is known
    assert recognize(face.template, face.triangles[:-1]) is None
    mixed = np.random.default_rng(0).permutation(face.template)
    assert recognize(mixed, None) is None  # another mesh of 5,023 vertices
    with pytest.raises(InputError, match=r"has no FLAME_masks\.pkl: put the file"):
        mesh_regions(face.template, face.triangles, tmp_path, _never, "here", "flame")
    by_shape = mesh_regions(face.template, face.triangles, tmp_path, _never, "here")
    assert by_shape.by_shape
    assert by_shape.opening == (3531, 3504)
    assert len(by_shape.lines) == 2
    assert by_shape.lines[1].startswith("WARNING: no mask")
    save_flame_masks(tmp_path, face)
    for mask in ("", "flame"):
        found = mesh_regions(face.template, None, tmp_path, _never, "here", mask)
        assert found.lips.tolist() == face.lips.tolist()  # each once
        above = np.union1d(face.above["forehead"], face.above["eye_region"])
        assert found.upper_face.tolist() == above.tolist()
        assert found.opening == (3531, 3504)
        assert found.source == "FLAME_masks.pkl (lips; forehead+eye_region)"
        assert len(found.lines) == 1
    forced = mesh_regions(face.template, face.triangles, tmp_path, _never, "here", "geometry")
    assert forced.source.startswith("geometry")
    with pytest.raises(InputError, match="is not that of BIWI_6: it has 5023 vertices"):
        mesh_regions(face.template, face.triangles, tmp_path, _never, "here", "biwi6")


def _never() -> np.ndarray:
    raise AssertionError("how vertices move is not needed here")


def test_biwi6_has_the_papers_box_with_and_without_triangles(tmp_path: Path) -> None:
    face = biwi6_like()
    x, y, _ = face.template.T
    box = np.flatnonzero((np.abs(x) <= 0.035) & (y >= -0.08) & (y <= -0.035))
    moves = np.sqrt(np.square(face.talk(np.linspace(0, 0.01, 7))).mean(0))
    for triangles in (face.triangles, None):
        found = mesh_regions(face.template, triangles, tmp_path, lambda: moves, "here")
        assert found.lips.tolist() == box.tolist()
        assert found.opening == face.opening
        assert face.template[found.upper_face, 1].min() > 0
        assert "by the paper's box" in found.source
        assert found.by_shape
    with pytest.raises(InputError, match="none moves"):
        opening_by_motion(face.template, box, np.zeros_like(moves))


def test_regions_of_a_file_by_name(tmp_path: Path) -> None:
    face = flame_like()
    path = save_flame_masks(tmp_path, face)
    assert named_region(f"{path}:forehead+eye_region") == (path, "forehead+eye_region")
    assert named_region(path) == (path, "")
    assert named_region("C:masks") == (Path("C:masks"), "")
    both = np.union1d(face.above["forehead"], face.above["eye_region"])
    assert read_region(path, 5023, "forehead+eye_region").tolist() == both.tolist()
    assert read_region(path, 5023, "upper_face").tolist() == both.tolist()
    found = regions_from_files(f"{path}:lips", f"{path}:forehead", (1, 2), 5023)
    assert found.upper_face.tolist() == face.above["forehead"].tolist()
    assert regions_from_files(path, path, (1, 2), 5023).lips.tolist() == face.lips.tolist()
    with pytest.raises(InputError, match="has no region 'chin'"):
        read_region(path, 5023, "lips+chin")
    with pytest.raises(InputError, match="no indices of 400 vertices in lips"):
        read_region(path, 400)


def test_a_mouth_that_is_not_there_or_too_wide_is_refused() -> None:
    face = flame_like()
    high = face.template[:, 1] > 0
    with pytest.raises(InputError, match="no hole where a mouth would be"):
        find_mouth(face.template, face.triangles[high[face.triangles].all(1)])


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
        with pytest.raises(InputError, match="not a file of regions"):
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
