"""The manifest beside an exported graph: everything that a runtime or compiler must know about it.

AIPP configuration, compiler arguments and decoding are generated from it, never typed by hand.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from yoloslim.boxes import Align
from yoloslim.choices import Outputs, RangesFrom
from yoloslim.errors import DeployError
from yoloslim.files import read_json, sha256_file, write_text
from yoloslim.heads import AnyHead
from yoloslim.heads.anchor import with_head
from yoloslim.models.spec import MAX_SIDE, Line
from yoloslim.ranges import ConvRange
from yoloslim.runner.names import PLAIN_NAMES, is_plain

MANIFEST_NAME = "manifest.json"

MAX_BATCH = 4096
PLAIN = ("onnx", "raw", "fp32")
"""The kind of graph that compilers and quantisers start from."""


def _plain(name: str) -> str:
    if not is_plain(name):
        raise ValueError(f"{name!r} is not {PLAIN_NAMES}")
    return name


PlainName = Annotated[str, AfterValidator(_plain)]
"""Of a file or tensor: it stands in scripts, commands and configurations of other programs."""


def _square(shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    batch, channels, height, width = shape
    if not (batch == -1 or 1 <= batch <= MAX_BATCH) or channels != 3 or height != width or not 32 <= width <= MAX_SIDE:
        raise ValueError(
            f"{list(shape)} is not (batch, 3, S, S) with S from 32 to {MAX_SIDE}, batch -1 where it is open"
        )
    return shape


_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Output(BaseModel):
    """One raw output, as `Head.outputs` says, with B as in the manifest's input.

    The graph output and the node that makes it have the same name, so that tools which ask for either agree.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PlainName
    shape: tuple[int, ...] = Field(min_length=3)


class Manifest(BaseModel):
    """What an exported graph is.

    Attributes:
        version: of this file's layout; 2, which is still read, had anchor heads only.
        format: of the files; `runtimes.base.Runtime` says who writes it.
        precision: of its weights and activations.
        files: file name -> SHA-256, in the manifest's own folder; the first is the one that runtimes open.
        model: architecture, such as `yolov5n`.
        input_name: of the graph's only input.
        input_shape: (B, 3, S, S), RGB in [0, 1]; B is -1 where any number of images may come.
        outputs: what the graph gives; predictors and compilers need `raw`.
        heads: raw outputs, finest level first; empty for the others.
        classes: names in the order of the outputs.
        head: what gives them, and how they become boxes.
        letterbox_align: where images lie on the square canvas.
        letterbox_fill: grey level of the padding, 0-255.
        opset: ONNX operator set really written (for other formats: of the graph they were made from).
        torch_version: exporter.
        max_abs_diff: largest difference of any output between PyTorch and this graph at export (of an int8 version:
            from its fp32 graph); None for a file of another tool, whose model is not here.
        ranges: path of each convolution -> what its activations keep to, where the model was trained with them
            quantised; its int8 versions rest on them.
        calibration_images: of an int8 version: how many images the other ranges were taken from.
        losses: of an int8 version that leaves layers in fp32: layer -> what int8 of it alone costs; see `sensitivity`.
        fp32_layers: which layers those are; the heads, which always are, not among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[2, 3] = 3
    format: PlainName = "onnx"
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    files: dict[PlainName, _Sha256] = Field(min_length=1)
    model: Line
    input_name: PlainName
    input_shape: Annotated[tuple[int, int, int, int], AfterValidator(_square)]
    outputs: Outputs = "raw"
    heads: tuple[Output, ...]
    classes: tuple[Line, ...] = Field(min_length=1)
    head: AnyHead
    letterbox_align: Align
    letterbox_fill: int = Field(ge=0, le=255)
    opset: int
    torch_version: str
    max_abs_diff: float | None = None
    ranges: dict[Line, ConvRange] = Field(default_factory=dict)
    calibration_images: int = Field(0, ge=0)
    losses: dict[Line, float] = Field(default_factory=dict)
    fp32_layers: tuple[Line, ...] = ()

    @property
    def ranges_from(self) -> RangesFrom:
        """Of an int8 version: where the ranges of its activations come from."""
        return "training" if self.ranges else "calibration"

    @model_validator(mode="before")
    @classmethod
    def _read_version_2(cls, data: Any) -> Any:
        lifted = with_head(data)
        return {**lifted, "version": 3} if lifted is not data and data.get("version", 2) == 2 else lifted

    @property
    def file(self) -> str:
        """Name of the file that runtimes open."""
        return next(iter(self.files))

    @property
    def kind(self) -> tuple[str, str, str]:
        """Format, outputs and precision."""
        return self.format, self.outputs, self.precision

    @property
    def sha256(self) -> str:
        """SHA-256 of that file."""
        return self.files[self.file]

    @property
    def imgsz(self) -> int:
        """Side of the input in pixels."""
        return self.input_shape[2]

    @property
    def head_names(self) -> tuple[str, ...]:
        """Names of the graph outputs, finest level first."""
        return tuple(head.name for head in self.heads)


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `manifest.json` into the folder of its graph."""
    absent = {name for name in ("ranges", "calibration_images", "losses", "fp32_layers") if not getattr(manifest, name)}
    write_text(folder / MANIFEST_NAME, manifest.model_dump_json(indent=2, exclude=absent) + "\n")


def load_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest and make sure that it belongs to the files beside it.

    Raises:
        DeployError: the manifest is missing, not valid, or its raw outputs are not those of its head and classes; or
            a file is missing or not the one it describes.
        YoloslimError: the manifest is no JSON.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise DeployError(_no_export(folder))
    try:
        manifest = Manifest.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DeployError(
            f"{path} is not a valid manifest: {where}: {first['msg'].removeprefix('Value error, ')}; export again"
        ) from error
    _check_outputs(manifest, path)
    for name, expected in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise DeployError(f"{file} is missing though {path} describes it; export again")
        actual = sha256_file(file)
        if actual != expected:
            raise DeployError(
                f"{file} is not the file that {path} describes (sha256 {actual[:12]}..., expected "
                f"{expected[:12]}...): changed or damaged on its way; export or copy it again"
            )
    return manifest


def _no_export(folder: Path) -> str:
    """Why a path is not the folder of an export, and what may have been meant."""
    if folder.is_file():
        own = (folder.parent / MANIFEST_NAME).is_file()
        meant = f"give its folder, {folder.parent}" if own else f"`yoloslim export {folder}` writes one"
        return f"{folder} is a file, and this takes the folder of an export: {meant}"
    held = sorted(folder.glob("*.safetensors"))
    meant = f"; it holds {held[0].name}: give that file, or export it" if held else ""
    return f"{folder / MANIFEST_NAME} is missing, so {folder} is not the folder of an export (`yoloslim export`){meant}"


def _check_outputs(manifest: Manifest, path: Path) -> None:
    if manifest.outputs != "raw":
        return
    stated = [(output.name, output.shape[1:]) for output in manifest.heads]
    expected = list(manifest.head.outputs(len(manifest.classes), manifest.imgsz).items())
    if stated != expected:
        raise DeployError(
            f"{path}: its heads are {_listed(stated)}, but {len(manifest.classes)} classes at {manifest.imgsz} px give "
            f"{_listed(expected)}; export again"
        )


def _listed(outputs: list[tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in outputs) or "none"
