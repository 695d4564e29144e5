"""Time as the engine sees it; injected, so that tests own it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


def track_id(prefix: str, now: datetime) -> str:
    """`<prefix>_YYYYmmdd_HHMMSS_<8 hex>`, as LightRAG's."""
    return f"{prefix}_{now:%Y%m%d_%H%M%S}_{secrets.token_hex(4)}"
