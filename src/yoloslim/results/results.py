"""All results of a project, read once into one object."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from yoloslim.config.results import SweepResult
from yoloslim.results.choice import best_row
from yoloslim.results.lineage import StageOutput, hashes_of, outputs
from yoloslim.results.records import Row, read_rows
from yoloslim.results.sweep_file import load_sweep, seen_from


@dataclass(frozen=True)
class Results:
    """What stages and sweeps wrote.

    Attributes:
        root: the project's folder, absolute.
        params: params.yaml as a nested dictionary.
        rows: the models, the baseline first.
        swept: the last sweep as it ended, its overrides against params.yaml as it was then; None without one.
        outputs: every output in dvc.lock, with its hash.
    """

    root: Path
    params: Mapping[str, Any]
    rows: tuple[Row, ...]
    swept: SweepResult | None
    outputs: tuple[StageOutput, ...]

    @cached_property
    def sweep(self) -> SweepResult | None:
        """The last sweep with overrides against params.yaml as it is now."""
        return seen_from(self.swept, self.params) if self.swept else None

    @cached_property
    def best(self) -> Row | None:
        """The model to look at; see `best_row`."""
        return best_row(self.rows, self.sweep)

    @property
    def shown_params(self) -> dict[str, Any]:
        """Parameters as they may be shown: without the tracking URI, which may hold a password."""
        return {name: value for name, value in self.params.items() if name != "tracking"}

    @cached_property
    def hashes(self) -> dict[str, str]:
        """DVC's hash of what each stage made; see `hashes_of`."""
        return hashes_of(self.outputs)


def read_results(root: Path, params: Mapping[str, Any]) -> Results:
    """Read what is there.

    Args:
        root: folder with `metrics/`, `models/`, `plots/` and `dvc.lock`.
        params: params.yaml as a nested dictionary; its `percents` and `controls` say which count.

    Raises:
        TrackingError: a file is not what its stage writes.
    """
    root = root.resolve()
    rows = read_rows(root, params.get("percents"), params.get("controls"))
    return Results(root, params, tuple(rows), load_sweep(root), tuple(outputs(root / "dvc.lock")))
