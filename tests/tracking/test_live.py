"""Live curves against a real SQLite store, from real trainings of a tiny model."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.results.made import PARAMS, put
from tests.training.test_fit import Fuse, task
from yoloslim.errors import TrainError
from yoloslim.results.results import read_results
from yoloslim.tracking import live
from yoloslim.tracking.live import LiveCurves, Target
from yoloslim.tracking.mlflow import sync
from yoloslim.tracking.under_way import is_training
from yoloslim.training.fit import Callback, Fit, State, fit

from .test_mlflow import URI, runs


def target(root: Path, key: str = "k1", uri: str = URI) -> Target:
    return Target(root, uri, "trial", "baseline", key, {"train.batch": "4"}, {"stage": "baseline"})


def train(curves: LiveCurves, epochs: int = 3, also: Sequence[Callback] = (), **values: Any) -> Fit:
    with curves:
        return fit(task(epochs, callbacks=(*also, curves), **values))


def curve(root: Path, run: Any, name: str = "train/loss") -> list[int]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow.db")
    return [point.step for point in client.get_metric_history(run.info.run_id, name)]


class Stop(Callback):
    """Gives advice after so many epochs."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def after_epoch(self, state: State) -> dict[str, float]:
        if state.epoch == self.epoch:
            raise TrainError("the penalty is too strong")
        return {}


@pytest.mark.slow
def test_killed_and_resumed_training_is_one_run_which_sync_completes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PATIENCE_S", 1800)  # importing MLflow takes longer than this training
    path = tmp_path / "x.pt"
    with pytest.raises(KeyboardInterrupt):
        train(LiveCurves(target(root)), also=(Fuse(8),), checkpoint=path)
    (first,) = runs(root)
    assert (first.info.status, first.info.run_name, curve(root, first)) == ("KILLED", "baseline", [1, 2])
    assert first.data.params == {"train.batch": "4"}

    result = train(LiveCurves(target(root)), also=(Callback(),), checkpoint=path)
    (second,) = runs(root)
    assert (second.info.run_id, second.info.status) == (first.info.run_id, "FINISHED")
    assert curve(root, second) == curve(root, second, "val/map50") == [1, 2, 3]
    assert second.data.metrics["train/loss"] == pytest.approx(result.history[-1]["loss"])

    put(root / "models/baseline/history.json", {"training": "k1"})
    only = PARAMS | {"percents": []}
    assert sync(read_results(root, only), URI, "trial").created == ("baseline", "sparse")
    (whole,) = [run for run in runs(root) if run.info.run_name == "baseline"]
    assert (whole.info.start_time, whole.info.end_time) == (second.info.start_time, second.info.end_time)
    assert whole.data.metrics["map50"] == 0.799
    assert whole.data.params["yaml.model"] == "yolov5n"
    assert curve(root, whole) == [1, 2, 3]
    assert sync(read_results(root, only), URI, "trial").created == ()
    _forced_again(root, only)
    _training_that_failed_says_why(root)


def _forced_again(root: Path, params: dict[str, Any]) -> None:
    """The very same training with the very same results leaves no second run."""
    train(LiveCurves(target(root)))
    assert [run.info.run_name for run in runs(root)].count("baseline") == 2
    sync(read_results(root, params), URI, "trial", force=True)
    assert [run.info.run_name for run in runs(root)].count("baseline") == 1


def _training_that_failed_says_why(root: Path) -> None:
    with pytest.raises(TrainError):
        train(LiveCurves(target(root, "k2")), 4, also=(Stop(2),))
    failed = runs(root)[-1]
    assert failed.info.status == "FAILED"
    assert failed.data.tags["mlflow.note.content"] == "the penalty is too strong"
    assert curve(root, failed) == [1, 2]
    _killed_without_a_word_is_marked(root, failed.info.run_id)


def _killed_without_a_word_is_marked(root: Path, run_id: str) -> None:
    """As after kill -9: the run still says RUNNING, but nobody holds its key."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow.db")
    client.update_run(run_id, status="RUNNING")
    with LiveCurves(target(root, "k2")):
        sync(read_results(root, PARAMS | {"percents": []}), URI, "trial", force=True)
        assert client.get_run(run_id).info.status == "RUNNING"
    sync(read_results(root, PARAMS | {"percents": []}), URI, "trial", force=True)
    assert client.get_run(run_id).info.status == "KILLED"


def test_server_that_is_away_is_said_once_and_costs_nothing(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.tracking  # noqa: F401  # whose import may take longer than this training and any waiting

    monkeypatch.setattr(live, "PATIENCE_S", 1800)
    start = time.perf_counter()
    result = train(LiveCurves(target(root, uri="http://127.0.0.1:9")), 4)
    assert time.perf_counter() - start < 60  # MLflow itself tries for minutes
    assert len(result.history) == 4
    said = [record.getMessage() for record in caplog.records if "live curves" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("no live curves for now: MLflow at http://127.0.0.1:9 cannot be reached")


def test_training_of_one_epoch_is_left_to_sync(root: Path) -> None:
    curves = LiveCurves(target(root))
    train(curves, 1)
    assert curves._thread is None
    assert not (root / "mlflow.db").exists()


def test_training_holds_its_key_and_a_second_one_of_the_same_key_sends_nothing(root: Path) -> None:
    assert not is_training(root, "k1")
    with LiveCurves(target(root)) as one:
        assert is_training(root, "k1")
        assert not is_training(root, "k2")
        with LiveCurves(target(root)) as two:
            assert two.target is None
            assert one.target is not None
        assert is_training(root, "k1")
    assert not is_training(root, "k1")


def test_without_a_target_nothing_is_sent() -> None:
    curves = LiveCurves(None)
    train(curves, 3)
    assert curves._thread is None
