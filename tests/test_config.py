"""Settings files that extend each other: what is merged, and which sentence a wrong base gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from jambatalk.config import overlay, read_settings
from jambatalk.errors import InputError


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_mappings_are_merged_and_lists_replaced(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    write(tmp_path / "below", base="a: 1\nb: {c: 2, d: [1, 2], e: {f: 3}}\ng: {h: 4}\n")
    write(tmp_path, middle="extends: below/base\nb: {d: [5], e: {i: 6}}\n")
    write(tmp_path, top="extends: middle.yaml\na: 7\ng: 8\n")
    assert read_settings(tmp_path / "top.yaml") == {
        "a": 7,
        "b": {"c": 2, "d": [5], "e": {"f": 3, "i": 6}},
        "g": 8,
    }


def test_overlay_leaves_its_arguments_as_they_are() -> None:
    below, above = {"a": {"b": 1}, "c": {"d": 2}}, {"a": {"e": {"f": 3}}}
    merged = overlay(below, above)
    merged["a"]["e"]["f"] = merged["c"]["d"] = 9
    assert (below, above) == ({"a": {"b": 1}, "c": {"d": 2}}, {"a": {"e": {"f": 3}}})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"a": "extends: b", "b": "extends: c", "c": "extends: b"},
            "circle: a.yaml -> b.yaml -> c.yaml -> b.yaml",
        ),
        ({"a": "extends: a"}, "circle: a.yaml -> a.yaml"),
        ({"a": "extends: nowhere"}, "a.yaml: extends 'nowhere', expected an existing YAML file"),
        (
            {"a": "extends: [b, c]"},
            "a.yaml: extends is ['b', 'c'], expected the path of one YAML file",
        ),
        ({"a": "extends: b", "b": "- 1"}, "b.yaml holds list, expected settings"),
    ],
)
def test_wrong_bases_are_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    write(tmp_path, **files)
    with pytest.raises(InputError) as caught:
        read_settings(tmp_path / "a.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_a_library_come_before_files_nearby(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    write(library, base="a: 1", other="extends: base\nb: 2")
    write(tmp_path, base="extends: other\nc: 3", near="d: 4", top="extends: near")
    assert read_settings(tmp_path / "base.yaml", library) == {"a": 1, "b": 2, "c": 3}
    assert read_settings(tmp_path / "top.yaml", library) == {"d": 4}
    write(tmp_path, top="extends: far")
    with pytest.raises(InputError, match="expected an existing YAML file or one of base, other"):
        read_settings(tmp_path / "top.yaml", library)
