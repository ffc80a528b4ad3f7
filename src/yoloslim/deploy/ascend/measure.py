"""Evaluate an exported graph on an Ascend device, or, without one, in ONNX Runtime behind the AIPP twin.

Every result names its backend. Nothing measured on a CPU is called Ascend.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from yoloslim.boxes import fit
from yoloslim.choices import AippInput
from yoloslim.data.evalset import EvalSet
from yoloslim.deploy.ascend.aipp import aipp_twin
from yoloslim.deploy.ascend.atc import AtcResult, load_result
from yoloslim.deploy.board.device import Device
from yoloslim.deploy.board.evaluation import latency_of, run_on, score_run
from yoloslim.deploy.board.job import BoardRun, DeviceUnavailableError
from yoloslim.deploy.manifest import Manifest, load_manifest
from yoloslim.errors import DeployError
from yoloslim.evaluation.evaluate import Evaluation, evaluate
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.evaluation.predictor import OnnxPredictor
from yoloslim.evaluation.speed import measure_latency, measure_speedup

logger = logging.getLogger(__name__)

Metrics = dict[str, float | str]


def measured_now(measure: Callable[[], Metrics]) -> Metrics:
    """A memory that knows nothing."""
    return measure()


def evaluate_exported(
    export_dir: Path,
    atc_dir: Path,
    eval_set: EvalSet,
    require: bool = False,
    threads: int = 2,
    warmup: int = 5,
    repeats: int = 50,
    preprocessing: AippInput | None = None,
    options: NmsOptions | None = None,
    batch: int = 32,
    reference_dir: Path | None = None,
    device: Device | None = None,
    evaluate: Callable[..., Evaluation] = evaluate,
    remember: Callable[[Callable[[], Metrics]], Metrics] = measured_now,
) -> tuple[Metrics, Evaluation]:
    """Accuracy of the graph that was given to ATC, with the colours the board would see, and its latency here.

    Args:
        export_dir: what `export_model` wrote.
        atc_dir: what `compile_model` wrote from it.
        eval_set: images letterboxed as the manifest says.
        require: measuring anywhere but on a device is an error.
        threads: CPU threads.
        warmup: calls before the first that is timed.
        repeats: timed calls.
        preprocessing: input that AIPP is emulated for; None takes the one that was compiled for.
        options: suppression; None as trainers validate.
        batch: images a call.
        reference_dir: an export to compare speed with, timed in turn with this one; not on a device.
        device: where to run the compiled model; None, and one that cannot be used, evaluates on the CPU.
        evaluate: `evaluate`, or what does the same; of no use on a device.
        remember: is given the measuring of speed on the CPU, and may know what it finds.

    Returns:
        The metrics for a file: map50, map50_95, map50_voc07, precision, recall, latency_ms, latency_p50_ms,
        latency_p90_ms, fps, latency_batch, latency_threads, size_mb (of the ONNX file, 1e6 bytes), backend,
        preprocessing, latency_preprocessing, and speedup where there is a
        reference. Latency excludes emulating AIPP, which costs the board
        nothing. And the Evaluation.

    Raises:
        DeployError: `require` is set and no device can be used; graph and compilation do not belong together;
            the images were letterboxed another way.
    """
    manifest = load_manifest(export_dir)
    compiled = load_result(atc_dir)
    if compiled.onnx_sha256 != manifest.sha256:
        raise DeployError(f"{atc_dir} was made from another graph than {export_dir} holds; run the atc stage again")
    _check_letterbox(manifest, eval_set)
    options = options or NmsOptions()
    run = _on_device(atc_dir, compiled, eval_set, options, device, warmup, require)
    if run is not None:
        evaluation = score_run(run, eval_set)
        return {**evaluation.metrics, **device_metrics(run, compiled, atc_dir)}, evaluation
    source = preprocessing or compiled.aipp_input
    path = export_dir / manifest.file
    twin = OnnxPredictor(path, manifest, threads, aipp_twin(source), f"aipp-twin-{source}")
    logger.info("evaluating %s on %s with %s; no Ascend device takes part", path, twin.backend, twin.preprocessing)
    evaluation = evaluate(twin, eval_set, batch=batch, options=options)
    metrics: Metrics = {
        **evaluation.metrics,
        **remember(lambda: _speed(export_dir, reference_dir, threads, warmup, repeats)),
        "size_mb": path.stat().st_size / 1e6,
        "backend": twin.backend,
        "preprocessing": twin.preprocessing,
    }
    return metrics, evaluation


def _speed(export_dir: Path, reference_dir: Path | None, threads: int, warmup: int, repeats: int) -> Metrics:
    """Latency on the CPU, and the speed-up where there is a reference."""
    manifest = load_manifest(export_dir)
    plain = OnnxPredictor(export_dir / manifest.file, manifest, threads)
    found: Metrics = {
        **measure_latency(plain, warmup=warmup, repeats=repeats, threads=threads),
        "latency_preprocessing": plain.preprocessing,
    }
    if reference_dir is not None:
        other = load_manifest(reference_dir)
        reference = OnnxPredictor(reference_dir / other.file, other, threads)
        same = other.sha256 == manifest.sha256
        found["speedup"] = 1.0 if same else measure_speedup(plain, reference, warmup, repeats)
    return found


def device_metrics(run: BoardRun, compiled: AtcResult, atc_dir: Path) -> Metrics:
    """Speed and circumstances of a run on a device: latency is one image's, copies to and from the chip included."""
    assert compiled.om is not None
    return {
        **latency_of(run),
        "size_mb": (atc_dir / compiled.om).stat().st_size / 1e6,
        "preprocessing": f"aipp-{compiled.aipp_input}",
        "latency_preprocessing": f"aipp-{compiled.aipp_input}",
        "chip": str(run.facts.get("chip") or compiled.soc_version),
    }


def _on_device(
    atc_dir: Path,
    compiled: AtcResult,
    eval_set: EvalSet,
    options: NmsOptions,
    device: Device | None,
    warmup: int,
    require: bool,
) -> BoardRun | None:
    """The run of the compiled model, or None where there is nothing to run or nothing to run it on."""
    reason = "" if device else "no device was named (ascend.target)"
    if compiled.state != "compiled":
        reason = "the model is not compiled (run the atc stage where atc is, or bring it back by ascend.compiled)"
    if device and not reason:
        try:
            return run_on(device, atc_dir, eval_set, options, "acl", warmup)
        except DeviceUnavailableError as error:
            reason = str(error)
    if require:
        raise DeployError(
            f"ascend.require is true, but accuracy and speed cannot be measured on an Ascend device: {reason}. Set "
            "ascend.require=false to evaluate the same graph on the CPU"
        )
    logger.info("no Ascend device takes part: %s", reason)
    return None


def _check_letterbox(manifest: Manifest, eval_set: EvalSet) -> None:
    for annotation, box in zip(eval_set.annotations, eval_set.letterboxes, strict=True):
        wanted = fit(annotation.width, annotation.height, manifest.imgsz, manifest.letterbox_align)
        if box != wanted:
            raise DeployError(
                f"the evaluation images are letterboxed as {box}, the manifest wants {wanted}; load them with "
                f"align={manifest.letterbox_align!r} and imgsz={manifest.imgsz}"
            )
