"""Migrations of a workspace file, in order; a script that was released is never changed."""

from __future__ import annotations

ROWS = """
CREATE TABLE fence (only INTEGER PRIMARY KEY CHECK (only = 0), value INTEGER NOT NULL);

CREATE TABLE kv (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (namespace, key)
) WITHOUT ROWID;

CREATE TABLE documents (
    id TEXT PRIMARY KEY,
    file_path TEXT NOT NULL,
    status TEXT NOT NULL,
    stage TEXT NOT NULL,
    track_id TEXT,
    content_hash TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    data BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX documents_created ON documents (created_at, id);
CREATE INDEX documents_updated ON documents (updated_at, id);
CREATE INDEX documents_path ON documents (file_path);
CREATE INDEX documents_status ON documents (status);
CREATE INDEX documents_stage ON documents (stage);
CREATE INDEX documents_track ON documents (track_id) WHERE track_id IS NOT NULL;
CREATE INDEX documents_hash ON documents (content_hash) WHERE content_hash IS NOT NULL;
"""

GRAPH = """
-- Entity keys and pairs under short numbers: evidence and links repeat them many times.
CREATE TABLE subjects (id INTEGER PRIMARY KEY, subject TEXT NOT NULL UNIQUE);

CREATE TABLE entities (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    degree INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX entities_degree ON entities (degree DESC, name);

CREATE TABLE relations (id INTEGER PRIMARY KEY, weight REAL NOT NULL, data BLOB NOT NULL);

-- Each relation from both of its ends (once when they are one), in the order in which `expand` wants them:
-- for one node the order of the other end's key is the order of the pairs.
CREATE TABLE links (
    node INTEGER NOT NULL,
    weight REAL NOT NULL,
    other TEXT NOT NULL,
    other_id INTEGER NOT NULL,
    relation INTEGER NOT NULL,
    PRIMARY KEY (node, weight DESC, other)
) WITHOUT ROWID;

CREATE TABLE chunks (id INTEGER PRIMARY KEY, chunk_id TEXT NOT NULL UNIQUE);
CREATE TABLE evidence (
    chunk INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    PRIMARY KEY (chunk, subject)
) WITHOUT ROWID;
CREATE INDEX evidence_subject ON evidence (subject, chunk);
"""

LEXICAL = """
CREATE TABLE lexical_namespaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE lexical_items (
    row INTEGER PRIMARY KEY,
    namespace INTEGER NOT NULL,
    id TEXT NOT NULL,
    ref TEXT NOT NULL,
    terms BLOB NOT NULL,
    UNIQUE (namespace, id)
);
"""
