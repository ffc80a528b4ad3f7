"""`make ui`: MLflow's page of this project, at the address that the report links to."""

import errno
import os
import socket
import sys
from pathlib import Path

from yoloslim.config import Params
from yoloslim.errors import TrackingError
from yoloslim.extras import advice, is_installed
from yoloslim.results.links import LOCAL_UI, RunLinks
from yoloslim.results.uris import absolute_uri, chosen_uri, database_of, without_password
from yoloslim.stages.common import stage
from yoloslim.tracking.connection import SETTINGS, reaching
from yoloslim.tracking.moved import bring_along
from yoloslim.tracking.store import ensure_store

UI_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": SETTINGS["MLFLOW_DISABLE_TELEMETRY"],
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
"""Defaults for variables that the user has not set: a page of runs needs none of the eight processes for other jobs."""


def run(params: Params) -> None:
    """Become MLflow's server; of one that is elsewhere, say where its page is.

    Raises:
        TrackingError: MLflow is not installed; the port is taken.
    """
    uri = absolute_uri(chosen_uri(params.tracking.uri), Path.cwd())
    if uri.startswith(("http://", "https://")):
        print(f"MLflow's page is that of tracking.uri: {without_password(uri)}")
        return
    if not is_installed("mlflow"):
        raise TrackingError(f"MLflow is not installed; {advice('mlflow')}")
    host, _, port = LOCAL_UI.rpartition("/")[2].partition(":")
    try:
        socket.create_server((host, int(port))).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise TrackingError(
            f"port {port} is taken, perhaps by `make ui` of another project; end that, or type `mlflow ui "
            f"--backend-store-uri {without_password(uri)} --port {int(port) + 1}`, where the report's links do not lead"
        ) from None
    database = database_of(uri)
    if database and database.is_file():
        with reaching(uri, Path.cwd()):
            ensure_store(database)
            bring_along(database)
    os.environ.update({name: value for name, value in UI_SETTINGS.items() if name not in os.environ})
    # one worker: of several uvicorn ends those that are not up after 5 s, which takes longer beside a training
    where = ["--backend-store-uri", uri, "--host", host, "--port", port, "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "ui", *where]
    print(f"MLflow's page: {RunLinks(uri, params.tracking.experiment, Path.cwd()).all}", flush=True)
    os.execv(command[0], command)


def main() -> None:
    """Run the command."""
    stage(run)


if __name__ == "__main__":
    main()
