"""Which paths are open to everybody."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ODD = re.compile(r"//|/\.{1,2}(?:/|$)|[%\\;\x00-\x1f\x7f]")
"""What proxies, routers and people read in different ways: such a path is on no list."""
_NAMED_ALONE = "/api/v1"
"""LightRAG's users write /api/* for the routes of the Ollama emulation; what lies here does more."""


@dataclass(frozen=True, slots=True)
class Whitelist:
    paths: frozenset[str]
    prefixes: tuple[str, ...]
    """Each ends with a slash."""

    def has(self, path: str) -> bool:
        """Whether a path (without a proxy's prefix and a slash at its end) is open."""
        if not path.startswith("/") or _ODD.search(path):
            return False
        return path in self.paths or any(_is_below(path, prefix) for prefix in self.prefixes)


def read_whitelist(text: str) -> Whitelist:
    """Of paths and `prefix/*`, comma separated. A star anywhere else is no pattern and opens nothing."""
    entries = [entry for part in text.split(",") if (entry := part.strip())]
    prefixes = tuple("/" + entry[:-1].lstrip("/") for entry in entries if entry.endswith("/*"))
    paths = {"/" + entry.strip("/") for entry in entries if not entry.endswith("*")}
    return Whitelist(frozenset(paths), prefixes)


def _is_below(path: str, prefix: str) -> bool:
    inside = f"{path}/".startswith(prefix)
    if inside and f"{path}/".startswith(f"{_NAMED_ALONE}/"):
        return prefix == "/" or prefix.startswith(f"{_NAMED_ALONE}/")
    return inside
