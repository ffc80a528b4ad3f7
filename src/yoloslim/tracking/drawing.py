"""The pictures of runs, drawn in a process beside this one, since they take longer than all that MLflow is told."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from yoloslim.config import load_params
from yoloslim.cores import usable_cores
from yoloslim.files import atomic_folder
from yoloslim.results.records import Row
from yoloslim.results.results import read_results


class Drawing:
    """Folders of pictures, a row each, in the order in which they are asked for.

    They are drawn beside where there are a second core and more than one row; what that process leaves undone, this one
    draws.
    """

    def __init__(self, root: Path, rows: Sequence[Row]) -> None:
        """Begin to draw rows of the project in `root`."""
        self.data = root / "data" / "voc"
        self._folder = tempfile.TemporaryDirectory()
        self._beside: subprocess.Popen[bytes] | None = None
        if len(rows) > 1 and usable_cores() > 1:
            command = [sys.executable, "-m", __name__, self._folder.name, *(row.name for row in rows)]
            silent = subprocess.DEVNULL  # an error is raised here, where it is met again
            self._beside = subprocess.Popen(command, cwd=root, stdout=silent, stderr=silent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._beside:
            self._beside.kill()
            self._beside.wait()
        self._folder.cleanup()

    def pictures_of(self, row: Row) -> Path:
        """The folder with the pictures of a row, once they are there."""
        made = Path(self._folder.name) / row.name
        while self._beside and self._beside.poll() is None and not made.is_dir():
            time.sleep(0.02)
        if not made.is_dir():
            _draw(row, self.data, made)
        return made


def _draw(row: Row, data: Path, out: Path) -> None:
    from yoloslim.report.pictures import draw_row  # matplotlib takes a second

    with atomic_folder(out) as folder:
        draw_row(row, data, folder)


def main() -> None:
    """Draw rows of the project in the current folder: the first argument is the folder, the others are names."""
    folder, *names = sys.argv[1:]
    rows = {row.name: row for row in read_results(Path(), load_params().model_dump(mode="json")).rows}
    for name in names:
        _draw(rows[name], Path("data") / "voc", Path(folder) / name)


if __name__ == "__main__":
    main()
