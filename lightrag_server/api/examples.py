"""An example of each request body, by operation. They work as they stand once the documents they name exist."""

from __future__ import annotations

from typing import Any

_QUESTION = {"query": "Who was Jacob Marley?", "mode": "mix"}
_DOCUMENT = "doc-5d41402abc4b2a76b9719d911017c592"
_MODEL = {"model": "lightrag:latest"}
_ENTITY = {"entity_name": "Jacob Marley"}
_ENDS = {"source_entity": "Jacob Marley", "target_entity": "Ebenezer Scrooge"}

EXAMPLES: dict[str, Any] = {
    "POST /documents/text": {
        "text": "Jacob Marley was Scrooge's partner. He died seven years ago.",
        "file_source": "carol.txt",
        "chunking": {"strategy": "fixed_token", "params": {"chunk_token_size": 800, "chunk_overlap_token_size": 80}},
    },
    "POST /documents/texts": {
        "texts": ["Bob Cratchit is Scrooge's clerk.", "Tiny Tim is Bob Cratchit's son."],
        "file_sources": ["clerk.txt", "son.txt"],
    },
    "POST /documents/paginated": {
        "status_filters": ["processed", "failed"],
        "page": 1,
        "page_size": 50,
        "sort_field": "updated_at",
        "sort_direction": "desc",
    },
    "DELETE /documents/delete_document": {"doc_ids": [_DOCUMENT], "delete_file": False, "delete_llm_cache": False},
    "POST /documents/clear_cache": {"modes": ["default"]},
    "POST /documents/source_conflicts/repair": {
        "canonical_source_key": "carol.txt",
        "primary_doc_id": _DOCUMENT,
        "dry_run": True,
    },
    "POST /documents/recovery/force_reset": {"confirm": True},
    "POST /graph/duplicates/accept": {"pairs": [{"a": "Ebenezer Scrooge", "b": "Scrooge", "into": "Ebenezer Scrooge"}]},
    "POST /graph/duplicates/reject": {"pairs": [{"a": "Tiny Tim", "b": "Timothy"}]},
    "POST /query": _QUESTION | {"top_k": 40, "include_chunk_content": True},
    "POST /query/stream": _QUESTION | {"include_progress": True},
    "POST /query/data": _QUESTION | {"chunk_top_k": 10},
    "POST /api/show": _MODEL,
    "POST /api/chat": _MODEL
    | {"messages": [{"role": "user", "content": "/mix Who was Jacob Marley?"}], "stream": False},
    "POST /api/generate": _MODEL | {"prompt": "Name three novels by Dickens.", "stream": False},
    "POST /api/embed": _MODEL | {"input": ["Jacob Marley was dead."]},
    "POST /api/embeddings": _MODEL | {"prompt": "Jacob Marley was dead."},
    "PATCH /workspaces/{name}": {"name": "renamed"},
    "POST /graph/entity/create": {
        "entity_name": "Jacob Marley",
        "entity_data": {"description": "Scrooge's late partner.", "entity_type": "Person"},
    },
    "POST /graph/entity/edit": {
        "entity_name": "Jacob Marley",
        "updated_data": {"description": "The ghost of Scrooge's partner."},
        "allow_rename": False,
        "allow_merge": False,
    },
    "POST /graph/entities/merge": {"entities_to_change": ["J. Marley"], "entity_to_change_into": "Jacob Marley"},
    "DELETE /graph/entity/delete": _ENTITY,
    "DELETE /documents/delete_entity": _ENTITY,
    "POST /graph/relation/create": _ENDS | {"relation_data": {"description": "They were partners.", "weight": 1.0}},
    "POST /graph/relation/edit": {
        "source_id": "Jacob Marley",
        "target_id": "Ebenezer Scrooge",
        "updated_data": {"keywords": "partners, friends"},
    },
    "DELETE /graph/relation/delete": _ENDS,
    "DELETE /documents/delete_relation": _ENDS,
    "POST /graph/import": {
        "entities": [{"name": "Jacob Marley", "type": "Person", "description": "Scrooge's late partner."}],
        "relations": [],
    },
    "POST /login": {"username": "alice", "password": "her password"},
    "POST /auth/keys": {"name": "website", "scope": "read", "workspaces": ["books"], "expires_days": 90},
    "PATCH /documents/{document_id}": {"attributes": {"year": 1843}, "tags": ["novel"], "enabled": True},
    "PUT /documents/{document_id}": {"text": "Jacob Marley died seven years ago, on Christmas Eve."},
    "POST /documents/{document_id}/reindex": {"profile": "full"},
}
