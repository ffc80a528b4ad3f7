"""Quantisation-aware training: in its last epochs a network computes with what int8 runtimes make of its numbers.

Weights are rounded to signed 8 bits with a scale for each channel, what a convolution reads and gives to unsigned 8
bits with one scale and zero point, all with straight-through gradients (arXiv 1712.05877). Batch normalisation stands
between; since its statistics are fixed from then on, and it scales whole channels, rounding a channel of the weights
before it is folded in or after is the same.
"""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yoloslim.errors import TrainError
from yoloslim.models.detector import Detector, normed_convs
from yoloslim.models.lite_blocks import RepConv
from yoloslim.ranges import ConvRange
from yoloslim.training.callback import Callback, Row, State

SHARE = 0.4
"""Of the epochs, the last, those that are quantised; one at least."""
BATCH = 32


class Point:
    """Where activations are quantised; all copies of a network share it.

    Attributes:
        low, high: of the range that 8 bits are spread over; it holds 0. None as long as nothing is quantised.
    """

    def __init__(self) -> None:
        self.low: float | None = None
        self.high: float | None = None
        self.extremes: list[Tensor] | None = None

    def __deepcopy__(self, _: Any) -> "Point":
        return self

    def set(self, low: float, high: float) -> None:
        """Quantise from now on."""
        self.low, self.high = min(low, 0.0), max(high, 0.0)

    @property
    def is_active(self) -> bool:
        """Whether values are rounded here."""
        return self.high is not None

    def __call__(self, x: Tensor) -> Tensor:
        """Round values, or note their extremes by image, or leave them alone."""
        if self.extremes is not None:
            flat = x.detach().float().flatten(1)
            self.extremes.append(torch.stack([flat.amin(1), flat.amax(1)]))
        if self.low is None or self.high is None:
            return x
        scale = max(self.high - self.low, 1e-8) / 255
        zero = min(max(round(-self.low / scale), 0), 255)
        rounded: Tensor = torch.fake_quantize_per_tensor_affine(x.float(), scale, zero, 0, 255)
        return rounded.to(x.dtype)  # float in training; validation may be in bf16


class QuantizedConv(nn.Conv2d):
    """A convolution that rounds its weights once its `point` is active; its tensors have the same names."""

    point: Point

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not self.point.is_active:
            return super()._conv_forward(input, weight, bias)  # type: ignore[no-any-return]
        scale = weight.detach().float().flatten(1).abs().amax(1).clamp(min=1e-12) / 127
        zeros = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
        rounded = torch.fake_quantize_per_channel_affine(weight.float(), scale, zeros, 0, -127, 127).to(weight.dtype)
        with torch.autocast(input.device.type, enabled=False):  # bf16 would round as coarsely as 8 bits once more
            return super()._conv_forward(input.to(weight.dtype), rounded, bias)  # type: ignore[no-any-return]


class FakeQuantization(Callback):
    """Quantises the last epochs of a training.

    Before the first of them the ranges of activations are taken from images, the smallest and the largest value of
    all, and stay, as do the statistics of batch normalisation. Convolutions that give raw outputs stay
    fp32, as in every int8 version. What is validated in these epochs is the averaged model with rounded weights and
    inputs.
    """

    def __init__(self, images: NDArray[np.uint8], epochs: int) -> None:
        """Take images uint8 (N, S, S, 3) that the ranges are taken from, and the number of all epochs."""
        self.images = images
        self.first = epochs - max(1, math.ceil(SHARE * epochs))
        self.points: dict[str, tuple[Point, Point]] = {}
        self._restored: Tensor | None = None

    def start(self, state: State) -> None:
        """Put points into both networks; nothing is rounded at them yet."""
        sources = _sources(state.ema, quantized_paths(state.model))
        reads = {source: Point() for source in sources.values()}
        self.points = {path: (reads[source], Point()) for path, source in sources.items()}
        for model in (state.model, state.ema):
            _attach(model, self.points, sources)
        if self._restored is not None:
            self._set(self._restored)
        elif state.epoch >= self.first:
            self._begin(state)

    def after_epoch(self, state: State) -> Row:
        """Begin where the next epoch is the first to be quantised."""
        if state.epoch + 1 == self.first:
            self._begin(state)
        return {}

    def saved(self) -> dict[str, Tensor]:
        """The ranges, once there are any."""
        ranges = [_range(pair) for pair in self.points.values() if pair[0].is_active]
        return {"ranges": torch.tensor(ranges, dtype=torch.float64)} if ranges else {}

    def restore(self, saved: dict[str, Tensor]) -> None:
        """Take the ranges back."""
        self._restored = saved.get("ranges")

    def ranges(self, model: Detector) -> dict[str, ConvRange]:
        """The range of each convolution of what was trained, by the path that it has when exported."""
        return {name: _range(self.points[path]) for path, name in exported_names(model, self.points).items()}

    def _begin(self, state: State) -> None:
        every = list(dict.fromkeys(point for pair in self.points.values() for point in pair))
        for point in every:
            point.extremes = []
        device = next(state.ema.parameters()).device
        with torch.no_grad():
            for start in range(0, len(self.images), BATCH):
                batch = torch.from_numpy(self.images[start : start + BATCH]).to(device).permute(0, 3, 1, 2)
                state.ema(batch.float() / 255)
        for point in every:
            lows, highs = torch.cat(cast(list[Tensor], point.extremes), 1)
            point.extremes = None
            point.set(float(lows.min()), float(highs.max()))  # narrower ones the weights come to rely on, as on ReLU6

    def _set(self, ranges: Tensor) -> None:
        for (read, given), row in zip(self.points.values(), ranges.tolist(), strict=True):
            read.set(row[0], row[1])
            given.set(row[2], row[3])


def quantized_paths(model: Detector) -> list[str]:
    """Paths of the convolutions that int8 versions compute in integers: all but those that give raw outputs.

    Raises:
        TrainError: the network has convolutions that are several in training and one when exported.
    """
    if any(isinstance(module, RepConv) for module in model.modules()):
        raise TrainError(
            f"{model.spec.name} trains parallel convolutions that become one when it is exported, so what that one "
            "will round cannot be foreseen; set finetune.quantize=false, int8 is calibrated after training then"
        )
    normed, head = normed_convs(model), f"model.{len(model.model) - 1}."
    convs = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    return [name for name in convs if name in normed or not name.startswith(head)]


def exported_names(model: Detector, paths: Iterable[str]) -> dict[str, str]:
    """Path of a convolution -> its path once `fuse` has left the branch of the head that answers; others are gone."""
    answers = getattr(model.model[-1], "answers", None)
    if answers is None:
        return {path: path for path in paths}
    second = f"model.{len(model.model) - 1}.one2one_"
    first = second.removesuffix("one2one_")
    gone = first if answers == "one_to_one" else second
    kept = (path for path in paths if path.startswith(second) or not path.startswith(gone))
    return {path: path.replace(second, first) for path in kept}


Source = tuple[str, int]
"""Path of a module, and which of its outputs; -1 stands for what it reads."""


def _sources(model: Detector, paths: Sequence[str]) -> dict[str, Source]:
    """Where the tensor that each convolution reads comes from: a module, or its own input where no module gives it.

    Runtimes keep a tensor that a convolution reads in 8 bits alone: what else reads it (a residual sum, a
    concatenation, a head) gets the rounded numbers, too. So it is rounded where it is made.
    """
    found: dict[str, Source] = {}
    given: list[tuple[Any, Source]] = []  # tensors are kept, so that no other one gets their identity

    def note(path: str, _: nn.Module, __: Any, output: Any) -> None:
        outputs = output if isinstance(output, tuple) else (output,)
        given.extend((each, (path, index)) for index, each in enumerate(outputs))

    def look(path: str, _: nn.Module, inputs: tuple[Tensor]) -> None:  # from the last: SiLU works in place
        found[path] = next((source for output, source in reversed(given) if output is inputs[0]), (path, -1))

    hooks = [module.register_forward_hook(partial(note, path)) for path, module in model.named_modules()]
    hooks += [model.get_submodule(path).register_forward_pre_hook(partial(look, path)) for path in paths]
    side = model.spec.imgsz
    with torch.no_grad():
        model(torch.zeros(1, 3, side, side, device=next(model.parameters()).device))
    for hook in hooks:
        hook.remove()
    return found


def _attach(model: Detector, points: dict[str, tuple[Point, Point]], sources: dict[str, Source]) -> None:
    norms = normed_convs(model)
    for (source, index), read in {sources[path]: points[path][0] for path in points}.items():
        module = model.get_submodule(source)
        if index < 0:
            module.register_forward_pre_hook(partial(_round_input, read))
        else:
            module.register_forward_hook(partial(_round_output, read, index))
    for path, (read, given) in points.items():
        conv = model.get_submodule(path)
        conv.__class__ = QuantizedConv
        cast(QuantizedConv, conv).point = read
        last = model.get_submodule(norms.get(path, path))
        if path in norms:
            last.register_forward_pre_hook(partial(_fix_statistics, read))
        last.register_forward_hook(partial(_round_output, given, 0))


def _round_input(point: Point, _: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    return point(inputs[0])


def _round_output(point: Point, index: int, _: nn.Module, __: Any, output: Any) -> Any:
    if not isinstance(output, tuple):
        return point(output)
    return (*output[:index], point(output[index]), *output[index + 1 :])


def _fix_statistics(point: Point, norm: nn.Module, _: Any) -> None:
    if point.is_active:
        norm.eval()


def _range(pair: tuple[Point, Point]) -> ConvRange:
    read, given = pair
    return read.low or 0.0, read.high or 0.0, given.low or 0.0, given.high or 0.0
