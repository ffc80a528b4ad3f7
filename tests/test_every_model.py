"""Every model through everything: built, run at two sizes, trained a step, cut in every scope, exported.

Of the families without anchors the sizes above n, and of YOLOv5 those above s, run only where YOLOSLIM_ALL_MODELS is
set: their blocks are those of the small ones. There each scope of the large ones is certified, too. Certificates are
computed in float64, which takes 6 GB of memory for the largest model, yolov5x6.
"""

import gc
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.pruning.networks import scramble
from yoloslim.config import TrainParams
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.heads.anchor_free import AnchorFreeHead
from yoloslim.heads.anchor_free_assignment import Answers, Limits
from yoloslim.heads.anchor_free_loss import AnchorFreeLoss
from yoloslim.models.detector import Detector, build_detector, count_params
from yoloslim.models.foreign.checkpoint import Checkpoint
from yoloslim.models.foreign.match import detector_from
from yoloslim.models.store import load_model, save_model
from yoloslim.models.zoo import model_names
from yoloslim.prune_request import PruneRequest, Scope
from yoloslim.pruning.certificate import certify
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut

QUICK = ("yolov5n", "v5Lite-e", "yolov3-tiny", "yolov4-tiny")
ON_DEMAND = {f"{family}{size}" for family in ("yolov8", "yolo11", "yolo26") for size in "smlx"} | {
    f"yolov5{size}u" for size in "smlx"
}
ON_DEMAND |= {f"yolov5{size}{variant}" for size in "mlx" for variant in ("", "6", "-v5.0")}
ON_DEMAND |= {f"yolov8{size}-{level}" for size in "nsmlx" for level in ("p2", "p6")} - {"yolov8n-p2"} | {"yolov3u"}
SCOPES: tuple[Scope, ...] = ("source", "slim", "free", "coupled")
CLASSES = ("ant", "bee", "cat")
ALL = "YOLOSLIM_ALL_MODELS" in os.environ
LARGE = 30e6
"""Parameters above which one scope is certified, if not all are to be: the blocks are those of the smaller sizes."""


def marks(name: str) -> list[pytest.MarkDecorator]:
    if name in QUICK:
        return []
    if name in ON_DEMAND and not ALL:
        return [pytest.mark.skip(reason="runs with YOLOSLIM_ALL_MODELS=1")]
    return [pytest.mark.slow]


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in model_names()])
def test_model_goes_through_the_whole_pipeline(name: str, tmp_path: Path) -> None:
    model = build_detector(name, CLASSES, imgsz=64)
    scramble(model)
    check_shapes(model)
    check_training_step(model)
    check_import(model)
    small = cut_by_half(model)
    assert count_params(small) < 0.5 * count_params(model)
    del model
    gc.collect()
    save_model(small, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert all(torch.equal(value, small.state_dict()[key]) for key, value in again.state_dict().items())
    manifest = export_model(again, tmp_path, ExportOptions(opset=11))
    assert manifest.opset == 11
    assert manifest.max_abs_diff is not None
    assert manifest.max_abs_diff < 1e-3
    assert manifest.head == again.spec.head


def check_shapes(model: Detector) -> None:
    for height, width in ((64, 64), (128, 192)):
        with torch.no_grad():
            heads = model.eval()(torch.rand(1, 3, height, width))
        levels = [(height // s, width // s) for s in model.spec.strides]
        assert [tuple(h.shape) for h in heads] == expected_shapes(model, levels)
        assert all(bool(h.isfinite().all()) for h in heads)


def expected_shapes(model: Detector, levels: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    head = model.spec.head
    if isinstance(head, AnchorFreeHead):  # of two branches both
        return [(1, 4 * head.bins + 3, *level) for level in levels] * (2 if head.answers else 1)
    return [(1, 3, *level, 8) for level in levels]


def check_training_step(model: Detector) -> None:
    """Every weight learns, and the step lowers the loss on the images it was taken on.

    Without anchors soft targets, and their sum by which the loss is divided, follow the predictions without a
    gradient: what a step lowers is the loss with the targets that it was taken for.
    """
    side = 2 * max(model.spec.strides)  # one cell at the coarsest head would leave BatchNorm four numbers
    images = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[i, i % 3, 0.4, 0.6, w, h] for i in range(4) for w, h in ((0.2, 0.3), (0.5, 0.6))])
    loss = model.spec.loss(TrainParams(anchor_t=1000), torch.device("cpu"))
    if isinstance(loss, AnchorFreeLoss):
        hold_targets(loss)
    torch.manual_seed(0)  # of dropout
    before, parts = loss(model.train()(images), targets)
    assert bool(parts.isfinite().all())
    before.backward()
    assert [
        n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.isfinite().all())
    ] == []
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter -= 1e-4 / norm * parameter.grad  # a short step downhill
            parameter.grad = None
        torch.manual_seed(0)
        after, _ = loss(model(images), targets)
    assert float(after) < float(before.detach())


def hold_targets(loss: AnchorFreeLoss) -> None:
    """Let a loss keep the targets of its first call, of each branch."""
    held: dict[Limits, Answers] = {}
    assign = loss._assign

    def held_or_new(*arguments: Any) -> Answers:
        limits = arguments[-1]
        if limits not in held:
            held[limits] = assign(*arguments)
        return held[limits]

    loss._assign = held_or_new  # type: ignore[method-assign]


def check_import(model: Detector) -> None:
    """A plain state dict of a network without anchors tells which one it is of."""
    if not isinstance(model.spec.head, AnchorFreeHead):
        return
    again = detector_from(Checkpoint(model.state_dict()), None, CLASSES)
    assert again.spec.name == model.spec.name
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(model.eval()(x), again(x), strict=True))


def cut_by_half(model: Detector) -> Detector:
    """Certify a cut of 50 % in each scope (of most large ones in one); gives the last of them, folded."""
    coupling = find_coupling(model.eval())
    for scope in SCOPES if ALL or count_params(model) < LARGE else ("coupled",):
        keep = select_channels(model, coupling, PruneRequest(scope=scope, percent=50, imgsz=64, round_to=1)).keep
        certificate = certify(model, coupling, keep)
        assert not certificate.inexact
        assert max(certificate.cut + certificate.folded) < 1e-4, scope
    return cut(model, coupling, keep, fold=True)
