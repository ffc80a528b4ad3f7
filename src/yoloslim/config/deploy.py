"""Sections of export, compilation and the device."""

from typing import Annotated, Literal

from pydantic import Field

from yoloslim.choices import PrecisionMode, RknnPrecision
from yoloslim.config.base import Section

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
"""Of a runtime or a file format; which there are is known to `deploy.runtimes`."""


class ExportParams(Section):
    """ONNX export."""

    opset: int = Field(11, ge=11, le=18)
    batch: int = Field(1, ge=0)
    formats: tuple[Name, ...] = Field((), description="besides onnx: openvino, ncnn, litert, tensorrt")


class QuantizeParams(Section):
    """Post-training quantisation to int8; no model and no runtime by default."""

    models: tuple[Annotated[int, Field(ge=0, le=99)] | Literal["baseline"], ...] = ()
    runtimes: tuple[Name, ...] = Field(
        ("onnxruntime", "openvino"), description="onnxruntime, openvino, ncnn, litert, tensorrt"
    )
    images: int = Field(128, ge=1, description="training images that the ranges are taken from")
    fp32_share: float = Field(0.0, ge=0, le=0.9, description="share of the layers that stay fp32, by what each loses")


class RknnParams(Section):
    """Compilation for Rockchip's NPUs; no model by default."""

    models: tuple[Annotated[int, Field(ge=0, le=99)] | Literal["baseline"], ...] = ()
    target: str = Field("rk3588", pattern=r"^r[kv][0-9]+b?$", description="a chip, such as rk3588, rk3568 or rv1126b")
    precisions: tuple[RknnPrecision, ...] = Field(("fp16", "int8"), min_length=1)
    hybrid_share: float = Field(0.1, gt=0, le=0.9, description="share of the layers that hybrid leaves in fp16")
    images: int = Field(128, ge=1, description="training images that the ranges are taken from")


class RknnEvalParams(Section):
    """Evaluation on a board, or in the simulator."""

    target: str = Field(
        "simulator",
        pattern=r"^(simulator|local|ssh://\S+)$",
        description="simulator, local, or ssh://user@host:port/folder",
    )
    python: str = Field("python3", min_length=1)
    images: int = Field(0, ge=0, description="first test images; 0 is all")
    twin_images: int = Field(100, ge=0)


class AscendParams(Section):
    """What both Ascend stages share."""

    target: str = Field("local", pattern=r"^(local|ssh://\S+)$", description="local, or ssh://user@host:port/folder")
    set_env: str = ""
    python: str = Field("python3", min_length=1)
    compiled: str | None = Field(None, min_length=1)
    require: bool = False
    aipp_input: Literal["nv12", "rgb"] = "nv12"


class AtcParams(Section):
    """Compilation with Ascend's ATC."""

    soc_version: str = Field(
        "Ascend310",
        pattern=r"^Ascend[0-9A-Za-z_]+$",
        description="Ascend and the chip that `npu-smi info` names, such as Ascend310, Ascend310P3 or Ascend310B4",
    )
    precision_mode: PrecisionMode = "force_fp16"
    batch_gears: tuple[Annotated[int, Field(ge=1)], ...] = ()
    enable_small_channel: bool = True
    timeout_s: int = Field(3600, ge=1)


class AscendEvalParams(Section):
    """Evaluation on the device, or on its CPU stand-in."""

    warmup: int = Field(5, ge=0)
    repeats: int = Field(100, ge=1)
    twin_images: int = Field(100, ge=0)
