"""CPU seconds that MLflow's sync takes for many percents: the first time, and again when nothing has changed.

    make repro && python -m benchmarks.tracking --percents 35

The results of this checkout are real; those of its pruned models are copied under as many percents as asked for, each
with a byte of its own in its model file, so that the work is that of a sweep over as many finetuned models.
"""

import argparse
import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

STAGES = ("prune", "finetune", "export", "atc", "ascend_eval", "quantize")


def copy_of(checkout: Path, folder: Path, count: int) -> list[int]:
    """Results of `checkout` under `count` percents in `folder`, and params.yaml that names them."""
    params = yaml.safe_load((checkout / "params.yaml").read_text(encoding="utf-8"))
    there, percents = [int(percent) for percent in params["percents"]], list(range(20, 20 + count))
    for name in ("metrics", "models", "plots", "detections", "data"):
        shutil.copytree(checkout / name, folder / name)
    for number, percent in enumerate(percents):
        source = there[number % len(there)]
        for top in ("metrics", "models", "plots", "detections"):
            for stage in STAGES:
                for old in (folder / top / stage).glob(f"{source}*"):
                    new = old.with_name(old.name.replace(str(source), str(percent), 1))
                    if old.is_dir() and not new.exists():
                        shutil.copytree(old, new)
                    elif not new.exists():
                        shutil.copy(old, new)
        with (folder / f"models/finetune/{percent}/model.safetensors").open("ab") as stream:
            stream.write(bytes([number]))  # never read as a model here: only hashed and logged
    params["percents"] = percents
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return percents


def sync(folder: Path) -> tuple[float, float, str]:
    """CPU seconds, wall seconds and the words of one `python -m pipeline.track`."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[1])}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.track"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"pipeline.track ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - start, done.stdout + done.stderr


def main() -> None:
    """Time two syncs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--percents", type=int, default=35)
    parser.add_argument("--checkout", type=Path, default=Path(), help="where `make repro` has ended")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tracking-"))) / "project"
        copy_of(arguments.checkout.resolve(), folder, arguments.percents)
        for name in ("first sync", "second sync"):
            cpu, wall, _ = sync(folder)
            print(f"{name} of {arguments.percents} percents: {cpu:.1f} s of CPU, {wall:.1f} s in all", flush=True)


if __name__ == "__main__":
    main()
