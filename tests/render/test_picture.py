"""PNG files and contact sheets."""

from __future__ import annotations

import av
import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.render import contact_sheet, save_png
from jambatalk.render.image import INK, PAPER, ROWS, draw_text, glyph, text_size


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 300, 3), (129, 64, 3)])
def test_png_is_read_back_exactly(tmp_path, shape):
    image = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    path = tmp_path / "a.png"
    save_png(image, path)
    with av.open(str(path)) as container:
        assert np.array_equal(next(container.decode(video=0)).to_ndarray(format="rgb24"), image)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_png_of_something_else(tmp_path, image):
    with pytest.raises(InputError, match="expected \\(H, W, 3\\) uint8"):
        save_png(image, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_contact_sheet():
    images = [np.full((40, 60, 3), value, np.uint8) for value in (50, 100, 150)]
    images[2] = images[2][:20, :30]
    sheet = contact_sheet(images, ["aa", "", "Mbp"], columns=2)
    assert sheet.shape[1] == 2 * 60 + 3 * 4
    for value, count in ((50, 2400), (100, 2400), (150, 600)):
        assert (sheet == value).all(2).sum() == count
    assert (sheet == INK).all(2).any()
    assert (sheet == PAPER).all(2).any()
    assert contact_sheet(images[:1], [""], 5).shape == (48, 68, 3)


def test_contact_sheet_wants_a_label_each():
    with pytest.raises(InputError, match="1 pictures, 0 labels"):
        contact_sheet([np.zeros((4, 4, 3), np.uint8)], [], 1)


def test_lettering():
    shapes = {character: glyph(character).tobytes() for character in ROWS}
    assert len(set(shapes.values())) == len(shapes)
    assert np.array_equal(glyph("q"), glyph("Q"))
    assert glyph("é").all()
    assert text_size("abc", 2) == (34, 14)
    image = np.zeros((8, 20, 3), np.uint8)
    draw_text(image, "HHHHHHHH", (-3, 4), (9, 9, 9), 1)  # cut off at three sides, without complaint
    assert (image[4:] == 9).any()
    assert not image[:4].any()
