"""State to JSON and back: dataclasses, lists and dictionaries, by their type hints."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Builder: TypeAlias = Callable[[Any], Any]
"""From a plain JSON value to what the hint says; TypeError when it does not fit."""


def to_json(value: object) -> bytes:
    """Write a tree of dataclasses; fields that a constructor does not take are derived, and left out."""
    return json.dumps(value, default=_fields, separators=(",", ":")).encode()


def from_json(kind: type[T], body: bytes) -> T:
    """Read what `to_json` wrote.

    Raises:
        ValueError: It is not JSON, or does not fit `kind`; says what does not.
    """
    return build(kind, json.loads(body))


def build(kind: type[T], raw: object) -> T:
    """Build a dataclass from plain JSON values.

    Raises:
        ValueError: Keys or types don't fit; names them.
    """
    try:
        hint: Any = kind
        built: T = _builder(hint)(raw)
    except TypeError as exc:
        raise ValueError(str(exc)) from exc
    return built


def _fields(value: Any) -> dict[str, object]:
    kind: Any = type(value)
    return {name: getattr(value, name) for name in _names(kind)}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind) if field.init)


# Built once a type, not looked up once a value: a run's state holds a million contacts.
@cache
def _builder(kind: Any) -> Builder:
    if dataclasses.is_dataclass(kind):
        return _dataclass_builder(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return _list_builder(_builder(arguments[0]))
    if origin is dict:
        return _dict_builder(_builder(arguments[1]))
    if origin in (Union, types.UnionType):
        return _optional_builder(_builder(next(each for each in arguments if each is not types.NoneType)))
    return (lambda raw: raw) if kind is Any else _plain_builder(kind)


def _dataclass_builder(kind: Any) -> Builder:
    names = _names(kind)
    hints = get_type_hints(kind)
    builders = {name: _builder(hints[name]) for name in names}

    def build(raw: Any) -> Any:
        fields = _expect(raw, dict)
        if unknown := sorted(fields.keys() - builders.keys()):
            raise TypeError(f"{kind.__name__} has no {', '.join(unknown)}")
        return kind(**{name: builders[name](item) for name, item in fields.items()})

    return build


def _list_builder(item: Builder) -> Builder:
    return lambda raw: [item(each) for each in _expect(raw, list)]


def _dict_builder(item: Builder) -> Builder:
    return lambda raw: {key: item(value) for key, value in _expect(raw, dict).items()}


def _optional_builder(given: Builder) -> Builder:
    return lambda raw: None if raw is None else given(raw)


def _plain_builder(kind: type) -> Builder:
    if kind is float:
        return lambda raw: float(raw) if type(raw) is int else _expect(raw, float)
    return lambda raw: _expect(raw, kind)


def _expect(raw: Any, kind: type) -> Any:
    if type(raw) is not kind:
        raise TypeError(f"{kind.__name__} expected, not {type(raw).__name__}")
    return raw
