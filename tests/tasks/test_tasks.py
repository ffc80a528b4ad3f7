"""detect, speed and eval through the command line, on files of every kind."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.runner.test_damage import SAID, spoil
from yoloslim.cli import app
from yoloslim.data.voc import annotation_from, write_annotation
from yoloslim.deploy.export_model import export_model
from yoloslim.errors import DataError
from yoloslim.models.store import load_model
from yoloslim.runner.tasks import STAGES, free_name
from yoloslim.tasks.sources import Stream, image_paths

runner = CliRunner()


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8), (80, 60))
    return np.asarray(smooth)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, picture: np.ndarray) -> Path:
    """One picture in every format that people hand in."""
    folder = tmp_path_factory.mktemp("odd")
    image = Image.fromarray(picture)
    for name in ("plain.jpg", "lossless.png", "bitmap.bmp", "web.webp"):
        image.save(folder / name)
    image.convert("L").save(folder / "grey.jpg")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(folder / "rotated.jpg", exif=exif)
    return folder


@pytest.fixture
def video(tmp_path: Path, picture: np.ndarray) -> Path:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 60))
    for i in range(30):
        writer.write(np.roll(picture, 2 * i, axis=1))
    writer.release()
    return path


def run(*arguments: object, fails: bool = False) -> str:
    result = runner.invoke(app, [str(a) for a in arguments])
    if fails:
        assert result.exception is not None
        return str(result.exception)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.output


def test_every_kind_of_picture_is_drawn_upright(model: Path, odd: Path, tmp_path: Path) -> None:
    output = run("detect", model, odd, "--conf", "0.0001", "--out", tmp_path / "out")
    assert output.startswith("7 images, ")
    assert "pytorch-cpu" in output
    names = sorted(path.name for path in odd.iterdir())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*names, "detections.json"])
    for name in names:
        shape = (80, 60, 3) if name == "rotated.jpg" else (60, 80, 3)
        assert cv2.imread(str(tmp_path / "out" / name), cv2.IMREAD_UNCHANGED).shape == shape, name
    found = json.loads((tmp_path / "out/detections.json").read_text())["images"]
    first = found["plain.jpg"][0]
    assert 0 <= first["xyxy"][0] < first["xyxy"][2] <= 80
    assert first["class"] in ("a", "b")


def test_a_voc_list_with_a_folder_is_what_run_sh_takes(model: Path, odd: Path, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("plain\ngrey  1\n\n")
    assert run("detect", model, tmp_path / "test.txt", odd, "--out", tmp_path / "out").startswith("2 images")
    assert [path.name for path in image_paths(str(tmp_path / "test.txt"), odd)] == ["plain.jpg", "grey.jpg"]


def test_a_list_finds_images_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    names = ("a.JPG", "b.Jpeg", "sub/c.PNG", "d.e.jpg", "both.png", "both.JPG")
    (tmp_path / "sub").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "list.txt").write_text("a\nb 1\nsub/c\nd.e\na.JPG\nboth\n")
    wanted = ["a.JPG", "b.Jpeg", "sub/c.PNG", "d.e.jpg", "a.JPG", "both.JPG"]
    assert image_paths(str(tmp_path / "list.txt")) == [tmp_path / name for name in wanted]


def test_unreadable_images_are_named_and_the_others_are_done(model: Path, odd: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes((odd / "plain.jpg").read_bytes())
    (folder / "cut.jpg").write_bytes((odd / "plain.jpg").read_bytes()[:300])
    (folder / "text.png").write_text("no picture")
    message = run("detect", model, folder, "--out", tmp_path / "out", fails=True)
    assert "2 of 3 images could not be read: cut.jpg, text.png" in message
    assert (tmp_path / "out/a.jpg").is_file()


def test_results_of_equal_names_do_not_overwrite_each_other() -> None:
    taken: list[str] = []
    for path in (Path("x/a.jpg"), Path("y/a.jpg"), Path("a.tiff"), Path("a.png")):
        taken.append(free_name(path, taken))
    assert taken == ["a.jpg", "a-2.jpg", "a.png", "a-2.png"]


@pytest.mark.parametrize(
    ("source", "message"),
    [("nothing.jpg", "is no image, folder, list"), ("film.mp4", "is missing"), ("99", "camera 99 cannot be opened")],
)
def test_sources_that_are_not_there_are_named(model: Path, source: str, message: str) -> None:
    assert message in run("detect", model, source, fails=True)


def test_a_folder_with_a_number_for_a_name_is_no_camera(
    model: Path, odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "2007").mkdir()
    (tmp_path / "2007/a.jpg").write_bytes((odd / "plain.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert run("detect", model, "2007").startswith("1 images")
    assert (tmp_path / "image_result/a.jpg").is_file()


def test_a_list_that_names_missing_images_or_none_is_refused(odd: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("plain\nother\n")
    with pytest.raises(DataError, match=r"image other of .* is not in .*\.tiff\)$"):
        image_paths(str(tmp_path / "list.txt"), odd)
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(DataError, match="names no image"):
        image_paths(str(tmp_path / "list.txt"), odd)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no image .*; name the folder that does"):
        image_paths(str(tmp_path / "empty"))
    (tmp_path / "set/JPEGImages").mkdir(parents=True)
    (tmp_path / "set/JPEGImages/plain.jpg").write_bytes((odd / "plain.jpg").read_bytes())
    with pytest.raises(DataError, match=r"set holds no image .*; .*/set/JPEGImages does"):
        image_paths(str(tmp_path / "set"))
    (tmp_path / "list.txt").write_text("plain\n")
    with pytest.raises(DataError, match=r"is not in .*; name the folder of the images behind the list"):
        image_paths(str(tmp_path / "list.txt"))


def test_a_video_becomes_a_video_with_boxes(model: Path, video: Path, tmp_path: Path) -> None:
    output = run("detect", model, video, "--conf", "0.0001", "--frames", "12", "--out", tmp_path / "out")
    assert output.startswith("12 images")
    stream = Stream(str(tmp_path / "out/film.mp4"))
    assert stream.expected == 12
    assert {frame.shape for frame in stream.frames()} == {(60, 80, 3)}


def test_a_video_that_ends_early_is_said_and_what_was_decoded_is_kept(
    model: Path, video: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 2])
    output = run("detect", model, video, "--out", tmp_path / "out")
    frames = int(output.split()[0])
    assert 0 < frames < 30
    assert f"says it has 30 frames, but ends after {frames}" in caplog.text
    assert (tmp_path / "out/film.mp4").is_file()
    video.write_bytes(b"no video")
    assert "cannot be opened" in run("detect", model, video, fails=True)


def test_speed_prints_every_stage_and_writes_no_picture(
    model: Path, odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = run("speed", model, odd, "--warmup", "1", "--out", tmp_path / "speed.json")
    for text in ("p50", "p90", "p99", "decode", "resize", "inference", "postprocess", "end-to-end", "images/s", "MB"):
        assert text in output
    figures = json.loads((tmp_path / "speed.json").read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]
    assert figures["images"] == 7
    stages = figures["stages"]
    assert tuple(stages) == STAGES
    assert all(0 < stages[name]["p50"] <= stages[name]["p90"] <= stages[name]["p99"] for name in STAGES)
    assert stages["end_to_end"]["p99"] >= stages["inference"]["p50"]
    assert "postprocess at confidence 0.25; at 0.001, as evaluation counts: " in output
    assert (figures["conf"], set(figures["postprocess_as_evaluation_ms"])) == (0.25, {"p50", "p90", "p99"})
    assert figures["peak_memory_mb"] > 50


@pytest.fixture
def dataset(tmp_path: Path, picture: np.ndarray) -> Path:
    root = tmp_path / "VOCdevkit" / "VOC2007"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for i in range(3):
        Image.fromarray(np.roll(picture, 9 * i, axis=0)).save(root / f"JPEGImages/{i:06}.jpg")
        note = annotation_from(80, 60, [[10, 10, 50, 40]], [i % 2], [False], [False])
        write_annotation(root / f"Annotations/{i:06}.xml", f"{i:06}.jpg", note, ("a", "b"))
    (root / "ImageSets/Main/test.txt").write_text("000000\n000001\n000002\n")
    return root.parent


def test_eval_writes_voc_files_that_score_as_printed(model: Path, dataset: Path, tmp_path: Path) -> None:
    output = run("eval", model, dataset, "--out", tmp_path / "txt")
    for name in ("map50", "map50_95", "map50_voc07", "3 images on pytorch-cpu"):
        assert name in output
    files = sorted((tmp_path / "txt").iterdir())
    assert [path.name for path in files] == ["comp4_det_test_a.txt", "comp4_det_test_b.txt"]
    lines = [line.split() for path in files for line in path.read_text().splitlines()]
    assert lines
    for image, score, xmin, ymin, xmax, ymax in lines:
        assert image in ("000000", "000001", "000002")
        assert 0 < float(score) <= 1
        assert 1 <= float(xmin) <= float(xmax) + 1 <= 81  # counted from 1, inclusive
        assert 1 <= float(ymin) <= float(ymax) + 1 <= 61


def test_damaged_pictures_are_said_by_detect_and_eval(
    model: Path, dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(dataset / "VOC2007/JPEGImages/000001.jpg")
    run("eval", model, dataset, "--out", tmp_path / "txt")
    run("detect", model, dataset / "VOC2007/JPEGImages", "--out", tmp_path / "drawn")
    assert caplog.text.count(f"{SAID}000001.jpg (premature end of data segment)") == 2


def test_eval_of_an_exported_model_does_without_pytorch(model: Path, dataset: Path, tmp_path: Path) -> None:
    export_model(load_model(model), tmp_path / "onnx")
    arguments = ["eval", str(tmp_path / "onnx"), str(dataset), "--out", str(tmp_path / "txt")]
    program = f"import sys; sys.modules['torch'] = None; from yoloslim.cli import app; app({arguments})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 images on onnxruntime-cpu" in done.stdout


@pytest.mark.parametrize("command", ["detect", "speed", "eval"])
def test_the_precision_of_pytorch_can_be_chosen_and_is_labelled(
    command: str, model: Path, odd: Path, dataset: Path, tmp_path: Path
) -> None:
    source, out = dataset if command == "eval" else odd, ["--out", tmp_path / "out"] if command != "speed" else []
    assert "on pytorch-cpu-bf16" in run(command, model, source, "--precision", "bf16", *out)


def test_a_precision_that_a_runtime_lacks_is_refused(model: Path, odd: Path, tmp_path: Path) -> None:
    export_model(load_model(model), tmp_path / "onnx")
    message = run("speed", tmp_path / "onnx", odd, "--precision", "bf16", fails=True)
    assert message == "onnxruntime computes in the precision of the file; bf16 is for pytorch and openvino"


@pytest.mark.parametrize(
    ("command", "read", "options"),
    [
        ("prune {}", "m.safetensors", ["--out", "./m"]),
        ("import {}", "m.safetensors", ["--out", "m.safetensors"]),
        ("export-darknet {}", "m.weights", []),
        ("export-darknet {}", "m.cfg", ["--out", "sub/../m.cfg"]),
        ("features m.safetensors {}", "a.jpg", ["--out", "a.jpg"]),
        ("detect MODEL {}", "film.mp4", ["--out", "."]),
        ("detect MODEL {}", "a.jpg", ["--out", "."]),
        ("detect MODEL .", "a.jpg", ["--out", "sub/.."]),
    ],
)
def test_no_command_replaces_what_it_reads(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, read: str, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    Path(read).write_bytes(b"precious")
    words = [str(model) if word == "MODEL" else word for word in command.format(read).split()]
    done = runner.invoke(app, [*words, *options])
    assert done.exit_code == 1
    assert re.search(r"is what this reads, and would be replaced|holds the images, which", str(done.exception))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == {read: b"precious"}


def test_options_of_videos_are_refused_for_pictures(model: Path, odd: Path) -> None:
    for command in ("detect", "speed"):
        done = runner.invoke(app, [command, str(model), str(odd), "--frames", "3"])
        assert str(done.exception) == f"--frames is for videos and cameras, and {odd} is none"


def test_eval_names_what_is_wrong_with_a_data_set(model: Path, dataset: Path, tmp_path: Path) -> None:
    assert "image sets there: test" in run("eval", model, dataset, "--image-set", "val", fails=True)
    assert f"data.path {tmp_path / 'txt'} is missing" in run("eval", model, tmp_path / "txt", fails=True)
    (tmp_path / "empty").mkdir()
    assert "has no layout that was looked for" in run("eval", model, tmp_path / "empty", fails=True)
    path = dataset / "VOC2007/Annotations/000001.xml"
    tree = ElementTree.parse(path)
    name = tree.find("object/name")
    assert name is not None
    name.text = "zebra"
    tree.write(path)
    assert "'zebra'" in run("eval", model, dataset, fails=True)


def test_boxes_can_be_kept_by_class_written_as_text_and_cut_out(model: Path, odd: Path, tmp_path: Path) -> None:
    source, out = odd / "lossless.png", tmp_path / "out"
    run("detect", model, source, "--conf", "0.0001", "--classes", "b", "--save-txt", "--crops", "--out", out)
    found = json.loads((out / "detections.json").read_text())["images"]["lossless.png"]
    assert found
    assert {each["class"] for each in found} == {"b"}
    lines = (out / "labels/lossless.txt").read_text().splitlines()
    crops = sorted((out / "crops/b").iterdir())
    assert len(lines) == len(found) == len(crops)
    for line, each in zip(lines, found, strict=True):
        label, x, y, width, height = map(float, line.split())
        left, top, right, bottom = each["xyxy"]
        assert label == 1
        np.testing.assert_allclose([x * 80, y * 60], [(left + right) / 2, (top + bottom) / 2], atol=0.06)
        np.testing.assert_allclose([width * 80, height * 60], [right - left, bottom - top], atol=0.11)
    left, top, right, bottom = found[0]["xyxy"]
    height, width = cv2.imread(str(out / "crops/b/lossless-1.jpg")).shape[:2]
    assert abs(width - (right - left)) <= 2.1
    assert abs(height - (bottom - top)) <= 2.1


def test_a_class_that_the_model_does_not_know_is_named_with_those_it_has(model: Path, odd: Path) -> None:
    message = run("detect", model, odd, "--classes", "a,zebra", fails=True)
    assert message == "the model has no class 'zebra'; it has a, b"


@pytest.mark.parametrize("outputs", ["decoded", "nms"])
def test_exports_that_decode_inside_are_run_by_all_three(
    outputs: str, model: Path, odd: Path, dataset: Path, tmp_path: Path
) -> None:
    limits = ("--conf-thres", "0.0001") if outputs == "nms" else ()
    run("export", model, "--outputs", outputs, *limits, "--out", tmp_path / "onnx")
    run("export", model, "--out", tmp_path / "raw")
    found = {}
    for name in ("raw", "onnx"):
        run("detect", tmp_path / name, odd / "lossless.png", "--conf", "0.0001", "--out", tmp_path / name / "out")
        images = json.loads((tmp_path / name / "out/detections.json").read_text())["images"]
        found[name] = [each["score"] for each in images["lossless.png"]]
    assert found["raw"]
    if outputs == "decoded":  # inside, NMS takes every class of a cell
        np.testing.assert_allclose(found["onnx"], found["raw"], atol=2e-4)
    evaluated = [run("eval", tmp_path / name, dataset, "--out", tmp_path / "txt") for name in ("raw", "onnx")]
    values = [[float(line.split()[1]) for line in text.splitlines() if line.startswith("map50 ")] for text in evaluated]
    if outputs == "decoded":
        assert abs(values[0][0] - values[1][0]) < 0.02
    timed = run("speed", tmp_path / "onnx", odd, "--warmup", "1")
    said = "suppression: inside the graph: NMS at an overlap of 0.45 among scores above 0.0001"
    assert (said in timed) == (said in evaluated[1]) == (outputs == "nms")
    if outputs == "nms":
        message = run("detect", tmp_path / "onnx", odd, "--iou", "0.7", fails=True)
        assert message.startswith("an overlap of 0.7 cannot be had: the graph decided it when it was exported")


def test_frames_of_a_video_have_their_boxes_as_text(model: Path, video: Path, tmp_path: Path) -> None:
    run("detect", model, video, "--conf", "0.0001", "--frames", "2", "--save-txt", "--out", tmp_path / "out")
    texts = sorted(path.name for path in (tmp_path / "out/labels").iterdir())
    assert texts == ["film-000001.txt", "film-000002.txt"]
