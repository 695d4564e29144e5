"""The heartbeat of a process whose event loop does one long step."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from lightrag_server.jobs.heart import Heart
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.jobs import SQLiteJobQueue


async def test_others_hear_of_a_busy_loop_but_not_for_ever(tmp_path: Path) -> None:
    open_queue = partial(SQLiteJobQueue, tmp_path / "coordination.sqlite", SQLiteSettings())
    queue = open_queue()
    heart = Heart("busy", open_queue, every_s=0.05, late_s=0.3, longest_step_s=2.0)
    try:
        await queue.beat("busy", [])
        heart.start()
        time.sleep(1.2)  # noqa: ASYNC251  # the long step
        assert await queue.live_owners(0.5) == ["busy"]
        time.sleep(2.0)  # noqa: ASYNC251  # so long that it may never end
        assert await queue.live_owners(0.5) == []
        heart.loop_turned()
        await queue.release("busy")
        time.sleep(0.2)  # noqa: ASYNC251
        assert await queue.live_owners(0.5) == [], "the loop beats itself again"
    finally:
        heart.stop()
        await queue.close()
