"""The lines of docs/ascend.md that compile on another machine, as printed; that machine is a real SSH server."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.board.sshd import serve
from tests.deploy.models import tiny_detector
from yoloslim.deploy.ascend.atc import compile_model
from yoloslim.deploy.export_model import export_model

LINES = (
    "scp -r models/atc/50 compiler:",
    "ssh compiler 'cd 50 && bash atc.sh'",
    "mkdir -p compiled && scp -r compiler:50 compiled/",
)
SFTP = ("/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server")


def script(path: Path, line: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def test_a_model_is_compiled_on_another_machine_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there, near, far = (tmp_path / name for name in ("here", "there", "near", "far"))
    export_model(tiny_detector(), tmp_path / "export")
    compile_model(tmp_path / "export", here / "models/atc/50")
    there.mkdir()
    script(far / "atc", f'exec "{sys.executable}" "{Path(__file__).with_name("fake_atc.py")}" "$@"')
    sftp = next((place for place in SFTP if Path(place).exists()), "internal-sftp")
    at_home = f'ForceCommand cd "{there}" && export PATH="{far}:$PATH" && eval "$SSH_ORIGINAL_COMMAND"'
    with serve(tmp_path / "sshd", f"Subsystem sftp {sftp}\n{at_home}\n") as server:
        (tmp_path / "config").write_text(
            f"Host compiler\n  HostName 127.0.0.1\n  Port {server.port}\n  IdentityFile {server.home}/.ssh/id_ed25519\n"
            f"  UserKnownHostsFile {server.home}/.ssh/known_hosts\n"
        )
        for program in ("scp", "ssh"):  # as if the lines of that file stood in ~/.ssh/config
            script(near / program, f'PATH="${{PATH#*:}}" exec {program} -F "{tmp_path}/config" "$@"')
        monkeypatch.setenv("PATH", f"{near}:{Path('/usr/bin')}:/bin")
        for line in LINES:
            done = subprocess.run(["bash", "-c", line], cwd=here, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    result = compile_model(tmp_path / "export", tmp_path / "out", require=True, compiled=here / "compiled/50")
    assert (result.state, (tmp_path / "out/model.om").read_bytes()[:8]) == ("compiled", b"FAKE OM ")
