"""Stage `listing`: the prepared data as one small file, which the stages that measure depend on.

DVC asks after every file of a folder several times around each stage that reads it, which takes longer than measuring
where there are many images. `data/voc.txt` has a line for each file, with its fingerprint, so that `diff` tells what
changed.
"""

from pathlib import Path

from yoloslim.config import Params
from yoloslim.data.digests import Digests
from yoloslim.files import write_text
from yoloslim.stages.common import DATA, stage

LISTING = DATA.with_suffix(".txt")


def run(params: Params) -> None:
    """Write data/voc.txt."""
    files = sorted(path for path in DATA.rglob("*") if path.is_file())
    digests = Digests(Path(params.train.cache_dir)).of(files)
    lines = [
        f"{digest[:16]}  {file.relative_to(DATA).as_posix()}\n" for digest, file in zip(digests, files, strict=True)
    ]
    write_text(LISTING, "".join(lines))


def main() -> None:
    """Run the stage."""
    stage(run)
