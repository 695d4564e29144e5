"""Vendors' failures in our words. Messages name vendor, model and status, never a key, a prompt or a reply."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from lightrag_server.errors import (
    BadReply,
    ProviderError,
    ProviderRejected,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
)

_SHORT_CODE = re.compile(r"[a-z][a-z0-9_.-]{1,59}")
_TOO_MANY = (429, 529)
_FINAL_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


def refused(vendor: str, status: int, *, retry_after_s: float | None = None, code: object = None) -> ProviderError:
    """The error for an HTTP status; `code` is the vendor's own, shown when it is a plain word."""
    word = code if isinstance(code, str) and _SHORT_CODE.fullmatch(code) else None
    message = f"{vendor} answered {status}" + (f" ({word})" if word else "")
    if status == 429 and word in _FINAL_CODES:
        return ProviderRejected(message)
    if status == 408:
        return ProviderTimeout(message)
    if status in _TOO_MANY or (status == 503 and retry_after_s is not None):
        return ProviderThrottled(message, retry_after_s=retry_after_s)
    if status in (409, 425) or status >= 500:
        return ProviderUnavailable(message, retry_after_s=retry_after_s)
    return ProviderRejected(message)


def timed_out(vendor: str) -> ProviderTimeout:
    return ProviderTimeout(f"{vendor} did not answer in time")


def unreachable(vendor: str) -> ProviderUnavailable:
    return ProviderUnavailable(f"{vendor} cannot be reached or broke the connection")


def cut_short(vendor: str) -> ProviderUnavailable:
    return ProviderUnavailable(f"{vendor} ended the stream before the reply was complete")


def unusable(vendor: str, what: str) -> BadReply:
    return BadReply(f"{vendor} sent a reply that cannot be used: {what}")


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds asked for by `Retry-After` (a number or an HTTP date) or `retry-after-ms`; None where absent or odd."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * scale)
        except (KeyError, ValueError):
            continue
    try:
        then = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())
