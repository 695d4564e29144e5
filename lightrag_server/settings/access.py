"""Who is let in: accounts, tokens, logins, and what is open to everybody. API keys are rows, not settings."""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr

from lightrag_server.settings._fields import setting
from lightrag_server.settings._group import Group


class AccessSettings(Group):
    heading = "Access"

    accounts: SecretStr | None = setting(
        "AUTH_ACCOUNTS",
        None,
        "Who may log in: user:password,user2:hash with hashes of `lightrag-server hash-password`; or a JSON object "
        '{"user": "password", "user2": {"password": "hash", "scope": "read", "workspaces": ["a"]}}, where a password '
        "may have a comma. Without scope an account may do everything.",
    )
    token_secret: SecretStr | None = setting(
        "TOKEN_SECRET", None, "Signs login tokens. Unset: a random one, kept in WORKING_DIR for all processes."
    )
    token_algorithm: Literal["HS256", "HS384", "HS512"] = setting("JWT_ALGORITHM", "HS256", "How tokens are signed.")
    token_hours: float = setting("TOKEN_EXPIRE_HOURS", 48, "Life of a login token.", unit="hours", gt=0, le=87_600)
    guest_token_hours: float = setting(
        "GUEST_TOKEN_EXPIRE_HOURS", 24, "Life of a guest's token, which opens nothing.", unit="hours", gt=0, le=87_600
    )
    token_renewal: bool = setting("TOKEN_AUTO_RENEW", True, "Send a fresh token in X-New-Token before one expires.")
    renewal_threshold: float = setting(
        "TOKEN_RENEW_THRESHOLD", 0.5, "Share of its life that a token has left when it is renewed.", ge=0, le=1
    )
    max_failed_logins: int = setting(
        "LOGIN_MAX_FAILED_ATTEMPTS", 5, "Wrong passwords for one user from one address within the window; 0: any.", ge=0
    )
    login_window_s: float = setting(
        "LOGIN_LOCKOUT_WINDOW_SECONDS", 300, "Window in which failed logins count.", unit="seconds", gt=0
    )
    requests_per_minute: int = setting(
        "RATE_LIMIT_PER_MINUTE",
        0,
        "Questions and changes that one caller (key or account, else address) may ask for in a minute, over all "
        "processes; 0: any number. Reading lists and states is free.",
        ge=0,
    )
    request_burst: int | None = setting(
        "RATE_LIMIT_BURST",
        None,
        "How many of them may come at once after a silence. Unset: a quarter of RATE_LIMIT_PER_MINUTE, at least one.",
        ge=1,
    )
    whitelist: str = setting(
        "WHITELIST_PATHS",
        "/health",
        "Paths open to everybody where credentials exist, comma separated: a path, or prefix/* for all below it "
        "(/api/* without /api/v1). Routes for administrators are never opened. None: no path.",
        none="",
    )
    trusted_proxies: str = setting(
        "FORWARDED_ALLOW_IPS",
        "127.0.0.1",
        "Addresses or networks of reverse proxies whose X-Forwarded-For is believed, comma separated. None: nobody's.",
        none="",
    )
    audit_days: float = setting(
        "AUDIT_RETENTION_DAYS", 90, "How long changes and logins stay on record.", unit="days", gt=0
    )
