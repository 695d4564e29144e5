"""Secrets that everybody knows, because they stand in documentation and examples."""

from __future__ import annotations

from collections.abc import Iterable

from lightrag_server.access.accounts import Account
from lightrag_server.errors import ConfigError

_BEGINNINGS = ("your-", "your_", "<your", "my-secret", "my_secret", "lightrag-jwt-default-secret", "example-")
_WORDS = frozenset(
    {
        "changeme",
        "change-me",
        "change_me",
        "changeit",
        "secret",
        "secret-key",
        "secret_key",
        "password",
        "passwd",
        "default",
        "example",
        "placeholder",
        "xxx",
        "todo",
        "token-secret",
        "lightrag",
    }
)
_PASSWORDS = frozenset({"admin", "admin123", "pass456", "123456", "12345678"})
"""As passwords of accounts only, beside the words."""


def check_secrets(api_key: str | None, token_secret: str | None, accounts: Iterable[Account]) -> None:
    """Raise `ConfigError` for a secret out of an example; the sentence names the setting and never the secret."""
    for name, secret in (("LIGHTRAG_API_KEY", api_key), ("TOKEN_SECRET", token_secret)):
        if secret is not None and is_placeholder(secret):
            raise ConfigError(f"{name} is a placeholder that everybody knows; choose one of your own.")
    for account in accounts:
        if is_placeholder(account.password) or account.password.lower() in _PASSWORDS:
            raise ConfigError(
                f"The password of {account.name!r} in AUTH_ACCOUNTS is one that everybody knows; "
                "choose another, and keep its hash: lightrag-server hash-password."
            )


def is_placeholder(secret: str) -> bool:
    word = secret.strip().strip("!.'\"").lower()
    return word in _WORDS or word.startswith(_BEGINNINGS)
