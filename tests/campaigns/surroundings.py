"""Hostile surroundings: `python -m tests.campaigns.surroundings [words of trial names ...]`.

Little memory, places that cannot be written, ports that are taken, redirects to files, clocks that step. Each trial
ends in an error made for people or in the right result, never in a traceback, a hang, or half a file. Read-only places
need `setpriv`, clock steps `faketime` (Debian's util-linux and faketime).
"""

import contextlib
import hashlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from tests.campaigns import harness
from tests.campaigns.assets import Assets, data_stage, make_assets, write_params

TIMEOUT_S = 300


@dataclass(frozen=True)
class Trial:
    """`<kind>/<what>`, and what does it in a new folder: returns what was wrong, empty if nothing."""

    name: str
    run: Callable[[Path], str]


def trials(assets: Assets) -> Iterator[Trial]:
    """All of them."""
    for megabytes in (60, 120, 400):  # with less, not even what a training imports finds room
        for name, make in commands(assets).items():
            yield Trial(f"memory/{megabytes} MB more than Python has for {name}", _little_memory(make, megabytes))
    for name, make in commands(assets).items():
        yield Trial(f"read-only/{name}", _read_only(make))
    for target in ("file:///etc/passwd", "gopher://127.0.0.1/", "//127.0.0.1:9/x", "data:,x"):
        yield Trial(f"redirects/to {target}", _redirect(target))
    yield Trial("ports/all that a sweep's own server would take", _ports)
    for step in ("-2d", "+400d"):
        yield Trial(f"clock/{step} in the middle of a training", _clock(assets, step))


def commands(assets: Assets) -> dict[str, Callable[[Path], Sequence[str]]]:
    """Commands that write, by name; each gets a folder to work in."""
    image, model = str(assets.root / "voc/JPEGImages/image00.jpg"), str(assets.model)

    def training(folder: Path) -> Sequence[str]:
        prepared(assets, folder, epochs=3)
        return ["python", "-m", "pipeline.baseline"]

    def quantize(folder: Path) -> Sequence[str]:
        return ["yoloslim", "quantize", str(assets.copy(assets.export, folder)), str(Path(image).parent)]

    return {
        "data": lambda folder: data_stage(folder, assets.root / "voc"),
        "training": training,
        "detect": lambda folder: ["yoloslim", "detect", model, image],
        "eval": lambda folder: ["yoloslim", "eval", model, str(assets.root / "voc")],
        "features": lambda folder: ["yoloslim", "features", model, image],
        "prune": lambda folder: ["yoloslim", "prune", str(assets.copy(assets.model, folder))],
        "export": lambda folder: ["yoloslim", "export", str(assets.copy(assets.model, folder))],
        "compile": lambda folder: ["yoloslim", "compile", str(assets.copy(assets.export, folder))],
        "import": lambda folder: ["yoloslim", "import", str(assets.copy(assets.checkpoint, folder))],
        "quantize": quantize,
        "preset": lambda folder: (write_params(folder), ["yoloslim", "preset", "voc"])[1],
    }


def prepared(assets: Assets, folder: Path, epochs: int) -> None:
    """What the stage `baseline` needs, to train for so many epochs."""
    code, output, *_ = harness.run_forked(data_stage(folder, assets.root / "voc"), folder, wall_s=TIMEOUT_S)
    assert code == 0, output
    tiny = {"batch": 4, "device": "cpu", "precision": "fp32", "threads": 1}
    write_params(
        folder,
        imgsz=64,
        data={"source": "voc", "path": str(assets.root / "voc"), "workers": 1},
        train=tiny,
        baseline={"epochs": epochs},
        evaluation={"threads": 1},
        tracking={"enabled": False},
    )


def answer(code: int, output: str, may_work: bool) -> str:
    """What is wrong with an answer."""
    if "Traceback (most recent call last)" in output:
        return f"traceback: {output[-500:]}"
    if code < 0:
        return f"ended by signal {-code}: {output[-500:]}"
    if code == 0 and not may_work:
        return f"went on as if nothing were: {output[-300:]}"
    if code != 0 and "error" not in output:
        return f"no word about it: {output[-300:]}"
    return ""


def half_written(folder: Path, before: set[Path]) -> str:
    """Temporary files that were left behind."""
    left = [path.name for path in folder.rglob("*") if ".tmp" in path.name and path not in before]
    return f"left behind: {left}" if left else ""


def _little_memory(make: Callable[[Path], Sequence[str]], megabytes: int) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        command, before = make(folder), set(folder.rglob("*"))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        code, output, *_ = harness.run_forked(command, folder, used + megabytes * 2**20, TIMEOUT_S)
        return answer(code, output, may_work=True) or half_written(folder, before)

    return run


def _read_only(make: Callable[[Path], Sequence[str]]) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        command, before = list(make(folder)), set(folder.rglob("*"))
        program = [sys.executable, *command[1:]] if command[0] == "python" else [sys.executable, "-m", *command]
        folders = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
        for path in folders:
            path.chmod(0o555)
        try:  # without its capabilities root obeys modes, too
            done = _real(["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--", *program], folder)
        finally:
            for path in folders:
                path.chmod(0o755)
        appeared = sorted(str(path.relative_to(folder)) for path in set(folder.rglob("*")) - before)
        fault = answer(done.returncode, done.stdout + done.stderr, may_work=False)
        return fault or (f"appeared all the same: {appeared}" if appeared else "")

    return run


def _redirect(target: str) -> Callable[[Path], str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    def run(folder: Path) -> str:
        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_address[1]}/w.pt#sha256={'0' * 64}"
            done = _real([sys.executable, "-m", "yoloslim", "import", address, "--out", "x.safetensors"], folder)
            server.shutdown()
        found = [path.name for path in folder.rglob("*") if path.is_file()]
        fault = answer(done.returncode, done.stdout + done.stderr, may_work=False)
        return fault or (f"kept {found}" if found else "")

    return run


def _ports(folder: Path) -> str:
    from tests.orchestration.toy import Toy

    toy = Toy(folder)
    with contextlib.ExitStack() as held:
        for port in (4200, 5000, *range(8000, 9001)):
            taken = held.enter_context(socket.socket())
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                taken.bind(("127.0.0.1", port))
                taken.listen()
        done = subprocess.run(
            ["yoloslim", "sweep"], cwd=folder, env=toy.environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    fault = answer(done.returncode, done.stdout + done.stderr, may_work=True)
    whole = done.returncode != 0 or "finetune@65" in toy.ran
    return fault or ("" if whole else f"did nothing: {done.stdout[-300:]}")


def _clock(assets: Assets, step: str) -> Callable[[Path], str]:
    def train(folder: Path, environment: dict[str, str], clock: Path) -> str:
        prepared(assets, folder, epochs=10)
        clock.write_text("+0\n")
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.baseline"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        log = folder / ".cache"
        deadline = time.monotonic() + 900
        while process.poll() is None and not list(log.rglob("*.pt")) and time.monotonic() < deadline:
            time.sleep(0.05)
        clock.write_text(f"{step}\n")  # at the first checkpoint, so in the middle
        output, _ = process.communicate(timeout=TIMEOUT_S)
        return answer(process.returncode, output, may_work=not process.returncode)

    def run(folder: Path) -> str:
        library = next(Path("/usr/lib").rglob("libfaketime.so.1"), None)
        if library is None:
            return "faketime is not installed: apt-get install faketime"
        clock, digests = folder / "clock", []
        for name, preload in (("plain", ""), ("stepped", str(library))):
            (folder / name).mkdir()
            faked = {"LD_PRELOAD": preload, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
            faked["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
            if fault := train(folder / name, harness.environment() | faked, clock):
                return fault
            model = folder / name / "models/baseline/model.safetensors"
            digests.append(hashlib.sha256(model.read_bytes()).hexdigest())
        return "" if digests[0] == digests[1] else "the clock has changed the model"

    return run


def _real(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = harness.environment() | {"NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
    )


def main() -> None:
    """Run the trials whose names hold one of the given words; all without words."""
    words, failed = sys.argv[1:], 0
    harness.warm()
    with tempfile.TemporaryDirectory() as temporary:
        assets = make_assets(Path(temporary) / "assets")
        for number, trial in enumerate(trials(assets)):
            if words and not any(word in trial.name for word in words):
                continue
            folder = Path(temporary) / f"trial{number}"
            folder.mkdir()
            fault = trial.run(folder)
            failed += bool(fault)
            print(f"{'WRONG' if fault else 'ok':6} {trial.name}\n{fault}".rstrip(), flush=True)
            shutil.rmtree(folder)
    sys.exit(bool(failed))


if __name__ == "__main__":
    assert os.name == "posix"
    main()
