"""Stage `ascend_eval`: accuracy and speed of the exported graph; every number names the backend it comes from."""

from functools import partial
from typing import Any

from yoloslim.config import Params
from yoloslim.deploy.ascend.measure import evaluate_exported
from yoloslim.deploy.ascend.twin import predict_board
from yoloslim.deploy.board.device import open_device
from yoloslim.deploy.manifest import MANIFEST_NAME, load_manifest
from yoloslim.files import read_json, write_json
from yoloslim.stages.common import BASELINE, METRICS, MODELS, rounded, stage_of_model, timing_threads, trained
from yoloslim.stages.inputs import eval_set, nms_options, prepared_split
from yoloslim.stages.known import evaluating
from yoloslim.stages.speeds import known_speed


def run(params: Params, which: str) -> None:
    """Write metrics/ascend_eval/<which>.json."""
    e, a, threads = params.evaluation, params.ascend_eval, timing_threads(params)
    export, options = MODELS / "export" / which, nms_options(params)
    device = open_device(params.ascend.target, params.ascend.set_env, params.ascend.python)
    graphs = [folder / load_manifest(folder).file for folder in (export, MODELS / "export" / BASELINE)]
    measured, _ = evaluate_exported(
        export,
        MODELS / "atc" / which,
        eval_set(params, "test"),
        params.ascend.require,
        threads,
        a.warmup,
        a.repeats,
        options=options,
        batch=e.batch,
        reference_dir=MODELS / "export" / BASELINE,
        device=device,
        evaluate=evaluating(params, "onnxruntime", [graphs[0], export / MANIFEST_NAME], params.ascend.aipp_input),
        remember=partial(known_speed, params, "onnxruntime", graphs, (threads, a.warmup, a.repeats)),
    )
    metrics: dict[str, Any] = dict(measured)
    found = read_json(METRICS / f"{trained(which)}.json")
    if a.twin_images:
        metrics["twin"] = predict_board(
            export, prepared_split("test"), options, a.twin_images, threads, params.ascend.aipp_input
        )
    metrics |= {name: found[name] for name in ("params_m", "gflops")}
    write_json(METRICS / "ascend_eval" / f"{which}.json", rounded(metrics))
    device.tidy()


def main() -> None:
    """Run the stage for one model."""
    stage_of_model(run, __doc__, "a percent, `baseline` or `control/dense`")
