"""The nightly sweep's schedule: `serve` on one machine, `deploy` to a server whose work pools run it."""

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from yoloslim.config import Params
from yoloslim.errors import ConfigError, Interrupted, SweepError
from yoloslim.extras import advice, is_installed
from yoloslim.orchestration.driver import only_one
from yoloslim.orchestration.process import quiet_clients
from yoloslim.orchestration.server import expect_answer, prefect_server
from yoloslim.stages.common import stage

NAME = "nightly"
PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")


def serve(params: Params) -> None:
    """Run the sweep at its times, here, until stopped; stopping leaves the schedule on.

    Raises:
        ConfigError: the cron line means nothing.
        SweepError: it is served here already; the server that is set is away.
    """
    from prefect.flows import EntrypointType
    from prefect.settings import PREFECT_API_URL

    from yoloslim.orchestration.nightly import nightly

    times = _times(params)
    with only_one(Path.cwd(), "schedule"):
        try:
            with prefect_server(schedules=True):
                print(f"Prefect's page: {PREFECT_API_URL.value().removesuffix('/api')}", flush=True)
                nightly.serve(
                    name=NAME,
                    schedule=times,
                    pause_on_shutdown=False,  # else a restart of the machine ends all sweeps
                    limit=1,
                    entrypoint_type=EntrypointType.MODULE_PATH,  # the file's folder in sys.path would hide pipeline
                )
                print("stopped; the schedule and what a sweep had finished are kept, and the same command goes on")
        except KeyboardInterrupt:
            raise Interrupted(signal.SIGINT, "between the times of the schedule") from None
        except RuntimeError as error:
            where = PREFECT_API_URL.value() or "a server of its own"
            raise SweepError(f"Prefect is away ({where}: {error}), which starts what is due") from error


def _times(params: Params) -> Any:
    """The schedule as Prefect takes it.

    Raises:
        ConfigError: the cron line means nothing.
    """
    from prefect.schedules import Cron

    try:
        return Cron(params.schedule.cron, timezone=params.schedule.timezone)
    except ValueError as error:
        raise ConfigError(f"schedule.cron '{params.schedule.cron}' is no cron line: {error}") from error


def _expect_server() -> None:
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if not url:
        raise SweepError(
            "PREFECT_API_URL is not set, so there is no server that a deployment could be sent to; "
            "`prefect server start` starts one, for PREFECT_API_URL=http://127.0.0.1:4200/api; `make serve` needs none"
        )
    try:
        expect_answer(url)
    except RuntimeError as error:
        raise SweepError(f"Prefect is away ({url}: {error}), to which a deployment is sent") from error


def deploy(params: Params, names: Sequence[str]) -> None:
    """Send deployments of prefect.yaml to the server, with the schedule of params.yaml in place of theirs.

    Raises:
        ConfigError: the cron line means nothing.
        SweepError: Prefect refuses, is away, or is not installed.
    """
    if not is_installed("prefect"):
        raise SweepError(f"Prefect is not installed, whose server a deployment is sent to; {advice('prefect')}")
    _times(params)
    _expect_server()
    described = yaml.safe_load(Path("prefect.yaml").read_text())
    for deployment in described["deployments"]:
        deployment["schedules"] = [{"cron": params.schedule.cron, "timezone": params.schedule.timezone}]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=".", prefix=".prefect-") as file:
        yaml.safe_dump(described, file, sort_keys=False)
        file.flush()
        for name in names:
            command = [*PREFECT, "deploy", "--name", name, "--prefect-file", Path(file.name).name]
            if subprocess.run(command, check=False).returncode:
                raise SweepError(f"`prefect deploy --name {name}` failed; is its work pool there?")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m flows.schedule", description=__doc__)
    parser.add_argument("what", choices=["serve", "deploy"])
    parser.add_argument("names", nargs="*", help="deploy: deployments of prefect.yaml; nightly if none is named")
    arguments = parser.parse_args()
    quiet_clients()
    stage(serve if arguments.what == "serve" else lambda params: deploy(params, arguments.names or [NAME]))
