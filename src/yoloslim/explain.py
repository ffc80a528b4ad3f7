"""Validation errors as a person wants them: the nearest known key, the range of a number."""

from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from yoloslim.nearest import guess


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
        elsewhere = [name for name in schema.model_fields if path[-1] in _keys_at(schema, [name])]
        if elsewhere and path[:-1]:
            return f"{where}: unknown key; did you mean '{elsewhere[0]}.{path[-1]}'?"
        hint = guess(path[-1], known, 0.5) or f"known here: {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error" and isinstance(
        problem["input"], dict
    ):  # of several keys that do not go together
        return f"{where}: {message}" if where else message
    if problem["type"] == "tuple_type":
        return f"{where} {_list_instead(path[-1], problem['input'])}"
    if problem["type"] == "string_pattern_mismatch" and (field := _field_at(schema, path)):
        return f"{where} = {problem['input']!r} is not understood; it is: {field.description}"
    given = repr(problem["input"])
    given = given if len(given) <= 80 else f"{given[:80]}..."
    return f"{where} = {given}: {message}{_range_at(schema, path)}" if where else message


def _list_instead(key: str, given: Any) -> str:
    """What to write where a list belongs and something else stands."""
    if given is None:
        return f"is empty where a list belongs; write {key}: []"
    if isinstance(given, dict):
        return f"holds keys where a list belongs; write {key}: [...], or its items below, a dash before each"
    first = str(given).partition(" - ")[0]
    if first != str(given):  # YAML goes on with a text in the lines below it
        return (
            f"has {first!r} on its own line and a list below, which YAML reads as one text, {str(given)!r}; write "
            f"{key}: [{first}] and delete the lines below that begin with a dash, or leave nothing behind {key}:"
        )
    return f"= {given!r} is one value where a list belongs; write {key}: [{given}]"


def _keys_at(schema: type[BaseModel], path: list[str]) -> list[str]:
    section: Any = schema
    for part in path:
        section = section.model_fields[part].annotation
    return list(getattr(section, "model_fields", ()))


def _field_at(schema: type[BaseModel], path: list[str]) -> FieldInfo | None:
    """The field that a path leads to, or that holds what it leads to."""
    section: Any = schema
    field = None
    for part in path:
        if not (isinstance(section, type) and issubclass(section, BaseModel)) or part not in section.model_fields:
            break
        field = section.model_fields[part]
        section = field.annotation
    return field


def _range_at(schema: type[BaseModel], path: list[str]) -> str:
    """The range of a number or the choices of a word, for messages; empty where the message says it all."""
    if (field := _field_at(schema, path)) is None:
        return ""
    metadata = list(field.metadata)
    for inner in get_args(field.annotation):
        metadata += [m for extra in getattr(inner, "__metadata__", ()) for m in getattr(extra, "metadata", [])]
    bounds = {k: getattr(m, k) for m in metadata for k in ("ge", "gt", "le", "lt") if getattr(m, k, None) is not None}
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    text = " and ".join(f"{signs[k]} {bounds[k]:g}" for k in ("ge", "gt", "le", "lt") if k in bounds)
    return f" (range: {text})" if text else ""
