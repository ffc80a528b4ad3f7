"""The ACL session against the fake `acl`, which runs what the fake `atc` packs."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest

from tests.deploy.models import tiny_detector
from yoloslim.deploy.ascend.aipp import device_input
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.runner import nv12
from yoloslim.runner.acl_session import AclError, AclSession
from yoloslim.runner.errors import RunnerError

FAKE = Path(__file__).parent / "fakes" / "acl.py"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export_model(tiny_detector(), folder)
    return folder / "model.onnx"


def make_om(
    graph: Path, folder: Path, soc: str = "Ascend310", source: str = "nv12", gears: tuple[int, ...] = ()
) -> str:
    facts = {"soc_version": soc, "aipp_input": source, "gears": gears}
    path = folder / "model.om"
    path.write_bytes(b"FAKE OM " + json.dumps(facts).encode() + b"\n" + graph.read_bytes())
    return str(path)


def load_fake(monkeypatch: pytest.MonkeyPatch, fault: str = "") -> ModuleType:
    monkeypatch.setenv("FAKE_ACL", fault)
    spec = importlib.util.spec_from_file_location("acl", FAKE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "acl", module)
    return module


@pytest.fixture
def acl(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_fake(monkeypatch)


def images(count: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def expected(graph: Path, pixels: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return [np.asarray(head) for head in session.run(None, {"images": pixels})]


@pytest.mark.parametrize("fault", ["", "old"])
@pytest.mark.parametrize("source", ["nv12", "rgb"])
def test_heads_are_those_of_the_graph_behind_aipp(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, fault: str
) -> None:
    load_fake(monkeypatch, fault)
    session = AclSession(make_om(graph, tmp_path, source=source))
    fed = device_input(source, images())  # type: ignore[arg-type]
    seen = nv12.scale(nv12.from_nv12(fed) if source == "nv12" else fed)
    for head, wanted in zip(session.infer(fed), expected(graph, seen), strict=True):
        np.testing.assert_array_equal(head, wanted)
    session.close()


def test_buffers_are_allocated_once_and_everything_is_given_back(graph: Path, tmp_path: Path, acl: ModuleType) -> None:
    session = AclSession(make_om(graph, tmp_path))
    for _ in range(3):
        session.infer(device_input("nv12", images()))
    assert acl.calls["malloc"] == 4  # one input, three outputs
    session.close()
    assert acl.calls["free"] == 4
    assert acl.calls["finalize"] == 1
    AclSession(make_om(graph, tmp_path)).close()  # a second session can be opened


def test_two_models_are_open_at_a_time_and_closing_one_leaves_the_other(
    graph: Path, tmp_path: Path, acl: ModuleType
) -> None:
    (tmp_path / "other").mkdir()
    export_model(tiny_detector(seed=1), tmp_path / "export")
    other = tmp_path / "export/model.onnx"
    first, second = AclSession(make_om(graph, tmp_path)), AclSession(make_om(other, tmp_path / "other"))
    fed = device_input("nv12", images())
    seen = nv12.scale(nv12.from_nv12(fed))

    def check(session: AclSession, graph: Path) -> None:
        for head, wanted in zip(session.infer(fed), expected(graph, seen), strict=True):
            np.testing.assert_array_equal(head, wanted)

    for _ in range(2):
        check(first, graph)
        check(second, other)
    first.close()
    assert (acl.calls["init"], acl.calls["finalize"]) == (1, 0)
    check(second, other)
    first.close()  # once more: nothing happens
    third = AclSession(make_om(graph, tmp_path))
    second.close()
    check(third, graph)
    third.close()
    assert (acl.calls["init"], acl.calls["finalize"]) == (1, 1)
    assert acl.calls["malloc"] == acl.calls["free"] == 12


def test_batches_run_in_the_smallest_gear_that_holds_them(graph: Path, tmp_path: Path, acl: ModuleType) -> None:
    session = AclSession(make_om(graph, tmp_path, gears=(1, 4)), gears=(1, 4))
    fed = device_input("nv12", images(3))
    heads = session.infer(fed)
    assert [len(head) for head in heads] == [3, 3, 3]
    for i in range(3):
        for head, wanted in zip(heads, expected(graph, nv12.scale(nv12.from_nv12(fed[i : i + 1]))), strict=True):
            np.testing.assert_array_equal(head[i : i + 1], wanted)
    with pytest.raises(RunnerError, match="largest batch is 4, not 5"):
        session.infer(device_input("nv12", images(5)))
    session.close()


def test_a_fixed_batch_is_filled_up(tmp_path: Path, acl: ModuleType) -> None:
    export_model(tiny_detector(), tmp_path, ExportOptions(batch=2))
    session = AclSession(make_om(tmp_path / "model.onnx", tmp_path))
    fed = device_input("nv12", images(1))
    wanted = expected(tmp_path / "model.onnx", nv12.scale(nv12.from_nv12(np.concatenate([fed, 0 * fed]))))
    for head, both in zip(session.infer(fed), wanted, strict=True):
        np.testing.assert_array_equal(head, both[:1])
    session.close()


def test_a_model_for_another_chip_is_named_with_the_way_out(graph: Path, tmp_path: Path, acl: ModuleType) -> None:
    with pytest.raises(AclError, match=r"507008.*another chip.*atc\.soc_version") as caught:
        AclSession(make_om(graph, tmp_path, soc="Ascend310B4"))
    assert caught.value.code == 507008
    assert acl.calls["finalize"] == 1  # a failed start leaves nothing behind


@pytest.mark.parametrize(
    ("content", "code"), [(None, 100003), (b"no model", 100013)], ids=["missing file", "no om file"]
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, acl: ModuleType, content: bytes | None, code: int) -> None:
    if content is not None:
        (tmp_path / "x.om").write_bytes(content)
    with pytest.raises(AclError, match=str(code)):
        AclSession(str(tmp_path / "x.om"))


def test_images_of_another_size_are_refused(graph: Path, tmp_path: Path, acl: ModuleType) -> None:
    session = AclSession(make_om(graph, tmp_path))
    with pytest.raises(RunnerError, match="takes 6144 bytes an image, not 12288"):
        session.infer(images())
    with pytest.raises(RunnerError, match="largest batch is 1, not 2"):
        session.infer(device_input("nv12", images(2)))
    session.close()


def test_faults_of_the_device_carry_their_number(graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_fake(monkeypatch, "no-device")
    with pytest.raises(AclError, match=r"rt\.set_device returned 500004: the driver failed"):
        AclSession(make_om(graph, tmp_path))
    load_fake(monkeypatch, "execute")
    session = AclSession(make_om(graph, tmp_path))
    for _ in range(2):
        session.infer(device_input("nv12", images()))
    with pytest.raises(AclError, match="507011"):
        session.infer(device_input("nv12", images()))
    session.close()


def test_without_acl_the_missing_environment_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "acl", None)
    with pytest.raises(RunnerError, match=r"cannot import acl.*set_env\.sh"):
        AclSession(str(tmp_path / "x.om"))
