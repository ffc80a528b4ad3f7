"""A model as a stage leaves it: its file, and what the stage knows of it that no measurement tells."""

from yoloslim.files import write_json
from yoloslim.models.detector import Detector
from yoloslim.models.store import save_model
from yoloslim.stages.common import MODELS

FACTS = "facts.json"


def store(model: Detector, name: str, facts: dict[str, float] | None = None) -> None:
    """Write `models/<name>/model.safetensors`, and facts.json beside it where there are any.

    Args:
        model: what to store.
        name: `baseline`, `sparse`, `prune/50` ...
        facts: numbers that stage `measure` puts among the model's metrics.
    """
    save_model(model, MODELS / name / "model.safetensors")
    if facts:
        write_json(MODELS / name / FACTS, facts)
