"""Compiled models against fakes of `acl` and ais_bench."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.deploy.ascend.fake_ais_bench import FakeInferSession, load_fake_ais_bench
from tests.deploy.models import tiny_detector
from tests.runner.test_acl_session import load_fake, make_om
from yoloslim.cli import app
from yoloslim.deploy.ascend.aipp import aipp_twin
from yoloslim.deploy.ascend.atc import AtcOptions, compile_model
from yoloslim.deploy.ascend.predictors import AclPredictor, AisBenchPredictor
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.manifest import Manifest, load_manifest
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor import OnnxPredictor

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("export")
    export_model(tiny_detector(), folder, ExportOptions(batch=0))
    return folder / "model.onnx", load_manifest(folder)


def cpu(export: tuple[Path, Manifest], source: str) -> OnnxPredictor:
    return OnnxPredictor(*export, 1, aipp_twin(source))  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["nv12", "rgb"])
@pytest.mark.parametrize("gears", [(), (1, 2)])
def test_acl_gives_the_heads_of_the_graph_behind_aipp(
    source: str,
    gears: tuple[int, ...],
    export: tuple[Path, Manifest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_fake(monkeypatch)
    om = make_om(export[0], tmp_path, source=source, gears=gears)
    predictor = AclPredictor(Path(om), export[1], source, gears)  # type: ignore[arg-type]
    assert (predictor.backend, predictor.preprocessing) == ("ascend-acl", f"aipp-{source}")
    for a, b in zip(predictor.predict(IMAGES), cpu(export, source).predict(IMAGES), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    with pytest.raises(DeployError, match=r"ascend-acl model takes uint8 images \(batch, 64, 64, 3\)"):
        predictor.predict(IMAGES[:, :32])
    predictor.close()


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (3, [4]), (6, [4, 4])])
def test_images_go_in_the_smallest_gear_that_holds_them(
    count: int, sizes: list[int], export: tuple[Path, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_fake(monkeypatch)
    om = make_om(export[0], tmp_path, source="rgb", gears=(1, 4))
    predictor, seen = AclPredictor(Path(om), export[1], "rgb", (4, 1)), []
    run = predictor.run
    monkeypatch.setattr(predictor, "run", lambda batch: seen.append(len(batch)) or run(batch))
    images = np.concatenate([IMAGES, IMAGES])[:count]
    for a, b in zip(predictor.predict(images), cpu(export, "rgb").predict(images), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert seen == sizes
    predictor.close()


def test_a_model_for_another_chip_is_said(
    export: tuple[Path, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_fake(monkeypatch)
    om = make_om(export[0], tmp_path, soc="Ascend310P3")
    with pytest.raises(DeployError, match=r"ascend-acl cannot load .*507008.*another chip"):
        AclPredictor(Path(om), export[1])


def test_without_acl_or_ais_bench_the_way_out_is_said(export: tuple[Path, Manifest], tmp_path: Path) -> None:
    om = Path(make_om(export[0], tmp_path))
    with pytest.raises(DeployError, match=r"cannot import acl .*set_env\.sh"):
        AclPredictor(om, export[1])
    with pytest.raises(DeployError, match=r"cannot import ais_bench .*aclruntime"):
        AisBenchPredictor(om, export[1])


@pytest.fixture
def ais_bench(monkeypatch: pytest.MonkeyPatch, export: tuple[Path, Manifest]) -> type[FakeInferSession]:
    return load_fake_ais_bench(monkeypatch, cpu(export, "rgb"))


def test_ais_bench_gives_the_heads_in_the_order_of_levels(
    ais_bench: type[FakeInferSession], export: tuple[Path, Manifest], tmp_path: Path
) -> None:
    om = Path(make_om(export[0], tmp_path))
    predictor = AisBenchPredictor(om, export[1], "rgb")
    assert predictor.backend == "ascend-ais_bench"
    for a, b in zip(predictor.predict(IMAGES), cpu(export, "rgb").predict(IMAGES), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert predictor.compute_ms() == [1.5, 1.5, 1.5]
    with pytest.raises(DeployError, match="set device failed"):
        AisBenchPredictor(om, export[1], "rgb", device=7)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (3, [4]), (6, [4, 4])])
def test_ais_bench_switches_between_gears(
    count: int, sizes: list[int], export: tuple[Path, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = load_fake_ais_bench(monkeypatch, cpu(export, "rgb"), gears=(1, 4))
    predictor = AisBenchPredictor(Path(make_om(export[0], tmp_path, gears=(1, 4))), export[1], "rgb", (4, 1))
    images = np.concatenate([IMAGES, IMAGES])[:count]
    for a, b in zip(predictor.predict(images), cpu(export, "rgb").predict(images), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert fake.sizes == sizes


@pytest.mark.parametrize("runtime", [None, "acl", "ais_bench"])
def test_a_bundle_that_was_compiled_elsewhere_runs_the_tasks(
    runtime: str | None,
    ais_bench: type[FakeInferSession],
    export: tuple[Path, Manifest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_fake(monkeypatch)
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
    bundle = tmp_path / "bundle"
    compile_model(export[0].parent, bundle, AtcOptions(aipp_input="rgb"))
    make_om(export[0], bundle, source="rgb")  # what atc.sh leaves there
    picture = tmp_path / "picture.png"
    Image.fromarray(IMAGES[0]).save(picture)
    found = {}
    for name, model in (("chip", bundle / "model.om" if runtime is None else bundle), ("cpu", bundle / "model.onnx")):
        out, options = tmp_path / name, ["--runtime", runtime] if runtime and name == "chip" else []
        done = CliRunner().invoke(app, ["detect", str(model), str(picture), "--conf", "0", "--out", str(out), *options])
        assert done.exit_code == 0, done.output + str(done.exception)
        found[name] = json.loads((out / "detections.json").read_text())
    assert found["chip"]["backend"] == f"ascend-{runtime or 'acl'}"
    boxes = [found[name]["images"]["picture.png"] for name in ("chip", "cpu")]
    assert [box["class"] for box in boxes[0]] == [box["class"] for box in boxes[1]]
    if runtime == "ais_bench":
        done = CliRunner().invoke(app, ["speed", str(bundle), str(picture), "--runtime", runtime, "--warmup", "1"])
        assert "the chip alone, without copies: 1.50 ms (p50)" in done.output
    assert [box["score"] for box in boxes[0]] == pytest.approx([box["score"] for box in boxes[1]], abs=1e-3)


def test_outputs_that_are_no_heads_are_said(
    ais_bench: type[FakeInferSession], export: tuple[Path, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ais_bench, "infer", lambda *_, **__: [np.zeros((1, 10, 6), np.float32)])
    predictor = AisBenchPredictor(Path(make_om(export[0], tmp_path)), export[1], "rgb")
    with pytest.raises(
        DeployError, match=r"gives outputs \[\(1, 10, 6\)\], of which 0 have the shape \(batch, 3, 8, 8, 8\)"
    ):
        predictor.predict(IMAGES[:1])
