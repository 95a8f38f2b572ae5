"""The glb file is valid glTF 2.0 and, played as the standard says, shows the motion."""

from __future__ import annotations

import numpy as np
import pygltflib
import pytest

from jambatalk.errors import InputError
from jambatalk.face.deform import HeadTurn, pose_matrix
from jambatalk.formats.glb import linear, quaternions
from jambatalk.motion import Motion
from small_face import small_face

TYPES = {5126: np.float32, 5125: np.uint32, 5123: np.uint16, 5121: np.uint8}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
RNG = np.random.default_rng(6)


def motion(frames: int = 12, **changes) -> Motion:
    values = {
        "weights": RNG.random((frames, 2), np.float32),
        "names": ("cheekPuff", "jawOpen"),  # another order than the face's
        "face": small_face(),
    }
    return Motion(25.0, **(values | changes))


class Played:
    """Reads a glb as a viewer does: plain and sparse accessors, primitives, targets, animation,
    skin.
    """

    def __init__(self, path) -> None:  # of a file whose primitives share their vertices
        self.file = pygltflib.GLTF2().load(str(path))
        self.blob = self.file.binary_blob()
        self.mesh = self.file.meshes[0]
        self.primitive = self.mesh.primitives[0]

    def view(self, number: int, dtype, count: int, width: int) -> np.ndarray:
        view = self.file.bufferViews[number]
        assert view.byteOffset % 4 == 0
        assert view.byteLength == count * width * np.dtype(dtype).itemsize
        return np.frombuffer(self.blob, dtype, count * width, view.byteOffset).reshape(count, width)

    def read(self, number: int) -> np.ndarray:
        accessor = self.file.accessors[number]
        dtype, width = TYPES[accessor.componentType], WIDTHS[accessor.type]
        if accessor.bufferView is None:
            values = np.zeros((accessor.count, width), dtype)
        else:
            values = self.view(accessor.bufferView, dtype, accessor.count, width).copy()
        if accessor.sparse is not None:
            sparse = accessor.sparse
            rows = self.view(
                sparse.indices.bufferView, TYPES[sparse.indices.componentType], sparse.count, 1
            )[:, 0]
            assert (np.diff(rows.astype(int)) > 0).all()
            values[rows] = self.view(sparse.values.bufferView, dtype, sparse.count, width)
        if accessor.min:
            np.testing.assert_array_equal(
                np.float32(accessor.min), values.min(axis=0).astype(np.float32)
            )
            np.testing.assert_array_equal(
                np.float32(accessor.max), values.max(axis=0).astype(np.float32)
            )
        return values

    def track(self, path: str) -> np.ndarray:
        animation = self.file.animations[0]
        channel = next(c for c in animation.channels if c.target.path == path)
        sampler = animation.samplers[channel.sampler]
        assert sampler.interpolation == "LINEAR"
        times = self.read(sampler.input)[:, 0]
        assert (np.diff(times) > 0).all()
        return self.read(sampler.output).reshape(len(times), -1)

    def times(self) -> np.ndarray:
        return self.read(self.file.animations[0].samplers[0].input)[:, 0]

    def targets(self, kind: str) -> np.ndarray:
        return np.stack([self.read(target[kind]) for target in self.primitive.targets])

    def vertices(self, frame: int) -> np.ndarray:
        weights = self.track("weights")[frame]
        return self.read(self.primitive.attributes.POSITION) + np.tensordot(
            weights, self.targets("POSITION"), 1
        )


def parts(path) -> list[Played]:
    """The primitives one by one."""
    found = []
    for number in range(len(Played(path).mesh.primitives)):
        found.append(Played(path))
        found[-1].primitive = found[-1].mesh.primitives[number]
    return found


def test_each_material_has_vertices_of_its_own(tmp_path):
    """Which show the same as vertices that all share, and take as many numbers as they need."""
    moving = motion(head_pose=RNG.uniform(-0.3, 0.3, (12, 3)).astype(np.float32))
    moving.save(tmp_path / "m.glb")
    moving.save(tmp_path / "shared.glb", split=False)
    face, shared = small_face(), Played(tmp_path / "shared.glb")
    for number, (part, whole) in enumerate(
        zip(parts(tmp_path / "m.glb"), parts(tmp_path / "shared.glb"), strict=True)
    ):
        corners = face.triangles[face.materials == number]
        own = np.unique(corners)
        np.testing.assert_array_equal(
            own[part.read(part.primitive.indices).reshape(-1, 3)],
            whole.read(whole.primitive.indices).reshape(-1, 3),
        )
        np.testing.assert_array_equal(part.vertices(5), shared.vertices(5)[own])
        for name in ("NORMAL", "COLOR_0", "JOINTS_0", "WEIGHTS_0"):
            accessor = getattr(part.primitive.attributes, name)
            expected = shared.read(getattr(shared.primitive.attributes, name))[own]
            np.testing.assert_array_equal(part.read(accessor), expected)


def morph_texture_bytes(path) -> int:
    """What three.js keeps on the GPU: 4 float32 a vertex for position and normal of each target."""
    return sum(
        len(part.read(part.primitive.attributes.POSITION)) * len(part.primitive.targets) * 2 * 16
        for part in parts(path)
    )


@pytest.mark.parametrize("shapes", ["all", "used"])
def test_playing_it_shows_the_motion(shapes, tmp_path):
    moving = motion()
    moving.save(tmp_path / "m.glb", shapes=shapes, split=False)
    played = Played(tmp_path / "m.glb")
    names = played.mesh.extras["targetNames"]
    assert names == (
        ["jawOpen", "mouthClose", "cheekPuff"] if shapes == "all" else ["jawOpen", "cheekPuff"]
    )
    assert played.mesh.weights == [0.0] * len(names)
    np.testing.assert_allclose(played.times(), np.arange(12) / 25, atol=1e-6)
    face = small_face()
    for frame in (0, 5, 11):
        weights = np.array([moving.column("jawOpen")[frame], 0, moving.column("cheekPuff")[frame]])
        np.testing.assert_allclose(played.vertices(frame), face.pose(weights), atol=3e-6)


def test_primitives_are_the_materials(tmp_path):
    motion().save(tmp_path / "m.glb", split=False)
    played = Played(tmp_path / "m.glb")
    face = small_face()
    assert [material.name for material in played.file.materials] == [
        "skin",
        "lips",
    ]  # no triangle is cornea
    for number, primitive in enumerate(played.mesh.primitives):
        assert primitive.material == number
        assert primitive.attributes.POSITION == played.primitive.attributes.POSITION
        triangles = played.read(primitive.indices).reshape(-1, 3)
        np.testing.assert_array_equal(triangles, face.triangles[face.materials == number])
    rough = [material.pbrMetallicRoughness.roughnessFactor for material in played.file.materials]
    assert rough[1] < rough[0]


def test_glass_and_two_sided_materials(tmp_path):
    import dataclasses

    face = dataclasses.replace(small_face(), material_names=("mouth", "cornea"))
    motion(face=face).save(tmp_path / "m.glb", split=False)
    mouth, cornea = Played(tmp_path / "m.glb").file.materials
    assert mouth.doubleSided
    assert mouth.alphaMode in (None, "OPAQUE")
    assert cornea.alphaMode == "BLEND"
    assert cornea.pbrMetallicRoughness.baseColorFactor[3] < 0.5


def test_normals_are_unit_and_follow_the_shapes(tmp_path):
    motion().save(tmp_path / "m.glb", split=False)
    played = Played(tmp_path / "m.glb")
    normals = played.read(played.primitive.attributes.NORMAL)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert normals[40, 2] > 0.9  # the tip of the bump looks out of the face
    for tilt in played.targets("NORMAL"):
        np.testing.assert_allclose(np.linalg.norm(normals + tilt, axis=1), 1, atol=3e-3)
        assert np.abs(tilt).max() > 0.05


def test_shapes_that_move_little_are_stored_sparsely(tmp_path):
    motion().save(tmp_path / "m.glb", split=False)
    played = Played(tmp_path / "m.glb")
    jaw, close, puff = (
        played.file.accessors[target["POSITION"]] for target in played.primitive.targets
    )
    assert (jaw.sparse.count, close.sparse.count, puff.sparse) == (20, 4, None)
    assert (jaw.bufferView, close.bufferView) == (None, None)
    assert puff.bufferView is not None


def test_colours_are_linear(tmp_path):
    motion().save(tmp_path / "m.glb", split=False)
    played = Played(tmp_path / "m.glb")
    number = played.primitive.attributes.COLOR_0
    assert played.file.accessors[number].normalized
    colours = played.read(number) / 65535
    srgb = np.where(
        colours <= 0.0031308,
        12.92 * colours,
        1.055 * np.maximum(colours, 1e-9) ** (1 / 2.4) - 0.055,
    )
    np.testing.assert_allclose(srgb[:, :3], small_face().colours, atol=1e-3)
    np.testing.assert_array_equal(colours[:, 3], 1)
    np.testing.assert_allclose(linear(np.array([0, 0.5, 1])), [0, 0.2140, 1], atol=1e-4)


def test_the_head_turns_as_in_the_renderer(tmp_path):
    pose = RNG.uniform(-0.5, 0.5, (12, 3)).astype(np.float32)
    moving = motion(head_pose=pose)
    moving.save(tmp_path / "m.glb", split=False)
    played = Played(tmp_path / "m.glb")
    face = small_face()
    attributes = played.primitive.attributes
    joints, shares = played.read(attributes.JOINTS_0), played.read(attributes.WEIGHTS_0)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert (joints[shares == 0] == 0).all()
    skin = played.file.skins[0]
    assert [played.file.nodes[joint].name for joint in skin.joints] == ["body", "head"]
    inverse = played.read(skin.inverseBindMatrices).reshape(2, 4, 4).transpose(0, 2, 1)
    for frame in (0, 7):
        x, y, z, w = played.track("rotation")[frame]
        turn = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        head = np.eye(4)
        head[:3, :3], head[:3, 3] = turn, played.file.nodes[2].translation
        matrices = np.stack([np.eye(4), head]) @ inverse
        homogeneous = np.concatenate([played.vertices(frame), np.ones((81, 1))], axis=1)
        moved = sum(
            shares[:, i, None] * np.einsum("vij,vj->vi", matrices[joints[:, i]], homogeneous)
            for i in range(4)
        )
        weights = np.array([moving.column("jawOpen")[frame], 0, moving.column("cheekPuff")[frame]])
        np.testing.assert_allclose(
            moved[:, :3], HeadTurn(face)(face.pose(weights), pose[frame]), atol=5e-6
        )


def test_quaternions_are_smooth():
    pose = np.stack(
        [np.linspace(-3, 3, 200), np.linspace(0, 6, 200), np.linspace(2, -2, 200)], axis=1
    )
    result = quaternions(pose)
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), 1, atol=1e-6)
    assert np.abs(np.diff(result, axis=0)).max() < 0.1
    x, y, z, w = result[50]
    expected = pose_matrix(pose[50])
    np.testing.assert_allclose(
        [1 - 2 * (y * y + z * z), 2 * (x * y + z * w)], expected[:2, 0], atol=1e-6
    )


def test_identity_and_one_frame(tmp_path):
    motion(1).save(tmp_path / "m.glb", identity="tall", split=False)
    played = Played(tmp_path / "m.glb")
    positions = played.read(played.primitive.attributes.POSITION)
    np.testing.assert_allclose(positions[:, 1], small_face().vertices[:, 1] * 1.2, atol=1e-6)
    assert len(played.times()) == 1


@pytest.mark.parametrize("directions", [0, 1, 5])
def test_vertex_offsets_become_shapes(directions, tmp_path):
    frames = RNG.uniform(-1, 1, (40, directions))
    offsets = np.tensordot(frames, RNG.normal(0, 0.004, (directions, 81, 3)), 1).astype(np.float32)
    Motion(25.0, offsets=offsets, face=small_face()).save(tmp_path / "m.glb", split=False)
    played = Played(tmp_path / "m.glb")
    assert len(played.primitive.targets or []) == directions
    if directions:
        assert np.abs(played.track("weights")).max() == pytest.approx(1)
        for frame in (0, 20, 39):
            np.testing.assert_allclose(
                played.vertices(frame), small_face().vertices + offsets[frame], atol=1e-4
            )


def test_same_motion_same_bytes(tmp_path):
    moving = motion()
    moving.save([tmp_path / "a.glb", tmp_path / "b.glb"])
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"names": ("jawOpne", "cheekPuff")}, {}, "unknown shape 'jawOpne'"),
        ({"weights": np.zeros((0, 2), np.float32)}, {}, "no frames"),
        (
            {"weights": None, "names": (), "offsets": np.zeros((2, 80, 3), np.float32)},
            {},
            "moves 80 vertices, but the face has 81",
        ),
        ({}, {"identity": "short"}, "choose one of tall"),
        ({}, {"shapes": "some"}, "expected 'all' or 'used'"),
        ({"head_pose": np.full((12, 3), np.nan, np.float32)}, {}, "finite angles"),
    ],
)
def test_what_cannot_be_written(changes, options, message, tmp_path):
    with pytest.raises(InputError) as caught:
        motion(**changes).save(tmp_path / "m.glb", **options)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_default_head(tmp_path):
    """The shipped head fits 16-bit indices, has all 52 shapes, and stays small."""
    weights = np.zeros((3, 1), np.float32)
    Motion(25.0, weights=weights, names=("jawOpen",)).save(tmp_path / "m.glb", split=False)
    played = Played(tmp_path / "m.glb")
    assert len(played.mesh.extras["targetNames"]) == 52
    assert played.file.accessors[played.primitive.indices].componentType == 5123
    Motion(25.0, weights=weights, names=("jawOpen",)).save(tmp_path / "split.glb")
    assert (tmp_path / "split.glb").stat().st_size < 4e6
    sizes = [morph_texture_bytes(tmp_path / name) for name in ("split.glb", "m.glb")]
    print(f"morph textures: {sizes[0] / 1e6:.1f} MB, {sizes[1] / 1e6:.1f} MB with shared vertices")
    assert sizes[0] < 20e6 < 100e6 < sizes[1]
