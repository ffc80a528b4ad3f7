"""Boxes and names in pictures: where, in which colours, in which characters."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

from yoloslim.runner import labels
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.labels import Painter, colour_of, ink_on

Rows = list[list[float]]


@pytest.fixture(autouse=True)
def _no_fonts_kept() -> None:
    for cache in (labels._font_for, labels._installed, labels._has_all, labels._sized):
        cache.cache_clear()


def _drawn(rows: Rows, classes: tuple[str, ...] = ("a",), side: tuple[int, int] = (60, 80)) -> np.ndarray:
    return Painter(classes).draw(np.full((*side, 3), 7, np.uint8), np.array(rows, np.float32))


@pytest.mark.parametrize("library", ["pillow", "opencv"])
def test_boxes_are_drawn_where_they_are(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "opencv":
        monkeypatch.setattr(labels, "ImageFont", None)
    drawn = _drawn([[20, 30, 60, 50, 0.9, 0]])
    assert drawn[49, 40].tolist() == drawn[40, 20].tolist() == drawn[40, 59].tolist() == [0, 114, 178]
    assert (drawn[35:45, 25:55] == 7).all()
    assert (drawn[14:29, 20:60] != 7).any()  # the name, above
    assert _drawn([[0, 0, 80, 60, 0.9, 0]], ("a rather long name",)).shape == (60, 80, 3)


def test_every_class_has_a_colour_of_its_own_and_text_that_stands_out() -> None:
    colours = [colour_of(label) for label in range(2000)]
    assert len(set(colours)) == 2000
    first = np.array(colours[:80], float)
    distance = np.linalg.norm(first[:, None] - first[None], axis=2) + np.eye(80) * 1e9
    assert distance.min() > 20

    def luminance(colour: tuple[int, int, int]) -> float:
        c = np.array(colour) / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for colour in colours:
        dark, light = sorted((luminance(colour), luminance(ink_on(colour))))
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_no_name_lies_on_another_and_those_without_room_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    painter = Painter(("a", "b"))
    monkeypatch.setattr(painter, "_plate", lambda label, score, size: np.full((12, 40, 3), 200 + label, np.uint8))
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 250, (60, 2))
    rows = np.c_[corner, corner + rng.uniform(8, 60, (60, 2)), np.linspace(0.9, 0.3, 60), rng.integers(0, 2, 60)]
    drawn = painter.draw(np.zeros((320, 320, 3), np.uint8), rows.astype(np.float32))
    assert (drawn.min(2) >= 200).sum() == (60 - painter.unnamed) * 12 * 40  # each plate whole
    assert painter.unnamed < 10
    crowd = np.tile(np.array([[5, 5, 15, 15, 0.5, 0]], np.float32), (9, 1))
    few = Painter(("a",))
    few.draw(np.zeros((30, 40, 3), np.uint8), crowd)
    assert few.unnamed >= 7
    assert f"{few.unnamed} boxes lie so close that there was no room for their names" in few.remarks()[0]


def test_names_without_a_font_become_numbers_and_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(labels, "_FOLDERS", (str(tmp_path),))
    painter = Painter(("cat", "行人", "dog", "车"))
    image, rows = np.zeros((40, 60, 3), np.uint8), np.array([[2, 20, 40, 38, 0.9, 0]] * 2, np.float32)
    painter.draw(image, rows)
    assert painter.remarks() == []  # nothing was found that would need a font
    rows[1, 5] = 1
    painter.draw(image, rows)
    assert painter.unwritable == ["行人"]
    assert painter._names == ["cat", "class 1", "dog", "class 3"]
    assert "no font here can write 行人:" in painter.remarks()[0]
    assert "fonts-noto-cjk" in painter.remarks()[0]
    monkeypatch.setattr(labels, "ImageFont", None)
    labels._font_for.cache_clear()
    assert Painter(("cat", "Fußgänger"))._names == ["cat", "class 1"]  # OpenCV alone knows ASCII


def test_chinese_names_are_written_where_a_font_has_them() -> None:
    painter = Painter(("行人", "车"))
    if None in painter._fonts:
        pytest.skip("no font with Chinese characters is installed (apt-get install fonts-noto-cjk)")
    first, second = (painter._plate(label, "0.50", 20) for label in (0, 1))
    assert first.shape[1] > second.shape[1] + 10  # two characters, not one, and no empty boxes alike
    assert ImageFont.truetype(painter._fonts[0]).getname()[0]


def test_a_font_that_is_named_must_be_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "no.ttf").write_text("no font")
    monkeypatch.setenv(labels.FONT_VARIABLE, str(tmp_path / "no.ttf"))
    with pytest.raises(RunnerError, match=r"YOLOSLIM_FONT=.*no\.ttf is no font"):
        Painter(("a",))


def test_thousands_of_boxes_that_say_the_same_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    painter, written, original = Painter(["a", "b"]), list[str](), Painter._plate

    def plate(self: Painter, label: int, score: str, size: int) -> np.ndarray:
        written.append(f"{label} {score}")
        return original(self, label, score, size)

    monkeypatch.setattr(Painter, "_plate", plate)
    rows = np.array([[5, 6, 40, 30, 1, i % 2] for i in range(4000)], np.float64)
    painter.draw(np.zeros((60, 80, 3), np.uint8), rows)
    assert written == ["0 1.00", "1 1.00"]
    assert painter.unnamed > 3900
