from __future__ import annotations

from lightrag_server.core.folding import Source
from lightrag_server.core.records import Chunk, Document


def source_of(chunk: Chunk, document: Document) -> Source:
    """The chunk as the fold sees it: facts of the document only, so that a repeated fold gives the same graph."""
    return Source(chunk.id, chunk.index, document.file_path, document.created_at)
