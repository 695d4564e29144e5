"""Summaries of long descriptions: made after an answer that could have used them, kept by content, used by the next.

They are words for prompts and never facts: a description that changes has another key, and its summary is not found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import orjson
from pydantic import BaseModel, ValidationError

from lightrag_server.core import ids
from lightrag_server.core.context import Evidence, estimated_tokens
from lightrag_server.core.digest import is_long, subject_of
from lightrag_server.core.prompts import prompt
from lightrag_server.core.records import Context, Entity, Relation, Subject, Turn
from lightrag_server.engine import job_kinds
from lightrag_server.engine.stores import Stores
from lightrag_server.errors import BadReply, ProviderError
from lightrag_server.ports.jobs import JobQueue
from lightrag_server.ports.llm import LLM, ChatRequest
from lightrag_server.settings.query import QuerySettings

MAX_PER_CALL = 8
REPLY_TOKENS_PER_TOKEN = 2
"""A reply may be twice as long as asked for before it is cut."""
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)

Item = Entity | Relation


class _Summary(BaseModel):
    number: int
    summary: str


class _Reply(BaseModel):
    summaries: tuple[_Summary, ...]


class Summaries:
    def __init__(
        self,
        stores: Stores,
        queue: JobQueue,
        llm: LLM,
        settings: QuerySettings,
        language: str,
        wake: Callable[[], None],
    ) -> None:
        self._stores = stores
        self._queue = queue
        self._llm = llm
        self._settings = settings
        self._language = language
        self._wake = wake

    async def known(self, evidence: Evidence) -> dict[Subject, str]:
        """What is kept for the descriptions of this evidence that are worth it. One read."""
        keys = {subject_of(i): _key(i) for i in (*evidence.entities, *evidence.relations) if self._is_worth(i)}
        rows = await self._stores.cache.get(list(keys.values())) if keys else {}
        return {subject: rows[key]["text"] for subject, key in keys.items() if key in rows}

    async def want(self, context: Context) -> None:
        """Queue the summaries that the context lacked, as many as one call can make; does not wait for them."""
        shown = [i for i in (*context.entities, *context.relations) if subject_of(i) in context.digests]
        subjects = [subject_of(i) for i in await self._lacking(shown)]
        if not subjects:
            return
        wish = f"wish:{ids.md5_hex(orjson.dumps(subjects))}"
        await self._stores.cache.put({wish: {"subjects": subjects}})
        await self._queue.enqueue([job_kinds.summarize(self._stores.workspace, wish)])
        self._wake()

    async def make(self, wish: str) -> int:
        """Grant a kept wish with one call to the model; how many summaries it gave. Raises `ProviderError`, and then
        the wish is gone, too. What changed or was made meanwhile is left out."""
        row = (await self._stores.cache.get([wish])).get(wish)
        items = await self._lacking(await self._items(row["subjects"])) if row else []
        try:
            told = await self._told(items)
        except ProviderError:
            await self._stores.cache.delete([wish])
            raise
        await self._stores.cache.put({_key(items[n]): {"text": text} for n, text in told.items()})
        await self._stores.cache.delete([wish])
        return len(told)

    def _is_worth(self, item: Item) -> bool:
        if not is_long(item):
            return False
        has_parts = len(item.fragments) >= self._settings.force_llm_summary_on_merge
        return has_parts or estimated_tokens(item.description) > self._settings.summary_max_tokens

    async def _lacking(self, items: Sequence[Item]) -> list[Item]:
        """Those worth a summary and without one that fit into one call."""
        worth = [i for i in items if self._is_worth(i)]
        missing = await self._stores.cache.missing([_key(i) for i in worth]) if worth else set[str]()
        room = self._settings.summary_context_tokens
        kept: list[Item] = []
        for item in (i for i in worth if _key(i) in missing):
            room -= estimated_tokens(item.description)
            if room >= 0 or not kept:
                kept.append(item)
        return kept[:MAX_PER_CALL]

    async def _items(self, subjects: Sequence[Subject]) -> list[Item]:
        pairs = {s: pair for s in subjects if (pair := ids.pair_from(s))}
        entities = await self._stores.graph.entities([s for s in subjects if s not in pairs])
        relations = await self._stores.graph.relations(list(pairs.values()))
        return [*entities.values(), *relations.values()]

    async def _told(self, items: Sequence[Item]) -> Mapping[int, str]:
        """Summaries by the place of the item. No call where there is none."""
        if not items:
            return {}
        length = self._settings.summary_length
        rows = [
            {"number": n, "name": _name(item), "descriptions": [f.text for f in item.fragments]}
            for n, item in enumerate(items, 1)
        ]
        asked = prompt(
            "summaries",
            language=self._language,
            words=length * 3 // 4,
            items="\n".join(orjson.dumps(row).decode() for row in rows),
        )
        reply = await self._llm.complete(
            ChatRequest(
                (Turn("user", asked),),
                max_tokens=REPLY_TOKENS_PER_TOKEN * (length + 20) * len(items),
                json_schema=_Reply.model_json_schema(),
                in_background=True,
            )
        )
        return _read(reply.text, len(items))


def _key(item: Item) -> str:
    return f"summary:{ids.md5_hex(orjson.dumps([f.text for f in item.fragments]))}"


def _name(item: Item) -> str:
    return item.name if isinstance(item, Entity) else " and ".join(item.names)


def _read(text: str, count: int) -> dict[int, str]:
    match = _OBJECT.search(text)
    try:
        reply = _Reply.model_validate_json(match.group() if match else "")
    except ValidationError as error:
        raise BadReply("the reply with summaries is not the JSON object that was asked for") from error
    told = {s.number - 1: s.summary.strip() for s in reply.summaries}
    return {n: summary for n, summary in told.items() if 0 <= n < count and summary}
