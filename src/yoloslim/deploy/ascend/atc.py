"""Compile an exported graph for Ascend chips with Huawei's ATC, or say plainly that it is not here."""

import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from onnx import ModelProto

from yoloslim.choices import AippInput
from yoloslim.deploy.ascend.aipp import aipp_config
from yoloslim.deploy.ascend.bundle import CHECKSUM, COMPILED, write_ascend_script
from yoloslim.deploy.ascend.cann import find_cann
from yoloslim.deploy.ascend.codes import AtcCode
from yoloslim.deploy.ascend.compiler import CHECK_REPORT, LOG, OM_MODE, run_compiler
from yoloslim.deploy.ascend.graph_checks import fit_for_atc
from yoloslim.deploy.ascend.mindx import write_mindx
from yoloslim.deploy.board.bundle import BUNDLE, RUN, RUNNER, write_bundle, write_runner
from yoloslim.deploy.board.environment import source_set_env
from yoloslim.deploy.describe import read_onnx
from yoloslim.deploy.manifest import MANIFEST_NAME, PLAIN, Manifest, load_manifest, save_manifest
from yoloslim.deploy.quoting import one_line, quote
from yoloslim.errors import DeployError
from yoloslim.files import atomic_path, read_json, sha256_file, write_json, write_text

logger = logging.getLogger(__name__)

_HOW_TO_GET_ATC = "It comes with Huawei's CANN toolkit, which is in none of its usual places: source its set_env.sh."
RESULT = "atc.json"
_OUTPUT = COMPILED.removesuffix(".om")  # atc appends it


@dataclass(frozen=True)
class AtcOptions:
    """What a person may choose about a compilation.

    Attributes:
        soc_version: the chip, as `npu-smi info` names it with `Ascend` in front; a model loads on that chip only.
        aipp_input: what the device will be fed.
        precision_mode: arithmetic; `force_fp16` is the compiler's own default.
        batch_gears: batch sizes the model can switch between while it runs; empty compiles for the graph's batch, which
            is 1 where that is open.
        enable_small_channel: speeds up convolutions on up to 4 input channels, mostly.
        timeout_s: seconds after which a compilation is stopped.
    """

    soc_version: str = "Ascend310"
    aipp_input: AippInput = "nv12"
    precision_mode: str = "force_fp16"
    batch_gears: tuple[int, ...] = ()
    enable_small_channel: bool = True
    timeout_s: int = 3600


@dataclass(frozen=True)
class AtcResult:
    """What became of a compilation; `atc.json` in its folder holds the same.

    Attributes:
        state: `compiled`, or `not_available` where no compiler is installed.
        argv: the command, run in the folder itself: all paths are relative to it.
        codes: warnings that the compiler printed.
        log: file name of its output, None when it did not run.
        om: file name of the compiled model, likewise.
        om_sha256: of that file, likewise.
        onnx_sha256: of the exported graph, before anything in it was rewritten for the compiler.
        soc_version: the chip.
        aipp_input: what the device will be fed.
        cann_version: of the compiler, empty where it did not run or does not say.
    """

    state: Literal["compiled", "not_available"]
    argv: tuple[str, ...]
    codes: tuple[AtcCode, ...]
    log: str | None
    om: str | None
    om_sha256: str | None
    onnx_sha256: str
    soc_version: str
    aipp_input: AippInput
    cann_version: str = ""


def atc_arguments(manifest: Manifest, options: AtcOptions) -> list[str]:
    """The compiler's full argument list, for a folder that holds the graph and `aipp.cfg`.

    Raises:
        DeployError: gears for a graph of fixed batch, or fewer than 2 or more than 100 of them, or one twice.
    """
    gears, batch = options.batch_gears, manifest.input_shape[0]
    if gears and not (2 <= len(gears) <= 100 and len(set(gears)) == len(gears) and min(gears) >= 1):
        raise DeployError(f"atc.batch_gears={list(gears)}: give 2 to 100 different batch sizes, or none")
    if gears and batch != -1:
        raise DeployError(
            f"atc.batch_gears={list(gears)} needs a graph whose batch is open, and this one is fixed at {batch}; "
            "export it again with export.batch=0"
        )
    shape = ",".join(map(str, (-1 if gears else max(1, batch), *manifest.input_shape[1:])))
    return [
        f"--model={manifest.file}",
        "--framework=5",  # ONNX
        f"--output={_OUTPUT}",
        "--input_format=NCHW",
        f"--input_shape={manifest.input_name}:{shape}",
        *([f"--dynamic_batch_size={','.join(map(str, sorted(gears)))}"] if gears else []),
        f"--enable_small_channel={int(options.enable_small_channel)}",
        "--insert_op_conf=aipp.cfg",
        f"--precision_mode={options.precision_mode}",
        f"--soc_version={options.soc_version}",
        "--out_nodes=" + ";".join(f"{name}:0" for name in manifest.head_names),
        "--log=error",
    ]


def compile_model(
    export_dir: Path,
    out_dir: Path,
    options: AtcOptions | None = None,
    require: bool = False,
    compiled: Path | None = None,
    explain: bool = True,
) -> AtcResult:
    """Make a folder from which the model can be compiled anywhere, and compile it here if `atc` is here.

    The folder holds the graph, its manifest, `aipp.cfg`, the script `atc.sh` and, last, `atc.json`: copied to a
    machine with CANN, `bash atc.sh` compiles it. What that leaves comes back by `compiled`.

    Args:
        export_dir: what `export_model` wrote.
        out_dir: made if missing.
        options: chip, input and precision.
        require: a missing compiler is an error.
        compiled: such a folder that was compiled elsewhere and copied back; it is taken instead of compiling, if it
            belongs to this graph and these options.
        explain: where there is no compiler, say how to get one; else that is said in a few words.

    Raises:
        AtcError: the compiler ran and failed; `atc.log` in `out_dir` holds its output.
        DeployError: the export is damaged or no fp32 ONNX with raw heads, or has what the compiler does not take
            (`fit_for_atc`, which rewrites what it can); `require` is set and there is neither a
            compiler nor a compiled model; that model is empty, changed on its way, or in `out_dir`.
    """
    options = options or AtcOptions()
    manifest = load_manifest(export_dir)
    _check_places(export_dir, manifest, out_dir, compiled)
    argv = ["atc", *atc_arguments(manifest, options)]
    graph = read_onnx(export_dir / manifest.file)
    rewritten = fit_for_atc(graph)
    ready = _compiled_elsewhere(compiled, manifest, argv, options) if compiled else None
    compiler = None if ready else find_cann()
    done = bool(ready or compiler)
    if not done and require:
        why = "a compiled model is asked for (ascend.require, --require, or a latency on ascend)"
        raise DeployError(f"{why}, but atc is not on the PATH. {_HOW_TO_GET_ATC}")
    _clear_folder(out_dir)
    packed_manifest = _pack_graph(export_dir, out_dir, manifest, graph if rewritten else None)
    for each in rewritten:
        logger.info("rewritten for the compiler: %s", each)
    files = _fill_folder(out_dir, packed_manifest, argv, options)
    codes: tuple[AtcCode, ...] = ()
    if compiler:
        codes = run_compiler(compiler, argv, out_dir, options.timeout_s)
    elif ready:
        with atomic_path(out_dir / COMPILED) as temporary:
            shutil.copyfile(ready, temporary)
            temporary.chmod(OM_MODE)
    else:
        _say_nothing_compiled(out_dir, options, explain)
    result = AtcResult(
        state="compiled" if done else "not_available",
        argv=tuple(argv),
        codes=codes,
        log=LOG if compiler else None,
        om=COMPILED if done else None,
        om_sha256=sha256_file(out_dir / COMPILED) if done else None,
        onnx_sha256=manifest.sha256,
        soc_version=options.soc_version,
        aipp_input=options.aipp_input,
        cann_version=compiler.version if compiler else "",
    )
    packed = [*files, COMPILED] if done else files
    write_bundle(out_dir, packed_manifest, packed, options.aipp_input, options.soc_version, options.batch_gears)
    write_json(out_dir / RESULT, asdict(result))
    return result


def _check_places(export_dir: Path, manifest: Manifest, out_dir: Path, compiled: Path | None) -> None:
    """Whether there is a graph that can be compiled, and a place for what comes of it.

    Raises:
        DeployError: no fp32 ONNX with raw heads, or the bundle would overwrite the compiled one that it is made of.
    """
    if manifest.kind != PLAIN:
        raise DeployError(
            f"{export_dir} holds {', '.join(manifest.kind)}; Ascend's compiler takes {', '.join(PLAIN)}: export the "
            "model as ONNX with raw outputs (`yoloslim export MODEL`)"
        )
    if compiled and compiled.resolve() == out_dir.resolve():
        raise DeployError(f"{compiled} is where the bundle will be written; name another folder for the compiled one")


def _say_nothing_compiled(out_dir: Path, options: AtcOptions, explain: bool) -> None:
    if not explain:
        logger.info("%s: nothing compiled, atc is not on the PATH", out_dir)
        return
    logger.warning(
        "atc is not on the PATH, so nothing was compiled for %s. %s Or copy %s to a machine with CANN, run "
        "`bash atc.sh` in it there, and name in ascend.compiled where you copied it back to",
        options.soc_version,
        _HOW_TO_GET_ATC,
        out_dir,
    )


def load_result(folder: Path) -> AtcResult:
    """Read a folder's `atc.json`.

    Raises:
        DeployError: it is not one, or the compiled model is not the file it describes.
        YoloslimError: it is missing: nothing was compiled, or a compilation was cut short.
    """
    path = folder / RESULT
    values: dict[str, Any] = read_json(path)
    try:
        codes = tuple(AtcCode(**code) for code in values.pop("codes"))
        result = AtcResult(**{**values, "argv": tuple(values["argv"]), "codes": codes})
    except (KeyError, TypeError, AttributeError) as error:
        raise DeployError(f"{path} is not what the atc stage writes ({error}); run the stage again") from error
    if result.om is not None:
        om = folder / result.om
        if not om.is_file() or sha256_file(om) != result.om_sha256:
            raise DeployError(f"{om} is missing or not the file that {path} describes; compile again")
    return result


def _compiled_elsewhere(folder: Path, manifest: Manifest, argv: list[str], options: AtcOptions) -> Path | None:
    """The compiled model of a folder that came back, or None where it is missing or belongs to something else.

    Raises:
        DeployError: it is empty, or not what was compiled.
    """
    om, checksum = folder / COMPILED, folder / CHECKSUM
    for path in (om, folder / RESULT):
        if not path.is_file():
            logger.warning("%s (ascend.compiled) is missing: bring the whole folder back", path)
            return None
    asked = load_result(folder)
    if (asked.onnx_sha256, asked.argv, asked.aipp_input) != (manifest.sha256, tuple(argv), options.aipp_input):
        logger.warning("%s (ascend.compiled) is for another graph or other options and is not used", folder)
        return None
    intact = not checksum.is_file() or checksum.read_text(encoding="utf-8").split()[:1] == [sha256_file(om)]
    if om.stat().st_size == 0 or not intact:
        raise DeployError(f"{om} is empty or changed on its way; copy it again from where it was compiled")
    logger.info("taking %s, compiled elsewhere", om)
    return om


def _clear_folder(out_dir: Path) -> None:
    """Remove the results of an earlier compilation."""
    out_dir.mkdir(parents=True, exist_ok=True)
    for stale in (RESULT, BUNDLE, COMPILED, CHECKSUM, LOG, CHECK_REPORT):
        (out_dir / stale).unlink(missing_ok=True)


def _pack_graph(export_dir: Path, out_dir: Path, manifest: Manifest, graph: ModelProto | None) -> Manifest:
    """Put the graph and its manifest into the folder, as exported or as rewritten; the manifest."""
    if graph is None:
        for name in (manifest.file, MANIFEST_NAME):
            with atomic_path(out_dir / name) as temporary:
                shutil.copyfile(export_dir / name, temporary)
        return manifest
    with atomic_path(out_dir / manifest.file) as temporary:
        temporary.write_bytes(graph.SerializeToString(deterministic=True))
    packed = manifest.model_copy(update={"files": {manifest.file: sha256_file(out_dir / manifest.file)}})
    save_manifest(packed, out_dir)
    return packed


def _fill_folder(out_dir: Path, manifest: Manifest, argv: list[str], options: AtcOptions) -> list[str]:
    """What a compilation and a board need beside the graph; all names."""
    write_text(out_dir / "aipp.cfg", aipp_config(manifest, options.aipp_input))
    _write_script(out_dir / "atc.sh", argv, manifest, options)
    write_runner(out_dir / RUNNER)
    write_ascend_script(out_dir / RUN)
    mindx = write_mindx(out_dir, manifest, options.aipp_input)
    return [manifest.file, MANIFEST_NAME, "aipp.cfg", "atc.sh", RUNNER, RUN, *mindx]


def _write_script(path: Path, argv: list[str], manifest: Manifest, options: AtcOptions) -> None:
    command = " \\\n    ".join(map(quote, argv))
    what = one_line(f"{manifest.file} for {options.soc_version}")
    text = f"""#!/usr/bin/env bash
# Compiles {what}. Copy this folder to a machine with Huawei's CANN toolkit and run
# `bash atc.sh` there; it writes {COMPILED} beside itself.
set -eo pipefail  # no -u: CANN's set_env.sh reads unset variables
cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")"
if ! command -v atc >/dev/null; then
{source_set_env("    ")}
fi
if ! command -v atc >/dev/null; then
    echo "atc not found: install the CANN toolkit, or source its set_env.sh" >&2
    exit 127
fi
printf '%s\\n' {quote(f"{manifest.sha256}  {manifest.file}")} | sha256sum --check --quiet
rm -f {COMPILED} {CHECKSUM}
{command}
test -s {COMPILED}
chmod {OM_MODE:o} {COMPILED}  # the MindX SDK refuses models that others may read
sha256sum {COMPILED} >{CHECKSUM}
"""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
