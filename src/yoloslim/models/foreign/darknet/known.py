"""Give a network read from a cfg the name and layers of ours, where it is one of them."""

from typing import Any

from yoloslim.models.spec import LayerSpec, ModelSpec
from yoloslim.models.zoo import build_spec, model_names

BN_EPS = 1e-5
"""What Darknet adds to the variance (`normalize_cpu` and cuDNN's lower bound)."""


def known_model(spec: ModelSpec) -> ModelSpec:
    """The spec with our layers and name if an architecture is the same; with our name if only widths differ."""
    exact, shape = _canonical(spec, widths=True), _canonical(spec, widths=False)
    for name in model_names():
        known = build_spec(name, spec.classes)
        if _canonical(known, widths=True) == exact:
            return spec.model_copy(update={"name": name, "layers": known.layers})
        if _canonical(known, widths=False) == shape:
            return spec.model_copy(update={"name": name})
    return spec


def _canonical(spec: ModelSpec, widths: bool) -> list[tuple[Any, ...]]:
    return [_layer(index, layer, widths) for index, layer in enumerate(spec.layers)]


def _layer(index: int, layer: LayerSpec, widths: bool) -> tuple[Any, ...]:
    """A layer with its defaults written out, so that two ways of writing it are equal."""
    inputs = tuple(index + each if each < 0 else each for each in layer.inputs)
    kernel = layer.kernel or 1
    padding = kernel // 2 if layer.padding is None else layer.padding
    channels = (layer.channels, layer.hidden or layer.channels) if widths else ()
    numbers = (kernel, layer.stride or 1, padding, layer.groups, layer.repeats or 1, layer.activation)
    return (layer.block, inputs, *numbers, *channels)
