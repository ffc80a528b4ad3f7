import json
from pathlib import Path

import pytest

from tests.deploy.models import tiny_detector
from yoloslim.deploy.ascend.mindx import check_mindx, postprocess_config, task_stream, write_mindx
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.manifest import Manifest, Output, load_manifest
from yoloslim.errors import DeployError


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("export")
    export_model(tiny_detector(), folder)
    return load_manifest(folder)


def test_post_process_configuration_holds_the_only_combination_for_yolov5(manifest: Manifest) -> None:
    values = dict(line.split("=") for line in postprocess_config(manifest, "eval").splitlines())
    assert values == {
        "CLASS_NUM": "3",
        "BIASES_NUM": "18",
        "BIASES": "10,13,16,30,33,23,30,61,62,45,59,119,116,90,156,198,373,326",
        "SCORE_THRESH": "0.001",
        "OBJECTNESS_THRESH": "0.001",
        "IOU_THRESH": "0.6",
        "YOLO_TYPE": "3",
        "ANCHOR_DIM": "3",
        "YOLO_VERSION": "5",
        "MODEL_TYPE": "2",
        "FRAMEWORK": "PyTorch",
    }


def test_elements_are_chained_from_source_to_sink_with_string_properties(manifest: Manifest) -> None:
    stream = task_stream(manifest, "detect", "nv12")["detect"]
    assert stream["stream_config"] == {"deviceId": "0"}
    chain, name = [], "appsrc0"
    while name:
        assert stream[name]["factory"] == name[:-1]
        chain.append(name)
        name = stream[name].get("next", "")
    assert chain == [
        *("appsrc0", "mxpi_imagedecoder0", "mxpi_imageresize0", "mxpi_tensorinfer0", "mxpi_objectpostprocessor0"),
        *("mxpi_dataserialize0", "appsink0"),
    ]
    assert "props" not in stream["mxpi_imagedecoder0"]  # the chip's decoder, which gives NV12
    assert stream["mxpi_imageresize0"]["props"]["resizeWidth"] == "64"
    assert "paddingType" not in stream["mxpi_imageresize0"]["props"]


def test_rgb_input_is_decoded_on_the_cpu_and_filled_with_grey(manifest: Manifest) -> None:
    stream = task_stream(manifest, "eval", "rgb")["eval"]
    assert stream["mxpi_imagedecoder0"]["props"] == {"cvProcessor": "opencv", "outputDataFormat": "RGB"}
    assert stream["mxpi_imageresize0"]["props"]["paddingColorG"] == "114"


def test_generated_files_hold_up_and_name_each_other(manifest: Manifest, tmp_path: Path) -> None:
    names = write_mindx(tmp_path, manifest, "nv12")
    assert sorted(names) == sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert (tmp_path / "mindx/classes.names").read_text() == "a\nb\nc\n"
    props = json.loads((tmp_path / "mindx/eval.pipeline").read_text())["eval"]["mxpi_objectpostprocessor0"]["props"]
    assert (tmp_path / props["postProcessConfigPath"]).is_file()
    assert (tmp_path / props["labelPath"]).is_file()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("yolov5_eval.cfg", "MODEL_TYPE=2", "MODEL_TYPE=1", "MODEL_TYPE must be 2, not 1"),
        ("yolov5_eval.cfg", "YOLO_VERSION=5\n", "", "YOLO_VERSION must be 5, not missing"),
        ("yolov5_detect.cfg", "10,13", "11,13", "BIASES must be 10,13,16,.* for this model"),
        ("yolov5_detect.cfg", "SCORE_THRESH=0.25", "SCORE_THRESH=25", "SCORE_THRESH must be a number from 0 to 1"),
        ("classes.names", "b\n", "", "must hold the model's 3 classes"),
        (
            "detect.pipeline",
            '"resizeHeight"',
            '"paddingType": "Padding_Around", "resizeHeight"',
            "must lie at the top left",
        ),
        ("detect.pipeline", '"resizeWidth": "64"', '"resizeWidth": "640"', "must be 64"),
        ("eval.pipeline", "libyolov3postprocess.so", "libMpYOLOv5PostProcessor.so", "must name libyolov3postprocess"),
    ],
)
def test_an_edited_bundle_that_breaks_a_rule_is_refused(
    manifest: Manifest, tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    write_mindx(tmp_path, manifest, "nv12")
    path = tmp_path / "mindx" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DeployError, match=message):
        check_mindx(tmp_path, manifest)


def test_heads_that_are_not_raw_logits_are_refused(manifest: Manifest, tmp_path: Path) -> None:
    wrong = manifest.model_copy(update={"heads": (Output(name="out", shape=(1, 2, 8, 8, 8)),)})
    with pytest.raises(DeployError, match=r"raw logits \(1, 3, 8, 8, 8\)"):
        write_mindx(tmp_path, wrong, "nv12")
