"""Sweeps as a person types them, on the stand-in pipeline: on Dask and Ray, and stopped beside a dead server."""

import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests.orchestration.toy import Toy
from yoloslim.errors import SweepError
from yoloslim.orchestration.variants import apply_variant
from yoloslim.orchestration.worktrees import FOLDER

pytestmark = pytest.mark.slow


def ran_elsewhere(toy: Toy) -> dict[str, list[str]]:
    """Worker's checkout -> the stages that really ran there."""
    logs = sorted((toy.root / FOLDER).glob("*/ran.log"))
    return {path.parent.name: path.read_text().splitlines() for path in logs}


def check(toy: Toy, words: list[str], environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "yoloslim", "sweep", "step=10", "low=60", "high=70", "workers=2", *words]
    done = subprocess.run(
        command, cwd=toy.root, env=toy.environment | environment, capture_output=True, text=True, timeout=3600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "going on without it" not in done.stdout
    elsewhere = ran_elsewhere(toy)
    points = [name for names in elsewhere.values() for name in names if name.startswith(("probe@", "finetune@"))]
    assert len(points) == len(set(points)) >= 3
    print(f"{len(points)} points ran in {len(elsewhere)} checkouts of workers, by the workers' own logs")
    assert not set(points) & set(toy.ran)  # the driver's checkout restored them
    assert toy.json("metrics/sweep.json")["winner"] is not None


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    (tmp_path / "project").mkdir()
    return Toy(tmp_path / "project")


def test_dask_runs_the_points_of_a_typed_sweep(toy: Toy, tmp_path: Path, home: Path) -> None:
    """On a scheduler and two workers that are there already."""
    pytest.importorskip("prefect_dask", reason="Dask is not installed; `pip install 'yoloslim[dask]'`")
    from distributed import Client

    file = tmp_path / "scheduler.json"
    scheduler = ["distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    worker = ["distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard", "--scheduler-file", str(file)]
    started = [
        subprocess.Popen([sys.executable, "-m", *words], cwd=tmp_path, env=toy.environment, stdout=-3, stderr=-3)
        for words in (scheduler, worker, worker)
    ]
    try:
        with Client(scheduler_file=str(file), timeout=300) as client:
            client.wait_for_workers(2, timeout=300)
            address = client.scheduler.address
        check(toy, ["runner=dask", f"address={address}"], {"PREFECT_HOME": str(home)})
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_ray_runs_the_points_of_a_typed_sweep(toy: Toy, home: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed; `pip install 'yoloslim[ray]'`")
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as short:  # sockets' paths end at 107 bytes
        check(toy, ["runner=ray"], {"PREFECT_HOME": str(home), "RAY_TMPDIR": short})


def test_without_prefect_nothing_runs_there_and_the_exit_code_says_so(toy: Toy) -> None:
    for runner, percent in (("dask", "60"), ("ray", "65")):
        command = [sys.executable, "-m", "yoloslim", "sweep", "--no-prefect", f"runner={runner}"]
        command += [f"low={percent}", f"high={percent}"]
        before = toy.ran
        done = subprocess.run(command, cwd=toy.root, env=toy.environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 1
        assert f"sweep.runner is {runner}, which Prefect hands the points to; leave out --no-prefect" in done.stderr
        assert toy.ran == before
        assert f"{runner}, which Prefect hands the points to; going on in threads" in toy.run(*command, "fallback=true")
        assert f"finetune@{percent}" in toy.ran


def test_a_sweep_stopped_beside_its_dead_server_ends_soon_and_goes_on_later(toy: Toy, home: Path) -> None:
    """Prefect would wait for that server for more than two minutes."""
    toy.write("slow.json", {"finetune@65": 60})
    command, environment = shlex.split("yoloslim sweep"), dict(toy.environment)
    environment["PREFECT_HOME"] = str(home)
    environment.pop("PREFECT_API_URL", None)
    for tries, number in enumerate((signal.SIGINT, signal.SIGTERM), 1):
        with subprocess.Popen(command, cwd=toy.root, env=environment, stdout=-1, stderr=-1, text=True) as process:
            try:
                while process.poll() is None and toy.ran.count("finetune@65") < tries:
                    time.sleep(0.1)
                below = psutil.Process(process.pid).children(recursive=True)
                servers = [each for each in below if "yoloslim.orchestration.server" in each.cmdline()]
                assert len(servers) == 1
                servers[0].kill()
                process.send_signal(number)
                _, told = process.communicate(timeout=110)
            finally:
                process.kill()
        assert process.returncode == 128 + number
        assert told.endswith("stopped in mid-sweep; give the same command again to go on from there\n")
        assert "Traceback" not in told
        assert not psutil.wait_procs(below, timeout=90)[1]
    (toy.root / "slow.json").unlink()
    toy.type("yoloslim sweep --no-prefect")
    assert toy.json("metrics/sweep.json")["winner"] == "65"
    done = [name for name in toy.ran if name != "finetune@65" and not name.endswith("@70")]  # which ran side by side
    assert len(done) == len(set(done))


def test_a_combination_of_other_axes_is_found_in_worktrees_and_taken_over(toy: Toy, home: Path) -> None:
    toy.environment["PREFECT_HOME"] = str(home)
    path = toy.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    axes = {"prune.scope": ["coupled", "free"], "prune.round_to": [8]}
    params["sweep"] |= {"high": 65, "axes": axes, "max_map_drop": 0.5}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    toy.commit("axes")
    toy.type("yoloslim sweep step=5 objective=fastest")
    found = toy.json("metrics/sweep.json")
    points = {point["name"]: point for point in found["points"]}
    assert {"round_to=8/60", "scope=free,round_to=8/60"} <= set(points)
    assert found["winner"] == "round_to=8/65"
    assert not list((toy.root / ".cache/sweep/variants").glob("*"))
    toy.type("yoloslim sweep --apply scope=free,round_to=8")
    assert yaml.safe_load(path.read_text())["prune"]["scope"] == "free"
    before = len(toy.ran)
    toy.repro()
    again = {name.partition("@")[0] for name in toy.ran[before:]}
    assert again <= {"timing", "champion", "report"}  # models are restored from the cache
    here = toy.json("metrics/finetune/65.json")["map50"]
    assert here == points["scope=free,round_to=8/65"]["after"]["map50"] < points["round_to=8/65"]["after"]["map50"]
    with pytest.raises(SweepError, match=r"no variant 'scope=none'; there are: .*scope=free,round_to=8"):
        apply_variant(toy.root, "scope=none/50")
