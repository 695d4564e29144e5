"""Where a text turns to something else, for chunking by meaning."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np

from lightrag_server.core.chunking import ChunkSpec, strategy_for
from lightrag_server.core.chunking.semantic_vector import breaks_of, sentence_groups
from lightrag_server.core.records import ParsedDocument
from lightrag_server.engine.texts import Vectorizer


async def with_breaks(parsed: ParsedDocument, spec: ChunkSpec, vectorizer: Vectorizer) -> ChunkSpec:
    """The spec with what the strategy semantic_vector needs: one embedded text per sentence. Any other as it is."""
    if strategy_for(parsed, spec) != "semantic_vector":
        return spec
    groups = await asyncio.to_thread(sentence_groups, parsed.text, spec.buffer_size)
    if not groups:
        return spec
    wanted = {str(n): (str(n), parsed.text[start:end]) for n, (start, end) in enumerate(groups)}
    items = await vectorizer.items(wanted, remember=False)
    vectors = np.stack([items[id_].vector for id_ in wanted])
    breaks = await asyncio.to_thread(breaks_of, parsed.text, vectors, spec.breakpoint_type, spec.breakpoint_amount)
    return replace(spec, breaks=breaks)
