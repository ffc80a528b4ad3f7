"""Stage `ascend_eval`: accuracy and speed of the exported graph; every number names the backend it comes from."""

import argparse
from functools import partial

from pipeline.common import BASELINE, METRICS, MODELS, eval_set, stage
from yoloslim.config import Params
from yoloslim.deploy.ascend.evaluate import evaluate_exported
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.files import read_json, write_json


def run(params: Params, which: str) -> None:
    """Write metrics/ascend_eval/<which>.json."""
    e, a = params.evaluation, params.ascend_eval
    metrics, _ = evaluate_exported(
        MODELS / "export" / which,
        MODELS / "atc" / which,
        eval_set(params, "test"),
        params.ascend.require,
        e.threads,
        a.warmup,
        a.repeats,
        options=NmsOptions(e.conf_thres, e.iou_thres, e.max_det),
        batch=e.batch,
        reference_dir=MODELS / "export" / BASELINE,
    )
    trained = read_json(METRICS / (f"{BASELINE}.json" if which == BASELINE else f"finetune/{which}.json"))
    metrics |= {name: trained[name] for name in ("params_m", "gflops")}
    rounded = {k: round(v, 6) if isinstance(v, float) else v for k, v in metrics.items()}
    write_json(METRICS / "ascend_eval" / f"{which}.json", rounded)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--which", required=True, help="a percent, or `baseline`")
    stage(partial(run, which=parser.parse_args().which))
