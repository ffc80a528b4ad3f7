"""The downloader against real HTTP servers on this machine that break off, lie, and serve hostile archives."""

import contextlib
import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from yoloslim.data import download
from yoloslim.data.download import fetch
from yoloslim.data.prepare import prepare
from yoloslim.data.voc import load_split
from yoloslim.errors import DataError

DATA = bytes(range(256)) * 400
NAME = "a.tar"


class Mirror(ThreadingHTTPServer):
    """Serves `files`; breaks off after each number of bytes in `cuts`, one a connection; notes every Range."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.ranges: list[str | None] = []
        self.knows_ranges = True
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        data = self.server.files.get(self.path.lstrip("/"))
        if data is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.knows_ranges else 0
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        self.wfile.write(data[start:] if cut is None else data[start : start + cut])

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "CHUNK", 1000)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    server = Mirror()
    server.files[NAME] = DATA
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def second(mirror: Mirror) -> Iterator[Mirror]:
    server = Mirror()
    yield server
    server.shutdown()
    server.server_close()


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_archive_is_fetched_once_and_then_taken_from_disk(tmp_path: Path, mirror: Mirror) -> None:
    for _ in range(2):
        assert fetch(NAME, _md5(DATA), [mirror.url], tmp_path).read_bytes() == DATA
    assert mirror.ranges == [None]
    assert not (tmp_path / "a.tar.part").exists()


def test_broken_connections_are_resumed_where_they_stopped(tmp_path: Path, mirror: Mirror) -> None:
    mirror.cuts = [40_000, 20_000]
    assert fetch(NAME, _md5(DATA), [mirror.url], tmp_path).read_bytes() == DATA
    assert mirror.ranges == [None, "bytes=40000-", "bytes=60000-"]


def test_part_of_an_earlier_run_is_resumed(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "a.tar.part").write_bytes(DATA[:70_000])
    assert fetch(NAME, _md5(DATA), [mirror.url], tmp_path).read_bytes() == DATA
    assert mirror.ranges == ["bytes=70000-"]


def test_complete_part_of_an_earlier_run_is_accepted(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "a.tar.part").write_bytes(DATA)
    assert fetch(NAME, _md5(DATA), [mirror.url], tmp_path).read_bytes() == DATA


def test_wrong_part_of_an_earlier_run_is_thrown_away(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "a.tar.part").write_bytes(b"x" * 70_000)
    assert fetch(NAME, _md5(DATA), [mirror.url], tmp_path).read_bytes() == DATA
    assert mirror.ranges == ["bytes=70000-", None]


def test_server_without_ranges_starts_again(tmp_path: Path, mirror: Mirror) -> None:
    mirror.knows_ranges = False
    mirror.cuts = [40_000]
    assert fetch(NAME, _md5(DATA), [mirror.url], tmp_path).read_bytes() == DATA


def test_lying_mirror_is_left_for_the_next_one(tmp_path: Path, mirror: Mirror, second: Mirror) -> None:
    second.files[NAME] = b"something else"
    assert fetch(NAME, _md5(DATA), [second.url, mirror.url], tmp_path).read_bytes() == DATA
    assert mirror.ranges == [None], "the liar's bytes must not be resumed"


def test_dead_mirror_hands_its_part_to_the_next_one(tmp_path: Path, mirror: Mirror, second: Mirror) -> None:
    second.files[NAME] = DATA
    second.cuts = [30_000, 0, 0, 0]
    assert fetch(NAME, _md5(DATA), [second.url, mirror.url], tmp_path).read_bytes() == DATA
    assert mirror.ranges == ["bytes=30000-"]


def test_when_all_mirrors_fail_each_answer_is_told(tmp_path: Path, mirror: Mirror, second: Mirror) -> None:
    mirror.files[NAME] = b"something else"
    with pytest.raises(DataError) as caught:
        fetch(NAME, _md5(DATA), [mirror.url, second.url, "http://127.0.0.1:1/"], tmp_path)
    message = str(caught.value)
    assert f"MD5 is {_md5(b'something else')}, not {_md5(DATA)}" in message
    assert "404" in message
    assert "ConnectionError" in message
    assert "data.mirrors" in message
    assert list(tmp_path.iterdir()) == [], "no wrong file may stay"


def test_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"0 MB left.*data\.download_dir"):
        fetch(NAME, _md5(DATA), [mirror.url], tmp_path)


def _voc_tar(root: Path, evil: tarfile.TarInfo | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(root, "VOCdevkit/VOC2007")
        if evil:
            tar.addfile(evil, io.BytesIO(b"evil!") if evil.isreg() else None)
    return stream.getvalue()


def _serve(mirror: Mirror, monkeypatch: pytest.MonkeyPatch, archives: dict[str, bytes]) -> None:
    mirror.files = archives
    monkeypatch.setattr(download, "VOC2007_MD5", {name: _md5(data) for name, data in archives.items()})


def test_voc2007_is_downloaded_resumed_unpacked_and_prepared(
    tmp_path: Path, mirror: Mirror, make_voc: Any, make_params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainval = make_voc(tmp_path / "trainval", count=6, sets={"trainval": [f"a{i}" for i in range(6)]})
    both = make_voc(tmp_path / "test", count=9, sets={"test": ["a6", "a7", "a8"]})
    for index in range(6):
        (both / "JPEGImages" / f"a{index}.jpg").unlink()
        (both / "Annotations" / f"a{index}.xml").unlink()
    _serve(mirror, monkeypatch, {"trainval.tar": _voc_tar(trainval), "test.tar": _voc_tar(both)})
    mirror.cuts = [5000]
    params = make_params(source="voc2007", mirrors=[mirror.url])
    report = prepare(params, tmp_path / "out")
    assert report["images"] == {"train": 6, "val": 3, "test": 3}
    assert len(report["classes"]) == 20
    assert load_split(tmp_path / "out", "val").ids == ("a6", "a7", "a8")
    assert [wanted for wanted in mirror.ranges if wanted] == ["bytes=5000-"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("../../escaped", tarfile.REGTYPE), ("/escaped", tarfile.REGTYPE), ("link", tarfile.SYMTYPE)],
)
def test_archive_that_would_escape_is_refused_and_nothing_appears(
    tmp_path: Path,
    mirror: Mirror,
    make_voc: Any,
    make_params: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: bytes,
) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, "../..", 5 if kind == tarfile.REGTYPE else 0
    _serve(mirror, monkeypatch, {"evil.tar": _voc_tar(make_voc(tmp_path / "in", count=1), member)})
    with pytest.raises(DataError, match="refused"):
        prepare(make_params(source="voc2007", mirrors=[mirror.url]), tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []
    assert not list(tmp_path.rglob("escaped"))
    assert not Path("/escaped").exists()


def drip(mirror: Mirror, monkeypatch: pytest.MonkeyPatch, head: bytes, seconds: float) -> None:
    """Let a server send `head`, then a byte every 20 ms."""

    def do_GET(handler: Handler) -> None:
        with contextlib.suppress(OSError):
            handler.wfile.write(head)
            for _ in range(int(seconds / 0.02)):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.02)

    monkeypatch.setattr(Handler, "do_GET", do_GET)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Long: "])
def test_server_that_drips_is_left(
    head: bytes, tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(download, "TRIES", 1)
    drip(mirror, monkeypatch, head, 300)
    begun = time.monotonic()
    with pytest.raises(DataError, match=r"under 1000 a second|TimeoutError"):
        fetch(NAME, "0" * 32, [mirror.url], tmp_path)
    assert time.monotonic() - begun < 60  # it drips for longer


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "InvalidSchema"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "Content-Length is 'many'|IncompleteRead|broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "Content-Length is '-5'|MD5"),
        (b"nonsense\r\n\r\n", "ConnectionError"),
    ],
)
def test_answer_that_is_none_is_told(
    head: bytes, complaint: str, tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    drip(mirror, monkeypatch, head, 0)
    with pytest.raises(DataError, match=complaint):
        fetch(NAME, "0" * 32, [mirror.url], tmp_path)
    assert list(tmp_path.glob("*")) in ([], [tmp_path / f"{NAME}.part"])
