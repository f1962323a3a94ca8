"""Actions with their parameters: P4Runtime's message to the loaded program's form, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from esa.switch.p4runtime.bytestrings import decode, encode
from esa.switch.p4runtime.status import Code, P4RuntimeError
from esa.switch.p4runtime.translation import Strings


@dataclass(frozen=True)
class ParamInfo:
    """`what`: how errors call it."""

    id: int
    name: str
    bits: int
    what: str
    strings: Strings | None = None  # where its values have names


@dataclass(frozen=True)
class ActionInfo:
    id: int
    name: str
    params: tuple[ParamInfo, ...]


def parse_action(owner: str, actions: Mapping[int, ActionInfo], given: Any) -> tuple[str, list[int]]:
    """Return the name and the parameters, in order, of an Action that is one of `actions`, those of `owner`."""
    action = actions.get(given.action_id)
    if action is None:
        raise _invalid(owner, f"no action of it has the id {given.action_id} (0x{given.action_id:08x})")
    values: dict[int, bytes] = {}
    for param in given.params:
        id_ = param.param_id
        if id_ in values:
            raise _invalid(owner, f"action {action.name}: parameter {id_} occurs twice")
        values[id_] = param.value
    params = []
    for wanted in action.params:
        value = values.get(wanted.id)
        if value is None:
            raise _invalid(owner, f"action {action.name}: parameter {wanted.name} is missing")
        if wanted.strings is None:
            params.append(decode(value, wanted.bits, wanted.what))
        else:
            params.append(wanted.strings.number(value, wanted.what))
    if len(values) > len(params):
        unknown = min(values.keys() - {param.id for param in action.params})
        raise _invalid(owner, f"action {action.name} has no parameter with the id {unknown}")
    return action.name, params


def _invalid(owner: str, reason: str) -> P4RuntimeError:
    return P4RuntimeError(Code.INVALID_ARGUMENT, f"{owner}: {reason}")


def format_action(action: ActionInfo, params: Sequence[int], message: Any) -> None:
    """Write an action and its parameters into an Action."""
    message.action_id = action.id
    for param, value in zip(action.params, params, strict=True):
        text = encode(int(value)) if param.strings is None else param.strings.text(int(value))
        message.params.add(param_id=param.id, value=text)
