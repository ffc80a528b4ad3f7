"""What the charts say, read back from the axes."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.results.made import measured, put
from yoloslim.report import plots
from yoloslim.report.style import Panel, shades
from yoloslim.results.records import read_rows


def drawn(panel: Panel) -> object:
    axes = Figure().subplots()
    panel(axes)
    return axes


def test_accuracy_has_a_line_for_each_metric_and_runtime(root: Path) -> None:
    axes = drawn(plots.comparison(read_rows(root))[0])
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}  # type: ignore[attr-defined]
    assert lines["mAP50, PyTorch"] == [[0, 0.8], [30, 0.79], [50, 0.78]]
    assert lines["mAP50, deployed"] == [[0, 0.799], [30, 0.788], [50, 0.778]]
    assert lines["mAP50, not finetuned"] == [[30, 0.395], [50, 0.39]]


def test_speed_names_its_backend_and_never_mixes_two(root: Path) -> None:
    def title_and_points() -> tuple[str, list[list[float]]]:
        axes = drawn(plots.comparison(read_rows(root))[2])
        return axes.get_title() or axes.get_title(loc="left"), axes.get_lines()[0].get_xydata().tolist()  # type: ignore[attr-defined]

    assert title_and_points() == ("Speed-up on onnxruntime-cpu", [[0, 1.2], [30, 1.68], [50, 2.0]])
    (root / "metrics/ascend_eval/50.json").unlink()
    assert title_and_points() == ("Speed-up on onnxruntime-cpu", [[0, 1.2], [30, 1.68]])


def test_a_speed_up_that_other_programs_disturbed_is_marked(root: Path) -> None:
    rows = read_rows(root)
    rows[-1].deployed["latency_other_cores"] = 1.6
    _, size, speed = (drawn(panel) for panel in plots.comparison(rows))
    assert [text.get_text() for text in speed.texts] == ["1.20", "1.68", "2.00*"]  # type: ignore[attr-defined]
    assert [text.get_text() for text in size.texts] == ["2.00", "1.40", "1.00"]  # type: ignore[attr-defined]


def test_finetuning_starts_where_sparse_training_ends(root: Path) -> None:
    axes = drawn(plots.curves(read_rows(root))[0])
    epochs = {line.get_label(): line.get_xdata().tolist() for line in axes.get_lines()}  # type: ignore[attr-defined]
    assert epochs == {
        **{"baseline": [1, 2, 3], "sparse": [4, 5, 6]},
        **{"30 % pruned": [7, 8, 9], "50 % pruned": [7, 8, 9]},
    }


def test_the_histogram_says_how_many_scales_are_near_zero(tmp_path: Path) -> None:
    before, after = np.ones(100), np.concatenate([np.zeros(60), np.ones(40)])
    np.savez(tmp_path / "g.npz", before=before, gammas=np.stack([before, after]), epochs=np.array([1, 2]))
    axes = drawn(plots.gammas(tmp_path / "g.npz")[0])
    texts = [text.get_text() for text in axes.get_legend().get_texts()]  # type: ignore[attr-defined]
    assert texts == ["before: 0 % below 0.01", "after: 60 % below 0.01"]


@pytest.mark.parametrize("gammas", [np.zeros((1, 5)), np.full((2, 5), 0.3)])
def test_odd_scales_can_be_drawn(tmp_path: Path, gammas: np.ndarray) -> None:
    np.savez(tmp_path / "g.npz", before=gammas[0], gammas=gammas, epochs=np.arange(1, len(gammas) + 1))
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in map(drawn, plots.gammas(tmp_path / "g.npz"))]
    assert titles == ["Scales before and after sparse training", "Scales over epochs (white: quartiles)"]


def test_channels_are_left_out_where_nothing_was_cut(root: Path) -> None:
    plots.channels(read_rows(root)[:2], root / "channels.png")
    assert not (root / "channels.png").exists()


def test_shades_differ_however_many_there_are() -> None:
    assert len({tuple(colour) for colour in shades(20)}) == 20
    assert len(shades(1)) == 1


def test_the_control_is_a_line_across_the_percents(root: Path) -> None:
    put(root / "metrics/control/dense.json", measured(0.83, 2.0, "pytorch-cpu", 100))
    put(root / "models/control/dense/history.json", {"kept_epoch": 1, "training": "key", "epochs": []})
    axes = drawn(plots.comparison(read_rows(root, None, ["dense"]))[0])
    (line,) = [each for each in axes.get_lines() if each.get_label() == "mAP50, dense, trained on"]
    assert set(line.get_ydata()) == {0.83}
