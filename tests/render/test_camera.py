"""Framing: the head is in the picture, whatever its shape."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.face.deform import HeadTurn, pose_matrix
from jambatalk.face.face import Face
from jambatalk.render import Camera, frame_face
from render_meshes import puppet, sphere


def on_screen(camera, points, aspect):
    """(n, 2) with -1..1 inside the picture."""
    view = (points - np.array(camera.position)) @ camera.rotation().T
    half = np.tan(np.radians(camera.fov) / 2)
    return view[:, :2] / -view[:, 2:] / [half * aspect, half]


@pytest.mark.parametrize("aspect", [0.3, 9 / 16, 1.0, 16 / 9, 4.0])
def test_the_head_is_in_the_picture(aspect):
    face = puppet()
    place = on_screen(frame_face(face, aspect), face.vertices[face.vertices[:, 1] > -0.09], aspect)
    assert np.abs(place).max() < 1
    # ... and fills it: at least half of the picture's height, or of its width in a narrow one.
    assert np.ptp(place, axis=0).max() > 1


def test_a_mask_without_regions_is_framed_whole():
    points, faces = sphere(0.1, 32)
    place = on_screen(frame_face(Face(points, faces)), points, 1.0)
    assert 0.8 < np.abs(place).max() < 1


def test_orbit_and_closer():
    camera = Camera((0, 0, 2), (0, 0, 0))
    assert camera.orbit(yaw=90).position == pytest.approx((2, 0, 0))
    assert camera.orbit(pitch=30).position == pytest.approx((0, 1, 3**0.5))
    near = camera.closer((0.1, 0.2, 0.3), 0.1)
    top = on_screen(near, np.array([[0.1, 0.25, 0.3]]), 1.0)
    assert top[0] == pytest.approx([0, 1], abs=1e-9)


def test_rotation_is_a_rotation():
    for position in ((1, 2, 3), (0, 5, 0), (0, -5, 0)):
        turn = Camera(position, (0, 0, 0)).rotation()
        assert turn @ turn.T == pytest.approx(np.eye(3))
        assert np.linalg.det(turn) == pytest.approx(1)
        assert turn[2] @ np.array(position) > 0


def test_bad_cameras():
    with pytest.raises(InputError, match="two different finite points"):
        Camera((0, 0, 0), (0, 0, 0))
    with pytest.raises(InputError, match="field of view is 200"):
        Camera((0, 0, 1), (0, 0, 0), 200)


def test_head_pose_directions():
    nose = np.array([0, 0, 1.0])
    assert (pose_matrix(np.array([0.2, 0, 0])) @ nose)[1] < 0  # positive pitch bows
    assert (pose_matrix(np.array([0, 0.2, 0])) @ nose)[0] > 0  # positive yaw turns to the own left
    assert (pose_matrix(np.array([0, 0, 0.2])) @ np.array([1.0, 0, 0]))[
        1
    ] > 0  # positive roll lifts the left ear


def test_the_head_turns_rigidly_above_the_chin():
    face = puppet()
    turn = HeadTurn(face)
    moved = turn(face.vertices, np.array([0.1, 0.3, -0.2]))
    assert np.array_equal(moved[turn.weights == 0], face.vertices[turn.weights == 0])
    rigid = np.flatnonzero(turn.weights == 1)[::7]
    before, after = (
        np.linalg.norm(v[rigid, None] - v[rigid], axis=-1) for v in (face.vertices, moved)
    )
    assert after == pytest.approx(before, abs=1e-5)
    assert 0 < len(rigid) < len(face.vertices)
