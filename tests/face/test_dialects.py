"""Names of shapes in the dialects of the field."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.face.dialects import known_dialects, read_dialects
from jambatalk.face.head import ARKIT_NAMES


def pascal(name):
    return name[0].upper() + name[1:]


def sided(name):
    return name.replace("Left", "_L").replace("Right", "_R")


def snake(name):
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


@pytest.mark.parametrize(
    "spell",
    [
        str,
        pascal,
        sided,
        snake,
        lambda name: f"AK_01_{pascal(name)}",
        lambda name: f"blendShape1.{name}",
        lambda name: f"A25_{pascal(sided(name))}",
        lambda name: f"{name}.001",
        lambda name: f"Head_{snake(sided(name))}",
    ],
)
def test_arkit_in_every_spelling(spell):
    for name in ARKIT_NAMES:
        assert known_dialects().meaning(spell(name)) == name


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("viseme_PP", "viseme_PP"),
        ("Wolf3D.viseme_aa", "viseme_aa"),
        ("vrc.v_oh", "viseme_O"),
        ("aa", "vowel_aa"),
        ("A", "vowel_aa"),
        ("ou", "vowel_ou"),
        ("Fcl_MTH_E", "vowel_ee"),
        ("Face.M_F00_000_00_Fcl_MTH_I", "vowel_ih"),
        ("お", "vowel_oh"),
        ("まばたき", "blink"),
        ("Fcl_EYE_Close_L", "eyeBlinkLeft"),
        ("V_Explosive", "cc_explosive"),
        ("Dental_Lip", "cc_dental_lip"),
        ("Eye_Blink_L", "eyeBlinkLeft"),
        ("Brow_Raise_Outer_R", "browOuterUpRight"),
    ],
)
def test_other_dialects(name, meaning):
    assert known_dialects().meaning(name) == meaning


@pytest.mark.parametrize("name", ["Hair_A", "E_shirt", "fat", "", "123", "Fcl_ALL_Joy", "jaw"])
def test_names_that_say_nothing_of_the_kind(name):
    assert known_dialects().meaning(name) is None


def test_every_meaning_has_a_recipe():
    table = known_dialects()
    for meaning in set(table.spellings.values()) - set(ARKIT_NAMES):
        assert meaning in table.recipes


def test_a_shape_for_both_sides_gives_way():
    found = known_dialects().meanings(["Blink", "Blink_L", "Blink_R", "Fcl_MTH_A"])
    assert found == {"Blink_L": "eyeBlinkLeft", "Blink_R": "eyeBlinkRight", "Fcl_MTH_A": "vowel_aa"}
    assert known_dialects().meanings(["Blink"]) == {"Blink": "blink"}


def test_matrix():
    table = known_dialects().matrix(["jawOpen", "viseme_U", "blink"])
    assert table.shape == (52, 3)
    assert table[:, 0].sum() == table[ARKIT_NAMES.index("jawOpen"), 0] == 1
    assert table[ARKIT_NAMES.index("mouthPucker"), 1] > 0.5
    assert np.count_nonzero(table[:, 2]) == 2


def test_a_users_yaml(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "names: {jawOpen: [open_wide], grin: Grinse}\n"
        "recipes: {grin: {mouthSmileLeft: 1, mouthSmileRight: 1}}\n"
    )
    mine = read_dialects(path)
    assert mine.meaning("OpenWide") == "jawOpen"
    assert mine.meaning("grinse") == "grin"
    assert mine.meaning("jawOpen") == "jawOpen"
    assert known_dialects().meaning("OpenWide") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "expected the keys names and recipes"),
        ("{shapes: {}}", "expected the keys names and recipes"),
        ("recipes: {grin: {smile: 1}}", "names 'smile', expected names of ARKit"),
        ("recipes: {grin: {jawOpen: wide}}", "jawOpen of 'grin' is 'wide'"),
        ("recipes: {grin: 3}", "is no list of weights"),
        ("names: {grin: [x]}", "neither a name of ARKit nor has it a recipe"),
        ("names: [", "damaged"),
        ("", "expected the keys"),
    ],
)
def test_a_wrong_yaml(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_dialects(tmp_path / "a.yaml")
