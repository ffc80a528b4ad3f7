"""What a model finds, by the section `evaluation`; and the fixed rule by which trainings choose."""

from collections.abc import Callable, Mapping
from typing import Any

from yoloslim.choices import Precision
from yoloslim.config import Params
from yoloslim.data.evalset import EvalSet
from yoloslim.evaluation.evaluate import Evaluation, evaluate
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.files import write_json
from yoloslim.models.detector import Detector
from yoloslim.stages.common import METRICS
from yoloslim.stages.inputs import BATCH, nms_options
from yoloslim.training.devices import choose_device


def evaluate_model(
    params: Params, model: Detector, images: EvalSet, way: Callable[..., Evaluation] | None = None
) -> Evaluation:
    """Evaluate in PyTorch on `train.device`, wherever the model lies, as the section `evaluation` says.

    Args:
        params: all sections.
        model: on whatever device.
        images: to find objects on.
        way: what does the same as `evaluate`, which None stands for.
    """
    e = params.evaluation
    predictor = TorchPredictor(model, str(choose_device(params.train.device)), "fp32", any_shape=e.rect)
    return (way or evaluate)(predictor, images, nms_options(params), e.batch, e.rect)


def validate_model(params: Params, model: Detector, images: EvalSet, precision: Precision = "fp32") -> Evaluation:
    """Evaluate likewise, but by the defaults of that section whatever it says.

    What chooses a model must not follow how models are reported, or another threshold would be another training.
    """
    predictor = TorchPredictor(model, str(choose_device(params.train.device)), precision)
    return evaluate(predictor, images, NmsOptions(), BATCH)


def write_metrics(name: str, metrics: Mapping[str, Any]) -> None:
    """Write `metrics/<name>.json`, six digits a number."""
    write_json(METRICS / f"{name}.json", {k: _rounded(v) for k, v in metrics.items()})


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value
