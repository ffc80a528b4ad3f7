"""Data, models and champion as Prefect's assets, each with what it was made from and its hash in DVC."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from yoloslim.report.tables import recommendation
from yoloslim.results.records import Row
from yoloslim.results.results import Results

SHOWN = ("map50", "params_m", "latency_ms", "speedup")


@dataclass(frozen=True)
class Made:
    """Something that a stage made.

    Attributes:
        stage: in dvc.lock.
        path: below the project.
        of: paths that it was made from.
        facts: what is to be said of it.
    """

    stage: str
    path: str
    of: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def key(self, project: str) -> str:
        """Under which Prefect knows it."""
        return asset_key(project, self.path)


def asset_key(project: str, path: str) -> str:
    """Under which Prefect knows a path of a project."""
    return f"dvc://{project}/{path}"


def made_of(results: Results) -> list[Made]:
    """What there is, in the order in which it was made."""
    facts = {row.name: _facts(row) for row in results.rows}
    data, baseline, sparse = "data/voc", "models/baseline", "models/sparse"
    found = [
        Made("data", data),
        Made("baseline", baseline, (data,), facts.get("baseline", {})),
        Made("control@dense", "models/control/dense", (data, baseline), facts.get("control", {})),
        Made("sparse", sparse, (data, baseline), facts.get("sparse", {})),
    ]
    percents = [row.percent for row in results.rows if row.kind == "pruned"]
    found += [Made(f"finetune@{p}", f"models/finetune/{p}", (data, sparse), facts[f"prune@{p}"]) for p in percents]
    if results.best:
        why = recommendation(results.best, results.rows)
        found.append(Made("champion", "models/champion", (f"models/finetune/{results.best.percent}",), {"why": why}))
    return [each for each in found if each.stage in results.hashes]


def publish_assets(results: Results) -> None:
    """Tell Prefect of all that there is, from within a flow run; each is a task, whose asset depends on others'."""
    from prefect.assets import Asset, AssetProperties, add_asset_metadata, materialize
    from prefect.cache_policies import NO_CACHE

    project = results.root.name.replace(" ", "-")
    there = made_of(results)
    known = {each.path for each in there}
    for each in there:
        about = AssetProperties(name=f"{project}: {each.path}", description=each.facts.get("why"))
        asset = Asset(key=each.key(project), properties=about)
        upstream: Sequence[Any] = [Asset(key=asset_key(project, path)) for path in each.of if path in known]
        facts = {"md5": results.hashes[each.stage], **each.facts}
        options = {"name": "asset", "task_run_name": f"asset {each.path}", "cache_policy": NO_CACHE, "tags": ["asset"]}

        def tell(asset: Any = asset, facts: dict[str, Any] = facts) -> None:
            add_asset_metadata(asset, facts)

        materialize(asset, by="dvc", asset_deps=upstream, **options)(tell)()


def _facts(row: Row) -> dict[str, Any]:
    numbers = {key: row.best(key) for key in SHOWN}
    return {key: value for key, value in numbers.items() if value is not None} | {"backend": row.backend}
