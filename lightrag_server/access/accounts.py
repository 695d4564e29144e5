"""AUTH_ACCOUNTS as accounts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from lightrag_server.core.access import Caller, Scope
from lightrag_server.errors import ConfigError

MAX_NAME_CHARS = 256
_BETWEEN_ENTRIES = re.compile(r",(?!\s*[tp]=\d)")
"""A comma, except those inside of an argon2 hash."""


@dataclass(frozen=True, slots=True)
class Account:
    """`password` is what stands in the setting: the password itself or a hash."""

    name: str
    password: str = field(repr=False)
    scope: Scope = Scope.ADMIN
    workspaces: tuple[str, ...] | None = None

    @property
    def caller(self) -> Caller:
        return Caller(self.name, "user", self.scope, self.workspaces)


def read_accounts(text: str) -> dict[str, Account]:
    """By name. Raises `ConfigError`, which never shows a password."""
    text = text.strip()
    found = list(_from_object(text) if text.startswith("{") else _from_list(text))
    accounts = {account.name: account for account in found}
    if len(accounts) < len(found):
        raise ConfigError("AUTH_ACCOUNTS names a user twice.")
    return accounts


def _from_list(text: str) -> Iterable[Account]:
    for number, entry in enumerate(_BETWEEN_ENTRIES.split(text), 1):
        name, colon, password = entry.strip().partition(":")
        if entry.strip():
            if not colon:
                hint = "a password that has a comma needs the JSON form"
                raise ConfigError(f"Entry {number} of AUTH_ACCOUNTS is not user:password; {hint}.")
            yield _account(name.strip(), password, {})


def _from_object(text: str) -> Iterable[Account]:
    try:
        entries = json.loads(text)
    except ValueError:
        raise ConfigError("AUTH_ACCOUNTS begins with a brace and is no JSON object.") from None
    for name, entry in cast(dict[str, Any], entries).items():
        about = cast(dict[str, Any], entry) if isinstance(entry, dict) else {"password": entry}
        yield _account(name, about.get("password"), about)


def _account(name: str, password: Any, about: dict[str, Any]) -> Account:
    if not 0 < len(name) <= MAX_NAME_CHARS:
        raise ConfigError(f"A user of AUTH_ACCOUNTS has a name that is not 1 to {MAX_NAME_CHARS} characters long.")
    if not isinstance(password, str) or not password:
        raise ConfigError(f"The user {name!r} of AUTH_ACCOUNTS has no password.")
    if unknown := set(about) - {"password", "scope", "workspaces"}:
        raise ConfigError(f"The user {name!r} of AUTH_ACCOUNTS has a field {min(unknown)!r}, which is unknown.")
    try:
        scope = Scope(about.get("scope", "admin"))
    except ValueError:
        raise ConfigError(f"The scope of the user {name!r} of AUTH_ACCOUNTS is not read, write or admin.") from None
    return Account(name, password, scope, _workspaces(name, scope, about.get("workspaces")))


def _workspaces(name: str, scope: Scope, given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not given or not all(isinstance(item, str) for item in cast(list[Any], given)):
        raise ConfigError(f"The workspaces of the user {name!r} of AUTH_ACCOUNTS are no list of names.")
    if scope is Scope.ADMIN:
        raise ConfigError(f"The user {name!r} of AUTH_ACCOUNTS has workspaces; its scope must be read or write then.")
    return tuple(cast(list[str], given))
