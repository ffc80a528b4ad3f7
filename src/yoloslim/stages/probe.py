"""Stage `probe`: what a cut costs before finetuning, for many percents; keeps the numbers and no model."""

from yoloslim.config import Params
from yoloslim.stages.common import stage_of_percent
from yoloslim.stages.costs import measure_cost
from yoloslim.stages.inputs import eval_set
from yoloslim.stages.measuring import evaluate_model, write_metrics
from yoloslim.stages.prune import cut_model, ranked, settled


def run(params: Params, percent: int) -> None:
    """Write metrics/probe/<percent>.json."""
    params = ranked(params)
    result = cut_model(params, percent)
    model = settled(params, result)
    accuracy = evaluate_model(params, model, eval_set(params, "test")).metrics
    kept = {"percent_requested": float(percent), "percent_effective": float(result.report["effective_percent"])}
    write_metrics(f"probe/{percent}", accuracy | measure_cost(params, model) | kept)


def main() -> None:
    """Run the stage for one model."""
    stage_of_percent(run, __doc__, "share of prunable channels to remove")
