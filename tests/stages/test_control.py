"""Stage `control`: as many epochs as a pruned model trains for after the baseline."""

from yoloslim.config import parse_params
from yoloslim.stages.control import phase_of


def test_the_control_trains_for_all_epochs_that_a_pruned_model_has() -> None:
    sections = {
        "sparse": {"penalty": "slimming", "epochs": 14},
        "finetune": {"epochs": 5, "lr0": 0.003, "teacher": "models/sparse", "distill_output": 0.5},
    }
    phase = phase_of(parse_params(sections))
    assert (phase.epochs, phase.lr0, phase.model_dump()["distill_output"]) == (19, 0.003, 0.0)


def test_epochs_of_a_penalty_that_is_none_are_not_trained() -> None:
    assert phase_of(parse_params({"sparse": {"penalty": "none"}, "finetune": {"epochs": 5}})).epochs == 5
