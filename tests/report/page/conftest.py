"""The page of a made-up project, and a sweep's result for it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.results.made import PARAMS, build, deployed, measured, put
from yoloslim.data.voc import load_split
from yoloslim.report.page.findings import PageContents
from yoloslim.report.page.render import Extras, render
from yoloslim.report.write import write_report
from yoloslim.results.judged import judge_rows
from yoloslim.results.links import RunLinks
from yoloslim.results.results import read_results


def sweep_result(winner: str | None = "50") -> dict[str, Any]:
    """Percents 30 and 50 finetuned, 70 and 80 only cut and measured; the cliff lies behind 70."""

    def point(percent: int, before: float, after: float | None = None, **more: Any) -> dict[str, Any]:
        cut = measured(before, 2 * (1 - percent / 100), "pytorch-cpu", 100)
        found = {"name": str(percent), "percent": percent, "status": "probed", "why": "first round", "before": cut}
        if after is not None:
            found |= {"status": "finetuned", "after": measured(after, 1.0, "pytorch-cpu", 100)}
            found["deployed"] = deployed(after, 200, 3.0) | {"params_m": 2 * (1 - percent / 100)}
        return found | more

    points = [
        point(30, 0.395, 0.788, missed=["has 1.4 M parameters, wanted at most 1.2"]),
        point(50, 0.39, 0.778, why="params.yaml lists it"),
        point(70, 0.35),
        point(80, 0.1, error="exited with 1", status="failed"),
    ]
    return {
        **{"name": "yolov5n, fastest", "objective": "fastest", "axes": {"percent": [10, 90, 1]}, "cliff": 70},
        **{"constraints": {"max_map_drop": 0.03, "max_params_m": 1.2}, "baseline": deployed(0.799, 150, 7.0)},
        **{"sparse": measured(0.78, 2.0, "pytorch-cpu", 100), "points": points, "front": ["50"], "winner": winner},
        **{"why": "the one finetuned point that satisfies the constraints", "seconds": 90.0},
        **{"closest": None if winner else "50", "probes": 4, "finetunings": 2, "grid_finetunings": 81},
    }


def page_of(root: Path) -> str:
    """The page alone; the report's PNGs take seconds."""
    results, test = read_results(root, PARAMS), load_split(root / "data/voc", "test")
    findings = PageContents(results.rows, results.best, judge_rows(results.rows, test), test, results.sweep)
    links = RunLinks("sqlite:///mlflow.db", "yoloslim", root)
    return render(findings, Extras([], PARAMS, links, results.outputs, 2, 0.25))


def charts_of(page: str) -> dict[str, Any]:
    """What the page's charts are drawn from."""
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    assert found
    charts: dict[str, Any] = json.loads(found[1])
    return charts


def values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that a chart is drawn from."""
    rows: list[dict[str, Any]] = spec["data"]["values"]
    return rows


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages and a sweep have run, and the report is written."""
    root = build(tmp_path_factory.mktemp("page") / "project")
    put(root / "metrics/sweep.json", sweep_result())
    out = [{"path": "models/finetune/50", "md5": "0123abc.dir"}]
    put(root / "dvc.lock", {"schema": "2.0", "stages": {"finetune@50": {"cmd": "python", "outs": out}}})
    write_report(read_results(root, PARAMS), root / "report")
    return root
