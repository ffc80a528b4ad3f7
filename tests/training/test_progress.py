import logging
import re

import pytest

from tests.training.test_fit import task
from yoloslim.training.fit import fit
from yoloslim.training.progress import Progress, duration, line

ROW = {"epoch": 3.0, "loss": 0.35, "box_loss": 0.1, "obj_loss": 0.2, "cls_loss": 0.05, "images_per_s": 511.7}
SEEN = {"map50": 0.4123, "map50_95": 0.2}


def test_line_has_losses_metrics_and_speed() -> None:
    assert line(ROW | SEEN, 18) == (
        "epoch  3/18  loss 0.3500 (box 0.1000 obj 0.2000 cls 0.0500)  val mAP50 0.412 mAP50-95 0.200  512 images/s"
    )


def test_epoch_without_validation_keeps_its_columns() -> None:
    assert len(line(ROW, 18)) == len(line(ROW | SEEN, 18))
    assert "val mAP50   –   mAP50-95   –  " in line(ROW, 18)


def test_scales_and_teacher_are_shown_where_there_are_any() -> None:
    sparse = {"near_zero": 0.52, "gamma_p05": 0.0, "gamma_p25": 0.1, "gamma_p50": 0.31, "gamma_p95": 0.884}
    assert "|gamma| 5/50/95 % 0.00 0.31 0.88, 52 % near zero" in line(ROW | sparse, 18)
    taught = {"distill_output_loss": 0.01, "distill_feature_loss": 0.0234}
    assert "(box 0.1000 obj 0.2000 cls 0.0500)  teacher 0.0334  val" in line(ROW | taught, 18)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7839, "2 h 10 min")]
)
def test_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_time_left_counts_the_epochs_of_this_run_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter([100.0, 130.0, 160.0])
    monkeypatch.setattr("yoloslim.training.progress.time.perf_counter", lambda: next(clock))
    progress = Progress(4, done=2)
    with caplog.at_level(logging.INFO):
        progress.epoch(ROW)
        progress.epoch(ROW | {"epoch": 4.0})
    assert [record.getMessage().rsplit("  ", 1)[1] for record in caplog.records] == ["30 s left", "1 min 00 s in all"]


def test_a_line_tells_when_others_had_the_cores(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    readings = iter([(0.0, 0.0, 0.0), (1.0, 2.0, 0.75), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)])
    monkeypatch.setattr("yoloslim.evaluation.other_work.OtherWork._read", staticmethod(lambda: next(readings)))
    monkeypatch.setattr("yoloslim.training.fit.usable_cores", lambda: 1)
    with caplog.at_level(logging.INFO):
        fit(task(2))
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("epoch")]
    assert "images/s (other programs took 1.2 cores)  " in lines[0]
    assert "other programs" not in lines[1]


def test_every_epoch_of_a_training_is_one_line_and_no_bar(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        fit(task(3))
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("epoch")]
    assert [re.match(r"epoch (\d)/3  loss ", text)[1] for text in lines] == ["1", "2", "3"]  # type: ignore[index]
    assert lines[0].endswith(" left")
    assert lines[2].endswith(" in all")
    assert capsys.readouterr().err == ""
