"""Names in MLflow."""

from pathlib import Path

import pytest

from tests.results.made import PARAMS
from yoloslim.results.records import read_rows
from yoloslim.tracking.naming import curve_name, data_set, run_params


def test_params_are_those_that_the_row_depends_on(root: Path) -> None:
    rows = {row.name: run_params(row, PARAMS) for row in read_rows(root)}
    assert "sparse.rate" not in rows["baseline"]
    assert rows["sparse"]["sparse.rate"] == "0.01"
    assert rows["prune@30"] | {"percent": "50"} == rows["prune@50"]
    assert "data.workers" not in rows["baseline"]


@pytest.mark.parametrize(
    ("column", "name"),
    [("map50", "val/map50"), ("loss", "train/loss"), ("gamma_p50", "gamma/p50"), ("near_zero", "gamma/near_zero")],
)
def test_curves_are_grouped_by_what_they_show(column: str, name: str) -> None:
    assert curve_name(column) == name


def test_the_data_set_has_dvcs_hash_as_its_digest() -> None:
    found = data_set({"data": "0123456789abcdef0123456789abcdef.dir"}, {"data": {"source": "scenes"}})
    assert found is not None
    assert (found.dataset.name, found.dataset.digest) == ("scenes", "0123456789abcdef0123456789abcdef.dir")
    assert data_set({}, {}) is None
