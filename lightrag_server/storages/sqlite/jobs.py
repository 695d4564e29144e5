"""The job queue in a database file of its own, for any number of processes of one host.

Two partial unique indexes hold the laws whatever the code does: one todo job per (kind, workspace, subject), one
running job per lock.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lightrag_server.errors import InvalidInput
from lightrag_server.ports.jobs import LONGEST_DELAY_S, NOTES_KEPT, WORKER_DIED, Job, JobState, NewJob, Note, Progress
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.silence import Silence
from lightrag_server.storages.sqlite.arrays import id_array, text_array
from lightrag_server.storages.sqlite.database import Database

JOBS_SCHEMA = """
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    workspace TEXT NOT NULL,
    subject TEXT NOT NULL,
    lock TEXT,
    state TEXT NOT NULL DEFAULT 'todo',
    attempt INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    error TEXT,
    is_cancelled INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL,
    ended REAL,
    joined INTEGER
);
CREATE UNIQUE INDEX jobs_todo ON jobs (kind, workspace, subject) WHERE state = 'todo';
CREATE UNIQUE INDEX jobs_locks ON jobs (lock) WHERE state = 'doing' AND lock IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (id) WHERE state = 'todo';
CREATE INDEX jobs_running ON jobs (owner) WHERE state = 'doing';
CREATE INDEX jobs_ended ON jobs (ended) WHERE ended IS NOT NULL;
CREATE TABLE fences (last INTEGER NOT NULL);
INSERT INTO fences VALUES (0);
CREATE TABLE owners (owner TEXT PRIMARY KEY, beat REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE progress (
    workspace TEXT NOT NULL,
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    stage TEXT NOT NULL,
    done INTEGER NOT NULL,
    total INTEGER NOT NULL,
    since REAL NOT NULL,
    updated REAL NOT NULL,
    PRIMARY KEY (workspace, subject)
) WITHOUT ROWID;
CREATE TABLE notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace TEXT NOT NULL,
    at REAL NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX notes_by_workspace ON notes (workspace, id);
"""

_THREADS = 2
PAGE_BYTES = 1024
"""A job passes through seven indexes with a few entries each; of every one a page is written."""
_COLUMNS = "id, kind, workspace, subject, lock, state, attempt, fence, owner, error, is_cancelled"
_VALUES = "SELECT value FROM json_each(?)"
_IN_KINDS = f"kind IN ({_VALUES})"

_ENQUEUE = """
INSERT INTO jobs (kind, workspace, subject, lock, due) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (kind, workspace, subject) WHERE state = 'todo' DO UPDATE SET due = min(due, excluded.due)
RETURNING id
"""
_DUE = f"""
SELECT id FROM jobs INDEXED BY jobs_waiting
WHERE state = 'todo' AND (due <= ? OR due > ?) AND {_IN_KINDS} AND NOT EXISTS (
    SELECT 1 FROM jobs AS held WHERE held.lock = jobs.lock AND held.lock IS NOT NULL AND held.state = 'doing'
)
"""
_OLDEST_DUE = f"{_DUE} ORDER BY id LIMIT 1"
_TAKE = f"""
UPDATE jobs SET state = 'doing', attempt = attempt + 1, owner = ?, fence = ? WHERE id = ?
RETURNING {_COLUMNS}
"""
_STILL_HELD = "id = ? AND state = 'doing' AND owner = ? AND attempt = ?"


class SQLiteJobQueue:
    """`clock` gives epoch seconds, `ticks` seconds of a clock that nobody sets.

    Commits survive the end of a process; a power cut may take the last ones."""

    def __init__(
        self,
        path: Path,
        settings: SQLiteSettings,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="jobs")
        self._database = Database(
            path, [JOBS_SCHEMA], settings.model_copy(update={"synchronous": "NORMAL"}), self._threads, PAGE_BYTES
        )
        self._clock = clock
        self._silence = Silence(ticks)
        self._is_open = True

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[int]:
        def insert(connection: sqlite3.Connection) -> list[int]:
            now = self._clock()
            values = (
                (job.kind, job.workspace, job.subject, job.lock, now + min(job.delay_s, LONGEST_DELAY_S))
                for job in jobs
            )
            return [connection.execute(_ENQUEUE, row).fetchone()[0] for row in values]

        return await self._database.write(insert) if jobs else []

    async def claim(self, owner: str, kinds: Collection[str]) -> Job | None:
        return await self._database.write(lambda connection: self._claim(connection, owner, kinds))

    async def has_due(self, kinds: Collection[str]) -> bool:
        now = self._clock()
        [(found,)] = await self._rows(f"SELECT EXISTS ({_DUE})", (now, now + LONGEST_DELAY_S, text_array(kinds)))
        return bool(found)

    async def beat(self, owner: str, holding: Collection[int]) -> tuple[set[int], set[int]]:
        def show(connection: sqlite3.Connection) -> tuple[set[int], set[int]]:
            _show_alive(connection, owner, self._clock())
            sql = "SELECT id, is_cancelled FROM jobs WHERE state = 'doing' AND owner = ?"
            held = {id: bool(flag) for id, flag in connection.execute(sql, (owner,))}
            return set(holding) - held.keys(), {id for id in holding if held.get(id)}

        return await self._database.write(show)

    async def finish(self, job: Job, state: JobState, error: str | None = None) -> bool:
        if state.is_open:
            raise InvalidInput(f"a job cannot end as {state.value!r}")
        sql = f"UPDATE jobs SET state = ?, error = ?, ended = ? WHERE {_STILL_HELD}"
        values = (state.value, error, self._clock(), job.id, job.owner, job.attempt)
        return await self._database.write(lambda connection: connection.execute(sql, values).rowcount == 1)

    async def retry(self, job: Job, delay_s: float, error: str | None = None) -> bool:
        def put_back(connection: sqlite3.Connection) -> bool:
            held = f"SELECT id FROM jobs WHERE {_STILL_HELD}"
            found = connection.execute(held, (job.id, job.owner, job.attempt)).fetchall()
            return self._put_back(connection, found, delay_s, error) == 1

        return await self._database.write(put_back)

    async def cancel(self, workspace: str, kinds: Collection[str], subject: str | None = None) -> int:
        which = f"workspace = ? AND {_IN_KINDS} AND (? IS NULL OR subject = ?)"
        values = (workspace, text_array(kinds), subject, subject)

        def stop(connection: sqlite3.Connection) -> int:
            end = f"UPDATE jobs SET state = 'cancelled', is_cancelled = 1, ended = ? WHERE state = 'todo' AND {which}"
            ask = f"UPDATE jobs SET is_cancelled = 1 WHERE state = 'doing' AND is_cancelled = 0 AND {which}"
            ended = connection.execute(end, (self._clock(), *values)).rowcount
            return ended + connection.execute(ask, values).rowcount

        return await self._database.write(stop)

    async def reap(self, stale_after_s: float) -> int:
        def put_back(connection: sqlite3.Connection) -> int:
            beats = dict(connection.execute("SELECT owner, beat FROM owners").fetchall())
            silent = self._silence.of(beats, stale_after_s)
            connection.execute(f"DELETE FROM owners WHERE owner IN ({_VALUES})", (text_array(silent),))
            orphans = "SELECT id FROM jobs WHERE state = 'doing' AND owner NOT IN (SELECT owner FROM owners)"
            return self._put_back(connection, connection.execute(orphans).fetchall(), error=WORKER_DIED)

        return await self._database.write(put_back)

    async def release(self, owner: str) -> None:
        def put_back(connection: sqlite3.Connection) -> None:
            held = "SELECT id FROM jobs WHERE state = 'doing' AND owner = ?"
            self._put_back(connection, connection.execute(held, (owner,)).fetchall())
            connection.execute("DELETE FROM owners WHERE owner = ?", (owner,))

        await self._database.write(put_back)

    async def get(self, ids: Collection[int]) -> dict[int, Job]:
        sql = f"""
        WITH RECURSIVE asked (origin, id) AS (
            SELECT value, value FROM json_each(?)
            UNION SELECT origin, joined FROM asked JOIN jobs USING (id) WHERE joined IS NOT NULL
        )
        SELECT origin, {_COLUMNS} FROM asked JOIN jobs USING (id) WHERE joined IS NULL
        """
        rows = await self._rows(sql, (id_array(ids),))
        return {row[0]: _job(row[1:]) for row in rows}

    async def open_jobs(self, workspace: str | None = None) -> list[Job]:
        # each state with its own partial index
        states = (f"SELECT {_COLUMNS} FROM jobs WHERE state = '{state}'" for state in ("todo", "doing"))
        sql = f"SELECT * FROM ({' UNION ALL '.join(states)}) WHERE ? IS NULL OR workspace = ? ORDER BY id"
        return [_job(row) for row in await self._rows(sql, (workspace, workspace))]

    async def depths(self) -> dict[tuple[str, JobState], int]:
        states = (f"SELECT kind, state FROM jobs WHERE state = '{state}'" for state in ("todo", "doing"))
        rows = await self._rows(f"SELECT kind, state, count(*) FROM ({' UNION ALL '.join(states)}) GROUP BY 1, 2", ())
        return {(kind, JobState(state)): count for kind, state, count in rows}

    async def prune(self, keep_s: float) -> None:
        before = self._clock() - keep_s
        sql = "DELETE FROM jobs WHERE ended < ?"
        await self._database.write(lambda connection: connection.execute(sql, (before,)))

    async def live_owners(self, stale_after_s: float) -> list[str]:
        sql = "SELECT owner FROM owners WHERE abs(beat - ?) <= ? ORDER BY owner"
        return [owner for (owner,) in await self._rows(sql, (self._clock(), stale_after_s))]

    async def set_progress(self, workspace: str, progress: Progress) -> None:
        sql = "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        p = progress
        values = (workspace, p.subject, p.name, p.stage, p.done, p.total, p.since, p.updated)
        await self._database.write(lambda connection: connection.execute(sql, values))

    async def clear_progress(self, workspace: str, subject: str) -> None:
        sql = "DELETE FROM progress WHERE workspace = ? AND subject = ?"
        await self._database.write(lambda connection: connection.execute(sql, (workspace, subject)))

    async def progress(self, workspace: str) -> list[Progress]:
        sql = """SELECT subject, name, stage, done, total, since, updated FROM progress
        WHERE workspace = ? ORDER BY since, subject"""
        return [Progress(*row) for row in await self._rows(sql, (workspace,))]

    async def note(self, workspace: str, text: str) -> None:
        def append(connection: sqlite3.Connection) -> None:
            sql = "INSERT INTO notes (workspace, at, text) VALUES (?, ?, ?)"
            connection.execute(sql, (workspace, self._clock(), text))
            oldest_kept = "SELECT id FROM notes WHERE workspace = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
            connection.execute(
                f"DELETE FROM notes WHERE workspace = ? AND id <= ({oldest_kept})", (workspace, workspace, NOTES_KEPT)
            )

        await self._database.write(append)

    async def notes(self, workspace: str) -> list[Note]:
        sql = "SELECT at, text FROM notes WHERE workspace = ? ORDER BY id"
        return [Note(*row) for row in await self._rows(sql, (workspace,))]

    async def forget(self, workspace: str) -> None:
        def remove(connection: sqlite3.Connection) -> None:
            for rows in ("jobs WHERE ended IS NOT NULL AND", "progress WHERE", "notes WHERE"):
                connection.execute(f"DELETE FROM {rows} workspace = ?", (workspace,))

        await self._database.write(remove)

    async def close(self) -> None:
        if self._is_open:
            self._is_open = False
            await self._database.close()
            self._threads.shutdown()

    # -- in threads

    async def _rows(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return await self._database.read(lambda connection: connection.execute(sql, values).fetchall())

    def _claim(self, connection: sqlite3.Connection, owner: str, kinds: Collection[str]) -> Job | None:
        now = self._clock()
        found = connection.execute(_OLDEST_DUE, (now, now + LONGEST_DELAY_S, text_array(kinds))).fetchone()
        if found is None:
            return None
        _show_alive(connection, owner, now)  # else `reap` would take a job from an owner that never beat yet
        return _job(connection.execute(_TAKE, (owner, _next_fence(connection, now), found[0])).fetchone())

    def _put_back(
        self, connection: sqlite3.Connection, ids: list[tuple[int]], delay_s: float = 0, error: str | None = None
    ) -> int:
        for (id,) in ids:
            job = _job(connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (id,)).fetchone())
            self._put_back_one(connection, job, delay_s, error)
        return len(ids)

    def _put_back_one(self, connection: sqlite3.Connection, job: Job, delay_s: float, error: str | None) -> None:
        now = self._clock()
        equal = "SELECT id FROM jobs WHERE state = 'todo' AND kind = ? AND workspace = ? AND subject = ?"
        twin = connection.execute(equal, (job.kind, job.workspace, job.subject)).fetchone()
        if twin is None and not job.is_cancelled:
            sql = "UPDATE jobs SET state = 'todo', owner = NULL, due = ?, error = ? WHERE id = ?"
            connection.execute(sql, (now + min(delay_s, LONGEST_DELAY_S), error, job.id))
            return
        joined = None if twin is None or job.is_cancelled else twin[0]
        sql = "UPDATE jobs SET state = 'cancelled', ended = ?, error = ?, joined = ? WHERE id = ?"
        connection.execute(sql, (now, error, joined, job.id))
        if joined is not None:
            connection.execute("UPDATE jobs SET attempt = max(attempt, ?) WHERE id = ?", (job.attempt, joined))


def _show_alive(connection: sqlite3.Connection, owner: str, now: float) -> None:
    connection.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (owner, now))


def _next_fence(connection: sqlite3.Connection, now: float) -> int:
    """Larger than all before; of the time, so that fences seen elsewhere stay smaller when this file was deleted."""
    sql = "UPDATE fences SET last = max(last + 1, ?) RETURNING last"
    return int(connection.execute(sql, (int(now * 1000),)).fetchone()[0])


def _job(row: Sequence[Any]) -> Job:
    id, kind, workspace, subject, lock, state, attempt, fence, owner, error, is_cancelled = row
    return Job(
        id,
        kind,
        workspace,
        subject,
        lock,
        JobState(state),
        attempt,
        fence,
        owner,
        error,
        is_cancelled=bool(is_cancelled),
    )
