"""Login tokens (JWT), and the secret that signs them."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jwt

from lightrag_server.access.accounts import Account
from lightrag_server.errors import ConfigError

Role = Literal["user", "guest"]
GUEST = "guest"
SECRET_FILE = "token.secret"
REQUIRED = ["sub", "exp", "iat", "role", "jti"]
MAX_TOKEN_CHARS = 4096


@dataclass(frozen=True, slots=True)
class Token:
    """Whom a token speaks for. `id` stays when a token is renewed, so that a logout ends all of a session. Times are
    epoch seconds; `proof` binds it to the account's present password."""

    id: str
    subject: str
    role: Role
    issued_at: float
    expires_at: float
    proof: str

    @property
    def life_s(self) -> float:
        return self.expires_at - self.issued_at


class Tokens:
    """Signs with one algorithm and believes no other."""

    def __init__(self, secret: bytes, algorithm: str) -> None:
        self._key = hashlib.sha512(b"lightrag-server tokens\0" + secret).digest()
        self._algorithm = algorithm

    def issue(self, subject: str, role: Role, now: float, life_s: float, *, proof: str = "", id: str = "") -> str:
        claims = {
            "sub": subject,
            "iat": int(now),
            "exp": int(now + life_s),
            "role": role,
            "jti": id or secrets.token_hex(16),
            "proof": proof,
        }
        return jwt.encode(claims, self._key, self._algorithm)

    def read(self, text: str, now: float) -> Token | None:
        """None for everything that is no token of ours, or no longer one."""
        if len(text) > MAX_TOKEN_CHARS:
            return None
        # our clock decides about times, not the library's
        options: Any = {"require": REQUIRED, "verify_exp": False, "verify_iat": False}
        try:
            claims = jwt.decode(text, self._key, [self._algorithm], options=options)
        except jwt.InvalidTokenError:
            return None
        times = (claims["iat"], claims["exp"])
        if claims["role"] not in ("user", GUEST) or not all(isinstance(at, int) for at in times) or now >= times[1]:
            return None
        return Token(claims["jti"], claims["sub"], claims["role"], *times, str(claims.get("proof", "")))

    def proof_of(self, account: Account) -> str:
        """Changes with the account's password; tells nothing about it."""
        return hmac.new(self._key, f"{account.name}\0{account.password}".encode(), "sha256").hexdigest()[:16]


def looks_like_token(text: str) -> bool:
    return text.count(".") == 2


def load_secret(folder: Path) -> bytes:
    """The secret of this folder's installation, made when there is none; readable for its owner alone. Processes that
    start together get the same one."""
    path = folder / SECRET_FILE
    try:
        if not path.exists():
            _make_secret(path)
        os.chmod(path, 0o600)
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"The secret for login tokens, {path}, cannot be kept: {error.strerror}.") from error
    if len(secret) < 32:
        raise ConfigError(f"The secret for login tokens, {path}, is damaged; delete it, and users log in again.")
    return secret


def _make_secret(path: Path) -> None:
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode())
            file.flush()
            os.fsync(file.fileno())
        # unlike a rename this fails where another process was first
        os.link(unfinished, path)
    except FileExistsError:
        return
    finally:
        unfinished.unlink()
