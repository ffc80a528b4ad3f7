"""Stage `listing`: changes with the data, and only then."""

from hashlib import sha256
from pathlib import Path

import pytest

from yoloslim.config import parse_params
from yoloslim.stages import listing

PARAMS = parse_params({})


def listed() -> str:
    listing.run(PARAMS)
    return listing.LISTING.read_text()


def test_each_file_has_a_line_that_changes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image = Path("data/voc/JPEGImages/a.jpg")
    image.parent.mkdir(parents=True)
    image.write_bytes(b"one")
    Path("data/voc/classes.txt").write_text("cat")
    before = listed()
    digests = [sha256(content).hexdigest()[:16] for content in (b"one", b"cat")]
    assert before == f"{digests[0]}  JPEGImages/a.jpg\n{digests[1]}  classes.txt\n"
    image.touch()  # another time, as after `dvc checkout`
    assert listed() == before
    image.write_bytes(b"two")
    assert listed() == before.replace(digests[0], sha256(b"two").hexdigest()[:16])
    image.unlink()
    assert listed() == before.splitlines(keepends=True)[1]
