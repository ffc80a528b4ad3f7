"""Jobs over SSH against a real OpenSSH server on localhost; the chip is played by fakes, or by ONNX Runtime."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import numpy as np
import pytest

from tests.deploy.board.sshd import Cutter, Server, serve
from tests.tiny import shake_norms, tiny_detector
from yoloslim.deploy.ascend.atc import compile_model
from yoloslim.deploy.board.job import BoardRun, DeviceUnavailableError, Job, prepare_job
from yoloslim.deploy.board.remote import Board
from yoloslim.deploy.board.target import SshTarget
from yoloslim.deploy.export_model import export_model
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.runner.job import decode_line

pytestmark = pytest.mark.slow  # every test logs in to a real server and starts the runner there

FAKE_ATC = Path(__file__).parents[1] / "ascend/fake_atc.py"
COUNT = 12
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 64, 64, 3), dtype=np.uint8)
IDS = [f"image {i}" for i in range(COUNT)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bundle")
    model = tiny_detector()
    shake_norms(model)
    export_model(model.eval(), root / "export")
    program = root / "bin" / "atc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE_ATC}" "$@"\n')
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        compile_model(root / "export", root / "atc", require=True)
    return root / "atc"


def make_job(bundle: Path, folder: Path, backend: str = "acl", **changes: object) -> Job:
    folder.mkdir(exist_ok=True)
    options = NmsOptions(conf_thres=1e-6, max_det=100)
    return prepare_job(bundle, folder, IDS, IMAGES, options, backend, **changes)  # type: ignore[arg-type]


def same(a: BoardRun, b: BoardRun) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.detections, b.detections, strict=True))


def progress_of(server: Server) -> int:
    """Images done in the job's folder on the board."""
    (folder,) = server.folders()
    path = folder / "results.txt"
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    return sum(decode_line(line) is not None for line in lines)


@pytest.fixture(scope="module")
def expected(sshd: Server, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> BoardRun:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(sshd.home))
        job = make_job(bundle, tmp_path_factory.mktemp("expected"))
        return Board(sshd.target(), sshd.set_env()).run(job, bundle)


def test_results_stay_on_the_board_until_they_are_stored_here(
    server: Server, bundle: Path, tmp_path: Path, expected: BoardRun
) -> None:
    job = make_job(bundle, tmp_path / "job")
    assert Board(server.target(), server.set_env()).run(job, bundle).computed == COUNT  # killed before it was stored
    again = Board(server.target(), server.set_env())
    run = again.run(job, bundle)
    assert (run.computed, progress_of(server)) == (0, COUNT)
    assert same(run, expected)
    again.tidy()
    assert server.folders() == []


def test_a_job_comes_back_whole(expected: BoardRun) -> None:
    assert expected.backend == "ascend-acl"
    assert expected.computed == COUNT
    assert len(expected.detections) == COUNT
    assert sum(map(len, expected.detections)) > COUNT
    assert (expected.inference_ms > 0).all()
    assert expected.facts["acl"] == "ok"


def test_acl_and_onnx_runtime_find_the_same(server: Server, bundle: Path, tmp_path: Path, expected: BoardRun) -> None:
    seen: list[tuple[int, int]] = []
    board = Board(server.target(), server.set_env(acl=False))
    job = make_job(bundle, tmp_path / "job", "onnxruntime")
    run = board.run(job, bundle, "onnxruntime", lambda done, of: seen.append((done, of)))
    assert run.backend == "onnxruntime-cpu"  # nothing that ran on a CPU is called Ascend
    assert seen[0] == (0, COUNT)
    assert same(run, expected)


def test_a_connection_cut_during_upload_is_taken_up_again(
    server: Server, bundle: Path, tmp_path: Path, expected: BoardRun, caplog: pytest.LogCaptureFixture
) -> None:
    trust_port_of(server, cutter := Cutter(server.port, [30_000, 60_000]))
    board = Board(server.target(cutter.port), server.set_env(), pause_s=0.05)
    run = board.run(make_job(bundle, tmp_path / "job", chunk_bytes=30_000), bundle)
    cutter.close()
    assert same(run, expected)
    assert cutter.connections == 3
    assert caplog.text.count("lost the connection") == 2


@pytest.fixture
def slowly(server: Server) -> tuple[str, str]:
    """A set_env.sh and an interpreter that take 0.15 s an image, so that there is time to break things."""
    slow = "import time, yoloslim_runner.job as j; o = j._append; j._PROGRESS_S = 0"
    patch = f"{slow}; j._append = lambda *a: (time.sleep(0.15), o(*a))"
    (server.root / "slow").mkdir(exist_ok=True)
    (server.root / "slow" / "slowly.py").write_text(patch)
    python = server.root / "slow" / "python"
    python.write_text(
        f'#!/bin/sh\nshift\nexec "{sys.executable}" -c \'import sys; sys.path.insert(0, "runner.pyz"); '
        'import slowly; from yoloslim_runner.__main__ import main; sys.exit(main())\' "$@"\n'
    )
    python.chmod(0o755)
    return server.set_env(f'export PYTHONPATH="{server.root}/slow:$PYTHONPATH"'), str(python)


def test_a_connection_cut_while_running_redoes_no_image(
    server: Server, bundle: Path, tmp_path: Path, expected: BoardRun, slowly: tuple[str, str]
) -> None:
    # A cut in the middle of the images: the first runner goes on or dies, its images stay.
    trust_port_of(server, cutter := Cutter(server.port, []))
    board = Board(server.target(cutter.port), *slowly, pause_s=0.05)
    cut: list[int] = []

    def cut_once(done: int, of: int) -> None:
        if done >= 4 and not cut:
            cut.append(done)
            cutter.cut_now()

    run = board.run(make_job(bundle, tmp_path / "job"), bundle, progress=cut_once)
    cutter.close()
    assert cut
    assert cutter.connections == 2
    assert run.computed <= COUNT - 4
    assert same(run, expected)


def test_a_board_that_is_away_for_a_moment_is_waited_for(
    server: Server,
    bundle: Path,
    tmp_path: Path,
    expected: BoardRun,
    slowly: tuple[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    trust_port_of(server, cutter := Cutter(server.port, []))
    board = Board(server.target(cutter.port), *slowly, pause_s=0.1)
    away: list[int] = []

    def refused() -> bool:
        return "refused" in caplog.text or "Connect call failed" in caplog.text

    def leave_once(done: int, of: int) -> None:
        if done >= 4 and not away:
            away.append(done)
            cutter.refuse(until=refused)

    run = board.run(make_job(bundle, tmp_path / "job"), bundle, progress=leave_once)
    cutter.close()
    assert refused()
    assert cutter.connections == 2
    assert run.computed <= COUNT - 4
    assert same(run, expected)


def test_a_chip_that_comes_later_than_the_board_is_waited_for(
    server: Server, bundle: Path, tmp_path: Path, expected: BoardRun, slowly: tuple[str, str]
) -> None:
    trust_port_of(server, cutter := Cutter(server.port, []))
    flag = tmp_path / "starting"
    script, python = slowly
    with Path(script).open("a") as stream:
        stream.write(f'if [ -f "{flag}" ]; then rm "{flag}"; export FAKE_ACL=no-device; fi\n')
    cut: list[int] = []

    def restart(done: int, of: int) -> None:
        if done >= 4 and not cut:
            cut.append(done)
            flag.touch()
            cutter.cut_now()

    job = make_job(bundle, tmp_path / "job")
    run = Board(server.target(cutter.port), script, python, pause_s=0.05).run(job, bundle, progress=restart)
    cutter.close()
    assert cutter.connections == 3
    assert same(run, expected)


def test_a_board_that_never_comes_back_is_no_missing_board(
    server: Server, bundle: Path, tmp_path: Path, slowly: tuple[str, str]
) -> None:
    trust_port_of(server, cutter := Cutter(server.port, []))
    board = Board(server.target(cutter.port), *slowly, pause_s=0.01)

    def leave(done: int, of: int) -> None:
        cutter.close()
        cutter.cut_now()

    with pytest.raises(DeployError, match=r"6 times without getting any further .* the same command goes on") as caught:
        board.run(make_job(bundle, tmp_path / "job"), bundle, progress=leave)
    assert not isinstance(caught.value, DeviceUnavailableError)  # which a CPU would stand in for


@pytest.mark.parametrize("fault", ["lost", "refused", "away"])
def test_results_survive_a_failing_clean_up(
    server: Server,
    bundle: Path,
    tmp_path: Path,
    expected: BoardRun,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    trust_port_of(server, cutter := Cutter(server.port, []))
    original = Board._shell

    async def shell(self: Board, connection: asyncssh.SSHClientConnection, command: str, what: str) -> str:
        if what == "clean up" and fault == "lost":
            cutter.cut_now()
        broken = what == "clean up" and fault == "refused"
        return await original(self, connection, "echo no >&2; false" if broken else command, what)

    monkeypatch.setattr(Board, "_shell", shell)
    board = Board(server.target(cutter.port), server.set_env(), pause_s=0.01)
    run = board.run(make_job(bundle, tmp_path / "job"), bundle)
    if fault == "away":
        cutter.close()
    board.tidy()
    cutter.close()
    assert cutter.connections == 2 - (fault == "away")
    assert same(run, expected)
    assert f"stays on ssh://{server.target(cutter.port).user}@127.0.0.1" in caplog.text


def test_what_is_on_the_board_needs_no_more_room(
    server: Server, bundle: Path, tmp_path: Path, expected: BoardRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(bundle, tmp_path / "job", warmup=0, chunk_bytes=20_000)
    with pytest.raises(DeployError, match="died"):
        Board(server.target(), server.set_env("export FAKE_ACL=die")).run(job, bundle)
    (folder,) = server.folders()
    whole = (folder / "pixels-0001.npy").read_bytes()
    (folder / "pixels-0001.npy").unlink()
    (folder / f"pixels-0001.npy.{job.checksums['pixels-0001.npy'][:12]}.part").write_bytes(whole[:-1000])
    asked: list[int] = []
    monkeypatch.setattr("yoloslim.deploy.board.remote.check_facts", lambda facts, to_send, *_: asked.append(to_send))
    assert same(Board(server.target(), server.set_env()).run(job, bundle), expected)
    assert asked == [1000]


@pytest.mark.parametrize("line", ["", "Subsystem sftp /no/sftp-server\n"])
def test_a_board_without_file_transfer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    with serve(tmp_path / "sshd", line) as server:
        monkeypatch.setenv("HOME", str(server.home))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        with pytest.raises(DeployError, match=r"has no SFTP server .*sshd_config"):
            Board(server.target(), server.set_env()).probe()


def test_a_runner_that_dies_is_reported_and_gone_on_with(
    server: Server, bundle: Path, tmp_path: Path, expected: BoardRun
) -> None:
    job = make_job(bundle, tmp_path / "job", warmup=0)
    dying = Board(server.target(), server.set_env("export FAKE_ACL=die"))
    with pytest.raises(DeployError, match=r"died \(exit status 137; .*\); .* of 12 images are done"):
        dying.run(job, bundle)
    assert progress_of(server) == 2
    run = Board(server.target(), server.set_env()).run(job, bundle)
    assert run.computed == COUNT - 2
    assert same(run, expected)


def test_a_line_cut_short_is_done_again(server: Server, bundle: Path, tmp_path: Path, expected: BoardRun) -> None:
    job = make_job(bundle, tmp_path / "job", warmup=0)
    with pytest.raises(DeployError, match="died"):
        Board(server.target(), server.set_env("export FAKE_ACL=die")).run(job, bundle)
    (folder,) = server.folders()
    with (folder / "results.txt").open("r+b") as stream:
        stream.truncate(stream.seek(0, 2) - 5)
    run = Board(server.target(), server.set_env()).run(job, bundle)
    assert run.computed == COUNT - 1
    assert same(run, expected)


def test_files_that_changed_on_the_board_are_sent_again(
    server: Server, bundle: Path, tmp_path: Path, expected: BoardRun
) -> None:
    job = make_job(bundle, tmp_path / "job", warmup=0)
    with pytest.raises(DeployError, match="died"):
        Board(server.target(), server.set_env("export FAKE_ACL=die")).run(job, bundle)
    (folder,) = server.folders()
    with (folder / "model.om").open("r+b") as stream:
        stream.write(b"other")
    assert same(Board(server.target(), server.set_env()).run(job, bundle), expected)


def test_a_bundle_that_changed_on_its_way_is_not_run(server: Server, bundle: Path, tmp_path: Path) -> None:
    job = make_job(bundle, tmp_path / "job")
    other = tmp_path / "other.npy"
    other.write_bytes(job.files["pixels-0000.npy"].read_bytes()[:-1] + b"!")
    job.files["pixels-0000.npy"] = other
    with pytest.raises(DeployError, match=r"pixels-0000\.npy of the bundle is not the file that was packed"):
        Board(server.target(), server.set_env()).run(job, bundle)


def test_an_unknown_host_key_is_refused(server: Server, bundle: Path, tmp_path: Path) -> None:
    known = server.home / ".ssh" / "known_hosts"
    text = known.read_text()
    board = Board(server.target(), server.set_env())
    try:
        known.write_text("")
        with pytest.raises(DeployError, match=r"host key of ssh://.* is unknown.*connect once by `ssh"):
            board.probe()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
        key = " ".join((tmp_path / "other.pub").read_text().split()[:2])
        known.write_text(f"[127.0.0.1]:{server.port} {key}\n")
        with pytest.raises(DeployError, match="unknown or not the one"):
            board.probe()
    finally:
        known.write_text(text)


def test_a_key_that_is_not_accepted_is_named(server: Server) -> None:
    keys = server.root / "authorized_keys"
    text = keys.read_text()
    try:
        keys.write_text("")
        with pytest.raises(DeployError, match=r"none of your keys.*ssh-copy-id"):
            Board(server.target(), server.set_env()).probe()
    finally:
        keys.write_text(text)


def test_a_key_in_an_agent_opens_the_door(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("ssh-agent") is None or shutil.which("ssh-add") is None:
        pytest.skip("ssh-agent is not installed: apt-get install openssh-client")
    key, away, address = server.home / ".ssh" / "id_ed25519", tmp_path / "key", tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", address], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not address.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        environment = os.environ | {"SSH_AUTH_SOCK": str(address)}
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
        key.rename(away)
        board = Board(server.target(), server.set_env())
        with pytest.raises(DeployError, match="none of your keys"):
            board.probe()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(address))
        assert board.probe()["acl"] == "ok"
    finally:
        if away.exists():
            away.rename(key)
        agent.terminate()
        agent.wait()


def test_a_board_without_cann_is_told_before_anything_large_is_sent(
    server: Server, bundle: Path, tmp_path: Path
) -> None:
    job = make_job(bundle, tmp_path / "job")
    with pytest.raises(DeployError, match=r"no working CANN: No module named 'acl'.*ascend\.set_env"):
        Board(server.target(), server.set_env(acl=False)).run(job, bundle)
    assert [path.name for path in server.folders()[0].iterdir()] == ["runner.pyz"]
    with pytest.raises(DeployError, match=r"/no/set_env\.sh is missing"):
        Board(server.target(), "/no/set_env.sh").run(job, bundle)


def test_a_board_without_a_device_or_with_another_chip_is_named(server: Server, bundle: Path, tmp_path: Path) -> None:
    job = make_job(bundle, tmp_path / "job")
    with pytest.raises(DeployError, match="no Ascend device"):
        Board(server.target(), server.set_env("export FAKE_ACL=no-device")).run(job, bundle)
    with pytest.raises(DeployError, match=r"507008: the model was compiled for another chip"):
        Board(server.target(), server.set_env("export FAKE_ACL_SOC=Ascend310B4")).run(job, bundle)
    smi = server.root / "npu-smi"
    smi.write_text("#!/bin/sh\necho '| 0     310B4           | Alarm |'\n")
    smi.chmod(0o755)
    board = Board(server.target(), server.set_env(f'export PATH="{server.root}:$PATH"'))
    with pytest.raises(DeployError, match=r"has an Ascend310B4, the model was compiled for Ascend310: set atc\.soc"):
        board.run(job, bundle)
    smi.unlink()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root and the right to mount")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(path: Path) -> None:
    """Write zeros until there is no space left."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


def test_a_full_disk_is_told_and_gone_on_with(
    server: Server, bundle: Path, tmp_path: Path, tiny_disk: Path, expected: BoardRun
) -> None:
    job = make_job(bundle, tmp_path / "job")
    board = Board(server.target(folder=tiny_disk / "runs"), server.set_env())
    filler = tiny_disk / "filler"
    filler.write_bytes(bytes(12 << 20))
    with pytest.raises(DeployError, match=r"MB of disk free, the job needs"):  # known before anything is sent
        board.run(job, bundle)
    fill(filler)
    with pytest.raises(DeployError, match=r"refused a file|cannot make a folder"):  # not even the runner fits
        Board(server.target(folder=tiny_disk / "others"), server.set_env()).run(job, bundle)
    filler.unlink()
    assert same(Board(server.target(folder=tiny_disk / "runs"), server.set_env()).run(job, bundle), expected)


def test_a_disk_that_fills_while_running_keeps_what_is_done(
    bundle: Path, tmp_path: Path, tiny_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(bundle, tmp_path / "job", "onnxruntime")
    folder = tiny_disk / "run"
    for name, path in job.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())
    filler = tiny_disk / "filler"
    fill(filler)
    with filler.open("r+b") as stream:  # room for a few images' results
        stream.truncate(filler.stat().st_size - 8192)
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "runner.pyz", "job", "."]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    message = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1
    assert message["error"]["kind"] == "disk"
    assert "No space left" in message["error"]["message"]
    filler.unlink()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    finished = json.loads(done.stdout.splitlines()[-1])["finished"]
    assert 0 < finished["computed"] < COUNT
    assert finished["lines"] == COUNT


def test_a_board_that_is_not_there_is_named() -> None:
    with pytest.raises(DeployError, match="cannot be reached"):
        Board(SshTarget("127.0.0.1", "nobody", 1)).probe()


def test_a_board_that_answers_nothing_is_named_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yoloslim.deploy.board.connection._TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = SshTarget("127.0.0.1", "nobody", silent.getsockname()[1])
        with pytest.raises(DeployError, match=r"cannot be reached \(no answer within 0.3 s\)"):
            Board(target).probe()


def trust_port_of(server: Server, cutter: Cutter) -> None:
    """The proxy has a port of its own, and known_hosts names ports."""
    known = server.home / ".ssh" / "known_hosts"
    key = " ".join(known.read_text().splitlines()[0].split()[1:])
    known.write_text(known.read_text() + f"[127.0.0.1]:{cutter.port} {key}\n")
