"""The front door, as a stranger uses it."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import yoloslim
from tests.pruning.networks import Cbl, Residual, scramble
from yoloslim.errors import PruneError, TraceError
from yoloslim.models.detector import build_detector, count_params
from yoloslim.models.store import save_model
from yoloslim.pruning.labels import label_channels
from yoloslim.pruning.prune import prune as prune_network
from yoloslim.pruning.request import PruneRequest, Scope
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut

EXAMPLE = Path(__file__).parents[1] / "docs/examples/prune_any_network.py"


class Grey(nn.Module):
    """One input channel, a transposed convolution, GroupNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.u, self.g, self.c = nn.ConvTranspose2d(16, 8, 2, 2), nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.relu(self.g(self.u(torch.relu(self.b(self.a(x)))))))


class UNet(nn.Module):
    """Down, up by a transposed convolution, and the skip beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Cbl(1, 8), Cbl(8, 16, stride=2)
        self.up, self.c, self.head = nn.ConvTranspose2d(16, 8, 2, 2), Cbl(16, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.head(self.c(torch.cat((x, F.relu(self.up(self.b(x)))), 1)))


class Dense(nn.Module):
    """Each layer reads all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Cbl(4, 8)
        self.layers, self.head = nn.ModuleList(Cbl(8 + 6 * i, 6) for i in range(3)), nn.Linear(26, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat((x, layer(x)), 1)
        return self.head(x.mean((2, 3)))


class Mobile(nn.Module):
    """Inverted residual: 1x1, depthwise, 1x1, sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = Cbl(3, 8), nn.Conv2d(8, 3, 1)
        self.unit = nn.Sequential(Cbl(8, 24, 1), Cbl(24, 24, groups=24), Cbl(24, 8, 1, act=nn.Identity()))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.unit(x))


@pytest.mark.parametrize(
    ("make", "channels", "width"), [(Grey, 1, 16), (UNet, 1, 8), (Dense, 4, 8), (Mobile, 3, 24), (Residual, 3, 8)]
)
def test_any_network_is_pruned_by_half_and_proved(make: Callable[[], nn.Module], channels: int, width: int) -> None:
    torch.manual_seed(0)
    network = make()
    scramble(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    result = yoloslim.prune(network, torch.rand(1, channels, 32, 48), percent=50)
    assert max(result.certificate.cut) <= 1e-4
    assert result.report["effective_percent"] == pytest.approx(50, abs=12)
    assert count_params(result.model) < 0.75 * count_params(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    x = torch.rand(2, channels, 64, 64)  # another size than the example's
    assert result.model.eval()(x).shape == network.eval()(x).shape


def test_what_group_norm_reads_stays_whole() -> None:
    result = yoloslim.prune(Grey(), torch.rand(2, 1, 32, 32), percent=50)
    assert (result.model.a.out_channels, result.model.u.in_channels, result.model.u.out_channels) == (8, 8, 8)


def test_weakest_filters_of_a_transposed_convolution_go() -> None:
    class Up(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.head = nn.ConvTranspose2d(3, 4, 2, 2), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(self.up(x)))

    network = Up()
    with torch.no_grad():
        network.up.weight[:, [0, 2]] *= 1e-3
    small = yoloslim.prune(network, torch.rand(1, 3, 32, 32), percent=50, importance="l2").cut
    assert torch.equal(small.up.weight, network.up.weight[:, [1, 3]])


def test_a_detector_is_pruned_as_the_library_does_it() -> None:
    torch.manual_seed(0)
    model = build_detector("yolov5n", ("a", "b"), imgsz=64)
    scramble(model)
    ours = yoloslim.prune(model, percent=40, round_to=8).model.state_dict()
    request = PruneRequest(scope="coupled", percent=40, round_to=8, imgsz=64)
    theirs = prune_network(model, request).model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_a_detector_is_exported_with_its_manifest(tmp_path: Path) -> None:
    manifest = yoloslim.export(yoloslim.build("yolov5n", ("a", "b"), imgsz=64), str(tmp_path / "onnx"))
    assert manifest.max_abs_diff is not None
    assert manifest.max_abs_diff < 1e-3
    assert all((tmp_path / "onnx" / name).is_file() for name in manifest.files)


CUTS = {  # of the code before there was a front door: what it cut, bit by bit
    "source": "f8cbd4edaca497c6",
    "slim": "4106dcdb4c02c763",
    "free": "356c9ac66414d6d6",
    "coupled": "4469c342a9c43843",
}


@pytest.mark.parametrize("scope", CUTS)
def test_detectors_are_cut_as_ever(scope: Scope) -> None:
    torch.manual_seed(0)
    model = build_detector("yolov5n", ("a", "b", "c"))
    scramble(model, 3)
    labels = label_channels(model)
    request = PruneRequest(scope=scope, percent=50, imgsz=320)
    state = cut(model, labels, select_channels(model, labels, request).keep).state_dict()
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(name.encode() + str(tuple(value.shape)).encode() + value.contiguous().numpy().tobytes())
    assert digest.hexdigest()[:16] == CUTS[scope]


def test_what_was_stored_is_loaded(tmp_path: Path) -> None:
    model = yoloslim.build("yolov5n", ("a", "b"), imgsz=64)
    save_model(model, tmp_path / "m.safetensors")
    again = yoloslim.load(str(tmp_path / "m.safetensors")).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "coupeld"}, "scope 'coupeld' is unknown; did you mean 'coupled'"),
        ({"importance": "gama"}, "importance 'gama' is unknown; did you mean 'gamma'"),
        ({"group_score": "men"}, "group_score 'men' is unknown; did you mean 'mean'"),
        ({"percent": 100}, "percent=100 is out of range"),
        ({"precent": 50}, "prune has no option 'precent'; there are: .*percent"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, object], message: str) -> None:
    with pytest.raises(PruneError, match=message):
        yoloslim.prune(Grey(), torch.rand(1, 1, 32, 32), **options)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (None, "a Grey needs example_inputs"),
        (torch.rand(1, 8), r"example_inputs has shape \(1, 8\)"),
        (torch.full((1, 1, 32, 32), float("nan")), "example_inputs holds NaN"),
    ],
)
def test_example_inputs_that_no_network_could_be_proved_on(example: Tensor | None, message: str) -> None:
    with pytest.raises(PruneError, match=message):
        yoloslim.prune(Grey(), example)


def test_a_forward_that_depends_on_values_is_named() -> None:
    class Choice(Grey):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() > 0 else x

    with pytest.raises(TraceError, match="Choice cannot be traced"):
        yoloslim.prune(Choice(), torch.rand(1, 1, 32, 32))


def test_options_of_the_front_door_are_those_of_the_request() -> None:
    from yoloslim.api import PruneOptions

    assert set(PruneOptions.__annotations__) == set(PruneRequest.__dataclass_fields__)


def test_importing_is_quick_and_takes_no_torch() -> None:
    # of the processor: on a busy machine the clock on the wall tells of others
    code = "import sys, time; t = time.process_time(); import yoloslim; "
    code += "print(time.process_time() - t, 'torch' in sys.modules)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() for _ in "123"]
    assert min(float(seconds) for seconds, _ in runs) < 0.1
    assert {torch_there for _, torch_there in runs} == {"False"}


def test_a_name_that_is_not_there_is_an_error_that_lists_what_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'purne'; it offers build, detect, evaluate, .*prune, "):
        _ = yoloslim.purne


def test_the_example_runs_and_is_short() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith('"""')]
    assert len(lines) <= 12
    ran = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert EXAMPLE.read_text() in (EXAMPLE.parents[1] / "api.md").read_text()
    assert "cut equals masked to" in ran.stdout
    assert "M parameters left" in ran.stdout
