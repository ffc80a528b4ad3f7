"""Arguments of a bundle's `run.sh` that no task can be meant by."""

import pytest

from yoloslim.runner.__main__ import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--conf", "2"], "argument --conf: '2' is not a number from 0 to below 1"),
        (["--conf", "1"], "argument --conf: '1' is not a number"),
        (["--conf", "nan"], "argument --conf: 'nan' is not a number"),
        (["--conf", "abc"], "argument --conf: 'abc' is not a number from 0 to below 1"),
        (["--iou", "-1"], "argument --iou: '-1' is not a number from 0 to 1"),
        (["--max-megapixels", "0"], "argument --max-megapixels: '0' is not a number above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["detect", "set.txt", "images", *words])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_list_that_is_not_there_is_said_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--backend", "onnxruntime", "speed", "nowhere.txt", "images"]) == 1
    assert capsys.readouterr().err == "error: image set nowhere.txt cannot be read: No such file or directory\n"
