"""Entities whose names are nearly the same, as `resolve` has noted them: what the walk may step across."""

from __future__ import annotations

from collections.abc import Collection

from lightrag_server.core.names import form_block
from lightrag_server.ports.kv import KVStore

MOST_ALIKE = 8
"""A form that more names share is a common word."""


class Alike:
    def __init__(self, name_blocks: KVStore) -> None:
        self._name_blocks = name_blocks

    async def of(self, keys: Collection[str]) -> dict[str, list[str]]:
        """The other keys that differ from each in spacing, number, title or legal form only. One read; what was indexed
        a moment ago, or with ENTITY_RESOLUTION=off, is not known yet."""
        blocks = {key: form_block(key) for key in keys}
        rows = await self._name_blocks.get(set(blocks.values()))
        found = {key: [other for other in rows[b]["keys"] if other != key] for key, b in blocks.items() if b in rows}
        return {key: others for key, others in found.items() if 0 < len(others) <= MOST_ALIKE}
