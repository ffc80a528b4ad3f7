"""Validation errors as a person wants them: the nearest known key, the range of a number."""

import difflib
from typing import Any, get_args

from pydantic import BaseModel


def explain(schema: type[BaseModel], problem: Any) -> str:
    """One problem of a ValidationError in words: where, what, and what would do.

    Args:
        schema: the model that validation started from.
        problem: an entry of `ValidationError.errors()`.
    """
    path = [str(part) for part in problem["loc"]]
    where = ".".join(path)
    if problem["type"] == "extra_forbidden":
        known = _keys_at(schema, path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        elsewhere = [name for name in schema.model_fields if path[-1] in _keys_at(schema, [name])]
        near = [f"{elsewhere[0]}.{path[-1]}"] if elsewhere and path[:-1] else near
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error" and isinstance(
        problem["input"], dict
    ):  # of several keys that do not go together
        return f"{where}: {message}" if where else message
    given = repr(problem["input"])
    given = given if len(given) <= 80 else f"{given[:80]}..."
    return f"{where} = {given}: {message}{_range_at(schema, path)}" if where else message


def _keys_at(schema: type[BaseModel], path: list[str]) -> list[str]:
    section: Any = schema
    for part in path:
        section = section.model_fields[part].annotation
    return list(getattr(section, "model_fields", ()))


def _range_at(schema: type[BaseModel], path: list[str]) -> str:
    """The range of a number or the choices of a word, for messages; empty where the message says it all."""
    section: Any = schema
    field = None
    for part in path:
        if not (isinstance(section, type) and issubclass(section, BaseModel)) or part not in section.model_fields:
            break
        field = section.model_fields[part]
        section = field.annotation
    if field is None:
        return ""
    metadata = list(field.metadata)
    for inner in get_args(field.annotation):
        metadata += [m for extra in getattr(inner, "__metadata__", ()) for m in getattr(extra, "metadata", [])]
    bounds = {k: getattr(m, k) for m in metadata for k in ("ge", "gt", "le", "lt") if getattr(m, k, None) is not None}
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    text = " and ".join(f"{signs[k]} {bounds[k]:g}" for k in ("ge", "gt", "le", "lt") if k in bounds)
    return f" (range: {text})" if text else ""
