"""DVC's remotes against real servers of each kind that docs/storage.md names: push, clone, pull, and nothing runs."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.board.sshd import serve
from tests.orchestration.toy import Toy

pytestmark = pytest.mark.slow
COMMITTED = ["data", "listing", "baseline"]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    (tmp_path / "project").mkdir()
    toy = Toy(tmp_path / "project")
    toy.run("dvc", "repro", "-q", *COMMITTED)
    toy.commit("results")
    return toy


def round_trip(toy: Toy, tmp_path: Path, *commands: str, run_cache: bool = True) -> None:
    """Type the page's lines, then be the colleague who has nothing but the commit and the remote."""
    for line in commands:
        toy.run(*line.split())
    everything = ["--run-cache"] if run_cache else []
    toy.run("dvc", "push", *everything)
    toy.commit("a remote")
    toy.run("git", "clone", "--quiet", str(toy.root), str(tmp_path / "clone"))
    clone = object.__new__(Toy)
    clone.root, clone.environment = tmp_path / "clone", toy.environment
    shutil.copy(toy.root / ".dvc/config.local", clone.root / ".dvc")  # passwords travel by other ways
    clone.run("dvc", "pull", *everything, *COMMITTED)
    assert (clone.root / "models/baseline/out.txt").read_bytes() == (toy.root / "models/baseline/out.txt").read_bytes()
    assert "Running stage" not in clone.run("dvc", "repro", "--single-item", *COMMITTED)
    assert clone.ran == []
    if run_cache:  # results of a state that is not committed come from the run cache
        (clone.root / "dvc.lock").unlink()
        clone.run("dvc", "repro", "-q", *COMMITTED)
        assert clone.ran == []


def test_a_folder(toy: Toy, tmp_path: Path) -> None:
    (toy.root / ".dvc/config.local").touch()
    round_trip(toy, tmp_path, f"dvc remote add --default store {tmp_path}/nas/yoloslim")


def test_s3(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that speaks S3 over HTTP, as MinIO does."""
    pytest.importorskip("dvc_s3", reason="DVC's S3 is not installed; `pip install 'yoloslim[remotes]'`")
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server", reason="moto is not installed; `make test` does it")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        toy.environment.pop(name, None)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        keys = {"aws_access_key_id": "who", "aws_secret_access_key": "secret"}
        store = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
        store.create_bucket(Bucket="bucket")
        round_trip(
            toy,
            tmp_path,
            "dvc remote add --default store s3://bucket/yoloslim",
            f"dvc remote modify store endpointurl {url}",
            "dvc remote modify --local store access_key_id who",
            "dvc remote modify --local store secret_access_key secret",
        )
        names = [item["Key"] for item in store.list_objects_v2(Bucket="bucket")["Contents"]]
        assert any(name.startswith("yoloslim/files/md5/") for name in names)
        assert any(name.startswith("yoloslim/runs/") for name in names)
        assert "secret" not in (toy.root / ".dvc/config").read_text()
    finally:
        server.stop()


def test_ssh(toy: Toy, tmp_path: Path) -> None:
    pytest.importorskip("dvc_ssh", reason="DVC's SSH is not installed; `pip install 'yoloslim[remotes]'`")
    (tmp_path / "server").mkdir()
    with serve(tmp_path / "server") as server:
        toy.environment["HOME"] = str(server.home)
        target = server.target()
        (toy.root / ".dvc/config.local").touch()
        round_trip(
            toy,
            tmp_path,
            f"dvc remote add --default store ssh://{target.user}@{target.host}:{target.port}{tmp_path}/srv/yoloslim",
        )
        assert list((tmp_path / "srv/yoloslim/files/md5").rglob("*.dir"))


class Keeping(http.server.SimpleHTTPRequestHandler):
    """A web server that takes files by PUT."""

    def do_PUT(self) -> None:
        path = Path(self.translate_path(self.path))
        path.parent.mkdir(parents=True, exist_ok=True)
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            path.write_bytes(b"".join(parts))
        else:
            path.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "web").mkdir()
    handler = functools.partial(Keeping, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_http(toy: Toy, tmp_path: Path, web: str) -> None:
    """Such remotes have no run cache: what is committed comes back, and nothing else."""
    (toy.root / ".dvc/config.local").touch()
    for name in ("http_proxy", "HTTP_PROXY"):
        toy.environment.pop(name, None)
    commands = [f"dvc remote add --default store {web}/yoloslim", "dvc remote modify store method PUT"]
    round_trip(toy, tmp_path, *commands, run_cache=False)
