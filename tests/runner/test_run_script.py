"""`run.sh` of a bundle, with the seed's arguments, in ONNX Runtime in place of the chip."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.deploy.rockchip.compiled import describe
from tests.runner.bundles import uncompiled_bundle, voc_devkit
from tests.runner.test_damage import of_kind, spoil
from tests.tiny import shake_norms, tiny_detector
from yoloslim.deploy.export_model import export_model

COUNT = 3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_detector()
    shake_norms(model)
    return uncompiled_bundle(tmp_path_factory.mktemp("bundle with a space"), model)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    pictures = [(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), [[5, 5, 50, 40]], [i % 2]) for i in range(COUNT)]
    return voc_devkit(tmp_path_factory.mktemp("data"), pictures)


FAKES = Path(__file__).parent / "fakes"


def run(bundle: Path, folder: Path, *arguments: object, backend: str = "onnxruntime") -> tuple[int, str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(bundle.parent), "PYTHON": sys.executable, "BACKEND": backend}
    environment["PYTHONPATH"] = str(FAKES)
    command = ["bash", str(bundle / "run.sh"), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def image_set(dataset: Path) -> tuple[Path, Path]:
    return dataset / "VOC2007/ImageSets/Main/test.txt", dataset / "VOC2007/JPEGImages"


def test_detect_writes_images_with_boxes(bundle: Path, dataset: Path, tmp_path: Path) -> None:
    status, output = run(bundle, tmp_path, "detect", *image_set(dataset), "--conf", "0.00001")
    assert status == 0, output
    assert "3 images with boxes in image_result/, found on onnxruntime-cpu" in output
    for i in range(COUNT):
        drawn = np.array(Image.open(tmp_path / f"image_result/{i:06}.jpg"))
        before = np.array(Image.open(dataset / f"VOC2007/JPEGImages/{i:06}.jpg"))
        assert drawn.shape == before.shape
        assert (drawn != before).mean() > 0.1


def test_detect_leaves_out_what_it_cannot_read_and_numbers_equal_names(
    bundle: Path, dataset: Path, tmp_path: Path
) -> None:
    picture = (dataset / "VOC2007/JPEGImages/000000.jpg").read_bytes()
    for name, data in (("x/a.jpg", picture), ("y/a.jpg", picture), ("cut.jpg", picture[:300]), ("b.tif", picture)):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "list.txt").write_text("x/a\ncut\ny/a\nb\n")
    status, output = run(bundle, tmp_path, "detect", tmp_path / "list.txt", tmp_path / "in")
    assert status == 1
    warning, error = output.splitlines()
    assert warning.startswith("warning: image ")
    assert "cut.jpg is a truncated JPEG" in warning
    assert error == "error: 1 of 4 images could not be read: cut.jpg; the other 3 are in image_result"
    assert sorted(path.name for path in (tmp_path / "image_result").iterdir()) == ["a-2.jpg", "a.jpg", "b.png"]


@pytest.mark.parametrize("command", ["detect", "speed", "eval"])
def test_pictures_that_are_damaged_inside_are_named(command: str, bundle: Path, dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "data")
    spoil(tmp_path / "data/VOC2007/JPEGImages/000001.jpg")
    tiff = bytearray(of_kind("tif zip"))
    tiff[len(tiff) // 2] ^= 255
    (tmp_path / "data/VOC2007/JPEGImages/000002.jpg").write_bytes(tiff)  # of whatever suffix
    given = [tmp_path / "data"] if command == "eval" else image_set(tmp_path / "data")
    status, output = run(bundle, tmp_path, command, *given)
    assert status == 0, output
    (said,) = [line for line in output.splitlines() if "damaged inside" in line]
    assert said.startswith("warning: 2 image files are damaged inside and used as they can be decoded")
    assert "000001.jpg (premature end of data segment), 000002.jpg (ZIPDecode: " in said
    assert "Corrupt JPEG" not in output


def test_speed_prints_and_writes_nothing(bundle: Path, dataset: Path, tmp_path: Path) -> None:
    status, output = run(bundle, tmp_path, "speed", *image_set(dataset))
    assert status == 0, output
    for text in (
        "p50",
        "p90",
        "p99",
        "decode",
        "inference",
        "end-to-end",
        "images/s",
        "peak memory",
        "onnxruntime-cpu",
    ):
        assert text in output
    assert list(tmp_path.iterdir()) == []


def test_eval_writes_result_files_and_prints_both_kinds_of_map(bundle: Path, dataset: Path, tmp_path: Path) -> None:
    status, output = run(bundle, tmp_path, "eval", dataset)
    assert status == 0, output
    assert re.search(r"map50_voc07 +[01]\.\d{4}", output)
    assert re.search(r"map50_95 +[01]\.\d{4}", output)
    assert sorted(path.name for path in (tmp_path / "txt_result").iterdir()) == [
        *("comp4_det_test_a.txt", "comp4_det_test_b.txt")
    ]


@pytest.mark.parametrize(
    "line",
    [
        "bash run.sh detect IMAGE_SET IMAGE_DIR",
        "bash run.sh speed IMAGE_SET IMAGE_DIR",
        "bash run.sh eval VOCdevkit/",
    ],
)
def test_the_pages_lines_run_as_they_are_printed(bundle: Path, dataset: Path, tmp_path: Path, line: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    for name, target in zip(("IMAGE_SET", "IMAGE_DIR", "VOCdevkit"), (*image_set(dataset), dataset), strict=True):
        (copy / name).symlink_to(target)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHON": sys.executable}
    environment["BACKEND"] = "onnxruntime"
    done = subprocess.run(["bash", "-c", line], cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_bundle_that_changed_is_not_run(bundle: Path, dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    with (copy / "model.onnx").open("r+b") as stream:
        stream.write(b"X")
    status, output = run(copy, tmp_path, "speed", *image_set(dataset))
    assert status == 1
    assert "model.onnx of the bundle is not the file that was packed" in output


def test_without_a_compiled_model_or_its_data_the_way_out_is_named(bundle: Path, dataset: Path, tmp_path: Path) -> None:
    status, output = run(bundle, tmp_path, "speed", *image_set(dataset), backend="acl")
    assert status == 1
    assert "model.om is missing: compile the model first (`bash atc.sh`" in output
    status, output = run(bundle, tmp_path, "eval", tmp_path)
    assert status == 1
    assert "no folder with JPEGImages" in output
    assert "Traceback" not in output


def test_a_bundle_for_rockchip_runs_on_its_npu_unless_told_otherwise(dataset: Path, tmp_path: Path) -> None:
    model = tiny_detector()
    shake_norms(model)
    export_model(model.eval(), bundle := tmp_path / "bundle")
    describe(bundle)
    scores = {}
    for backend in ("", "onnxruntime"):
        status, output = run(bundle, tmp_path, "eval", dataset, backend=backend)
        assert status == 0, output
        scores[output.split(" images on ")[1].split(";")[0]] = re.findall(r"map50\S* +(\S+)", output)
    assert list(scores) == ["rockchip-rknnlite", "onnxruntime-cpu"]
    assert scores["rockchip-rknnlite"] == scores["onnxruntime-cpu"]
    (bundle / "model.rknn").unlink()
    status, output = run(bundle, tmp_path, "speed", *image_set(dataset), backend="")
    assert (status, output) == (1, "error: model.rknn of the bundle is missing: No such file or directory\n")


def test_an_unknown_backend_is_refused_with_the_choices(bundle: Path, dataset: Path, tmp_path: Path) -> None:
    status, output = run(bundle, tmp_path, "speed", *image_set(dataset), backend="onnx")
    assert status == 2
    assert output.endswith("error: BACKEND=onnx is unknown; choose acl, onnxruntime, rknnlite, mindx\n")
