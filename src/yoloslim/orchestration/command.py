"""The command behind `yoloslim sweep`: what it takes, what it shows, and how it ends when it is stopped."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from yoloslim.config import Params, parse_params
from yoloslim.config.edit import assign
from yoloslim.errors import ConfigError
from yoloslim.orchestration.dashboard import Dashboard, summary
from yoloslim.orchestration.leaving import leaving
from yoloslim.orchestration.process import quiet_clients
from yoloslim.orchestration.stopping import stoppable
from yoloslim.orchestration.sweep_flow import sweep
from yoloslim.orchestration.variants import apply_variant
from yoloslim.stages.common import stage
from yoloslim.sweeping.space import check_axes

ABOUT = "Find the percent to ship. What is wanted stands in params.yaml, section sweep."


def main(words: Sequence[str]) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="yoloslim sweep", description=ABOUT)
    parser.add_argument("changes", nargs="*", metavar="key=value", help="of section sweep, for this time: step=5")
    parser.add_argument("--no-prefect", action="store_true", help="run without Prefect")
    parser.add_argument("--apply", metavar="VARIANT", help="give params.yaml the values of a variant that was tried")
    arguments = parser.parse_args(words)

    def run(params: Params) -> None:
        if arguments.apply:
            about = apply_variant(Path.cwd(), arguments.apply)
            print(f"params.yaml and dvc.lock are those of {about['name']}; `dvc repro` restores its files")
            return
        wanted = with_changes(params, arguments.changes)
        check_axes(wanted)  # before Prefect's server starts
        with stoppable("in mid-sweep"):
            search(wanted, prefect=not arguments.no_prefect)

    with leaving():
        stage(run)


def search(params: Params, *, prefect: bool) -> None:
    """Sweep with a dashboard, and tell how it ended."""
    console = Console()
    quiet_clients()
    with Dashboard(console) as dashboard:
        result = sweep(params, dashboard.listen, prefect=prefect)
    console.print(summary(result, console.width), highlight=False)


def with_changes(params: Params, changes: Sequence[str]) -> Params:
    """Parameters with `key=value` of section sweep, values as YAML.

    Raises:
        ConfigError: no `=`, an unknown key, a value out of range.
    """
    raw = params.model_dump(mode="json")
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise ConfigError(f"'{change}' is no key=value; for example: step=5 objective=smallest max_map_drop=0.02")
        try:
            assign(raw["sweep"], {key: yaml.safe_load(value)})
        except yaml.YAMLError as error:
            raise ConfigError(f"'{change}': the value is not valid YAML") from error
    return parse_params(raw, "command line")
