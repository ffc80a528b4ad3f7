"""An ONNX export to a folder for a Rockchip chip: `model.rknn`, the graph it was made from, what the compiler said."""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from yoloslim.choices import RangesFrom, RknnPrecision
from yoloslim.deploy.board.bundle import RUN, RUNNER, write_bundle, write_run_script, write_runner
from yoloslim.deploy.describe import read_onnx
from yoloslim.deploy.graph import head_nodes
from yoloslim.deploy.int8 import check_calibration, tensor_ranges
from yoloslim.deploy.manifest import MANIFEST_NAME, PLAIN, Manifest, load_manifest
from yoloslim.deploy.rockchip.report import Compiled, Loss, parse_compiled, parse_losses, refused_layers
from yoloslim.deploy.sensitivity import most_sensitive
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor.base import Images
from yoloslim.files import atomic_folder, read_json, sha256_file, write_json
from yoloslim.runner.rknn_session import compiled_for
from yoloslim.toolchains import TOOLCHAINS, Session
from yoloslim.toolchains.programs.run_rockchip import GRAPH

logger = logging.getLogger(__name__)

COMPILED, RESULT = "model.rknn", "rknn.json"
FP16_CHIPS = ("rk3588", "rk3576", "rk3568", "rk3566", "rk3562", "rv1126b")
CHIPS = (*FP16_CHIPS, "rv1103", "rv1106")
"""As rknn-toolkit2 2.5 names what it compiles for; all but the first compute in int8 only."""
_TIMEOUT_S = 3600


@dataclass(frozen=True)
class RknnOptions:
    """How to compile.

    Attributes:
        chip: of `CHIPS`.
        precision: `fp16`; `int8`, the heads in fp16 where the chip has it; or `hybrid`, where the layers that lose
            most stay in fp16, too.
        hybrid_share: share of the layers that `hybrid` leaves in fp16, chosen by what each loses.
    """

    chip: str = "rk3588"
    precision: RknnPrecision = "fp16"
    hybrid_share: float = 0.1

    def __post_init__(self) -> None:
        if self.chip not in CHIPS:
            same = compiled_for(self.chip.lower())
            hint = f"; it is named {same}" if same in CHIPS else ""
            raise DeployError(f"Rockchip's compiler knows no chip {self.chip!r}{hint}; known: {', '.join(CHIPS)}")
        if self.precision != "int8" and self.chip not in FP16_CHIPS:
            raise DeployError(f"{self.chip} computes in int8 only; ask for precision int8, not {self.precision}")


class RknnResult(BaseModel):
    """`rknn.json`: what was compiled, and what the compiler said of it.

    Attributes:
        version: of this file's layout.
        chip: the model loads on this one only.
        precision: fp16, int8 or hybrid.
        toolkit: version of rknn-toolkit2.
        onnx_sha256: of the graph.
        files: file name -> SHA-256.
        calibration_images: how many the ranges were taken from.
        ranges_from: what set the ranges of int8 and hybrid: `training` those of convolutions, with images for the rest.
        fp16_layers: tensors that int8 and hybrid left in fp16.
        internal_kb: memory for what layers hand on, 1024 bytes.
        weight_kb: memory for weights, 1024 bytes.
        size_mb: of the .rknn, 1e6 bytes.
        compile_s: seconds that the compiler took.
        off_npu: layers that the NPU does not take, with the operation.
        layers: see `report.Layer`.
        losses: see `report.Loss`; of hybrid, before the choice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    chip: str
    precision: RknnPrecision
    toolkit: str
    onnx_sha256: str
    files: dict[str, str]
    calibration_images: int
    ranges_from: RangesFrom | None = None
    fp16_layers: tuple[str, ...]
    internal_kb: float
    weight_kb: float
    size_mb: float
    compile_s: float
    off_npu: tuple[str, ...]
    layers: tuple[dict[str, Any], ...]
    losses: tuple[dict[str, Any], ...]


def compile_rknn(export_dir: Path, out_dir: Path, options: RknnOptions, images: Images | None = None) -> RknnResult:
    """Compile an export for a chip; the folder is replaced as a whole, and only if all went well.

    Args:
        export_dir: what `export_model` wrote as ONNX with raw heads for one image a call.
        out_dir: folder to write.
        options: chip and precision.
        images: calibration images uint8 (N, S, S, 3), letterboxed as in evaluation; for int8 and hybrid.

    Raises:
        DeployError: no toolchain, no calibration images or of another size, an export of another kind, or the compiler
            refused; names the layers that it refused.
    """
    toolchain, manifest = TOOLCHAINS["rockchip"], load_manifest(export_dir)
    if manifest.kind != PLAIN or manifest.input_shape[0] != 1:
        raise DeployError(
            f"{export_dir} holds {', '.join(manifest.kind)}, batch {manifest.input_shape[0]}; the NPU's compiler takes "
            "an fp32 ONNX export with raw heads and batch 1"
        )
    others = sorted(each.name for each in out_dir.iterdir()) if out_dir.is_dir() else []
    if others and RESULT not in others:
        raise DeployError(
            f"{out_dir} holds {others[0]}, and no compiled model to replace; name a folder that is new or empty"
        )
    count = 0  # fp16 needs none
    if options.precision != "fp16":
        count = check_calibration(images, manifest.imgsz, f"rknn-{options.precision}")
    graph = export_dir / manifest.file
    with atomic_folder(out_dir) as folder, Session(toolchain) as session, _naming_layers(graph):
        for name in (MANIFEST_NAME, manifest.file):
            shutil.copyfile(export_dir / name, folder / name)
        source, target = str((folder / manifest.file).absolute()), str((folder / COMPILED).absolute())
        start, losses, chosen = time.monotonic(), tuple[Loss, ...](), tuple[str, ...]()
        if options.precision == "fp16":
            session.ask("compile_fp16", timeout_s=_TIMEOUT_S, source=source, target=target, chip=options.chip)
        else:
            assert images is not None
            here = str(folder.absolute())
            session.ask("quantize", [images], _TIMEOUT_S, source=source, folder=here, chip=options.chip)
            if manifest.ranges:
                trained = tensor_ranges(read_onnx(Path(source)), manifest.ranges)
                session.ask("set_ranges", folder=here, ranges=trained)
            if options.precision == "hybrid":
                said, _ = session.ask("sensitivity", [images[:1]], _TIMEOUT_S, folder=here)
                losses = parse_losses(said["table"])
            if options.chip in FP16_CHIPS:
                singles = {loss.tensor: loss.single for loss in losses}
                wanted = most_sensitive(singles, options.hybrid_share) if losses else ()
                heads = [node.output[0] for node in head_nodes(read_onnx(Path(source)))]
                done, _ = session.ask("keep_fp16", folder=here, tensors=list(wanted), heads=heads)
                chosen = tuple(done["tensors"])
            session.ask("compile_quantized", timeout_s=_TIMEOUT_S, folder=here, target=target)
        seconds, compiled = time.monotonic() - start, parse_compiled(session.log())
        names = [manifest.file, COMPILED, *(GRAPH if options.precision != "fp16" else ())]
        result = RknnResult(
            chip=options.chip,
            precision=options.precision,
            toolkit=toolchain.version,
            onnx_sha256=manifest.sha256,
            files={name: sha256_file(folder / name) for name in names},
            calibration_images=count,
            ranges_from=manifest.ranges_from if count else None,
            fp16_layers=chosen,
            internal_kb=compiled.internal_kb,
            weight_kb=compiled.weight_kb,
            size_mb=(folder / COMPILED).stat().st_size / 1e6,
            compile_s=round(seconds, 2),
            off_npu=tuple(f"{layer.kind} of {layer.name}" for layer in compiled.off_npu),
            layers=tuple(asdict(layer) for layer in compiled.layers),
            losses=tuple(asdict(loss) for loss in losses),
        )
        write_json(folder / RESULT, result.model_dump(mode="json"))
        pack(folder, manifest, options.chip)
    _say(out_dir, result, compiled)
    return result


def pack(folder: Path, manifest: Manifest, chip: str) -> None:
    """Put what a board needs beside the graph and the model compiled for a chip: runner, `run.sh`, checksums."""
    write_runner(folder / RUNNER)
    write_run_script(folder / RUN, "rknnlite")
    write_bundle(folder, manifest, [manifest.file, COMPILED, RUNNER, RUN], "rgb", chip, ())


def load_rknn_result(folder: Path, chip: str | None = None) -> RknnResult:
    """Read `rknn.json` and make sure that the files beside it are those it describes.

    Args:
        folder: what `compile_rknn` wrote.
        chip: the one it must be for; None takes any.

    Raises:
        DeployError: there is none, it was made for another chip or by another toolkit, or a file has changed.
    """
    path = folder / RESULT
    if not path.is_file():
        raise DeployError(f"{folder} holds no compiled model ({RESULT} is missing): yoloslim compile --target rk3588")
    try:
        result = RknnResult.model_validate(read_json(path))
    except ValidationError as error:
        raise DeployError(f"{path} is not what this yoloslim writes; compile again") from error
    if chip and result.chip != chip:
        raise DeployError(f"{folder} was compiled for {result.chip} and does not load on {chip}: compile it for {chip}")
    wanted = TOOLCHAINS["rockchip"].version
    if result.toolkit != wanted:
        raise DeployError(
            f"{folder} was compiled by rknn-toolkit2 {result.toolkit}, this yoloslim works with {wanted}; compile again"
        )
    for name, digest in result.files.items():
        if not (folder / name).is_file() or sha256_file(folder / name) != digest:
            raise DeployError(f"{folder / name} is missing or not the file that {path} describes; compile again")
    return result


@contextmanager
def _naming_layers(graph: Path) -> Iterator[None]:
    """Let a refusal of the compiler say which layers of our model it is about."""
    try:
        yield
    except DeployError as error:
        layers = refused_layers(str(error), read_onnx(graph))
        if not layers:
            raise
        raise DeployError(f"{error}; in the model: {', '.join(layers)}; export it without") from error


def _say(out_dir: Path, result: RknnResult, compiled: Compiled) -> None:
    logger.info(
        "%s for %s, %s: %.2f MB, %.0f kB of weights and %.0f kB between layers on the NPU, compiled in %.0f s",
        out_dir / COMPILED,
        result.chip,
        result.precision,
        result.size_mb,
        result.weight_kb,
        result.internal_kb,
        result.compile_s,
    )
    if not compiled.layers:
        logger.warning("the compiler printed no table of layers: what runs on the NPU is not known")
    if result.off_npu:
        logger.warning("the NPU does not take, and the board's CPU computes: %s", ", ".join(result.off_npu))
    if result.fp16_layers:
        which = "the heads and what loses most" if result.precision == "hybrid" else "the heads"
        logger.info("in fp16, %s: %s", which, ", ".join(result.fp16_layers))
