"""Pruning a stored model: `yoloslim prune`."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from yoloslim.deploy.quoting import quote
from yoloslim.errors import PruneError
from yoloslim.files import write_json
from yoloslim.models.detector import Detector, count_macs, count_params
from yoloslim.models.foreign.load import read_model
from yoloslim.models.store import save_model
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.inspection import removed_scale
from yoloslim.pruning.prune import PruneResult, prune
from yoloslim.pruning.report import shortfall

NOTICEABLE = 0.05
"""Share of the sum of all scales above which a cut changes what a network finds."""


def prune_file(model: Path, request: PruneRequest, out: Path | None = None) -> Iterator[str]:
    """Cut a stored model, write it and its report, and say what became of it.

    Args:
        model: its file, or one to import.
        request: what should go; FLOPs are counted at the model's own size.
        out: file to write; None stands beside the model.

    Raises:
        PruneError: importance `taylor`, which needs images; and what `prune` raises.
        ModelError, WeightsError: no model that can be read.
    """
    if request.importance == "taylor":
        raise PruneError("importance taylor needs training images: use the pipeline (prune.importance: taylor)")
    network = read_model(model)
    result = prune(network, dataclasses.replace(request, imgsz=network.spec.imgsz))
    target = out or model.with_name(f"{model.stem}-pruned.safetensors")
    save_model(result.model, target)
    write_json(target.with_suffix(".json"), result.report)
    yield _summary(network, result, target)
    if less := shortfall(request, result.report):
        yield f"{less}. `yoloslim inspect` shows the scales"
    missed = removed_scale(network, result.cut)
    if missed > NOTICEABLE:
        yield (
            f"what was cut had {100 * missed:.0f} % of the sum of all scales: these channels were in use, and until it "
            "is finetuned the model finds little or nothing. What helps: train sparsely first, which drives scales of "
            "dispensable channels to zero (baseline.weights in params.yaml takes this model, then `dvc repro`); cut "
            f"less (`yoloslim inspect` says how far); finetune (`yoloslim train DATA --model {quote(str(target))}`)"
        )


def _summary(network: Detector, result: PruneResult[Detector], target: Path) -> str:
    before, after = count_params(network) / 1e6, count_params(result.model) / 1e6
    macs = count_macs(result.model, network.spec.imgsz) / count_macs(network, network.spec.imgsz)
    return (
        f"{target}: {before:.3f} M -> {after:.3f} M parameters ({100 * after / before:.1f} %), {100 * macs:.1f} % of "
        f"the FLOPs; {result.report['effective_percent']:.1f} % of prunable channels removed; "
        f"cut equals mask to {max(result.certificate.cut):.1e}"
    )
