"""`BACKEND=mindx bash run.sh` against a fake of the SDK, which finds the bright rectangle of every picture."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runner.bundles import uncompiled_bundle, voc_devkit
from tests.tiny import tiny_detector

FAKES = Path(__file__).parent / "fakes"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = uncompiled_bundle(tmp_path_factory.mktemp("bundle with a space"), tiny_detector())
    (folder / "model.om").write_bytes(b"compiled elsewhere")
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures with a bright rectangle, which is the truth, and one that is black."""

    def picture(boxes: list[list[int]]) -> tuple[np.ndarray, list[list[int]], list[int]]:
        pixels = np.zeros((48, 64, 3), np.uint8)
        for left, top, right, bottom in boxes:
            pixels[top:bottom, left:right] = 255
        return pixels, boxes, [1] * len(boxes)

    boxes: list[list[list[int]]] = [[[8, 8, 40, 40]], [[0, 16, 64, 48]], []]
    return voc_devkit(tmp_path_factory.mktemp("data"), map(picture, boxes))


def run(bundle: Path, folder: Path, *arguments: object, fault: str = "", sdk: Path = FAKES) -> tuple[int, str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(bundle.parent), "PYTHON": sys.executable, "BACKEND": "mindx"}
    environment |= {"PYTHONPATH": str(sdk), "FAKE_MINDX": fault}
    command = ["bash", str(bundle / "run.sh"), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def image_set(dataset: Path) -> tuple[Path, Path]:
    return dataset / "VOC2007/ImageSets/Main/test.txt", dataset / "VOC2007/JPEGImages"


def test_eval_writes_the_same_result_files_and_measures_what_the_sdk_found(
    bundle: Path, dataset: Path, tmp_path: Path
) -> None:
    status, output = run(bundle, tmp_path, "eval", dataset)
    assert status == 0, output
    assert "3 images on ascend-mindx; result files in txt_result/" in output
    assert sorted(p.name for p in (tmp_path / "txt_result").iterdir()) == [
        f"comp4_det_test_{name}.txt" for name in ("a", "b")
    ]
    lines = (tmp_path / "txt_result/comp4_det_test_b.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["000000", "000001"]
    found = re.search(r"^map50 +([\d.]+)$", output, re.MULTILINE)
    assert found
    assert float(found[1]) == 1.0


def test_detect_draws_and_labels_what_the_sdk_found(bundle: Path, dataset: Path, tmp_path: Path) -> None:
    status, output = run(bundle, tmp_path, "detect", *image_set(dataset), "--save-txt")
    assert status == 0, output
    assert "3 images with boxes in image_result/, found on ascend-mindx" in output
    label, *box = (tmp_path / "image_result/labels/000001.txt").read_text().split()
    assert label == "1"
    np.testing.assert_allclose(np.array(box, float), [0.5, 32 / 48, 1, 32 / 48], atol=0.03)  # clipped to the picture
    assert (tmp_path / "image_result/labels/000002.txt").read_text() == ""


def test_speed_gives_latency_and_throughput(bundle: Path, dataset: Path, tmp_path: Path) -> None:
    status, output = run(bundle, tmp_path, "speed", *image_set(dataset))
    assert status == 0, output
    assert re.search(r"^end-to-end( +\d+\.\d\d){3}$", output, re.MULTILINE)
    assert re.search(r"throughput: [\d.]+ images/s one at a time, [\d.]+ with 4 in flight", output)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("init", "MindX refused InitManager (code 1)"),
        ("create", "MindX refused CreateMultipleStreams (code 1001)"),
        ("send", "SendDataWithUniqueId returned -1"),
        ("result", "MindX gave error 1005: timeout"),
        ("class", "MindX found class 9 of a model of 2"),
    ],
)
def test_what_the_sdk_refuses_is_said(bundle: Path, dataset: Path, tmp_path: Path, fault: str, message: str) -> None:
    status, output = run(bundle, tmp_path, "eval", dataset, fault=fault)
    assert status == 1
    assert message in output
    assert "Traceback" not in output


def test_what_mindx_cannot_do_is_said(bundle: Path, dataset: Path, tmp_path: Path) -> None:
    status, output = run(bundle, tmp_path, "detect", *image_set(dataset), "--conf", "0.5")
    assert (status, "mindx/yolov5_detect.cfg" in output) == (1, True)
    status, output = run(bundle, tmp_path, "eval", dataset, sdk=tmp_path)
    assert (status, "cannot import StreamManagerApi" in output, "MX_SET_ENV" in output) == (1, True, True)
    (tmp_path / "in").mkdir()
    picture = Image.open(dataset / "VOC2007/JPEGImages/000000.jpg")
    picture.save(tmp_path / "in/a.png")
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down: of the same size
    picture.save(tmp_path / "in/b.jpg", exif=exif)
    picture.save(tmp_path / "in/c.jpg", exif=Image.Exif())
    (tmp_path / "list.txt").write_text("a\nb\nc\n")
    status, output = run(bundle, tmp_path, "detect", tmp_path / "list.txt", tmp_path / "in")
    assert status == 1
    assert "a.png is no JPEG, and MindX decodes nothing else" in output
    assert "b.jpg is turned by its EXIF orientation" in output
    assert [p.name for p in (tmp_path / "image_result").iterdir()] == ["c.jpg"]


def test_the_sdks_environment_is_sourced_where_a_person_says(bundle: Path, dataset: Path, tmp_path: Path) -> None:
    script = tmp_path / "set env.sh"
    script.write_text(f'export PYTHONPATH="{FAKES}"\n')
    copy = shutil.copytree(bundle, tmp_path / "copy")
    for name, target in zip(("IMAGE_SET", "IMAGE_DIR"), image_set(dataset), strict=True):
        (copy / name).symlink_to(target)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHON": sys.executable}
    line = "BACKEND=mindx bash run.sh detect IMAGE_SET IMAGE_DIR"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=copy,
        env={**environment, "MX_SET_ENV": str(script)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "found on ascend-mindx" in done.stdout
