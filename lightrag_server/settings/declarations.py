"""The declarations of all settings as values: what the loader, the help text and the example files are made from."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from lightrag_server.settings import Settings
from lightrag_server.settings._group import Group


@dataclass(frozen=True)
class Declaration:
    """One setting. `group` and `field` say where its value goes in `Settings`."""

    group: str
    field: str
    env: str
    old_names: tuple[str, ...]
    flag: str | None
    ini: tuple[str, str] | None
    unit: str | None
    help: str
    default: Any
    none: Any
    """What the word None stands for; None itself where a value may be absent."""
    kind: Any
    """The type without `| None`."""
    is_optional: bool
    limits: dict[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        return (self.env, *self.old_names)

    @property
    def is_secret(self) -> bool:
        return self.kind is SecretStr

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words of a closed set, else empty."""
        if get_origin(self.kind) is Literal:
            return tuple(str(choice) for choice in get_args(self.kind))
        if isinstance(self.kind, type) and issubclass(self.kind, Enum):
            return tuple(str(member.value) for member in self.kind)
        pattern = str(self.limits.get("pattern", ""))
        return tuple(pattern[2:-2].split("|")) if pattern.startswith("^(") and pattern.endswith(")$") else ()

    @property
    def allowed(self) -> str:
        """What a value may be, as it reads after 'must be'."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is bool:
            return "true or false"
        if self.kind in (int, float):
            number = "a whole number" if self.kind is int else "a number"
            return number + _range(self.limits)
        return "a path" if self.kind is Path else "text"

    @property
    def explanation(self) -> str:
        """The help, and the allowed words where the help does not name them."""
        if self.choices and self.choices[0] not in self.help:
            return f"{self.help} ({', '.join(self.choices)})"
        return self.help

    @property
    def shown_default(self) -> str:
        """The default as one would write it in a file; empty where the setting is unset."""
        if self.default is None:
            return ""
        if isinstance(self.default, bool):
            return str(self.default).lower()
        if isinstance(self.default, float) and self.default.is_integer():
            return str(int(self.default))
        return str(self.default.value if isinstance(self.default, Enum) else self.default)


def _range(limits: dict[str, Any]) -> str:
    low, high = limits.get("ge"), limits.get("le")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    if "gt" in limits:
        return f" greater than {limits['gt']}"
    return f" of at most {high}" if high is not None else ""


def _strip_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    members = [member for member in get_args(annotation) if member is not type(None)]
    return (members[0] if len(members) == 1 else Union[tuple(members)]), True  # noqa: UP007


def _limits(info: FieldInfo) -> dict[str, Any]:
    names = ("ge", "gt", "le", "lt", "pattern")
    found = {name: getattr(mark, name, None) for mark in info.metadata for name in names if hasattr(mark, name)}
    return {name: value for name, value in found.items() if value is not None}


def _declaration(group: str, field: str, info: FieldInfo) -> Declaration:
    extra: Any = info.json_schema_extra
    kind, is_optional = _strip_none(info.annotation)
    return Declaration(
        group=group,
        field=field,
        env=extra["env"],
        old_names=tuple(extra["old_names"]),
        flag=extra["flag"],
        ini=(extra["ini"][0], extra["ini"][1]) if extra["ini"] else None,
        unit=extra["unit"],
        help=info.description or "",
        default=info.default,
        none=extra["none"],
        kind=kind,
        is_optional=is_optional,
        limits=_limits(info),
    )


@cache
def groups() -> dict[str, type[Group]]:
    """The groups by their name in `Settings`, in the order of declaration."""
    return {part.name: _group_of(part) for part in dataclasses.fields(Settings)}


def _group_of(part: dataclasses.Field[Any]) -> type[Group]:
    made: Any = part.default_factory
    return made


@cache
def declarations() -> tuple[Declaration, ...]:
    return tuple(_all())


def _all() -> Iterator[Declaration]:
    for name, group in groups().items():
        for field, info in group.model_fields.items():
            yield _declaration(name, field, info)
