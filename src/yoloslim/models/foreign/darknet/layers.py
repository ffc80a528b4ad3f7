"""Layers of a ModelSpec, made of the sections of a cfg one by one: those that YOLOv3 and YOLOv4 are made of."""

from collections import Counter
from typing import Any

from yoloslim.models.foreign.darknet.cfg import Section
from yoloslim.models.foreign.darknet.convolution import MAX_KERNEL, activation_of, convolution_numbers
from yoloslim.models.foreign.darknet.head import Level, level_of
from yoloslim.models.spec import LayerSpec

SECOND = ("shortcut", "sam", "scale_channels")
"""Sections that read the one before and another."""

WHOLE = 0
"""Stands for the stride where one value is left of the whole image."""


class Builder:
    """Layers of the spec, made section by section."""

    def __init__(self, body: list[Section]) -> None:
        self.body = body
        self.layers: list[LayerSpec] = []
        self.channels: list[int] = []
        self.strides: list[int] = []
        self.levels: list[Level] = []
        self.outputs: list[int | None] = []  # by section: the layer that computes it; None for a head
        self.inside: set[int] = set()  # sections that belong to a residual unit begun before
        self.read = Counter(source for index in range(len(body)) for source in self._sources(index))

    def add(self, index: int) -> None:
        """Take in the next section."""
        section = self.body[index]
        if index in self.inside:
            self.outputs.append(len(self.layers) - 1)
        elif section.kind == "convolutional":
            self._convolution(index)
        elif section.kind == "yolo":
            self._level(index)
        elif section.kind == "route":
            self._route(index)
        elif section.kind == "dropout":
            self.outputs.append(self._layer(index, index - 1))  # outside training it does nothing
        elif section.kind in SECOND:
            self._two(index)
        elif section.kind in ("reorg", "reorg3d"):
            self._reorg(index)
        elif section.kind == "avgpool":
            before = self._layer(index, index - 1)
            self._append("GlobalPool", self.channels[before], WHOLE, (before,))
        elif section.kind == "maxpool":
            self._maxpool(index)
        elif section.kind == "upsample":
            before = self._layer(index, index - 1)
            if section.integer("stride", 2) != 2 or self.strides[before] % 2 or self.strides[before] == WHOLE:
                raise section.error("only enlarges by 2 here, and not beyond the image", "stride")
            self._append("Upsample", self.channels[before], self.strides[before] // 2, (before,))
        else:
            raise section.error("stands in the middle")

    def _sources(self, index: int) -> tuple[int, ...]:
        """Sections that a route or shortcut names, as absolute numbers."""
        section = self.body[index]
        if section.kind not in ("route", *SECOND):
            return ()
        key = "layers" if section.kind == "route" else "from"
        values = section.integers(key)
        if not values or (key == "from" and len(values) > 1):
            raise section.error(f"needs {'one number' if key == 'from' else 'numbers'} in {key}", key)
        absolute = tuple(index + value if value < 0 else value for value in values)
        for value, source in zip(values, absolute, strict=True):
            if not 0 <= source < index:
                raise section.error(f"{key}={value} is not a layer before it", key)
        return absolute

    def _layer(self, index: int, source: int) -> int:
        """The layer that computes section `source`; -1 is the image."""
        if source < 0:
            if self.body[index].kind == "convolutional":
                return -1
            raise self.body[index].error("cannot be the first layer")
        layer = self.outputs[source]
        if layer is None:
            raise self.body[index].error(f"reads the output of [{self.body[source].kind}], which is none of a feature")
        return layer

    def _append(self, block: str, c_out: int, step: int, sources: tuple[int, ...], **numbers: Any) -> None:
        inputs = tuple(-1 if source == len(self.layers) - 1 else source for source in sources)
        self.layers.append(LayerSpec(block=block, inputs=inputs, **numbers))
        self.channels.append(c_out)
        self.strides.append(step)
        self.outputs.append(len(self.layers) - 1)

    def _two(self, index: int) -> None:
        """A section that brings the one before together with another."""
        section = self.body[index]
        before, other = self._layer(index, index - 1), self._layer(index, self._sources(index)[0])
        activation = activation_of(section, "linear")
        if self.channels[before] != self.channels[other]:
            word = "adds" if section.kind == "shortcut" else "multiplies"
            raise section.error(f"{word} {self.channels[before]} and {self.channels[other]} channels")
        if self.strides[before] not in (self.strides[other], WHOLE if section.kind == "scale_channels" else -1):
            raise section.error("brings layers of different sizes together", "from")
        for key in ("weights_type", "scale_wh"):
            if section.text(key, "none") not in ("none", "0"):
                raise section.error(f"{key}={section.text(key)[:20]} is not supported", key)
        if section.kind == "shortcut":
            numbers = {} if activation == "linear" else {"activation": activation}
            self._append("Add", self.channels[before], self.strides[before], (before, other), **numbers)
        elif activation == "linear":
            self._append("Mul", self.channels[other], self.strides[other], (before, other))
        else:
            raise section.error(f"activation {section.text('activation')[:20]} is not supported", "activation")

    def _reorg(self, index: int) -> None:
        section, before = self.body[index], self._layer(index, index - 1)
        if section.integer("stride", 1) != 2:
            raise section.error("only regroups by 2 here", "stride")
        block = "FlatReorg" if section.kind == "reorg" else "Reorg"
        if block == "FlatReorg" and self.channels[before] % 4:
            raise section.error(f"needs a multiple of 4 channels, not {self.channels[before]}")
        self._append(block, 4 * self.channels[before], 2 * self.strides[before], (before,))

    def _convolution(self, index: int) -> None:
        section = self.body[index]
        before = self._layer(index, index - 1)
        if index + 1 < len(self.body) and self.body[index + 1].kind == "yolo":
            self.outputs.append(None)  # the [yolo] behind it describes both
            return
        numbers = convolution_numbers(section)
        if before >= 0 and self._is_residual(index, numbers):
            self._residual(index, before, numbers)
            return
        stride = (self.strides[before] if before >= 0 else 1) * numbers["stride"]
        c_in, groups = self.channels[before] if before >= 0 else 3, numbers.get("groups", 1)
        if groups < 1 or c_in % groups or numbers["channels"] % groups:
            raise section.error(f"{groups} groups do not divide {c_in} channels into {numbers['channels']}", "groups")
        block = "Conv" if section.integer("batch_normalize", 0) == 1 else "BiasConv"
        self._append(block, numbers["channels"], stride, (before,), **numbers)

    def _is_residual(self, index: int, first: dict[str, Any]) -> bool:
        """1x1, 3x3, and a sum with what the first reads; nothing else reads what lies between."""
        unit = self.body[index : index + 3]
        if [section.kind for section in unit] != ["convolutional", "convolutional", "shortcut"]:
            return False
        second = convolution_numbers(unit[1])
        plain = all(each["stride"] == 1 and each["padding"] is None for each in (first, second))
        return (
            plain
            and (first["kernel"], second["kernel"]) == (1, 3)
            and first["activation"] == second["activation"]
            and all(each.integer("batch_normalize", 0) == 1 for each in unit[:2])
            and "groups" not in first.keys() | second.keys()
            and unit[2].text("activation", "linear") == "linear"
            and unit[2].text("weights_type", "none") == "none"
            and self._sources(index + 2) == (index - 1,)
            and second["channels"] == self.channels[self._layer(index, index - 1)]
            and not self.read[index]
            and not self.read[index + 1]
        )

    def _residual(self, index: int, before: int, first: dict[str, Any]) -> None:
        self.inside |= {index + 1, index + 2}
        last = self.layers[before]
        continues = (
            before == len(self.layers) - 1
            and last.block == "Residual"
            and (index - 1) in self.inside
            and self.read[index - 1] == 1
            and (last.hidden, last.activation) == (first["channels"], first["activation"])
        )
        if continues:
            self.layers[before] = last.model_copy(update={"repeats": (last.repeats or 1) + 1})
            self.outputs.append(before)
            return
        channels = self.channels[before]
        numbers = {"channels": channels, "hidden": first["channels"], "activation": first["activation"], "repeats": 1}
        self._append("Residual", channels, self.strides[before], (before,), **numbers)

    def _route(self, index: int) -> None:
        section, sources = self.body[index], self._sources(index)
        layers = tuple(self._layer(index, source) for source in sources)
        groups, group = section.integer("groups", 1), section.integer("group_id", 0)
        if len({self.strides[layer] for layer in layers}) > 1:
            raise section.error("joins layers of different sizes", "layers")
        if groups == 1 and len(layers) == 1:
            self.outputs.append(layers[0])
        elif groups == 1:
            channels = sum(self.channels[layer] for layer in layers)
            self._append("Concat", channels, self.strides[layers[0]], layers)
        elif len(layers) == 1 and group == groups - 1 and self.channels[layers[0]] % groups == 0:
            channels = self.channels[layers[0]] // groups
            self._append("Slice", channels, self.strides[layers[0]], layers, groups=groups)
        else:
            raise section.error("only the last of equal groups of one layer is supported", "groups")

    def _maxpool(self, index: int) -> None:
        section, before = self.body[index], self._layer(index, index - 1)
        stride = section.integer("stride", 1)
        kernel = section.integer("size", stride)
        if not (1 <= stride <= kernel <= MAX_KERNEL) or section.integer("padding", kernel - 1) != kernel - 1:
            raise section.error(f"size {kernel} with stride {stride} is not supported")
        numbers = {"kernel": kernel, "stride": stride}
        self._append("MaxPool", self.channels[before], self.strides[before] * stride, (before,), **numbers)

    def _level(self, index: int) -> None:
        section = self.body[index]
        if not index or self.body[index - 1].kind != "convolutional":
            raise section.error("needs a convolution before it")
        source = self._layer(index - 1, index - 2)
        self.levels.append(level_of(section, self.body[index - 1], source, self.strides[source] if source >= 0 else 1))
        self.outputs.append(None)
