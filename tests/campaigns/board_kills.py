"""Kills over the evaluation on a board: `python -m tests.campaigns.board_kills FOLDER [--kills 20]`.

The stage `ascend_eval` over SSH, against a real OpenSSH server on this machine, with a fake chip that takes 0.2 s an
image. Besides the desk's process the kills meet the runner on the board and the server's session. Printed as by
`tests.campaigns.kills`: `lost` counts images that were computed again before the stage had stored what it found,
`unequal` compares detections' accuracy.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.campaigns import harness
from tests.campaigns.assets import data_stage, make_voc, write_params
from tests.campaigns.campaign import Campaign, main
from tests.campaigns.processes import Way
from tests.deploy.board.sshd import Server, serve
from tests.project import ROOT

ATC = ROOT / "tests/deploy/ascend/fake_atc.py"
BOARD, SESSION = "yoloslim_runner", "sshd: .*@"
STORED = Path("metrics/ascend_eval/baseline.json")
WAYS = (
    Way("group", (signal.SIGKILL,)),
    Way(BOARD, (signal.SIGKILL,)),
    Way("group", (signal.SIGTERM,)),
    Way(SESSION, (signal.SIGKILL,)),
    Way("parent", (signal.SIGINT,)),
    Way(BOARD, (signal.SIGTERM,)),
    Way("parent", (signal.SIGINT, signal.SIGINT)),
    Way("parent", (signal.SIGKILL,)),
)
SLOWLY = """
import time, yoloslim_runner.job as job
store = job._append
def slowly(out, line):
    time.sleep(0.2)
    store(out, line)
    open({log!r}, "ab").write(line)
job._append = slowly
"""


class Boards(Campaign):
    """One model on one board."""

    commands = (["python", "-m", "pipeline.ascend_eval", "--which", "baseline"],)
    wait_s = (3.0, 12.0)
    ways = WAYS
    server: Server

    def build(self, project: Path) -> None:
        """See `Campaign.build`; the model is compiled by a fake of ATC."""
        from tests.tiny import shake_norms, tiny_detector
        from yoloslim.models.store import save_model

        for name in ("src/yoloslim", "pipeline", "flows"):
            shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
        make_voc(project / "voc")
        model = tiny_detector()
        shake_norms(model)
        save_model(model.eval(), project / "model.safetensors")
        program = project / "bin" / "atc"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ATC}" "$@"\n')
        program.chmod(0o755)
        paths = os.pathsep.join([str(program.parent), os.environ["PATH"]])
        names = {"train_set": "train", "val_set": "val", "test_set": "train"}  # eight images to compute
        for command in (
            data_stage(project, project / "voc", **names),
            ["yoloslim", "export", "model.safetensors", "--out", "models/export/baseline"],
            ["yoloslim", "compile", "models/export/baseline", "--out", "models/atc/baseline", "--require"],
        ):
            words = [sys.executable, *command[1:]] if command[0] == "python" else [sys.executable, "-m", *command]
            environment = harness.environment() | {"PATH": paths}
            done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        (project / "metrics").mkdir(exist_ok=True)
        (project / "metrics/baseline.json").write_text(json.dumps({"params_m": 1.0, "gflops": 1.0}))

    def fresh(self, name: str) -> Path:
        """A project whose board counts the images of this run."""
        project = super().fresh(name)
        slow = project / "slow"
        slow.mkdir()
        (slow / "slowly.py").write_text(SLOWLY.format(log=str(project / "computed")))
        python = slow / "python"
        python.write_text(
            f'#!/bin/sh\nshift\nexec "{sys.executable}" -c \'import sys; sys.path.insert(0, "runner.pyz"); '
            'import slowly; from yoloslim_runner.__main__ import main; sys.exit(main())\' "$@"\n'
        )
        python.chmod(0o755)
        runs = project / "board"
        runs.mkdir()
        target = f"ssh://{self.server.target().user}@127.0.0.1:{self.server.port}{runs}"
        write_params(
            project,
            imgsz=64,
            ascend={
                "target": target,
                "set_env": self.server.set_env(f'export PYTHONPATH="{slow}:$PYTHONPATH"'),
                "python": str(python),
                "require": True,
            },
            ascend_eval={"warmup": 0, "repeats": 3, "twin_images": 0},
            evaluation={"threads": 1},
        )
        return project

    def environment(self, project: Path) -> dict[str, str]:
        """With the keys of the server."""
        found = super().environment(project) | {"HOME": str(self.server.home)}
        found.pop("SSH_AUTH_SOCK", None)
        return found

    def prepare(self, project: Path) -> None:
        """Begin a new count where the stage had stored its results before its process ended: it measures anew."""
        if (project / STORED).is_file():
            (project / STORED).unlink()
            (project / "computed").unlink()

    def results(self, project: Path) -> dict[str, str]:
        """Every measured number that is no time."""
        path = project / STORED
        found = json.loads(path.read_text()) if path.is_file() else {}
        names = ("map50", "map50_95", "map50_voc07", "precision", "recall", "backend", "size_mb")
        return {name: json.dumps(found.get(name)) for name in names}

    def finished(self, project: Path) -> set[str]:
        """Nothing: see `complete`."""
        return set()

    def ran(self, project: Path, output: str) -> set[str]:
        """Nothing: see `complete`."""
        return set()

    def complete(self, project: Path) -> bool:
        """Whether every image was computed; those that were computed again are lost."""
        path = project / "computed"
        ids = [json.loads(line.partition(b" ")[2])["id"] for line in path.read_bytes().splitlines()]
        if twice := sorted({each for each in ids if ids.count(each) > 1}):
            self.say(kind="lost", run=project.name, steps=twice)
        return len(set(ids)) == len((project / "data/voc/ImageSets/Main/test.txt").read_text().split())


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve() / "sshd" if len(sys.argv) > 1 else Path()
    shutil.rmtree(place, ignore_errors=True)
    with serve(place) as Boards.server:
        main(Boards, 20, 8, __doc__)
