"""Whole files of other programs into Detectors."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from tests.tiny import shake_norms, tiny_detector
from yoloslim.cli import app
from yoloslim.errors import ModelError, WeightsError
from yoloslim.models.detector import Detector, build_detector, fuse
from yoloslim.models.foreign.adapt import with_classes
from yoloslim.models.foreign.load import import_model, read_model
from yoloslim.models.store import load_model, save_model


def assert_gives(model: Detector, public: Path, name: str) -> None:
    with np.load(public / "outputs.npz") as oracle, torch.no_grad():
        heads = model(torch.from_numpy(oracle["x"]))
        for level, head in enumerate(heads):
            np.testing.assert_allclose(head.numpy(), oracle[f"{name}{level}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("file", "oracle", "architecture"),
    [
        *((file, "v6", "yolov5n") for file in ("v6", "v6-legacy", "stripped", "bare", "parallel")),
        ("v5", "v5", "yolov5s-v5.0"),
    ],
)
def test_public_checkpoint_gives_what_its_own_classes_give(
    public: Path, file: str, oracle: str, architecture: str
) -> None:
    model = import_model(public / f"{file}.pt")
    assert "models.yolo" not in sys.modules
    assert model.spec.name == architecture
    assert model.spec.classes == ("thing 0", "thing 1", "thing 2", "thing 3")
    assert model.spec.head.anchors[0] == ((10, 13), (16, 30), (33, 23))
    assert model.spec.head.anchors[2] == ((116, 90), (156, 198), (373, 326))
    assert not model.training
    assert_gives(model, public, oracle)


def test_image_size_comes_from_the_training_that_wrote_the_file(public: Path) -> None:
    assert import_model(public / "v6.pt").spec.imgsz == 320
    assert import_model(public / "bare.pt").spec.imgsz == 640


def test_state_dicts_give_the_same_and_take_the_names_they_are_given(public: Path, tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    model = import_model(public / "state.pt", classes=names)
    assert_gives(model, public, "v6")
    assert model.spec.classes == names
    assert import_model(public / "prefixed.pth", classes=("one",)).spec.classes[3] == "class3"
    save_file(model.state_dict(), tmp_path / "plain.safetensors")
    assert_gives(import_model(tmp_path / "plain.safetensors"), public, "v6")


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model.", "_orig_mod."])
def test_what_wrappers_put_in_front_of_all_names_is_taken_off(public: Path, tmp_path: Path, prefix: str) -> None:
    state = import_model(public / "v6.pt").state_dict()
    torch.save({f"{prefix}{name}": value for name, value in state.items()}, tmp_path / "m.pt")
    assert_gives(import_model(tmp_path / "m.pt"), public, "v6")


def test_what_a_state_dict_does_not_tell_is_said(public: Path, caplog: pytest.LogCaptureFixture) -> None:
    import_model(public / "state.pt", classes=("a", "b", "c", "d"))
    assert "not tell at what image size it learnt: 640 px are assumed; --imgsz of `import` says another" in caplog.text
    assert "it names no classes: its 4 are taken for ['a', 'b', 'c', 'd'], in this order" in caplog.text
    caplog.clear()
    import_model(public / "state.pt")
    assert "its classes are called class0 to class3; --classes of `import` names them in order" in caplog.text
    caplog.clear()
    assert import_model(public / "state.pt", classes=("a", "b", "c", "d"), imgsz=320).spec.imgsz == 320
    assert "px" not in caplog.text
    caplog.clear()
    import_model(public / "v6.pt")
    assert not caplog.text


def test_import_takes_an_image_size(public: Path, tmp_path: Path) -> None:
    command = ["import", str(public / "state.pt"), "--out", str(tmp_path / "m.safetensors"), "--imgsz"]
    result = CliRunner().invoke(app, [*command, "320"])
    assert result.exit_code == 0, result.output
    small, usual = load_model(tmp_path / "m.safetensors"), import_model(public / "state.pt")
    assert (small.spec.imgsz, usual.spec.imgsz) == (320, 640)
    assert small.spec.head == usual.spec.head  # anchors are pixels, which hold at any size
    refused = CliRunner().invoke(app, [*command, "300"])
    assert isinstance(refused.exception, WeightsError)


def test_names_of_another_number_than_the_head_has_are_said_and_left(
    public: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = import_model(public / "v6.pt").state_dict()
    torch.save({"model": state, "names": ["a", "b"]}, tmp_path / "m.pt")
    assert import_model(tmp_path / "m.pt").spec.classes == ("class0", "class1", "class2", "class3")
    assert "names 2 classes, but its head tells 4 apart" in caplog.text


def test_our_own_file_is_read_as_it_is(tmp_path: Path) -> None:
    model = tiny_detector()
    shake_norms(model)
    save_model(model, tmp_path / "m.safetensors")
    assert import_model(tmp_path / "m.safetensors").spec == model.spec


def test_import_is_stored_and_read_back(public: Path, tmp_path: Path) -> None:
    save_model(import_model(public / "v6.pt"), tmp_path / "m.safetensors")
    assert_gives(load_model(tmp_path / "m.safetensors"), public, "v6")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "hardswish",
            r"hardswish\.pt: its tensors fit yolov5n, but it computes .*model\.3\.act is Hardswish, not SiLU",
        ),
        ("rewired", r"layer 16 \(Concat\) reads layers \(15, 2\), not \(15, 4\)"),
        ("strided", r"model\.3\.conv has stride \(1, 1\), not \(2, 2\)"),
        ("overflow", r"tensor 'model\.2\.cv1\.conv\.weight' holds \d+ values that are infinite .* half precision"),
        ("segmentation", r"a checkpoint for segmentation \(SegmentationModel\); only boxes can be imported"),
        ("classification", r"a checkpoint for classification \(ClassificationModel\); only boxes"),
        ("empty", r"holds no network: .*its keys are \['model', 'results'\]"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(public: Path, file: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        import_model(public / f"{file}.pt")


def test_a_named_model_must_be_the_one(public: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"it is no yolov5s but yolov5n: \d+ tensors differ: model\.0\.conv\.weight is 16x3x6x6"
    ):
        import_model(public / "v6.pt", "yolov5s")


def test_missing_and_foreign_tensors_are_named(public: Path, tmp_path: Path) -> None:
    state = import_model(public / "v6.pt").state_dict()
    del state["model.9.cv2.bn.bias"]
    torch.save(state | {"model.9.extra": torch.zeros(2)}, tmp_path / "m.pt")
    with pytest.raises(
        WeightsError, match=r"nearest is yolov5n: 2 tensors differ: model\.9\.cv2\.bn\.bias 256 is miss"
    ):
        import_model(tmp_path / "m.pt")


def test_a_fused_checkpoint_is_refused_with_the_way_out(public: Path, tmp_path: Path) -> None:
    torch.save(fuse(import_model(public / "v6.pt")).state_dict(), tmp_path / "m.pt")
    with pytest.raises(WeightsError, match=r"m\.pt: it has no BatchNorm: .*folded .*Give the checkpoint that training"):
        import_model(tmp_path / "m.pt")


def test_a_network_like_none_of_ours_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "m.pt")
    with pytest.raises(WeightsError, match=r"m\.pt: none of its tensors is named as in YOLOv5"):
        import_model(tmp_path / "m.pt")


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors", "m.onnx", "m.weights"])
def test_files_that_are_nothing_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not weights at all, whatever it is called")
    with pytest.raises(WeightsError, match=name):
        import_model(tmp_path / name)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(WeightsError, match=name):
        import_model(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pt is missing"):
        import_model(tmp_path / "none.pt")


def test_torchscript_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "m.pt")
    with pytest.raises(WeightsError, match="TorchScript"):
        import_model(tmp_path / "m.pt")


def test_nothing_is_said_where_all_is_loaded(public: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        import_model(public / "v6.pt")
    assert not caplog.records


def test_class_names_that_break_lines_are_settled_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = build_detector("yolov5n", ("a", "b"))
    torch.save({"state_dict": model.state_dict(), "names": ["a\nx", "b/c"]}, tmp_path / "w.pt")
    assert import_model(tmp_path / "w.pt", "yolov5n").spec.classes == ("a x", "b_c")
    assert "class 'a\\nx' of the file is called 'a x' from here on" in caplog.text


def test_class_names_of_people_that_break_lines_are_refused_with_a_sentence(tmp_path: Path) -> None:
    model = build_detector("yolov5n", ("a", "b"))
    with pytest.raises(ModelError, match="line break or another control character"):
        with_classes(model, ("c\x1b", "d", "e"))


def test_a_folder_that_holds_a_model_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder; give the model file that it was made from"):
        read_model(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match=r"is a folder; give .*/model\.safetensors in it"):
        read_model(tmp_path)
