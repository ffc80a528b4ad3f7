"""The model registry: the best point of every sweep is a version, and the best of all has the alias `champion`."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from yoloslim.config.results import SweepResult
from yoloslim.errors import TrackingError, YoloslimError

logger = logging.getLogger(__name__)

ALIAS = "champion"
ABOUT = (
    "Winners of sweeps; the alias `champion` is at the best of all. From pictures to boxes: "
    "`mlflow models serve --model-uri models:/{}@champion --env-manager local --port 5001`"
)
"""Of a registered model of this name."""
CONTENT = "yoloslim.key"
"""Tag of a version: SHA-256 of its model file, by which it is found again."""
Metrics = Mapping[str, Any]
Beats = Callable[[Metrics, Metrics], bool]
"""Whether the first model is better than the second; equal is not."""
IsBetter = Callable[[Metrics, Metrics, SweepResult], bool]
"""Likewise, by what the sweep wants that the first has won."""


@dataclass(frozen=True)
class Coronation:
    """What became of the best point of a sweep.

    Attributes:
        version: in the registry.
        moved: whether the alias moved to it now.
        said: in a sentence.
    """

    version: str
    moved: bool
    said: str


def promote(
    client: Any,
    name: str,
    run_id: str,
    model_id: str,
    content: str,
    about: str,
    tags: Mapping[str, str],
    better: Beats,
) -> Coronation:
    """Register a model, and move the alias to it if it is better than the one that has it.

    Args:
        client: MLflow's.
        name: of the registered model, made if missing.
        run_id: the run that the model belongs to.
        model_id: MLflow's number of the model.
        content: hash of the model; the same model is not registered twice.
        about: what it is and why it won, in a sentence.
        tags: its metrics as text, and whatever else belongs to it.
        better: decides between its metrics and the champion's.
    """
    _ensure_model(client, name)
    version = _find(client, name, content) or client.create_model_version(
        name,
        client.get_logged_model(model_id).artifact_location,  # `models:/<id>` is looked up in another client's store
        run_id,
        tags={CONTENT: content, **tags},
        description=about,
        model_id=model_id,
    )
    for key, value in tags.items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(name, version.version, key, value)
    number = str(version.version)
    former = _champion(client, name)
    if former is not None and str(former.version) == number:
        return Coronation(number, False, f"{name} version {number} is the champion as before")
    if former is not None and not _beats(tags, former, better):
        said = f"{name} version {number} is not better than the champion, version {former.version}, which stays"
        return Coronation(number, False, said)
    client.set_registered_model_alias(name, ALIAS, number)
    reason = f"better than version {former.version}" if former else "there was none"
    return Coronation(number, True, f"{name} version {number} is the champion now: {reason}")


def numbers(tags: Mapping[str, str]) -> dict[str, float]:
    """Those tags that are numbers: the metrics of a version."""
    found = {}
    for name, text in tags.items():
        try:
            value = float(text)
        except ValueError:
            continue
        if math.isfinite(value):
            found[name] = value
    return found


def _beats(tags: Mapping[str, str], former: Any, better: Beats) -> bool:
    for name, what in (("dvc.data", "data"), ("backend", "runtimes")):
        if tags.get(name) != former.tags.get(name):
            logger.warning("the champion, version %s, was measured on other %s than this one", former.version, what)
    try:
        return better(numbers(tags), numbers(former.tags))
    except YoloslimError as error:  # a version that a person registered
        logger.warning("the champion, version %s, cannot be compared, and stays: %s", former.version, error)
        return False


def _find(client: Any, name: str, content: str) -> Any | None:
    versions = client.search_model_versions(f"name = '{name}'")
    return next((version for version in versions if version.tags.get(CONTENT) == content), None)


def _champion(client: Any, name: str) -> Any | None:
    number = client.get_registered_model(name).aliases.get(ALIAS)
    return None if number is None else client.get_model_version(name, str(number))


def _ensure_model(client: Any, name: str) -> None:
    try:
        client.create_registered_model(name, description=ABOUT.format(name))
    except TrackingError as error:
        if getattr(error.__cause__, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
            raise
