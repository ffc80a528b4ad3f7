"""The kernel kills a training for memory: `python -m tests.campaigns.memory_kills` (Linux with cgroup v1, as root).

A training runs in a control group, and after its first checkpoint another program in there takes what memory the group
has left. What the kernel then kills is named first (`oom_score_adj`): one of two processes, the one that was started,
or the only one. Right is: exactly that one is killed, the run ends in the sentence where there is somebody left to say
it, no process stays, no model is there, and the same command goes on from a whole checkpoint.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.squares import write_squares
from tests.tiny import tiny_detector
from yoloslim.models.store import save_model
from yoloslim.training.checkpoint import load_checkpoint

TRIALS = {
    "one of two processes": (2, True),
    "the process that was started, of two": (2, False),
    "the only one": (1, False),
}
"""Name -> `train.devices`, whether the process is one that the training started."""
LEFT, TAKEN = 100 << 20, 75
"""Bytes that the group has left, and pieces of 2 MiB that the other program takes."""
EATER = f"import time; kept = [(bytearray(b'1' * (2 << 20)), time.sleep(0.01)) for _ in range({TAKEN})]; time.sleep(60)"
SENTENCE = "another process of this training is gone"


def main() -> None:
    """Run all trials."""
    failed = 0
    for name, (devices, started) in TRIALS.items():
        with tempfile.TemporaryDirectory() as folder, control_group() as group:
            fault = trial(Path(folder), group, devices, started)
        failed += bool(fault)
        print(f"{'WRONG' if fault else 'ok':6} {name}\n{fault}".rstrip(), flush=True)
    sys.exit(bool(failed))


@contextmanager
def control_group() -> Iterator[Path]:
    """A control group for memory below that of this process."""
    (own,) = [line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line]
    group = Path("/sys/fs/cgroup/memory") / own.strip("/") / f"yoloslim-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        for _ in range(50):
            if not (group / "cgroup.procs").read_text():
                break
            time.sleep(0.1)
        group.rmdir()


def trial(folder: Path, group: Path, devices: int, started: bool) -> str:
    """What is wrong, empty if nothing."""
    write_squares(folder / "set", 40)
    save_model(tiny_detector(("red", "blue")), folder / "start.safetensors")
    command = [sys.executable, "-m", "yoloslim", "train", str(folder / "set"), "--out", str(folder / "out")]
    command += ["--model", str(folder / "start.safetensors"), "--epochs", "30", "--device", "cpu"]
    for setting in ("batch=8", "threads=1", "precision=fp32", f"devices={devices}"):
        command += ["--set", setting]
    training = within(group, command)
    checkpoint = first_checkpoint(folder / "out", training)
    children = [child for child in psutil.Process(training.pid).children() if "train" in child.cmdline()]
    victim = children[0].pid if started else training.pid
    Path(f"/proc/{victim}/oom_score_adj").write_text("1000")
    used = int((group / "memory.usage_in_bytes").read_text())
    (group / "memory.limit_in_bytes").write_text(str(used + LEFT))
    eater = within(group, [sys.executable, "-c", EATER])
    output = training.communicate(timeout=120)[0]
    eater.kill()
    eater.communicate()
    kills = (group / "memory.oom_control").read_text().split()[-1]
    whole, left = load_checkpoint(checkpoint) is not None, (folder / "out/model.safetensors").exists()
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    told = again.stdout + again.stderr
    wrong = {
        f"{kills} processes killed": kills != "1",
        f"the wrong one, exit code {training.returncode}": (training.returncode == -9) == started,
        f"no sentence: {output[-500:]}": started and SENTENCE not in output,
        f"a traceback: {output[-500:]}": "Traceback" in output,
        "no whole checkpoint": not whole,
        "a model was left": left,
        f"not gone on: {told[-500:]}": again.returncode != 0 or "resuming after epoch" not in told,
    }
    return "; ".join(text for text, is_so in wrong.items() if is_so)


def within(group: Path, command: list[str]) -> "subprocess.Popen[str]":
    """Start a command in a control group."""
    enter = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"), *command]
    return subprocess.Popen(enter, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def first_checkpoint(out: Path, process: "subprocess.Popen[str]") -> Path:
    """Wait for it."""
    deadline = time.monotonic() + 120
    while not (found := list(out.rglob("[!.]*.pt"))):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found[0]


if __name__ == "__main__":
    main()
