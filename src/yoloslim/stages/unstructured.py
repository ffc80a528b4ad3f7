"""Stage `unstructured`: zero single weights of the baseline, to compare with cutting channels."""

from yoloslim.config import Params
from yoloslim.models.store import load_model
from yoloslim.pruning.unstructured import zero_share, zero_weights
from yoloslim.stages.common import BASELINE, MODELS, eval_set, evaluate_model, save_results, stage


def run(params: Params) -> None:
    """Write models/unstructured and metrics/unstructured.json."""
    model = zero_weights(load_model(MODELS / BASELINE / "model.safetensors"), params.unstructured.percent)
    evaluation = evaluate_model(params, model, eval_set(params, "test"))
    save_results(params, model, "unstructured", evaluation, {"zero_percent": zero_share(model)})


def main() -> None:
    """Run the stage."""
    stage(run)
