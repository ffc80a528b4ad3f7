"""The nightly sweep's schedule: `serve` on one machine, `deploy` to a server whose work pools run it."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from pipeline.common import stage

from yoloslim.config import Params
from yoloslim.errors import ConfigError, SweepError

NAME = "nightly"


def serve(params: Params) -> None:
    """Run the sweep at its times, here, until stopped; stopping leaves the schedule on.

    Raises:
        ConfigError: the cron line means nothing.
    """
    from prefect.flows import EntrypointType
    from prefect.schedules import Cron

    from flows.nightly import nightly

    try:
        times = Cron(params.schedule.cron, timezone=params.schedule.timezone)
    except ValueError as error:
        raise ConfigError(f"schedule.cron '{params.schedule.cron}' is no cron line: {error}") from error
    nightly.serve(
        name=NAME,
        schedule=times,
        pause_on_shutdown=False,  # else a restart of the machine ends all sweeps
        limit=1,
        entrypoint_type=EntrypointType.MODULE_PATH,  # the file's folder in sys.path would hide the package pipeline
    )


def deploy(params: Params, names: Sequence[str]) -> None:
    """Send deployments of prefect.yaml to the server, with the schedule of params.yaml.

    Raises:
        SweepError: Prefect refuses.
    """
    times = ["--cron", params.schedule.cron, "--timezone", params.schedule.timezone]
    for name in names:
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--name", name, *times]
        if subprocess.run(command, env=os.environ, check=False).returncode:
            raise SweepError(f"`{' '.join(command[1:])}` failed; is there a server, and its work pool?")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m flows.schedule", description=__doc__)
    parser.add_argument("what", choices=["serve", "deploy"])
    parser.add_argument("names", nargs="*", help="deploy: deployments of prefect.yaml; nightly if none is named")
    arguments = parser.parse_args()
    stage(serve if arguments.what == "serve" else lambda params: deploy(params, arguments.names or [NAME]))


if __name__ == "__main__":
    main()
