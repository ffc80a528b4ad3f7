import copy
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from tests.tiny import shake_norms, tiny_detector
from tests.training.test_fit import Fuse, assert_same_weights, task, without_clock
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.graph import feeds
from yoloslim.deploy.int8 import quantize, tensor_ranges
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.onnx import ExportOptions, onnx_graph
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.deploy.runtimes.onnxruntime import write_qdq
from yoloslim.errors import DeployError, TrainError
from yoloslim.evaluation.predictor.base import to_numpy
from yoloslim.evaluation.predictor.onnxruntime import open_session
from yoloslim.evaluation.predictor.openvino import openvino_core
from yoloslim.models.detector import Detector, build_detector, normed_convs
from yoloslim.ranges import ConvRange
from yoloslim.training.callback import State
from yoloslim.training.fit import fit
from yoloslim.training.quantization import FakeQuantization, Point, exported_names, quantized_paths

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)


def begun(model: Detector) -> tuple[Detector, FakeQuantization]:
    """A network as it computes in quantised epochs."""
    quantization = FakeQuantization(IMAGES, epochs=1)
    quantization.start(State(model, model, epochs=1))
    return model, quantization


def heads_of(model: Detector) -> list[np.ndarray]:
    with torch.no_grad():
        outputs = model(torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255)
        return [to_numpy(head) for head in model.spec.head.answering(outputs)]


def shaken(name: str) -> Detector:
    torch.manual_seed(0)
    model = tiny_detector() if name == "tiny" else build_detector(name, ("a", "b", "c"), imgsz=64)
    shake_norms(model)
    return model.eval()


def test_a_point_rounds_to_256_values_that_hold_zero() -> None:
    point, values = Point(), torch.tensor([-9.0, -0.013, 0.0, 0.004, 0.01, 2.0])
    assert torch.equal(point(values), values)
    point.set(-0.55, 2.0)
    assert point(values).tolist() == pytest.approx([-0.55, -0.01, 0.0, 0.0, 0.01, 2.0])
    point.set(0.5, 2.55)  # a range without 0 is widened
    assert point(torch.tensor([0.0, 0.2, 3.0])).tolist() == pytest.approx([0.0, 0.2, 2.55])


@pytest.mark.parametrize(
    ("name", "equal"),
    [
        ("tiny", 0.9999),
        pytest.param("yolov8n", 0.85, marks=pytest.mark.slow),
        pytest.param("yolo26n", 0.75, marks=pytest.mark.slow),
    ],
)
def test_training_computes_what_the_int8_graph_does(name: str, equal: float, tmp_path: Path) -> None:
    """Every convolution gives the same multiple of its step, but where the last bit of a sum decides.

    Such a bit decides more of them the deeper a network is.
    """
    model = shaken(name)
    graph = onnx_graph(model, ExportOptions())
    rounding, quantization = begun(model)
    found = quantization.ranges(model)
    write_qdq(graph, IMAGES[:1], tensor_ranges(graph, found), (), tmp_path, ["Conv"])
    norms, given = normed_convs(model), dict[str, Tensor]()
    for path, name_there in exported_names(model, quantization.points).items():
        hook = partial(lambda name, _, __, output: given.update({name: output[:1].clone()}), name_there)
        rounding.get_submodule(norms.get(path, path)).register_forward_hook(hook)
    heads_of(rounding)
    int8 = onnx.load(tmp_path / "model.onnx")
    outputs = {node.input[1].split(".weight")[0]: node.output[0] for node in int8.graph.node if node.op_type == "Conv"}
    names = [f"{outputs[path]}_DequantizeLinear_Output" for path in found]
    int8.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = open_session(int8.SerializeToString(), 1)
    for (path, limits), deployed in zip(found.items(), session.run(names, next(feeds(graph, IMAGES))), strict=True):
        step = (limits[3] - limits[2]) / 255
        off = (given[path] - torch.from_numpy(deployed)).abs() / step
        assert float(off.max()) < 2.1, path
        assert int((off < 0.01).sum()) > equal * off.numel(), path


def test_a_copy_in_bf16_as_epochs_validate_computes_nearly_the_same() -> None:
    rounding, _ = begun(shaken("tiny"))
    wanted = heads_of(rounding)
    with torch.no_grad():
        pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).bfloat16() / 255
        found = copy.deepcopy(rounding).bfloat16()(pixels)
    for a, b in zip(found, wanted, strict=True):
        assert float(np.abs(to_numpy(a.float()) - b).max()) < 0.02 * float(np.abs(b).max())


def exported(folder: Path) -> dict[str, ConvRange]:
    """A model and its ranges, in `fp32`; the same without them in `plain`."""
    model = shaken("tiny")
    ranges = begun(shaken("tiny"))[1].ranges(model)
    export_model(model, folder / "plain")
    export_model(model, folder / "fp32", ranges=ranges)
    return ranges


def test_ranges_are_in_the_manifest_and_in_nothing_else(tmp_path: Path) -> None:
    ranges = exported(tmp_path)
    assert load_manifest(tmp_path / "fp32").ranges == ranges
    assert (tmp_path / "fp32/model.onnx").read_bytes() == (tmp_path / "plain/model.onnx").read_bytes()
    assert "ranges" not in (tmp_path / "plain/manifest.json").read_text()


def test_onnx_runtime_gets_the_scales_of_the_training(tmp_path: Path) -> None:
    ranges = exported(tmp_path)
    assert quantize(tmp_path / "fp32", IMAGES, tmp_path / "int8", "onnxruntime").ranges == ranges
    initializers = onnx.load(tmp_path / "int8/model.onnx").graph.initializer
    scales = {each.name: each for each in initializers if each.name.endswith("_scale")}
    for name, (low, high) in tensor_ranges_of(ranges, tmp_path).items():
        scale = float(onnx.numpy_helper.to_array(scales[f"{name}_scale"]))
        assert scale == pytest.approx((high - low) / 255, rel=1e-5)


def executed(path: Path) -> Counter[tuple[str, ...]]:
    """What OpenVINO really runs: kinds of layers, kernels, and the types of what they give."""
    compiled = openvino_core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    facts = (each.get_rt_info() for each in compiled.get_runtime_model().get_ops())
    return Counter(
        tuple(f[key].astype(str) for key in ("layerType", "primitiveType", "outputPrecisions")) for f in facts
    )


@pytest.mark.slow
def test_openvino_takes_onnx_runtimes_file_and_is_as_near_as_with_its_own(tmp_path: Path) -> None:
    """x86 without VNNI adds products in pairs of 16 bits, which random weights overflow: of both files alike."""
    exported(tmp_path)
    for name in ("onnxruntime", "openvino"):
        quantize(tmp_path / "fp32", IMAGES, tmp_path / name, name)
    theirs = open_predictor(tmp_path / "onnxruntime", "openvino", threads=1)
    assert theirs.backend == "openvino-cpu-int8"
    kernels = Counter(kind for kind, kernel, _ in executed(tmp_path / "onnxruntime/model.onnx") if "I8" in kernel)
    assert kernels["Convolution"] > 0
    exact, own, ours = (
        open_predictor(tmp_path / f, threads=1).predict(IMAGES) for f in ("fp32", "openvino", "onnxruntime")
    )
    for a, *others, found in zip(exact, own, ours, theirs.predict(IMAGES), strict=True):
        assert float(np.abs(found - a).mean()) < 1.2 * max(float(np.abs(other - a).mean()) for other in others)


@pytest.mark.slow
def test_openvino_runs_the_same_layers_with_ranges_of_the_training_as_with_calibrated_ones(tmp_path: Path) -> None:
    wanted = tensor_ranges_of(exported(tmp_path), tmp_path)
    quantize(tmp_path / "fp32", np.zeros_like(IMAGES), tmp_path / "a", "openvino")  # nothing to calibrate on
    quantize(tmp_path / "plain", IMAGES, tmp_path / "b", "openvino")
    assert executed(tmp_path / "a/model.xml") == executed(tmp_path / "b/model.xml")
    found = 0
    for each in openvino_core().read_model(str(tmp_path / "a/model.xml")).get_ops():
        names = each.input_value(0).get_names() if each.get_type_name() == "FakeQuantize" else set()
        readers = (
            {target.get_node().get_type_name() for target in each.output(0).get_target_inputs()} if names else set()
        )
        for name in names & wanted.keys() if readers == {"Convolution"} else ():
            found += 1
            low, high = (float(each.input_value(i).get_node().get_data()) for i in (1, 2))
            assert high - low == pytest.approx(wanted[name][1] - wanted[name][0], rel=1e-5)
            assert low == pytest.approx(wanted[name][0], abs=0.51 * (high - low) / 255)  # 0 is one of the steps
    assert found > 4


def tensor_ranges_of(ranges: dict[str, ConvRange], folder: Path) -> dict[str, tuple[float, float]]:
    """By tensor of the exported graph."""
    return tensor_ranges(onnx.load(folder / "fp32/model.onnx"), ranges)


def test_a_runtime_that_takes_no_ranges_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exported(tmp_path)
    assert quantize(tmp_path / "fp32", IMAGES, tmp_path / "int8", "ncnn").ranges == {}
    assert "ncnn takes no ranges from training" in caplog.text


def test_ranges_of_another_network_are_refused() -> None:
    graph = onnx_graph(shaken("tiny"), ExportOptions())
    with pytest.raises(DeployError, match=r"do not fit: model\.9\.conv"):
        tensor_ranges(graph, begun(shaken("tiny"))[1].ranges(tiny_detector()) | {"model.9.conv": (0, 1, 0, 1)})


def test_the_first_epochs_are_those_of_any_training_and_the_last_are_not() -> None:
    plain = fit(task(epochs=5, keep="last"))
    rounded = fit(task(epochs=5, keep="last", callbacks=(FakeQuantization(IMAGES, 5),)))
    assert without_clock(rounded)[:3] == without_clock(plain)[:3]
    assert without_clock(rounded)[3]["loss"] != without_clock(plain)[3]["loss"]
    norms = [value for name, value in rounded.model.state_dict().items() if name.endswith("running_var")]
    assert all(torch.isfinite(value).all() for value in norms)
    assert rounded.model.state_dict().keys() == plain.model.state_dict().keys()


@pytest.mark.parametrize("steps", [4, 13])  # before and amid the quantised epochs
def test_a_resumed_training_ends_in_the_same_weights_and_ranges(steps: int, tmp_path: Path) -> None:
    whole = FakeQuantization(IMAGES, 5)
    expected = fit(task(epochs=5, keep="last", callbacks=(whole,)))
    file = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(task(epochs=5, keep="last", callbacks=(FakeQuantization(IMAGES, 5), Fuse(steps)), checkpoint=file))
    again = FakeQuantization(IMAGES, 5)
    resumed = fit(task(epochs=5, keep="last", callbacks=(again, Fuse(999)), checkpoint=file))
    assert_same_weights(resumed.model, expected.model)
    assert again.ranges(resumed.model) == whole.ranges(expected.model)


def test_shares_of_a_batch_are_quantised_alike_by_any_number_of_threads() -> None:
    results = []
    for threads in (1, 2):
        made = task(epochs=2, keep="last", train={"share": 2, "threads": threads})
        results.append(fit(replace(made, callbacks=(FakeQuantization(IMAGES, 2),))))
    assert_same_weights(results[0].model, results[1].model)
    plain = fit(task(epochs=2, keep="last", train={"share": 2}))
    assert without_clock(results[0])[1]["loss"] != without_clock(plain)[1]["loss"]


def test_of_two_branches_the_one_that_answers_keeps_its_ranges_under_the_exported_names() -> None:
    model = shaken("yolo26n")
    graph = onnx_graph(model, ExportOptions())
    _, quantization = begun(model)
    found = quantization.ranges(model)
    tensor_ranges(graph, found)  # the same convolutions
    head = f"model.{len(model.model) - 1}."
    path = next(name for name in found if name.startswith(f"{head}cv2."))
    read, given = quantization.points[path.replace(head, f"{head}one2one_")]
    assert found[path] == (read.low, read.high, given.low, given.high)


def test_parallel_convolutions_are_refused() -> None:
    with pytest.raises(TrainError, match=r"parallel convolutions.*finetune\.quantize=false"):
        quantized_paths(build_detector("v5Lite-g", ("a",), imgsz=64))
