from pathlib import Path

import pytest

from tests.results.made import build


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path / "project")
