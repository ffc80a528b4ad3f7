"""What layers take at which widths: read off between points, kept by machine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny import tiny_detector
from yoloslim.deploy import latency_table as module
from yoloslim.deploy.latency_table import LatencyTable, latency_table, shapes_of
from yoloslim.errors import PruneError

GRID = (np.array([8.0, 16.0]), np.array([8.0, 24.0]), np.array([[1.0, 2.0], [3.0, 6.0]]))


def test_times_between_points_are_by_proportion_and_beyond_them_those_of_the_edge() -> None:
    table = LatencyTable({}, (), {"a": 0}, (GRID,))
    assert table.layer_ms("a", 8, 8) == 1
    assert table.layer_ms("a", 16, 24) == 6
    assert table.layer_ms("a", 12, 8) == pytest.approx(2)
    assert table.layer_ms("a", 12, 16) == pytest.approx(3)
    assert table.layer_ms("a", 1, 100) == pytest.approx(2)


def test_layers_of_one_shape_are_timed_once() -> None:
    model = tiny_detector()
    shapes, layers = shapes_of(model)
    assert layers.keys() == {path for path, _ in model.named_modules() if path in layers}
    assert len(shapes) == len({(s.kernel, s.stride, s.rows, s.depthwise, s.padding) for s in shapes}) < len(layers)
    stem = shapes[layers["model.0.conv"]]
    assert (stem.c_in, stem.rows, stem.stride) == (3, model.spec.imgsz, (2, 2))


def test_a_table_is_measured_once_on_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def measure(shapes: Any, step: int, threads: int, runtime: str) -> Any:
        measured.append(threads)
        return tuple(GRID for _ in shapes)

    monkeypatch.setattr(module, "_measure", measure)
    model = tiny_detector()
    first, again = (latency_table(model, 1, 8, tmp_path) for _ in range(2))
    assert measured == [1]
    assert first.layer_ms("model.0.conv", 12, 8) == again.layer_ms("model.0.conv", 12, 8) == pytest.approx(2)
    latency_table(model, 2, 8, tmp_path)  # of other threads nothing is known
    monkeypatch.setattr(module, "this_machine", lambda threads, runtime: {"processor": "another"})
    latency_table(model, 1, 8, tmp_path)
    assert measured == [1, 2, 1]


def test_a_table_that_is_named_must_be_of_this_machine_and_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_measure", lambda shapes, *_: tuple(GRID for _ in shapes))
    model = tiny_detector()
    file = latency_table(model, 1, cache=tmp_path).file
    assert file is not None
    assert latency_table(model, 1, given=file).layer_ms("model.0.conv", 12, 8) == pytest.approx(2)
    with pytest.raises(PruneError, match=r"is of another machine: threads 1, not 2"):
        latency_table(model, 2, given=file)
    with pytest.raises(PruneError, match=r"another machine: runtime 'onnxruntime', not 'pytorch'; version"):
        latency_table(model, 1, runtime="pytorch", given=file)
    with pytest.raises(PruneError, match="of another network or image size"):
        latency_table(tiny_detector(imgsz=96), 1, given=file)
    with pytest.raises(PruneError, match=r"none\.json is missing; without latency_table one is measured"):
        latency_table(model, 1, given=tmp_path / "none.json")
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(PruneError, match="is no table of latencies"):
        latency_table(model, 1, given=tmp_path / "other.json")
    (tmp_path / "other.json").write_text("no table")
    with pytest.raises(PruneError, match=r"is no table of latencies: \S*other\.json is not valid JSON"):
        latency_table(model, 1, given=tmp_path / "other.json")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda grids: grids[:-1], "grids for"),
        (lambda grids: [[[16, 8], *grids[0][1:]], *grids[1:]], "do not fit its widths"),
        (lambda grids: [[*grids[0][:2], [[1]]], *grids[1:]], "do not fit its widths"),
        (
            lambda grids: [[*grids[0][:2], [[-1] * len(grids[0][1])] * len(grids[0][0])], *grids[1:]],
            "times that are none",
        ),
        (lambda grids: [[["a"], *grids[0][1:]], *grids[1:]], "could not convert string to float"),
    ],
)
def test_a_damaged_table_is_refused_where_it_is_named_and_measured_anew_where_it_is_kept(
    damage: Callable[[Any], Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    measured: list[int] = []
    monkeypatch.setattr(module, "_measure", lambda shapes, *_: measured.append(1) or tuple(GRID for _ in shapes))
    file = latency_table(tiny_detector(), 1, cache=tmp_path).file
    assert file is not None
    stored = json.loads(file.read_text())
    file.write_text(json.dumps(stored | {"grids": damage(stored["grids"])}))
    with pytest.raises(
        PruneError, match=f"is damaged: .*{said}.*; without latency_table one is measured here and kept"
    ):
        latency_table(tiny_detector(), 1, given=file)
    assert latency_table(tiny_detector(), 1, cache=tmp_path).layer_ms("model.0.conv", 12, 8) == pytest.approx(2)
    assert (len(measured), json.loads(file.read_text())) == (2, stored)
    assert f"table of latencies {file} is damaged" in caplog.text
    file.write_text(file.read_text()[:100])  # cut off
    with pytest.raises(PruneError, match="is no table of latencies"):
        latency_table(tiny_detector(), 1, given=file)
    assert latency_table(tiny_detector(), 1, cache=tmp_path).seconds > 0


def test_what_a_call_and_a_value_cost_is_told_by_layers_run_once_and_twice() -> None:
    (few, many), own = (2 * c * s * s for c, s in module.EXCHANGES), 0.5
    extra = np.array([[0.01 + 1e-6 * n + own, 0.01 + 1e-6 * n + 2 * own] for n in (few, many)])
    assert module._exchange(extra.ravel()) == pytest.approx((0.01, 1e-6))


def test_more_channels_never_take_less() -> None:
    table = latency_table(tiny_detector(), 1)
    for _, _, times in table.grids:
        assert (np.diff(times, axis=0) >= 0).all()
        assert (np.diff(times, axis=1) >= 0).all()
        assert (times > 0).all()
