"""The source of the data is looked at where DVC does not look."""

from pathlib import Path

import pytest

from yoloslim.config import DataParams, Params
from yoloslim.data.source_state import SEEN, is_as_seen, remember
from yoloslim.stages import code


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataParams:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("a")
    return DataParams(source="auto", path="photos")


def test_a_source_that_is_as_it_was_and_one_that_is_not(params: DataParams) -> None:
    assert is_as_seen(params) is None
    remember(params)
    assert is_as_seen(params) is True
    Path("photos/.DS_Store").write_text("")
    assert is_as_seen(params) is True
    Path("photos/b.jpg").write_text("b")
    assert is_as_seen(params) is False
    remember(params)
    assert is_as_seen(params) is True
    Path("photos/a.jpg").write_text("other")
    assert is_as_seen(params) is False


def test_a_file_that_describes_images_stands_for_its_folder(params: DataParams) -> None:
    Path("photos/data.yaml").write_text("names: [a]")
    described = params.model_copy(update={"path": "photos/data.yaml"})
    remember(described)
    Path("photos/b.jpg").write_text("b")
    assert is_as_seen(described) is False


@pytest.mark.parametrize("kept", ["{", "[]", "{}", '{"path": "photos"}'])
def test_what_is_not_known_is_not_said(params: DataParams, kept: str) -> None:
    SEEN.parent.mkdir()
    SEEN.write_text(kept)
    assert is_as_seen(params) is None
    remember(params)
    assert is_as_seen(params.model_copy(update={"path": "elsewhere"})) is None
    assert is_as_seen(params.model_copy(update={"source": "scenes"})) is None


def test_the_stage_that_always_runs_says_it(
    params: DataParams, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(code, "load_params", lambda: Params(data=params))
    monkeypatch.setattr(code, "write_fingerprints", lambda **_: None)
    code.main()
    remember(params)
    code.main()
    assert capsys.readouterr().err == ""
    Path("photos/b.jpg").write_text("b")
    code.main()
    said = "data.path photos has other files than stage data prepared; to prepare them: dvc repro --force --single-item"
    assert capsys.readouterr().err.startswith(said)
