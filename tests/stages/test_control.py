"""Stage `control`: as many epochs as a pruned model trains for after the baseline."""

import pytest

from yoloslim.config import parse_params
from yoloslim.stages import control
from yoloslim.stages.control import phase_of
from yoloslim.stages.training import Training


def test_the_control_trains_for_all_epochs_that_a_pruned_model_has() -> None:
    sections = {
        "sparse": {"penalty": "slimming", "epochs": 14},
        "finetune": {"epochs": 5, "lr0": 0.003, "teacher": "models/sparse", "distill_output": 0.5},
    }
    phase = phase_of(parse_params(sections))
    assert (phase.epochs, phase.lr0, phase.model_dump()["distill_output"]) == (19, 0.003, 0.0)


def test_epochs_of_a_penalty_that_is_none_are_not_trained() -> None:
    assert phase_of(parse_params({"sparse": {"penalty": "none"}, "finetune": {"epochs": 5}})).epochs == 5


@pytest.mark.parametrize(
    ("weights", "weight", "advice"),
    [("a.pt", "auto", "teacher (finetune.teacher)"), ("a.pt", 0, "of the two"), ("", "auto", "teacher")],
)
def test_a_control_that_trained_weights_gave_is_compared_with_them(
    monkeypatch: pytest.MonkeyPatch, weights: str, weight: object, advice: str
) -> None:
    seen: list[Training] = []
    monkeypatch.setattr(control, "load_model", lambda path: path)
    monkeypatch.setattr(control, "train_repeats", lambda params, begin, repeats: seen.append(begin()[0]))
    control.run(parse_params({"baseline": {"weights": weights}, "finetune": {"distill_output": weight}}), "dense")
    assert seen[0].is_from_weights == bool(weights)
    assert seen[0].advice.startswith(f"models/baseline would be the better {advice}")
