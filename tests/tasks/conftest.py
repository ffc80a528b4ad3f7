from pathlib import Path

import pytest

from tests.tiny import shake_norms, tiny_detector
from yoloslim.models.store import save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = tiny_detector()
    shake_norms(network)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(network.eval(), path)
    return path
