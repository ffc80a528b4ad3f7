"""Where weights lie: paths and addresses, believed by checksum."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from yoloslim.errors import DataError, WeightsError
from yoloslim.models.foreign.source import find_weights

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.pt").write_bytes(CONTENT)
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()


def test_an_address_is_fetched_once_and_kept(server: str, tmp_path: Path) -> None:
    source = f"{server}/a.pt?download=1#sha256={DIGEST}"
    path = find_weights(source, tmp_path / "kept")
    assert path == tmp_path / "kept" / f"{DIGEST[:12]}-a.pt"
    assert path.read_bytes() == CONTENT
    (tmp_path / "served" / "a.pt").unlink()
    assert find_weights(source, tmp_path / "kept") == path


def test_a_wrong_checksum_leaves_nothing_behind(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"SHA256 is {DIGEST}, not 0000.*or check the address"):
        find_weights(f"{server}/a.pt#sha256={'0' * 64}", tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())


def test_an_address_without_checksum_is_refused_with_the_way_out() -> None:
    with pytest.raises(WeightsError, match=r"needs its checksum.*x\.pt#sha256=<what `sha256sum` says"):
        find_weights("https://example.org/x.pt", Path("kept"))


@pytest.mark.parametrize("fragment", ["md5=00", "sha256=12", "sha256", "x"])
def test_a_checksum_that_is_none_is_refused(fragment: str) -> None:
    with pytest.raises(WeightsError, match="behind '#' stands sha256= and 64 hex"):
        find_weights(f"https://example.org/x.pt#{fragment}", Path("kept"))


def test_a_path_is_checked_where_it_has_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.weights"
    path.write_bytes(CONTENT)
    assert find_weights(str(path), tmp_path) == path
    assert find_weights(f"{path}#sha256={DIGEST.upper()}", tmp_path) == path
    assert find_weights(str(path.with_suffix(".cfg")), tmp_path) == path
    with pytest.raises(WeightsError, match="it is not the file that was meant"):
        find_weights(f"{path}#sha256={'0' * 64}", tmp_path)
    with pytest.raises(WeightsError, match=r"none\.pt is missing"):
        find_weights(str(tmp_path / "none.pt"), tmp_path)
