"""Published recipes as small sets of values, written into params.yaml, where everybody sees them.

A preset is no layer of hidden defaults: once written, its values are like any others, DVC tracks them, and whatever is
edited afterwards counts.
"""

import difflib
import io
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from yoloslim.config import load_params, parse_params
from yoloslim.config.edit import load_document, yaml_parser
from yoloslim.config.recipe import AUTO
from yoloslim.documents import parse_yaml
from yoloslim.errors import ConfigError
from yoloslim.files import write_text


@dataclass(frozen=True)
class Preset:
    """A recipe: its name, when to take it, and section -> key -> value."""

    name: str
    about: str
    values: dict[str, dict[str, Any]]


def load_presets() -> dict[str, Preset]:
    """All there are, by name."""
    text = (resources.files("yoloslim.config") / "presets.yaml").read_text(encoding="utf-8")
    return {
        name: Preset(name, values.pop("about"), values) for name, values in parse_yaml(text, "presets.yaml").items()
    }


def load_preset(name: str) -> Preset:
    """One of them.

    Raises:
        ConfigError: there is none of that name; the message has the nearest, or all.
    """
    presets = load_presets()
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(presets)}"
        raise ConfigError(f"no preset '{name}'; {hint}")
    return presets[name]


def apply_preset(path: Path, preset: Preset, *, write: bool = True) -> dict[str, tuple[Any, Any]]:
    """Write a preset's values into params.yaml; comments, and all other values, stay as they are.

    Args:
        path: of params.yaml.
        preset: what to write.
        write: False only tells what would change.

    Returns:
        `section.key` -> value before and after, of those that change.

    Raises:
        ConfigError: params.yaml cannot be read, or does not hold up before or after the change.
    """
    before = load_params(path).model_dump()
    parser = yaml_parser()
    document = load_document(path, parser)
    changes = {}
    for section, values in preset.values.items():
        for key, value in values.items():
            if before[section][key] != value or document.get(section, {}).get(key) == AUTO:
                changes[f"{section}.{key}"] = (before[section][key], value)
                document.setdefault(section, {})[key] = value
    stream = io.StringIO()
    parser.dump(document, stream)
    origin = f"{path} with preset {preset.name}"
    parse_params(parse_yaml(stream.getvalue(), origin), origin)
    if write and changes:
        write_text(path, stream.getvalue())
    return changes
