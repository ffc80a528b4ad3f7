"""The processes that a training runs in: one, or one a device."""

import logging
import os

import cv2
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from yoloslim.config import TrainParams
from yoloslim.cores import thread_count
from yoloslim.errors import TrainError
from yoloslim.quiet import hush
from yoloslim.training.devices import choose_device, choose_precision

logger = logging.getLogger(__name__)


def launch(params: TrainParams) -> Fabric:
    """Start the processes that `train.devices` asks for, one a device, or join those that torchrun has started.

    Raises:
        TrainError: more devices than there are.
    """
    hush()  # Fabric lets itself speak when it is imported
    device = choose_device(params.device)
    precision = choose_precision(params.precision, device)
    devices, nodes = _under_torchrun() or (params.devices, 1)
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise TrainError(f"train.devices is {devices}, but PyTorch finds {torch.cuda.device_count()}; lower it")
    # Fabric has no fp16 for CPUs; PyTorch has
    half = [MixedPrecision("16-mixed", device.type)] if precision == "16-mixed" else []
    fabric = Fabric(
        accelerator=device.type,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=None if half else precision,
        plugins=half,
    )
    cores = thread_count(0, "threads")  # launching may set it to each process's share already
    fabric.launch()
    if not fabric.is_global_zero:
        logging.getLogger("yoloslim").setLevel(logging.WARNING)  # one of them speaks for all
    threads = params.threads
    if device.type == "cpu":  # PyTorch knows no quota of a container
        share = max(1, cores // devices)
        several = fabric.world_size > 1
        threads = min(threads or share, share) if several else thread_count(threads, "train.threads")
        if several and params.share:
            told = "train.share is for one process: each of the %d computes its images of a batch all at once"
            logger.info(told, fabric.world_size)
    if threads:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    return fabric


def _under_torchrun() -> tuple[int, int] | None:
    """Devices a node, and nodes."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    return local, int(os.environ["WORLD_SIZE"]) // local
