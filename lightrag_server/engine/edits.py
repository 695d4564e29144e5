"""Edits that wait for their turn, and how they ended: rows of the workspace, so that a crash loses none."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from lightrag_server.core.edits import (
    CreateEntity,
    CreateRelation,
    DeleteEntity,
    DeleteRelation,
    Edit,
    Edited,
    EditEntity,
    EditRelation,
    Import,
    Mend,
    MergeEntities,
    SplitEntity,
)
from lightrag_server.engine import job_kinds
from lightrag_server.engine.stores import Stores
from lightrag_server.errors import Conflict, InvalidInput, LightRAGError, NotFound
from lightrag_server.ports.jobs import JobQueue
from lightrag_server.ports.kv import Row

OUTCOMES_KEPT_S = 3600.0

_KINDS: dict[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind)
    for kind in (
        CreateEntity,
        EditEntity,
        MergeEntities,
        SplitEntity,
        DeleteEntity,
        CreateRelation,
        EditRelation,
        DeleteRelation,
        Import,
        Mend,
    )
}
_ERRORS: dict[str, type[LightRAGError]] = {error.code: error for error in (NotFound, Conflict, InvalidInput)}
"""What an edit may be refused with; whatever else stops it is a fault of ours or of a vendor."""


class Edits:
    def __init__(self, stores: Stores, queue: JobQueue, wake: Callable[[], None] = lambda: None) -> None:
        self._stores = stores
        self._queue = queue
        self._wake = wake

    async def submit(self, edit: Edit | Mend) -> tuple[str, int]:
        """Keep an edit and queue it; the id of the edit and of the job that carries it out."""
        edit_id = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        await self._stores.edits.put({edit_id: {"kind": type(edit).__name__, "edit": asdict(edit)}})
        [job] = await self._queue.enqueue([job_kinds.commit(self._stores.workspace)])
        self._wake()
        return edit_id, job

    async def pending(self) -> list[tuple[str, Edit | Mend]]:
        """In the order in which they were submitted."""
        rows = [(edit_id, row) async for edit_id, row in self._stores.edits.scan()]
        return [(edit_id, _KINDS[row["kind"]].validate_python(row["edit"])) for edit_id, row in rows]

    async def outcome(self, edit_id: str) -> Edited | None:
        """How it ended, None while it waits. Raises what the edit was refused with."""
        row = (await self._stores.edit_outcomes.get([edit_id])).get(edit_id)
        if row is None:
            return None
        if "error" in row:
            raise _ERRORS.get(row["error"], LightRAGError)(row["message"])
        return Edited(tuple(row["names"]), row["merged"], row["renamed"])

    async def end(self, edit_id: str, outcome: Edited | Exception) -> None:
        """Record how it ended; inside the transaction that carries it out."""
        await self._stores.edit_outcomes.put({edit_id: _outcome_row(outcome)})
        await self._stores.edits.delete([edit_id])

    async def forget_outcomes(self) -> None:
        """Those that nobody can be waiting for any more."""
        old = f"{time.time_ns() - int(OUTCOMES_KEPT_S * 1e9):020d}"
        await self._stores.edit_outcomes.delete([k async for k, _ in self._stores.edit_outcomes.scan() if k < old])


def _outcome_row(outcome: Edited | Exception) -> Row:
    if isinstance(outcome, Edited):
        return asdict(outcome)
    code = next((code for code, kind in _ERRORS.items() if isinstance(outcome, kind)), "error")
    return {"error": code, "message": str(outcome) if isinstance(outcome, LightRAGError) else type(outcome).__name__}
