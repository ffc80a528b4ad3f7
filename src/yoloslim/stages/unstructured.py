"""Stage `unstructured`: zero single weights of the baseline, to compare with cutting channels."""

from yoloslim.config import Params
from yoloslim.models.store import load_model
from yoloslim.pruning.unstructured import zero_share, zero_weights
from yoloslim.stages.common import BASELINE, MODELS, stage
from yoloslim.stages.models import store


def run(params: Params) -> None:
    """Write models/unstructured."""
    model = zero_weights(load_model(MODELS / BASELINE / "model.safetensors"), params.unstructured.percent)
    store(model, "unstructured", {"zero_percent": zero_share(model)})


def main() -> None:
    """Run the stage."""
    stage(run)
