from pathlib import Path

import pytest

from tests.report.page.conftest import sweep_result
from tests.results.made import PARAMS, put
from yoloslim.results.results import read_results
from yoloslim.stages.code import Library

ROOT = Path(__file__).parents[2]


def test_everything_is_read_once_into_one_object(root: Path) -> None:
    put(root / "metrics/sweep.json", sweep_result("30"))
    (root / "dvc.lock").write_text("stages: {data: {outs: [{path: data/voc, md5: a}]}}")
    results = read_results(root, PARAMS)
    assert [row.name for row in results.rows] == ["baseline", "sparse", "prune@30", "prune@50"]
    assert results.best is results.rows[2]
    assert results.hashes == {"data": "a"}


@pytest.mark.parametrize(("package", "above"), [("results", ("report", "tracking")), ("report", ("tracking",))])
def test_results_know_nothing_of_the_report_and_the_report_nothing_of_mlflow(
    package: str, above: tuple[str, ...]
) -> None:
    library = Library(ROOT / "src/yoloslim")
    for path in (ROOT / "src/yoloslim" / package).rglob("*.py"):
        imported = library._imported(path, "yoloslim." + ".".join(path.relative_to(ROOT / "src/yoloslim").parts)[:-3])
        assert not [name for name in imported if name.split(".")[1:2] and name.split(".")[1] in above], path


def test_the_address_of_tracking_is_not_among_the_parameters_that_are_shown(tmp_path: Path) -> None:
    params = {"seed": 0, "tracking": {"uri": "http://me:secret@host"}}
    assert read_results(tmp_path, params).shown_params == {"seed": 0}
