"""Stage `export`: write a model as ONNX with raw heads, and prove that it computes the same."""

from dataclasses import replace

from yoloslim import ranges
from yoloslim.config import Params
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.runtimes import runtime_of_format
from yoloslim.files import write_json
from yoloslim.models.store import load_model
from yoloslim.stages.common import METRICS, MODELS, stage_of_model, trained


def run(params: Params, which: str) -> None:
    """Write models/export/<which>, a folder in it for each further format, and metrics/export/<which>.json."""
    source = MODELS / trained(which) / "model.safetensors"
    out = MODELS / "export" / which
    further = [runtime_of_format(name) for name in params.export.formats]
    model, options = load_model(source), ExportOptions(opset=params.export.opset, batch=params.export.batch)
    manifest = export_model(model, out, options, ranges=ranges.load(source))
    for runtime in further:
        batch = 1 if runtime.one_image else options.batch
        export_model(model, out / runtime.format, replace(options, batch=batch), runtime.format)
    size_mb = (out / manifest.file).stat().st_size / 1e6
    metrics = {"onnx_max_diff": manifest.max_abs_diff, "size_mb": size_mb, "opset": manifest.opset}
    write_json(METRICS / "export" / f"{which}.json", metrics)


def main() -> None:
    """Run the stage for one model."""
    stage_of_model(run, __doc__, "a percent, `baseline` or `control/dense`")
