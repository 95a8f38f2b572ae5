"""Motions on faces with other shapes: the lips follow the default head's."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

import jambatalk
from jambatalk.errors import InputError
from jambatalk.face.deform import AnimatedMesh, check_speaks, weights_on
from jambatalk.face.face import Face
from jambatalk.face.head import ARKIT_NAMES, default_head
from jambatalk.face.lips import find_lips
from jambatalk.face.transfer import ShapeTransfer, solve
from jambatalk.face.vrm import Bind, Expression, Vrm, apply_rules
from jambatalk.motion import Motion
from tiny_avatar import SHARED, make_avatar


@pytest.fixture
def talk():
    """A mouth that opens, narrows, spreads and closes, as ARKit weights."""
    time = np.arange(90) / 30
    weights = np.zeros((90, 52), np.float32)

    def add(name, values):
        weights[:, ARKIT_NAMES.index(name)] += values.astype(np.float32)

    add("jawOpen", 0.25 * (1 - np.cos(2 * np.pi * 2.0 * time)) / 2)
    for side in ("Left", "Right"):
        add(f"mouthStretch{side}", 0.3 * (1 + np.sin(2 * np.pi * 0.7 * time)) / 2)
        add(f"eyeBlink{side}", (np.arange(90) == 40).astype(float))
    add("mouthPucker", 0.4 * (1 + np.sin(2 * np.pi * 1.1 * time)) / 2)
    return Motion(30.0, weights=weights, names=ARKIT_NAMES)


def correlations(talk, face):
    head = default_head()
    seen = []
    for one in (head, face):
        lips, mesh = find_lips(one), AnimatedMesh(replace(talk, face=one))
        seen.append(np.stack([lips.measure(mesh.vertices(t)) for t in range(len(talk))]))
    return [float(np.corrcoef(seen[0][:, m], seen[1][:, m])[0, 1]) for m in range(3)]


def with_shapes(recipes):
    """The default head with mixtures of its shapes instead of its own."""
    head = default_head()
    table = np.zeros((len(recipes), len(head.names)), np.float32)
    for row, recipe in zip(table, recipes.values()):
        for name, weight in recipe.items():
            row[head.names.index(name)] = weight
    basis = np.einsum("nk,kvc->nvc", table, head.basis).astype(np.float32)
    meanings = {name: name for name in recipes}
    return replace(head, names=tuple(recipes), basis=basis, meanings=meanings)


def test_the_same_shapes_in_other_words_give_the_same_mouth(tmp_path, talk):
    shapes = [name for name in ARKIT_NAMES if name.startswith(("mouth", "jaw", "eyeBlink"))]
    names = {name: f"AK_{name[0].upper()}{name[1:]}" for name in shapes}
    make_avatar(tmp_path / "a.glb", shapes, names)
    face = Face.load(tmp_path / "a.glb")
    assert min(correlations(talk, face)) > 0.999
    weights, columns = weights_on(face, replace(talk, face=face))
    blink = weights[:, columns.tolist().index(face.names.index("AK_EyeBlinkLeft"))]
    assert blink[40] == pytest.approx(1, abs=1e-3)
    assert np.abs(np.delete(blink, 40)).max() < 1e-3


def test_five_vowels_speak(talk):
    # Vowels of an author of their own: none is what the table says.
    face = with_shapes(
        {
            "vowel_aa": {"jawOpen": 0.5, "mouthPucker": 0.1},
            "vowel_ih": {"jawOpen": 0.05, "mouthStretchLeft": 0.8, "mouthStretchRight": 0.8},
            "vowel_ou": {"jawOpen": 0.1, "mouthPucker": 0.9},
            "vowel_ee": {"jawOpen": 0.25, "mouthSmileLeft": 0.5, "mouthSmileRight": 0.5},
            "vowel_oh": {"jawOpen": 0.35, "mouthFunnel": 0.8},
        }
    )
    opening, width, protrusion = correlations(talk, face)
    assert opening > 0.98
    assert width > 0.9
    assert protrusion > 0.8
    solved, table = ShapeTransfer(face, ARKIT_NAMES), ShapeTransfer(face, ARKIT_NAMES, False)
    lips, head = find_lips(face), find_lips(default_head())
    true = head.measure(default_head().pose(talk.weights))[:, 0]
    errors = [
        np.abs(lips.measure(face.pose(one(talk.weights)))[:, 0] - true).mean()
        for one in (solved, table)
    ]
    assert errors[0] < 0.3 * errors[1]


def test_one_frame_at_a_time(talk):
    """Nothing after a frame changes it, and nothing before."""
    face = with_shapes({"vowel_aa": {"jawOpen": 0.5}, "vowel_ou": {"mouthPucker": 0.9}})
    transfer = ShapeTransfer(face, ARKIT_NAMES)
    whole = transfer(talk.weights)
    for t in (0, 20, 89):
        assert np.array_equal(transfer(talk.weights[t : t + 1])[0], whole[t])


def test_where_geometry_says_nothing_the_table_decides():
    head = default_head()
    face = with_shapes({"mouthSmileLeft": {"mouthSmileLeft": 1}, "blink": {"eyeBlinkLeft": 1}})
    assert find_lips(face) is None
    row = np.zeros((1, 52))
    row[0, ARKIT_NAMES.index("mouthSmileLeft")] = 0.7
    row[0, ARKIT_NAMES.index("eyeBlinkLeft")] = row[0, ARKIT_NAMES.index("eyeBlinkRight")] = 0.5
    assert ShapeTransfer(face, head.names)(row)[0] == pytest.approx([0.7, 0.5], abs=2e-3)


def test_a_shape_that_moves_nothing_is_left_out():
    """Exporters write empty jawOpen and eyeLook shapes; they must not win over vowels that move."""
    face = with_shapes(
        {"jawOpen": {}, "vowel_aa": {"jawOpen": 0.6}, "vowel_ou": {"mouthPucker": 1}}
    )
    transfer = ShapeTransfer(face, ARKIT_NAMES)
    assert transfer.used == ["vowel_aa", "vowel_ou"]


def test_faces_that_cannot_speak():
    head = default_head()
    bare = Face(head.vertices, head.triangles, meanings={"x": "jawOpen"})
    with pytest.raises(InputError, match="has no shapes"):
        check_speaks(bare, ARKIT_NAMES)
    odd = replace(head, names=("fat",), basis=head.basis[:1])
    with pytest.raises(InputError, match="has a name that is known"):
        check_speaks(odd, ARKIT_NAMES)


def test_solve_against_scipy():
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(3)
    for _ in range(10):
        matrix, wanted = rng.normal(size=(6, 9)), rng.normal(size=(1, 6))
        counts, prior = rng.uniform(0.2, 2, (1, 6)), rng.uniform(-0.2, 1.2, (1, 9))
        found = solve(matrix, wanted, counts, prior, 0.5)[0]
        full = np.concatenate([counts[0][:, None] * matrix, 0.5 * np.eye(9)])
        target = np.concatenate([counts[0] * wanted[0], 0.5 * prior[0]])
        exact = optimize.lsq_linear(full, target, (0, 1), tol=1e-12).x
        assert found == pytest.approx(exact, abs=2e-4)


def test_weights_beyond_the_prior_cost():
    """No point near the answer is better, and a dearer weight is used less."""
    rng = np.random.default_rng(4)
    matrix, wanted = rng.normal(size=(6, 9)), rng.normal(size=(1, 6))
    counts, prior = np.ones((1, 6)), np.full((1, 9), 0.1)

    def cost(w, more):
        error = matrix @ w - wanted[0]
        return error @ error + 0.25 * ((w - 0.1) ** 2).sum() + more * np.maximum(w - 0.1, 0).sum()

    totals = []
    for more in (0.0, 0.5, 2.0):
        found = solve(matrix, wanted, counts, prior, 0.5, more)[0]
        totals.append(np.maximum(found - 0.1, 0).sum())
        for _ in range(300):
            other = np.clip(found + rng.normal(0, 0.02, 9), 0, 1)
            assert cost(other, more) >= cost(found, more) - 1e-6
    assert totals[0] > totals[1] > totals[2]


def test_rules_of_vrm_expressions():
    vrm = Vrm(
        1,
        {},
        (
            Expression("happy", (Bind(0, 0, 1.0),), overrides={"mouth": "blend", "blink": "block"}),
            Expression("aa", (Bind(0, 1, 1.0),)),
            Expression("blink", (Bind(0, 2, 1.0),)),
            Expression("ou", (Bind(0, 3, 1.0),), binary=True),
        ),
    )
    given = {
        "happy": np.array([0.0, 0.4]),
        "aa": np.array([0.5, 0.5]),
        "blink": np.array([1.0, 1.0]),
        "ou": np.array([0.4, 0.6]),
    }
    ruled = apply_rules(vrm, given)
    assert ruled["aa"] == pytest.approx([0.5, 0.3])
    assert ruled["blink"] == pytest.approx([1.0, 0.0])
    assert ruled["ou"] == pytest.approx([0.0, 0.6])
    assert ruled["happy"] == pytest.approx([0.0, 0.4])


VOWELS = tuple(f"Fcl_MTH_{vowel}" for vowel in "AIUEO")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "wanted", "goals"),
    [
        ("brunette-t", lambda name: not name.startswith("viseme_"), (0.98, 0.98)),
        ("brunette-t", lambda name: name.startswith("viseme_"), (0.93, 0.9)),
        ("vroid", lambda name: name in VOWELS, (0.85, 0.85)),
    ],
    ids=["arkit", "visemes", "vowels"],
)
def test_characters_of_others_follow(file, wanted, goals):
    """Opening and width over the demo; benchmarks/quality/own_character.py has more of it."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data/avatars")
    spoken = jambatalk.load("light").animate((files("jambatalk") / "assets/demo.flac").read_bytes())
    whole = Face.load(SHARED / f"{file}.glb")
    kept = [k for k, name in enumerate(whole.names) if wanted(name)]
    names = tuple(whole.names[k] for k in kept)
    face = replace(whole, names=names, basis=whole.basis[kept], source=None)
    opening, width, _ = correlations(spoken, face)
    assert opening >= goals[0]
    assert width >= goals[1]
