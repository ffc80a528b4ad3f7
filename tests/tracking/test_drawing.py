import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.results.made import PARAMS
from yoloslim.report.pictures import draw_row
from yoloslim.results.records import Row
from yoloslim.results.results import read_results
from yoloslim.tracking import drawing
from yoloslim.tracking.drawing import Drawing


@pytest.fixture
def rows(root: Path) -> list[Row]:
    shutil.copy(Path(__file__).parents[2] / "params.yaml", root)
    return list(read_results(root, PARAMS).rows[:2])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pictures_are_drawn_beside(
    root: Path, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "usable_cores", lambda: 2)
    monkeypatch.setattr(drawing, "_draw", None)  # not here
    with Drawing(root, rows) as drawn:
        found = contents(drawn.pictures_of(rows[1]))
    draw_row(rows[1], root / "data" / "voc", expected := tmp_path / "expected")
    assert found
    assert found == contents(expected)


def test_what_the_process_beside_leaves_undone_is_drawn_here(
    root: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "usable_cores", lambda: 2)
    with Drawing(root, rows) as drawn:
        assert drawn._beside
        os.kill(drawn._beside.pid, signal.SIGKILL)
        assert contents(drawn.pictures_of(rows[0]))


def test_a_single_core_or_row_needs_no_other_process(
    root: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    for cores, some in ((1, rows), (2, rows[:1])):
        monkeypatch.setattr(drawing, "usable_cores", lambda cores=cores: cores)
        with Drawing(root, some) as drawn:
            assert drawn._beside is None
