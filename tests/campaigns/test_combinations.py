"""A part of the campaign: the quick combinations, and of those that need a toolchain one each."""

from pathlib import Path

import pytest

from tests.campaigns.combinations import ALLOWED, COMBINATIONS, HEADS, TOOLCHAIN, Combination, difference
from tests.toolchains import needs_toolchain

SLOW = [Combination("litert", "yolov8n", "fp32"), Combination("rknn", "yolov8n", "fp16")]
QUICK = [Combination("onnxruntime", "yolov8n", "fp32")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("combinations")


@pytest.mark.parametrize("one", [*QUICK, *(pytest.param(each, marks=pytest.mark.slow) for each in SLOW)], ids=str)
def test_a_runtime_gives_what_pytorch_gives(one: Combination, root: Path) -> None:
    if one.runtime in TOOLCHAIN:
        needs_toolchain(TOOLCHAIN[one.runtime])
    assert difference(one, root) <= ALLOWED[one.precision]


def test_every_head_meets_every_runtime_and_precision() -> None:
    assert len(set(COMBINATIONS)) == len(COMBINATIONS) == 17 * len(HEADS)
