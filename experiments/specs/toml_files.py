"""TOML files that people write: read, refused with one line that names the key and what is allowed, written again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError

from esa.errors import BadInput

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class ScenarioError(BadInput):
    """A file that cannot be run; one line."""


Model = TypeVar("Model", bound=BaseModel)


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return `value`; ValueError unless it is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"unknown {key} '{value}'; allowed: {', '.join(allowed)}")
    return value


def read_toml(path: Path, what: str = "scenario") -> dict[str, Any]:
    """The file's table; ScenarioError names the file and, where it is no TOML, the line."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ScenarioError(f"{what}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not TOML: {error}") from None
    return parse_toml(text, str(path))


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """The text's table; ScenarioError names `source` and the line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{source}: not TOML: {error}") from None


def validated(model: type[Model], data: dict[str, Any], source: str) -> Model:
    """The table as a `model`; ScenarioError names `source` and the first key that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ScenarioError(f"{source}: {_first_error(error, model)}") from None


def _first_error(error: ValidationError, model: type[BaseModel]) -> str:
    """The first thing wrong, in one line: the key, what is wrong with it, what is allowed."""
    errors = error.errors()
    first = errors[0]
    if first["type"] == "missing":  # perhaps because it is misspelt
        first = next((each for each in errors if each["type"] == "extra_forbidden"), first)
    key = _key(first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed: {', '.join(_allowed_keys(model, first['loc'][:-1]))}"
    if first["type"] == "missing":
        return f"{key}: missing"
    if not key:
        return message
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        return f"{key}.{message}"  # a rule over several keys names its own
    if first["type"] != "value_error":
        message = f"{first['input']!r}: {message[0].lower()}{message[1:]}"
    return f"{key}: {message}"


def _key(location: tuple[int | str, ...]) -> str:
    key = ""
    for part in location:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    return key


def _allowed_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) is not None:
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def dump_toml(table: dict[str, Any]) -> str:
    """Write nested dicts of strings, numbers, booleans and lists as TOML."""
    return tomli_w.dumps(table)
