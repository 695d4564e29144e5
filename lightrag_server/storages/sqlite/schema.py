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
CREATE INDEX documents_path ON documents (file_path);
CREATE INDEX documents_status ON documents (status);
CREATE INDEX documents_stage ON documents (stage);
CREATE INDEX documents_track ON documents (track_id) WHERE track_id IS NOT NULL;
CREATE INDEX documents_hash ON documents (content_hash) WHERE content_hash IS NOT NULL;
"""

GRAPH = """
-- Keys under short numbers: pairs and evidence repeat them many times, and small rows are few pages to write.
CREATE TABLE nodes (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE entities (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    degree INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX entities_degree ON entities (degree DESC, name);

-- a and b are nodes in the order of their keys; weight is NULL where evidence speaks of a pair that is no relation
CREATE TABLE pairs (id INTEGER PRIMARY KEY, a INTEGER NOT NULL, b INTEGER NOT NULL, weight REAL);
CREATE UNIQUE INDEX pairs_a ON pairs (a, b);
CREATE INDEX pairs_b ON pairs (b);
CREATE TABLE relations (id INTEGER PRIMARY KEY, data BLOB NOT NULL);

CREATE TABLE chunks (id INTEGER PRIMARY KEY, chunk_id TEXT NOT NULL UNIQUE);
-- subject is twice the number of a node, or twice the number of a pair plus one
CREATE TABLE evidence (
    chunk INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    PRIMARY KEY (chunk, subject)
) WITHOUT ROWID;
CREATE INDEX evidence_subject ON evidence (subject, chunk);
"""

DOCUMENT_CONDITIONS = """
ALTER TABLE documents ADD COLUMN enabled INTEGER NOT NULL DEFAULT 1;
-- usually empty, and read for every question
CREATE INDEX documents_disabled ON documents (created_at, id) WHERE enabled = 0;
CREATE INDEX documents_updated ON documents (updated_at);
"""

ENTITY_TYPES = """
ALTER TABLE entities ADD COLUMN type TEXT NOT NULL DEFAULT '';
UPDATE entities SET type = json_extract(CAST(data AS TEXT), '$.type');
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

KV_IN_ORDER = """
-- Values lie in the order in which they were written. Among keys in random order each would be a page to write again,
-- and a value of more than a quarter of a page would have pages of its own.
CREATE TABLE kv_in_order (id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL);
INSERT INTO kv_in_order (namespace, key, value) SELECT namespace, key, value FROM kv ORDER BY namespace, key;
DROP TABLE kv;
ALTER TABLE kv_in_order RENAME TO kv;
CREATE UNIQUE INDEX kv_keys ON kv (namespace, key);
"""

VECTORS_IN_BLOCKS = """
-- Vectors lie eight to a block, in the order of their places, and blocks fill their pages: a page of 4,096 bytes holds
-- but one vector of 1,024 halves. The view shows them row by row.
UPDATE vectors SET id = NULL, ref = NULL, vector = NULL
WHERE length(vector) IS NOT (SELECT 2 * dimension FROM vector_spaces WHERE number = space);
CREATE TABLE vector_blocks (block INTEGER PRIMARY KEY, halves BLOB NOT NULL);
INSERT INTO vector_blocks
SELECT place >> 3, CAST(group_concat(half, '') || zeroblob((8 - count(*)) * 2 * dimension) AS BLOB) FROM (
    SELECT place, dimension, coalesce(vector, zeroblob(2 * dimension)) AS half
    FROM vectors JOIN vector_spaces ON number = space ORDER BY place
) GROUP BY place >> 3;
CREATE TABLE vector_items (
    place INTEGER PRIMARY KEY,
    space INTEGER NOT NULL,
    change INTEGER NOT NULL,
    id TEXT,
    ref TEXT
);
INSERT INTO vector_items SELECT place, space, change, id, ref FROM vectors ORDER BY place;
DROP TABLE vectors;
CREATE VIEW vectors AS SELECT place, space, change, id, ref, CASE WHEN id IS NOT NULL THEN (
    SELECT substr(halves, 1 + (place & 7) * (length(halves) / 8), length(halves) / 8)
    FROM vector_blocks WHERE block = place >> 3
) END AS vector FROM vector_items;
-- Twelve characters tell ids apart, and those of the windows of a document begin alike: few pages to write.
CREATE INDEX vectors_by_id ON vector_items (space, substr(id, 5, 6) || substr(id, -6));
CREATE INDEX vectors_by_change ON vector_items (space, change);
CREATE INDEX vectors_free ON vector_items (space) WHERE id IS NULL;
"""

DOCUMENTS_IN_ORDER = """
-- As with `kv`: documents that arrive together are worked on together. Their indexes hold short numbers.
CREATE TABLE documents_in_order (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    file_path TEXT NOT NULL,
    status TEXT NOT NULL,
    stage TEXT NOT NULL,
    track_id TEXT,
    content_hash TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    data BLOB NOT NULL,
    enabled INTEGER NOT NULL DEFAULT 1
);
INSERT INTO documents_in_order (
    id, file_path, status, stage, track_id, content_hash, created_at, updated_at, data, enabled
)
SELECT id, file_path, status, stage, track_id, content_hash, created_at, updated_at, data, enabled
FROM documents ORDER BY created_at, id;
DROP TABLE documents;
ALTER TABLE documents_in_order RENAME TO documents;
CREATE INDEX documents_created ON documents (created_at, id);
CREATE INDEX documents_path ON documents (file_path);
CREATE INDEX documents_status ON documents (status);
CREATE INDEX documents_stage ON documents (stage);
CREATE INDEX documents_track ON documents (track_id) WHERE track_id IS NOT NULL;
CREATE INDEX documents_hash ON documents (content_hash) WHERE content_hash IS NOT NULL;
CREATE INDEX documents_disabled ON documents (created_at, id) WHERE enabled = 0;
CREATE INDEX documents_updated ON documents (updated_at);
"""

TOLD_WITH_CHUNKS = """
-- What a chunk speaks of lies with it, for a question asks a hundred chunks at once; `evidence` finds the chunks of a
-- subject.
ALTER TABLE chunks ADD COLUMN told BLOB NOT NULL DEFAULT '[]';
UPDATE chunks SET told = (
    SELECT json_group_array(
        CASE subject % 2
            WHEN 0 THEN (SELECT key FROM nodes WHERE id = subject / 2)
            ELSE (
                SELECT one.key || char(31) || two.key FROM pairs
                JOIN nodes AS one ON one.id = a JOIN nodes AS two ON two.id = b WHERE pairs.id = subject / 2
            )
        END
    ) FROM evidence WHERE evidence.chunk = chunks.id
);
CREATE TABLE evidence_by_subject (
    subject INTEGER NOT NULL,
    chunk INTEGER NOT NULL,
    PRIMARY KEY (subject, chunk)
) WITHOUT ROWID;
INSERT INTO evidence_by_subject SELECT subject, chunk FROM evidence ORDER BY subject, chunk;
DROP TABLE evidence;
ALTER TABLE evidence_by_subject RENAME TO evidence;
-- Moved by everything that changes the graph: rows that were read are kept under it.
CREATE TABLE graph_version (only INTEGER PRIMARY KEY CHECK (only = 0), value INTEGER NOT NULL);
INSERT INTO graph_version VALUES (0, random());
"""
