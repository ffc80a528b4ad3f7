"""Codes that Huawei's ATC prints, and what usually causes them with a YOLO model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from yoloslim.errors import DeployError

_LINE = re.compile(r"^(E[0-9A-Z]\d{4}|EZ\d{4}|W\d{5}):? (.*)$", re.MULTILINE)

_ENVIRONMENT = "the Python that CANN uses lacks packages or is too new; source set_env.sh and use Python 3.7 to 3.10"
_OPSET = "the opset is too new for this CANN; export with export.opset=11"
_FILE = "a file cannot be opened, read, written or parsed; check the disk and that the folder was copied whole"
_GEARS = "atc.batch_gears must list 2 to 100 different batch sizes"
_TYPO = "a compiler option has a value of the wrong kind"

CAUSES = {
    "E10001": "a parameter has an invalid value: the form of --out_nodes, the SoC name or the input format",
    "E10002": "--input_shape is malformed",
    "E10003": _TYPO,
    "E10004": "a required value is empty, such as --soc_version",
    "E10005": _TYPO,
    "E10006": _TYPO,
    "E10007": "a required option is missing, such as --framework or --soc_version",
    "E10009": "dynamic batch, dynamic image size and dynamic dims exclude each other",
    "E10010": "--log takes debug, info, warning, error or null",
    "E10011": "--input_shape has a dimension of -1 without a dynamic option; export with a static shape",
    "E10013": "an index in --out_nodes is too large",
    "E10014": _TYPO,
    "E10016": "a name in --out_nodes or --input_shape is not in the graph; take model and manifest from one export",
    "E10031": "dynamic batch gears without -1 in --input_shape",
    "E10034": "an input with AIPP cannot be fp16; drop --input_fp16_nodes",
    "E10035": _GEARS,
    "E10036": _GEARS,
    "E10037": _GEARS,
    "E10038": _GEARS,
    "E10052": "the AIPP configuration is invalid; generate it again from the manifest",
    "E13000": "a path is empty",
    "E13001": _FILE,
    "E13003": _FILE,
    "E13004": _FILE,
    "E13005": _FILE,
    "E13006": _FILE,
    "E10501": "an operator is not registered: unsupported, or ASCEND_OPP_PATH is not set (source set_env.sh)",
    "E16001": "the ONNX file is broken or lacks a node",
    "E16002": _OPSET,
    "E16004": "the ONNX file has no graph",
    "E16005": "the ONNX file imports more than one version of a domain",
    "E19010": _OPSET,
    "E19999": "inner error; old CANN fails on a Resize whose sizes are computed at run time",
    "E20001": _ENVIRONMENT,
    "E40001": _ENVIRONMENT,
    "E40002": _ENVIRONMENT,
    "E40020": _ENVIRONMENT,
    "E40021": _ENVIRONMENT,
    "E40024": _ENVIRONMENT,
    "E70014": "AIPP's src_image_size differs from --input_shape; generate both from one manifest",
    "E76002": _OPSET,
    "EZ0501": "an operator is not registered: unsupported, or ASCEND_OPP_PATH is not set (source set_env.sh)",
    "EZ3002": "an operator has attributes this SoC does not support",
    "EZ3003": "no kernel for an operator on this SoC; check --soc_version",
    "EZ9010": _OPSET,
    "EZ9999": "inner error; put --log=debug into atc.sh and run it, for the details",
    "W10010": "an operator misses its fast kernel: slow, sometimes failing at run time",
    "W11001": "an operator misses its fast kernel: slow, sometimes failing at run time",
}
"""Likely cause by code, after Huawei's error code reference and reports of users."""


@dataclass(frozen=True)
class AtcCode:
    """One code line: `code` such as E10016, the compiler's `message`, our `cause` (empty when unknown)."""

    code: str
    message: str
    cause: str

    @property
    def is_error(self) -> bool:
        """False for warnings, which may follow a success."""
        return not self.code.startswith("W")


class AtcError(DeployError):
    """ATC ran and failed; `codes` holds what it printed."""

    def __init__(self, message: str, codes: Sequence[AtcCode] = ()) -> None:
        super().__init__(message)
        self.codes = tuple(codes)


def parse_codes(output: str) -> tuple[AtcCode, ...]:
    """All code lines of the compiler's output, in order, each once."""
    found = dict.fromkeys(_LINE.findall(output.replace("\r", "")))
    return tuple(AtcCode(code, message.strip(), CAUSES.get(code, "")) for code, message in found)
