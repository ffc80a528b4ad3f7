import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of stand-ins for public checkpoints, pickled by a process that has the public module paths."""
    folder = tmp_path_factory.mktemp("public")
    subprocess.run([sys.executable, str(Path(__file__).with_name("stand_in.py")), str(folder)], check=True)
    return folder
