"""What a [convolutional] of a cfg says, in the numbers and names of our Conv."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from yoloslim.choices import Activation
from yoloslim.models.foreign.darknet.cfg import Section

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "leaky": "leaky",
        "mish": "mish",
        "linear": "linear",
        "relu": "relu",
        "relu6": "relu6",
        "swish": "silu",
        "logistic": "sigmoid",
    }
)
"""Our names by Darknet's."""

MAX_CHANNELS, MAX_KERNEL = 65_536, 64


def convolution_numbers(section: Section) -> dict[str, Any]:
    """What our Conv needs, from a [convolutional].

    Raises:
        WeightsError: something it cannot do; names the line.
    """
    kernel, stride = section.integer("size", 1), section.integer("stride", 1)
    channels, groups = section.integer("filters", 1), section.integer("groups", 1)
    if section.integer("dilation", 1) != 1:
        raise section.error(f"dilation={section.text('dilation')[:20]} is not supported", "dilation")
    if not (1 <= channels <= MAX_CHANNELS and 1 <= kernel <= MAX_KERNEL and 1 <= stride <= MAX_KERNEL):
        raise section.error(f"filters {channels}, size {kernel}, stride {stride} are out of range", "filters")
    padding = kernel // 2 if section.integer("pad", 0) else section.integer("padding", 0)
    if not 0 <= padding <= MAX_KERNEL:
        raise section.error(f"padding {padding} is out of range", "padding")
    return {
        "channels": channels,
        "kernel": kernel,
        "stride": stride,
        "padding": None if padding == kernel // 2 else padding,
        "activation": activation_of(section, "logistic"),
        **({"groups": groups} if groups != 1 else {}),
    }


def activation_of(section: Section, default: str) -> Activation:
    """Our name of a section's activation.

    Raises:
        WeightsError: one that is not known here; names the line.
    """
    name = section.text("activation", default)
    if name not in ACTIVATIONS:
        raise section.error(f"activation {name[:20]} is not supported; known: {', '.join(ACTIVATIONS)}", "activation")
    return ACTIVATIONS[name]
