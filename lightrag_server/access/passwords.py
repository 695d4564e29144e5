"""Passwords: plain ones, bcrypt and argon2 hashes."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import Literal

import argon2
import bcrypt

from lightrag_server.access.accounts import Account
from lightrag_server.errors import InvalidInput

Algorithm = Literal["argon2", "bcrypt"]
BCRYPT_MARK = "{bcrypt}"
ARGON2_MARK = "{argon2}"
MAX_BCRYPT_BYTES = 72
MAX_PASSWORD_BYTES = 1024
PARALLEL_CHECKS = 2
"""A check takes tens of megabytes and a core; more at a time would let strangers take all of both."""


def hash_password(password: str, algorithm: Algorithm) -> str:
    """What goes into AUTH_ACCOUNTS. Raises `InvalidInput` for one that cannot be hashed whole."""
    secret = password.encode()
    if not secret or len(secret) > MAX_PASSWORD_BYTES:
        raise InvalidInput(f"a password has 1 to {MAX_PASSWORD_BYTES} bytes")
    if algorithm == "argon2":
        return argon2.PasswordHasher().hash(secret)
    if len(secret) > MAX_BCRYPT_BYTES:
        raise InvalidInput(f"bcrypt reads {MAX_BCRYPT_BYTES} bytes of a password and this one is longer: use argon2")
    return BCRYPT_MARK + bcrypt.hashpw(secret, bcrypt.gensalt()).decode()


def is_password(password: str, kept: str) -> bool:
    """Whether it is the password that was kept, plainly or as a hash. Takes as long for a wrong one; with a hash some
    hundred milliseconds."""
    secret = password.encode("utf-8", "surrogatepass")
    if (found := _argon2_of(kept)) is not None:
        return _is_argon2(secret, found)
    if (found := _bcrypt_of(kept)) is not None:
        return _is_bcrypt(secret, found)
    return hmac.compare_digest(_fixed_length(secret), _fixed_length(kept.encode("utf-8", "surrogatepass")))


class Passwords:
    """Checks logins in threads, as long for unknown users as for known ones."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts
        self._checking = asyncio.Semaphore(PARALLEL_CHECKS)
        kept = [account.password for account in accounts.values()]
        self._dummy = max(kept, key=_cost, default="")

    async def check(self, name: str, password: str) -> Account | None:
        async with self._checking:
            return await asyncio.to_thread(self._check, name, password)

    def _check(self, name: str, password: str) -> Account | None:
        account = self._accounts.get(name)
        if len(password) > MAX_PASSWORD_BYTES:
            return None
        if account is None or _cost(account.password) < _cost(self._dummy):
            # its result is of no interest: it takes the time that others take
            is_password(password, self._dummy)
        return account if account and is_password(password, account.password) else None


def _cost(kept: str) -> int:
    return 2 if _argon2_of(kept) else 1 if _bcrypt_of(kept) else 0


def _argon2_of(kept: str) -> str | None:
    found = kept.removeprefix(ARGON2_MARK)
    return found if found.startswith("$argon2") else None


def _bcrypt_of(kept: str) -> str | None:
    found = kept.removeprefix(BCRYPT_MARK)
    return found if kept != found or found.startswith(("$2a$", "$2b$", "$2y$")) else None


def _is_argon2(secret: bytes, kept: str) -> bool:
    try:
        return argon2.PasswordHasher().verify(kept, secret)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def _is_bcrypt(secret: bytes, kept: str) -> bool:
    try:
        # hashes made elsewhere were made of as many bytes
        return bcrypt.checkpw(secret[:MAX_BCRYPT_BYTES], kept.encode())
    except ValueError:
        return False


def _fixed_length(secret: bytes) -> bytes:
    """So that a comparison does not tell how long the kept one is."""
    return hmac.digest(b"length", secret, "sha256")
