"""The report folder: complete, self-contained, and honest about what was measured where."""

import re
from pathlib import Path

import pytest

from tests.results.made import PARAMS, build, measured, put
from yoloslim.errors import TrackingError
from yoloslim.report.write import write_report
from yoloslim.results.results import read_results

HOSTILE = PARAMS | {"data": {"path": "</pre><script>alert(1)</script>"}, "tracking": {"uri": "http://me:secret@host"}}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = build(tmp_path_factory.mktemp("report") / "project")
    write_report(read_results(folder, HOSTILE), folder / "report")
    return (folder / "report/index.html").read_text()


def test_the_report_holds_tables_pictures_and_a_page(root: Path) -> None:
    put(
        root / "metrics/unstructured.json",
        measured(0.7, 2.0, "pytorch-cpu", 100) | {"zero_percent": 30.0, "suppression": "none"},
    )
    report = write_report(read_results(root, PARAMS), root / "report")
    names = {path.name for path in (root / "report").iterdir()}
    pictures = {"comparison.png", "predictions.png", "quality.png", "confusion.png", "channels.png", "gammas.png"}
    pictures |= {"curves.png", "labels.png", "batches.png"}
    assert names == pictures | {"index.html", "report.md", "layers.md"}
    assert {path.name for path in report.files} == names
    assert all((root / "report" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert report.recommended == "prune@50"
    summary = report.summary()
    assert summary["models"]["prune@50"]["map50_deployed"] == 0.778
    assert summary["models"]["prune@50"]["backend"] == "onnxruntime-cpu"
    put(root / "metrics/report.json", summary)
    markdown = (root / "report/report.md").read_text()
    assert report.recommendations["prune@50"] in markdown
    assert "30 % zeros" in markdown
    assert "- Suppression of boxes that overlap: none." in markdown
    assert summary["models"]["unstructured"]["suppression"] == "none"
    assert all(f"## {title}" in markdown for title in ("What was cut", "The proof"))
    assert "## 50 % pruned" in (root / "report/layers.md").read_text()
    assert all(f"]({name})" in markdown for name in pictures)
    for line in markdown.splitlines():  # nothing measured on a CPU is called Ascend
        assert "Ascend" not in line or "not installed" in line


def test_the_page_asks_nothing_of_the_network(page: str) -> None:
    markup = page.partition('<script type="application/json"')[0]  # the scripts are tried in a browser
    assert re.findall(r"""\bsrc=["'](?!data:)""", markup) == []
    assert re.findall(r"<link[^>]*href=\"(?!data:)", markup) == []
    assert re.findall(r"url\((?!#)|@import|<iframe|<script", markup) == []
    assert re.findall(r"<script[^>]* src", page) == []
    assert 'name="viewport"' in page


def test_text_from_files_cannot_become_markup(page: str) -> None:
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "secret" not in page


def test_a_baseline_alone_makes_a_report(root: Path) -> None:
    for folder in ("prune", "finetune", "export", "ascend_eval"):
        for file in (root / "metrics" / folder).iterdir():
            file.unlink()
    (root / "metrics/sparse.json").unlink()
    report = write_report(read_results(root, PARAMS), root / "report")
    assert [path.name for path in report.files] == [
        *("index.html", "report.md", "predictions.png", "quality.png", "confusion.png", "curves.png", "labels.png"),
        "batches.png",
    ]
    assert "Nothing has been pruned yet." in (root / "report/index.html").read_text()


def test_no_metrics_at_all_are_an_error_that_leaves_the_old_report(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    put(out / "report.md", "old")
    with pytest.raises(TrackingError, match="holds no metrics to report on; run the pipeline"):
        write_report(read_results(tmp_path / "empty", {}), out)
    assert (out / "report.md").exists()
