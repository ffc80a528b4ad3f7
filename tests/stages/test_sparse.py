"""Stage `sparse` without a penalty: nothing is trained, and the baseline is what is cut."""

import hashlib
from pathlib import Path

import pytest

from tests.tiny import tiny_detector
from yoloslim.config import parse_params
from yoloslim.errors import ModelError
from yoloslim.files import read_json
from yoloslim.models.store import save_model
from yoloslim.results.records import read_rows
from yoloslim.stages import sparse

PARAMS = parse_params({"sparse": {"penalty": "none"}})
BASELINE, SPARSE = Path("models/baseline/model.safetensors"), Path("models/sparse/model.safetensors")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(tiny_detector(), BASELINE)


def test_the_baseline_is_handed_on_byte_for_byte_and_without_any_data() -> None:
    sparse.run(PARAMS)
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (BASELINE, SPARSE)}
    assert len(digests) == 1
    assert read_json(SPARSE.with_name("history.json"))["penalty"] == "none"
    assert Path("plots/sparse/epochs.csv").is_file()  # an output that DVC asks for
    assert read_rows(Path()) == []


def test_a_damaged_baseline_is_told_at_once() -> None:
    BASELINE.write_bytes(BASELINE.read_bytes()[:-7])
    with pytest.raises(ModelError, match="baseline"):
        sparse.run(PARAMS)
    assert not SPARSE.exists()
