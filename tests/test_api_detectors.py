"""The front door for detectors: evaluate, detect, quantize, and what it exports for programs."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import yoloslim
from tests.runner.test_damage import SAID, of_kind, spoil
from tests.squares import CLASSES, write_squares
from tests.tiny import shake_norms, tiny_detector
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import ConfigError, DataError, DeployError, TrainError, YoloslimError
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.models.detector import Detector
from yoloslim.models.store import save_model


@pytest.fixture(scope="module")
def model() -> Detector:
    network = tiny_detector(CLASSES)
    shake_norms(network)
    return network.eval()


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("squares") / "set", 10)


def test_detect_takes_files_and_arrays_alike(model: Detector, squares: Path, tmp_path: Path) -> None:
    path = squares / "images" / "s000.png"
    array = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    (one,) = yoloslim.detect(model, path, conf=0.001)
    assert one
    assert [d.score for d in one] == sorted((d.score for d in one), reverse=True)
    assert all(d.name in CLASSES and 0 <= d.xyxy[0] < d.xyxy[2] <= 64 for d in one)
    assert yoloslim.detect(model, [array, str(path)], conf=0.001) == [one, one]
    assert yoloslim.detect(model, array, conf=0.001) == [one]
    save_model(model, tmp_path / "m.safetensors")
    assert yoloslim.detect(tmp_path / "m.safetensors", path, conf=0.001) == [one]
    assert yoloslim.detect(model, [path], conf=0.999) == [[]]
    assert yoloslim.detect(model, []) == []


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((8, 8), np.uint8), DataError, r"image 0 is uint8 \(8, 8\); give RGB as uint8 \(H, W, 3\)"),
        (np.zeros((8, 8, 3), np.float32), DataError, "image 0 is float32"),
        (np.zeros((0, 8, 3), np.uint8), DataError, r"image 0 is uint8 \(0, 8, 3\)"),
        ("nothing.jpg", DataError, "nothing.jpg"),
        (Image.new("RGB", (8, 8)), DataError, r"image 0 is a Image; give a file, .*numpy.asarray\(picture.convert"),
        ([torch.zeros(8, 8, 3, dtype=torch.uint8)], DataError, "image 0 is a Tensor; give a file"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), DataError, "image 0 is a Tensor"),
        (b"\xff\xd8", DataError, "image 0 is a bytes"),
        (["s000.png", None], DataError, "s000.png cannot be read"),
        (None, DataError, "image 0 is a NoneType"),
        (iter([3]), DataError, "image 0 is a int"),
    ],
)
def test_detect_refuses_what_is_no_picture(
    model: Detector, image: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        yoloslim.detect(model, image)  # type: ignore[arg-type]


def test_detect_names_files_that_are_damaged(
    model: Detector, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((200, 200, 3), np.uint8))
    spoil(tmp_path / "a.jpg")
    assert len(yoloslim.detect(model, [tmp_path / "a.jpg"])) == 1
    assert caplog.messages == [f"{SAID}a.jpg (premature end of data segment); copy or download it again, or remove it"]
    assert "Corrupt" not in capfd.readouterr().err


CUT = "cut short or damaged; copy it again, or remove it$"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut.jpg", r"cut.jpg is a truncated JPEG \(\d+ bytes, no end marker\); copy it again, or remove it$"),
        ("cut.png", rf"cut.png \(\d+ bytes\) is no image that can be decoded: {CUT}"),
        ("cut.webp", rf"cut.webp \(\d+ bytes\) is no image that can be decoded: {CUT}"),
        ("cut.bmp", rf"cut.bmp \(\d+ bytes\) is no image that can be decoded: {CUT}"),
        ("cut.tif", rf"cut.tif \(\d+ bytes\) begins as TIFF and does not say its size, .*: {CUT}"),
        ("moving.gif", "moving.gif: pictures of this kind are not read; save it as PNG"),
        ("empty.jpg", r"empty.jpg is empty \(0 bytes\); copy it again, or remove it$"),
        ("text.png", r"text.png \(7 bytes\) is no image that can be decoded; give JPEG, PNG, BMP, WebP or TIFF$"),
        (".", r"is a folder; give its files, such as sorted\(Path\('.*'\).glob\('\*.jpg'\)\)$"),
        ("absent.jpg", "absent.jpg cannot be read: No such file or directory$"),
    ],
)
def test_detect_refuses_files_that_are_no_pictures(model: Detector, tmp_path: Path, name: str, message: str) -> None:
    for suffix in ("jpg", "png", "webp", "bmp", "tif"):
        data = of_kind(f"{suffix} zip" if suffix == "tif" else suffix)
        (tmp_path / f"cut.{suffix}").write_bytes(data[: len(data) // 2])
    (tmp_path / "moving.gif").write_bytes(b"GIF89a")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("a text\n")
    with pytest.raises(DataError, match=message):
        yoloslim.detect(model, tmp_path / name)


def test_detect_refuses_thresholds_and_runtimes_that_cannot_be(model: Detector, squares: Path) -> None:
    with pytest.raises(ConfigError, match=r"conf_thres=1.5 is out of range"):
        yoloslim.detect(model, squares / "images/s000.png", conf=1.5)
    with pytest.raises(DeployError, match="a Detector runs on pytorch; export it for onnxruntime"):
        yoloslim.detect(model, squares / "images/s000.png", runtime="onnxruntime")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, p: yoloslim.load(None), "path is a NoneType; give the path of a file or folder"),
        (lambda m, p: yoloslim.detect(None, p), "model is a NoneType"),
        (lambda m, p: yoloslim.detect(m, p, conf="0.4"), "conf_thres='0.4' is out of range; give a number from 0"),
        (lambda m, p: yoloslim.detect(m, p, iou="a"), "iou_thres='a' is out of range"),
        (lambda m, p: yoloslim.detect(m, p, runtime="onx"), "runtime 'onx' is not known; known: pytorch, onnxruntime"),
        (lambda m, p: yoloslim.evaluate(m, None), "data is a NoneType"),
        (lambda m, p: yoloslim.evaluate(m, p, layout="vco"), "layout 'vco' is unknown; did you mean 'voc'?"),
        (lambda m, p: yoloslim.evaluate(m, p, options={}), "options is a dict; give a .*nms.NmsOptions"),
        (lambda m, p: yoloslim.export(m, p, options={"opset": 17}), "options is a dict; give a .*onnx.ExportOptions"),
        (lambda m, p: yoloslim.export(m, 3), "out is a int"),
        (lambda m, p: ExportOptions(outputs="x"), "outputs 'x' is unknown; did you mean 'raw'?"),
        (lambda m, p: yoloslim.quantize(m, [p], p), "images is a list; give the path"),
        (lambda m, p: yoloslim.quantize(m, p, p, count=2.5), r"count=2.5 takes no picture; give a whole number"),
        (lambda m, p: yoloslim.quantize(p / "images/s000.png", p, p), "is a file, and this takes the folder of an exp"),
        (lambda m, p: yoloslim.train("yolov5n", None, p), "data is a NoneType"),
        (lambda m, p: yoloslim.train(m, p, p / "t", layout="vco"), "layout 'vco' is unknown"),
        (lambda m, p: yoloslim.train(m, p, p / "t", device="gpu"), "Input should be 'auto', 'cpu' or 'cuda'"),
        (lambda m, p: yoloslim.train(m, p, p / "t", epochs="x"), "baseline.epochs = 'x': Input should be a valid int"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(
    model: Detector, squares: Path, call: Callable[[Detector, Path], object], message: str
) -> None:
    with pytest.raises(YoloslimError, match=message):
        call(model, squares)


def test_a_training_on_a_gpu_that_is_not_there_reads_no_data(
    model: Detector, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainError, match="PyTorch finds no CUDA device"):
        yoloslim.train(model, squares, tmp_path / "out", epochs=1, device="cuda")
    assert not (tmp_path / "out" / "data").exists()


def test_a_predictor_is_opened_by_text_and_refuses_lists(model: Detector, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m.safetensors")
    predictor = open_predictor(str(tmp_path / "m.safetensors"))
    with pytest.raises(DeployError, match=r"takes an array uint8 \(batch, 64, 64, 3\), not a list"):
        predictor.predict([1])  # type: ignore[arg-type]


def test_a_predictor_of_a_relative_path_outlives_a_change_of_folder(
    model: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    yoloslim.export(model, "onnx")
    predictor = open_predictor("onnx")
    monkeypatch.chdir("/")
    predictor.set_threads(1)  # loads it again
    assert [len(each) for each in predictor.predict(np.zeros((2, 64, 64, 3), np.uint8))] == [2, 2, 2]


def test_an_int8_version_does_not_replace_its_export(model: Detector, squares: Path, tmp_path: Path) -> None:
    yoloslim.export(model, tmp_path / "onnx")
    with pytest.raises(DeployError, match="is the export itself, which its int8 version would replace"):
        yoloslim.quantize(tmp_path / "onnx", squares / "images", tmp_path / "x/../onnx")
    assert open_predictor(tmp_path / "onnx").backend == "onnxruntime-cpu"
    with pytest.raises(DeployError, match=r"model.onnx is a file.*: give its folder, .*onnx"):
        yoloslim.quantize(tmp_path / "onnx/model.onnx", squares / "images", tmp_path / "out")
    save_model(model, tmp_path / "m.safetensors")
    with pytest.raises(DeployError, match=r"it holds m.safetensors: give that file, or export it"):
        yoloslim.detect(tmp_path, squares / "images/s000.png")


def test_evaluate_gives_the_same_for_a_model_and_its_export(model: Detector, squares: Path, tmp_path: Path) -> None:
    yoloslim.export(model, tmp_path / "onnx")
    options = NmsOptions(conf_thres=0.0001)
    ours = yoloslim.evaluate(model, squares, "train", options=options)
    exported = yoloslim.evaluate(tmp_path / "onnx", squares, "train", options=options)
    assert len(ours.detections) == 7  # of 10, val has 1 and test 2
    assert exported.metrics == pytest.approx(ours.metrics, abs=1e-3)
    assert set(ours.per_class) == set(CLASSES)
    with pytest.raises(DataError, match=r"all.txt is missing; image sets there: test, train, val"):
        yoloslim.evaluate(model, squares, "all")


def test_evaluate_refuses_classes_that_the_model_lacks(squares: Path) -> None:
    said = r"set.*, as VOC: Annotations/s\d+.xml names the class 'blue', which is not among the 2 classes"
    with pytest.raises(DataError, match=said):
        yoloslim.evaluate(tiny_detector(("red", "green")), squares, "train")


def test_quantize_takes_a_detector_or_an_export_and_folders_or_arrays(
    model: Detector, squares: Path, tmp_path: Path
) -> None:
    manifest = yoloslim.quantize(model, squares / "images", tmp_path / "a", count=4)
    assert (manifest.precision, manifest.input_shape) == ("int8", (1, 3, 64, 64))
    yoloslim.export(model, tmp_path / "onnx")
    paths = sorted((squares / "images").iterdir())[::2][:4]  # the four that `count` takes of ten
    images = np.stack([cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths])
    again = yoloslim.quantize(tmp_path / "onnx", images, tmp_path / "b")
    assert again.files == manifest.files
    fp32, int8 = (open_predictor(tmp_path / name).predict(images) for name in ("onnx", "a"))
    differences = [float(np.abs(x - y).max()) for x, y in zip(fp32, int8, strict=True)]
    assert 0 < max(differences) == pytest.approx(manifest.max_abs_diff, rel=1e-3)


def test_quantize_says_what_it_lacks(model: Detector, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="count=0 takes no picture"):
        yoloslim.quantize(model, tmp_path, tmp_path / "out", count=0)
    with pytest.raises(DeployError, match="holds no pictures"):
        yoloslim.quantize(model, tmp_path, tmp_path / "out")
    with pytest.raises(DeployError, match="runtime for int8 'tensorflow' is not known; known: onnxruntime"):
        yoloslim.quantize(model, np.zeros((1, 64, 64, 3), np.uint8), tmp_path / "out", runtime="tensorflow")


@pytest.mark.parametrize(
    ("runtime", "said"),
    [
        ("rknn", "runs what a compiler writes: `yoloslim compile`, .*--target"),
        ("pytorch", "no int8 version is written"),
    ],
)
def test_quantize_names_the_way_of_runtimes_that_have_another(
    model: Detector, tmp_path: Path, runtime: str, said: str
) -> None:
    with pytest.raises(DeployError, match=said):
        yoloslim.quantize(model, np.zeros((1, 64, 64, 3), np.uint8), tmp_path / "out", runtime=runtime)


def test_all_that_is_offered_is_there() -> None:
    assert all(callable(getattr(yoloslim, name)) for name in yoloslim.__all__ if name != "__version__")
