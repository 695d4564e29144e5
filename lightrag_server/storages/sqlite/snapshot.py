"""Copies of databases that others are writing to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from lightrag_server.storages.sqlite.database import translated


def copy_database(source: Path, target: Path, wait_s: float) -> None:
    """All of one moment, in one file. Writers go on meanwhile."""
    with (
        translated(source),
        closing(sqlite3.connect(source, timeout=wait_s, isolation_level=None)) as live,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        live.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")


def schema_version(path: Path) -> int:
    """Of a database that nobody has open."""
    with translated(path), closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def edit(path: Path, statement: str, *values: object) -> None:
    """Change a database that nobody else has open."""
    with translated(path), closing(sqlite3.connect(path)) as connection:
        connection.execute(statement, values)
        connection.commit()
