"""`track` where nothing is new."""

import subprocess
import sys


def test_it_starts_without_what_only_pictures_need() -> None:
    program = (
        "import sys; sys.modules |= dict.fromkeys(['torch', 'cv2', 'mlflow', 'matplotlib']); import pipeline.track"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
