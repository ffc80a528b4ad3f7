import json
import os
import pickle
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.pace import slowness
from tests.tiny import shake_norms, tiny_detector
from yoloslim.errors import ModelError
from yoloslim.heads import AnchorHead
from yoloslim.models.detector import Detector
from yoloslim.models.store import LONGEST_SPEC, load_model, save_model


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    model = tiny_detector()
    shake_norms(model)
    save_model(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def pruned() -> Detector:
    spec = tiny_detector().spec
    widths = {"model.0.conv": (3, 3), "model.0.bn": (3, 3), "model.1.conv": (3, 8)}
    model = Detector(spec.model_copy(update={"widths": widths, "removed": ("model.3.m.0",)}))
    shake_norms(model)
    return model


@pytest.mark.parametrize("make", [tiny_detector, pruned])
def test_model_comes_back_bit_for_bit(tmp_path: Path, make: type[Detector]) -> None:
    model = make().eval()
    shake_norms(model)
    save_model(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert again.spec == model.spec
    assert not again.training
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(model(x), again(x), strict=True))


def test_a_fresh_process_computes_the_same(tmp_path: Path) -> None:
    model = pruned().eval()
    save_model(model, tmp_path / "m.safetensors")
    x = torch.rand(1, 3, 64, 64)
    np.save(tmp_path / "x.npy", x.numpy())
    code = (
        "import numpy as np, torch; from pathlib import Path; from yoloslim.models.store import load_model\n"
        "torch.set_num_threads(1)\n"
        "with torch.no_grad(): heads = load_model(Path('m.safetensors'))(torch.from_numpy(np.load('x.npy')))\n"
        "np.savez('y.npz', *[h.numpy() for h in heads])"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    with np.load(tmp_path / "y.npz") as found, torch.no_grad():
        for level, expected in enumerate(model(x)):
            np.testing.assert_array_equal(found[f"arr_{level}"], expected.numpy())


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = tiny_detector()
    written = set()
    for _ in range(8):
        save_model(model, tmp_path / "m.safetensors")
        written.add((tmp_path / "m.safetensors").read_bytes())
    save_model(model.to(memory_format=torch.channels_last), tmp_path / "m.safetensors")  # type: ignore[call-overload]
    written.add((tmp_path / "m.safetensors").read_bytes())
    assert len(written) == 1


def test_missing_file_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"YOLOv8n\.pt is missing; yolov8n is an architecture, whose weights are not"):
        load_model(tmp_path / "YOLOv8n.pt")
    with pytest.raises(ModelError, match=r"model file .*m\.safetensors is missing; check the name, or run"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_file_is_refused(stored: Path, share: float) -> None:
    whole = stored.read_bytes()
    stored.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match="is not a readable safetensors file"):
        load_model(stored)


class Bomb:
    """Unpickling this makes a file: what a hostile checkpoint would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(ModelError, match="is not a readable safetensors file"):
        load_model(path)
    torch.save({"model": Bomb(mark)}, path)
    with pytest.raises(ModelError, match="is not a readable safetensors file"):
        load_model(path)
    assert not mark.exists()


def test_file_of_another_program_is_refused(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match=r"is not a yoloslim model \(format None, wanted 'yoloslim-1'\)"):
        load_model(tmp_path / "m.safetensors")


def rewrite(path: Path, state: dict[str, torch.Tensor] | None = None, spec: str | None = None) -> None:
    """Write the file again with other weights or another description."""
    model = load_model(path)
    metadata = {"format": "yoloslim-1", "spec": model.spec.model_dump_json() if spec is None else spec}
    save_file(load_file(path) if state is None else state, path, metadata)


def test_weights_of_another_shape_are_named(stored: Path) -> None:
    state = load_file(stored)
    rewrite(stored, state | {"model.0.conv.weight": torch.zeros(5, 3, 3, 3)})
    with pytest.raises(ModelError, match=r"weights and description disagree[\s\S]*model\.0\.conv\.weight"):
        load_model(stored)


def test_missing_weights_are_named(stored: Path) -> None:
    state = load_file(stored)
    del state["model.0.bn.bias"]
    rewrite(stored, state)
    with pytest.raises(ModelError, match=r"model\.0\.bn\.bias"):
        load_model(stored)


@pytest.mark.parametrize("metadata", [{}, {"spec": ""}, {"spec": " " * (LONGEST_SPEC + 1)}])
def test_no_description_and_an_endless_one_are_refused(stored: Path, metadata: dict[str, str]) -> None:
    save_file(load_file(stored), stored, {"format": "yoloslim-1"} | metadata)
    with pytest.raises(ModelError, match=r"its description is [\d,]+ characters long, not 1 to 524,288"):
        load_model(stored)


@pytest.mark.parametrize("spec", ["{}", "[1]", '{"name": "x", "code": "import os"}'])
def test_broken_description_is_refused(stored: Path, spec: str) -> None:
    rewrite(stored, spec=spec)
    with pytest.raises(ModelError, match=r"weights and description disagree|description is not valid"):
        load_model(stored)


@pytest.mark.parametrize(
    "change",
    [
        {"head": AnchorHead(strides=(8, 16), anchors=(((4, 4),), ((4, 4),)))},
        {"layers": tiny_detector().spec.layers[:-1]},
        {"layers": ()},
        {"widths": {"model.0.act": (3, 3)}},
    ],
)
def test_description_that_cannot_be_built_is_refused_by_name(stored: Path, change: dict[str, object]) -> None:
    spec = load_model(stored).spec.model_copy(update=change)
    rewrite(stored, spec=spec.model_dump_json())
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_model(stored)


def test_a_description_cannot_ask_for_all_memory(stored: Path) -> None:
    spec = load_model(stored).spec
    layers = tuple(la.model_copy(update={"channels": 10**6} if la.channels else {}) for la in spec.layers)
    rewrite(stored, spec=spec.model_copy(update={"layers": layers}).model_dump_json())
    with pytest.raises(ModelError, match=r"weights and description disagree|description is not valid"):
        load_model(stored)


def test_interrupted_save_keeps_the_old_model(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    before = stored.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(Exception, match="No space left on device"):
        save_model(tiny_detector(seed=1), stored)
    assert stored.read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
@pytest.mark.parametrize("bit", [1, 64])
def test_a_flipped_bit_is_noticed_wherever_it_is(stored: Path, share: float, bit: int) -> None:
    data = bytearray(stored.read_bytes())
    data[int(share * len(data))] ^= bit
    stored.write_bytes(bytes(data))
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_model(stored)


def test_every_byte_of_the_description_is_guarded(stored: Path) -> None:
    data = stored.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    for at in np.random.default_rng(0).choice(len(data[:end].rstrip()), 150, replace=False):
        stored.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            load_model(stored)


def test_files_written_before_there_was_a_checksum_are_read(stored: Path) -> None:
    expected = load_model(stored)
    rewrite(stored)
    with safe_open(stored, framework="pt") as file:
        assert set(file.metadata()) == {"format", "spec"}
    found = load_model(stored)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), expected.parameters(), strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["model.3.cv1.conv.weight", "model.0.bn.running_var", "model.6.m.2.bias"])
def test_numbers_that_are_not_finite_are_refused(stored: Path, value: float, name: str) -> None:
    state = load_file(stored)
    state[name].view(-1)[-1] = value
    rewrite(stored, state)
    with pytest.raises(ModelError, match=f"tensor '{name}' holds numbers that are not finite"):
        load_model(stored)


def bombs() -> dict[str, dict[str, object]]:
    spec = tiny_detector().spec
    conv, detect = spec.layers[0], spec.layers[-1]

    def layers(**changes: object) -> tuple[object, ...]:
        return tuple(layer.model_copy(update=changes) if layer.block != "Detect" else layer for layer in spec.layers)

    doubled = [conv.model_copy(update={"block": "Concat", "inputs": (-1, -1), "channels": None})] * 900
    return {
        "imgsz": {"imgsz": 2**20 * 32},
        "imgsz of more digits than a machine's numbers": {"imgsz": 10**400},
        "repeats": {"layers": layers(repeats=10**9)},
        "repeats of every layer": {"layers": layers(repeats=1000)},
        "channels": {"layers": layers(channels=10**9)},
        "kernels": {"layers": layers(kernel=10**6)},
        "padding": {"layers": layers(padding=10**9)},
        "groups": {"layers": layers(groups=10**9)},
        "widths": {"widths": {"model.0.conv": (3, 10**12)}},
        "widths below one": {"widths": {"model.0.conv": (3, -4)}},
        "many widths": {"widths": {f"model.{i}.conv": (3, 3) for i in range(100_000)}},
        "many layers": {"layers": (conv,) * 100_000},
        "channels that double": {"layers": (conv, *doubled, detect)},
        "classes": {"classes": ("a",) * 200_000},
        "anchors": {
            "head": tiny_detector().spec.head.model_copy(
                update={"anchors": tuple(((8.0, 8.0),) * 100_000 for _ in range(3))}
            )
        },
        "strides of zero": {"head": tiny_detector().spec.head.model_copy(update={"strides": (0, 0, 0)})},
        "no part of the network left": {"removed": ("model",)},
        "the head removed": {"removed": ("model.6",)},
        "a layer removed whose output is wider": {"removed": ("model.1",)},
        "a dense network of which two channels are left": {
            "layers": layers(channels=60_000),
            "widths": {name: (2, 2) for name, _ in tiny_detector().named_modules() if name.endswith((".conv", ".bn"))},
        },
    }


@pytest.mark.parametrize("name", bombs())
def test_a_description_that_asks_for_too_much_is_refused_within_a_second(stored: Path, name: str) -> None:
    spec = load_model(stored).spec.model_copy(update=bombs()[name])
    text = json.dumps(spec.model_dump(mode="json", warnings=False))
    rewrite(stored, spec=text)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_model(stored)
    assert time.process_time() - start < slowness()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"imgsz": ' + "9" * 100_000 + "}", "\ud83d"])
def test_a_description_that_is_hostile_as_json_is_refused(stored: Path, text: str) -> None:
    rewrite(stored, spec=text.encode("utf-8", "replace").decode())
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_model(stored)


def test_a_header_without_end_is_not_read(stored: Path) -> None:
    with stored.open("r+b") as stream:
        stream.write((90 << 20).to_bytes(8, "little"))
        stream.truncate(100 << 20)
    with pytest.raises(ModelError, match="says that 94371840 bytes describe it"):
        load_model(stored)


@pytest.mark.parametrize("make", [tiny_detector, pruned])
def test_loading_draws_the_same_random_numbers_as_building(tmp_path: Path, make: type[Detector]) -> None:
    """What is drawn after a model was loaded must not depend on how its file is checked."""
    save_model(make(), tmp_path / "m.safetensors")
    spec = load_model(tmp_path / "m.safetensors").spec
    torch.manual_seed(5)
    Detector(spec)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_model(tmp_path / "m.safetensors")
    assert torch.equal(torch.rand(3), expected)
