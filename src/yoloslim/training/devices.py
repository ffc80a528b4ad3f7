"""Where a model runs and in which precision; without Fabric, whose import takes as long as PyTorch's."""

import torch

from yoloslim.errors import TrainError


def choose_device(name: str) -> torch.device:
    """The device that `train.device` names; `auto` takes CUDA when there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainError("train.device is cuda, but PyTorch finds no CUDA device; set it to auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(name: str, device: torch.device) -> str:
    """Fabric's name of the precision; `auto` takes bf16 where the hardware computes in it, else fp32 or fp16."""
    if name != "auto":
        return {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[name]
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    flags = torch.backends.cpu.get_cpu_capability()
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if "AVX512" in flags and fast else "32-true"
