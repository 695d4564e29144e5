"""Which storages keep what. Names are LightRAG's; config.ini may name connections."""

from __future__ import annotations

from lightrag_server.settings._fields import setting
from lightrag_server.settings._group import Group


class StorageSettings(Group):
    heading = "Storages"

    kv: str = setting("LIGHTRAG_KV_STORAGE", "SQLiteKVStorage", "Chunks, contributions and caches.")
    vectors: str = setting("LIGHTRAG_VECTOR_STORAGE", "SQLiteVectorStorage", "Vectors.")
    graph: str = setting("LIGHTRAG_GRAPH_STORAGE", "SQLiteGraphStorage", "Entities and relations.")
    doc_status: str = setting("LIGHTRAG_DOC_STATUS_STORAGE", "SQLiteDocStatusStorage", "States of documents.")


class SQLiteSettings(Group):
    heading = "SQLite"

    synchronous: str = setting(
        "SQLITE_SYNCHRONOUS",
        "FULL",
        "FULL survives a power cut, NORMAL only the end of a process.",
        ini=("sqlite", "synchronous"),
        pattern="^(FULL|NORMAL)$",
    )
    busy_timeout_s: float = setting(
        "SQLITE_BUSY_TIMEOUT",
        30.0,
        "Longest wait for another process that writes.",
        unit="seconds",
        ini=("sqlite", "busy_timeout"),
        gt=0,
    )
    row_cache_mb: int = setting(
        "SQLITE_ROW_CACHE",
        48,
        "Rows of the graph and vectors that questions asked for last, kept in the memory of each process.",
        unit="MB",
        ini=("sqlite", "row_cache"),
        ge=0,
    )
