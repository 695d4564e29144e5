"""One SQLite file: connections, threads, transactions, migrations and error translation.

Reads run in threads on pooled connections and see the last commit. Writes are serialised within the process by an
asyncio lock and between processes by SQLite (`BEGIN IMMEDIATE` and a busy timeout).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from lightrag_server.errors import StorageCorrupt, StorageError, StorageUnavailable
from lightrag_server.settings.storages import SQLiteSettings

log = logging.getLogger(__name__)
T = TypeVar("T")
Statement = Callable[[sqlite3.Connection], T]
"""Reads rows to their end before it makes sense of them: a row that cannot be read must leave no statement open."""

_UNAVAILABLE = ("locked", "busy", "full", "disk i/o", "readonly", "unable to open")
_CORRUPT = ("malformed", "not a database", "corrupt")
_HEADER_BYTES = 100
WAL_BYTES_BEFORE_CHECKPOINT = 128_000_000
"""Some commits of a large graph: pages of indexes and of entities that each of them touches are copied back once. The
log takes a fraction of a second to read after a crash; reads beside it take a tenth longer than beside half of it."""
WAL_RETRY_S = 0.02
MANY_CHANGES = 10_000
REST_S = 3.0
"""When nothing was written for so long after many changes, the log is copied back: reading beside a long one takes up
to twice the time, and questions come when documents are indexed."""
PATIENCE_S = 0.002
"""How long reads wait for those under way: what takes longer is nothing that a question waits for."""
MAPPED_BYTES = 1 << 30
"""Pages are read from the system's cache instead of being copied: graph reads take half the time. Costs no memory of
its own."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of the driver and of the file system into ours, keeping the cause."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error).lower()
        if any(word in text for word in _CORRUPT):
            raise StorageCorrupt(f"the database {path.name} cannot be read: {error}") from error
        if any(word in text for word in _UNAVAILABLE):
            raise StorageUnavailable(f"the database {path.name} is not available: {error}") from error
        raise StorageError(f"the database {path.name} refused a statement: {error}") from error
    except OSError as error:
        raise StorageUnavailable(f"the database {path.name} is not available: {error.strerror or error}") from error


class _Entry(Generic[T]):
    """A write that waits for its transaction, and how it ended."""

    def __init__(self, work: Statement[T]) -> None:
        self.work = work
        self.value: T | None = None
        self.error: BaseException | None = None
        self.is_done = False

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return cast(T, self.value)


class Database:
    """Opens on first use. `migrations` are SQL scripts; the number applied is kept in `user_version`. A private file
    is readable for its owner alone."""

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str],
        settings: SQLiteSettings,
        threads: Executor,
        page_bytes: int = 4096,
        is_private: bool = False,
    ) -> None:
        self.path = path
        self._is_private = is_private
        self._page_bytes = page_bytes
        self._migrations = migrations
        self._settings = settings
        self._threads = threads
        self._idle: deque[sqlite3.Connection] = deque()
        self._all: set[sqlite3.Connection] = set()
        self._writer: sqlite3.Connection | None = None
        self._write_lock = asyncio.Lock()
        self._waiting: list[_Entry[Any]] = []
        self._reading: list[tuple[_Entry[Any], asyncio.Future[None]]] = []
        self._begins: asyncio.Handle | None = None
        self._trips = 0
        self._copied_back = 0
        self._resting: asyncio.TimerHandle | None = None
        self._statement_lock = asyncio.Lock()
        self._joined: ContextVar[bool] = ContextVar(f"joined-{id(self)}", default=False)
        self._running: set[asyncio.Future[Any]] = set()
        self._is_closed = False

    @property
    def in_transaction(self) -> bool:
        """Whether the current task is inside `transaction` of this database."""
        return self._joined.get()

    async def read(self, work: Statement[T]) -> T:
        """Run `work` on a connection that sees one consistent snapshot; inside `transaction`, on the writing one."""
        if self.in_transaction:
            return await self._on_writer(work)
        entry: _Entry[T] = _Entry(work)
        loop = asyncio.get_running_loop()
        if not self._reading:
            self._begins = loop.call_later(PATIENCE_S if self._trips else 0.0, self._begin_reads, loop)
        answered = loop.create_future()
        self._reading.append((entry, answered))
        await answered
        return entry.outcome()

    async def write(self, work: Statement[T]) -> T:
        """Run `work` all or nothing, or in the transaction the current task has joined.

        Works that pile up behind a running one share a transaction, so that many small writes cost few commits; one
        that fails takes nothing of the others with it.
        """
        if self.in_transaction:
            return await self._on_writer(work)
        entry: _Entry[T] = _Entry(work)
        self._waiting.append(entry)
        try:
            async with self._write_lock:
                if not entry.is_done:
                    batch, self._waiting = self._waiting, []
                    await self._in_thread(lambda: self._run_batch(batch))
                    self._copy_back_later()
        except asyncio.CancelledError:
            if entry in self._waiting:
                self._waiting.remove(entry)
            raise
        return entry.outcome()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All reads and writes of the current task are one transaction; an exception rolls it back."""
        async with self._write_lock:
            await self._in_thread(lambda: self._execute("BEGIN IMMEDIATE"))
            token = self._joined.set(True)
            try:
                yield
                await self._in_thread(lambda: self._execute("COMMIT"))
                self._copy_back_later()
            except BaseException:
                await self._in_thread(self._roll_back)
                raise
            finally:
                self._joined.reset(token)

    async def compact(self) -> None:
        """Give the pages of deleted rows back to the disk. Costs a copy of what is left; waits for other writers."""
        async with self._write_lock:
            await self._in_thread(lambda: self._execute("VACUUM"))
            await self._in_thread(lambda: self._execute("PRAGMA wal_checkpoint(TRUNCATE)"))

    async def close(self) -> None:
        """A connection that is closed while a thread reads on it takes the process down: wait for all of them."""
        async with self._write_lock:
            self._is_closed = True
            if self._resting:
                self._resting.cancel()
            while self._running:
                await asyncio.wait(list(self._running))
            await self._in_thread(self._close_all)

    def _copy_back_later(self) -> None:
        """Once writing rests, when there was much of it; to be called while nobody writes."""
        changes = self._writer.total_changes if self._writer else 0
        if changes - self._copied_back < MANY_CHANGES:
            return
        if self._resting:
            self._resting.cancel()
        loop = asyncio.get_running_loop()

        def begin() -> None:
            self._copied_back = changes
            copying = loop.run_in_executor(self._threads, self._copy_back)
            self._running.add(copying)
            copying.add_done_callback(self._running.discard)

        self._resting = loop.call_later(REST_S, begin)

    # -- in threads

    def _copy_back(self) -> None:
        """Holds up neither readers nor writers. What is left to do is done with the next checkpoint."""
        try:
            with translated(self.path), self._borrowed() as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except StorageError as error:
            log.info("the log of %s is copied back later: %s", self.path.name, error)

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody uses."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._idle.append(connection)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Wait for the thread even when cancelled: a connection must not be used again while it still runs."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()
            raise

    async def _on_writer(self, work: Statement[T]) -> T:
        async with self._statement_lock:
            return await self._in_thread(lambda: self._run_joined(work))

    def _run_joined(self, work: Statement[T]) -> T:
        with translated(self.path):
            return work(self._writing())

    def _begin_reads(self, loop: asyncio.AbstractEventLoop) -> None:
        """Reads asked for in one turn of the event loop, or while others are read, share one trip to a thread: threads
        that read side by side mostly wait for one another."""
        batch, self._reading = self._reading, []
        running = loop.create_future()
        self._running.add(running)
        self._trips += 1

        def end() -> None:
            self._running.discard(running)
            self._trips -= 1
            if self._reading and self._begins:
                self._begins.cancel()
                self._begin_reads(loop)
            for answered in (running, *(answered for _, answered in batch)):
                if not answered.done():
                    answered.set_result(None)

        def run() -> None:
            self._run_reads([entry for entry, _ in batch])
            loop.call_soon_threadsafe(end)

        try:
            self._threads.submit(run)
        except RuntimeError as error:  # the threads have ended
            for entry, _ in batch:
                entry.error = StorageUnavailable(f"the database {self.path.name} is closed")
                entry.error.__cause__ = error
            end()

    def _run_reads(self, batch: Sequence[_Entry[Any]]) -> None:
        for entry in batch:
            try:
                entry.value = self._run_read(entry.work)
            except BaseException as error:
                entry.error = error

    def _run_read(self, work: Statement[T]) -> T:
        with translated(self.path):
            if not self._all and not self.path.exists():
                return self._run_on_nothing(work)
            with self._borrowed() as connection:
                try:
                    connection.execute("BEGIN")
                    return work(connection)
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")

    def _run_on_nothing(self, work: Statement[T]) -> T:
        """Who only looks makes no file: any name may be asked for."""
        self._refuse_when_closed()
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            _add_functions(connection)
            self._migrate(connection)
            return work(connection)

    def _run_batch(self, batch: Sequence[_Entry[Any]]) -> None:
        try:
            with translated(self.path):
                connection = self._writing()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    for entry in batch:
                        self._run_entry(connection, entry)
                        if entry.error is not None and not connection.in_transaction:
                            raise entry.error  # a full disk has undone what the others wrote, too
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        except BaseException as error:
            for entry in batch:
                entry.error = entry.error or error
        finally:
            for entry in batch:
                entry.is_done = True

    def _run_entry(self, connection: sqlite3.Connection, entry: _Entry[Any]) -> None:
        connection.execute("SAVEPOINT entry")
        try:
            with translated(self.path):
                entry.value = entry.work(connection)
        except BaseException as error:
            entry.error = error
            # a full disk ends the whole transaction, and the savepoint with it
            if connection.in_transaction:
                connection.execute("ROLLBACK TO entry")
        if connection.in_transaction:
            connection.execute("RELEASE entry")

    def _execute(self, sql: str) -> None:
        with translated(self.path):
            self._writing().execute(sql)

    def _roll_back(self) -> None:
        with translated(self.path):
            connection = self._writing()
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _writing(self) -> sqlite3.Connection:
        if self._writer is None:
            self._writer = self._connect()
        return self._writer

    def _connect(self) -> sqlite3.Connection:
        self._refuse_when_closed()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._is_private:
            self.path.touch(mode=0o600)  # SQLite gives its other files the rights of this one
        connection = sqlite3.connect(
            self.path, timeout=self._settings.busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        self._all.add(connection)
        connection.execute(f"PRAGMA page_size = {self._page_bytes}")  # of a new file; an old one keeps its own
        self._use_write_ahead_log(connection)
        connection.execute(f"PRAGMA synchronous = {self._settings.synchronous}")
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_BYTES_BEFORE_CHECKPOINT // page_bytes}")
        connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
        connection.execute("PRAGMA secure_delete = FAST")  # some builds write every page that is given up once more
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        _add_functions(connection)
        self._migrate(connection)
        return connection

    def _refuse_when_closed(self) -> None:
        if self._is_closed:
            raise StorageUnavailable(f"the database {self.path.name} is closed")

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        """SQLite itself does not wait for the lock that this takes when several processes open a new file at once."""
        deadline = time.monotonic() + self._settings.busy_timeout_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(WAL_RETRY_S)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if self._version(connection) == len(self._migrations):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            # another process may have been faster
            refuse_newer(self.path, self._version(connection), len(self._migrations))
            version = self._version(connection)
            if version:
                log.warning("bringing %s to a newer version; large files take minutes", self.path.name)
            for number in range(version, len(self._migrations)):
                for statement in _statements(self._migrations[number]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    def _close_all(self) -> None:
        for connection in self._all:
            connection.close()
        self._all.clear()
        self._idle.clear()
        self._writer = None


def refuse_newer(path: Path, stored: int, known: int) -> None:
    """Raise `StorageError` for a file of a later version of this program: it may hold what this one would break."""
    if stored > known:
        raise StorageError(
            f"the database {path} has the schema version {stored}, and this program knows versions up to {known}: "
            "upgrade lightrag-server, or restore a backup made before the upgrade"
        )


def version_in_file(path: Path) -> int:
    """The schema version without opening the database: that of its last checkpoint. 0 for what is no database."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    return int.from_bytes(head[60:64], "big") if head.startswith(b"SQLite format 3") else 0


def _add_functions(connection: sqlite3.Connection) -> None:
    # lower() and LIKE know the letters of ASCII only
    connection.create_function("casefold", 1, str.casefold, deterministic=True)


def _statements(script: str) -> Iterator[str]:
    """Single statements of a script; `executescript` would commit the transaction they belong to."""
    pending = ""
    for line in script.splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        yield pending
