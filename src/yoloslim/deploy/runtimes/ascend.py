"""Ascend chips run compiled models (.om) in the folder that the atc stage wrote, by pyACL or by ais_bench."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from yoloslim.choices import Precision
from yoloslim.deploy.ascend.atc import load_result
from yoloslim.deploy.ascend.bundle import COMPILED
from yoloslim.deploy.ascend.predictors import AclPredictor, AisBenchPredictor, OmPredictor
from yoloslim.deploy.board.bundle import BUNDLE
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.runtimes.base import Runtime
from yoloslim.evaluation.predictor.base import GraphDescription, Predictor
from yoloslim.files import read_json


def _open(
    kind: type[OmPredictor],
    file: Path,
    description: Callable[[], GraphDescription],
    threads: int | None,
    precision: Precision,
) -> Predictor:
    source, gears = load_result(file.parent).aipp_input, tuple(read_json(file.parent / BUNDLE)["gears"])
    return kind(file, load_manifest(file.parent), source, gears)


ACL = Runtime("acl", (".om",), partial(_open, AclPredictor), beside=COMPILED)
AIS_BENCH = Runtime("ais_bench", (".om",), partial(_open, AisBenchPredictor), beside=COMPILED)
