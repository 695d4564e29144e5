"""A chat model and an embedder without any learning, deterministic and fast: for tests, demonstrations and benchmarks
of everything around a model (`LLM_BINDING=fake`, `EMBEDDING_BINDING=fake`)."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from lightrag_server.compute import Compute
from lightrag_server.core import lexical
from lightrag_server.core.records import Turn, Usage
from lightrag_server.ports.embedding import Purpose
from lightrag_server.ports.llm import ChatReply, ChatRequest, FinishReason
from lightrag_server.settings.bindings import EmbeddingSettings, LLMSettings

DIMENSION = 256
THRESHOLD = 0.22
"""Measured on 200 sentences of one book: 95 % of the cosines between them lie below; those of half a sentence with the
whole of it at 0.30 and above."""
MAX_ENTITIES = 12

_FIELD = "<|#|>"
_END = "<|COMPLETE|>"
_PASSAGE = re.compile(r"Passage:\s*\n(.*?)(?:\n-----|\Z)", re.DOTALL)
_AGAIN = re.compile(r"\bmissed\b|\bonce more\b")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
_CITED = re.compile(r"\[(\d+)\]")
_NAME = re.compile(
    r"[A-Z][\w'’-]*[a-z0-9]\w*(?:(?: of| the| de| van| von)* [A-Z][\w'’-]*\w)*"
    r"|[《「『][^》」』]{2,20}[》」』]"
    r"|[\u4e00-\u9fff]{2,6}?(?:公司|大学|研究院|集团|学会|博物馆|银行|省|市|县|山|河|湖|港)"
)
_NEVER_FIRST = (
    "The A An And Or But If In On At By For With From As It Its This That These Those He She They His Her Their "
    "We You When Where Why How What Which Who After Before During While Although Because Since Until Then There "
    "Here However Not No Yes Both Each Every Some Many Most Several All Any Other Under Over Into Also Thus First "
    "Second Last"
)
_NO_NAMES = frozenset(_NEVER_FIRST.split())
_TYPES = ("Person", "Organization", "Location", "Concept")


class FakeChat:
    identity = "fake/names"

    @classmethod
    def from_settings(cls, settings: LLMSettings, compute: Compute) -> FakeChat:
        return cls()

    async def complete(self, request: ChatRequest) -> ChatReply:
        text, finish = within(reply_to(request.messages, request.json_schema), request.max_tokens)
        asked = sum(token_count(turn.content) for turn in request.messages)
        return ChatReply(text, Usage(1, asked, token_count(text)), finish)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        reply = await self.complete(request)
        for delta in deltas_of(reply.text):
            yield delta
        yield reply

    async def close(self) -> None:
        """Nothing is open."""


class FakeEmbedder:
    """Hashes words and runs of three characters into a vector: texts that share words are near."""

    threshold = THRESHOLD
    passage_tokens = 400

    def __init__(self, dimension: int = DIMENSION) -> None:
        self.identity = f"fake/hash-{dimension}"
        self.dimension: int | None = dimension

    @classmethod
    def from_settings(cls, settings: EmbeddingSettings, compute: Compute) -> FakeEmbedder:
        return cls(settings.dimension or DIMENSION)

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> NDArray[np.float32]:
        return vectors_of(texts, self.dimension or DIMENSION)

    async def close(self) -> None:
        """Nothing is open."""


# ----------------------------------------------------------------------------- chat


def reply_to(messages: Sequence[Turn], schema: dict[str, Any] | None = None) -> str:
    """Names and pairs of names where a passage is to be extracted from, a value of `schema` where one is asked for,
    else the sentence of the prompt that answers best, with the number of its source."""
    if any(_FIELD in turn.content or '"relationships"' in turn.content for turn in messages):
        return _extracted(messages, as_json=not any(_FIELD in turn.content for turn in messages))
    if schema is not None:
        words = iter(dict.fromkeys(lexical.query_terms(messages[-1].content)))
        return orjson.dumps(_value_of(schema, words)).decode()
    return _answer(messages)


def deltas_of(text: str) -> Iterator[str]:
    """Words with the space after them; every 8 characters where there are no spaces."""
    return (match.group() for match in re.finditer(r"\S{1,8}\s*|\s+", text))


def token_count(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) // 4 + 1


def within(text: str, max_tokens: int | None) -> tuple[str, FinishReason]:
    """The beginning of `text` that has no more tokens than this, and why it ends there."""
    if max_tokens is None or token_count(text) <= max_tokens:
        return text, "stop"
    return text.encode()[: 4 * max_tokens - 1].decode(errors="ignore"), "length"


def _extracted(messages: Sequence[Turn], *, as_json: bool) -> str:
    asked = next((m for turn in reversed(messages) if (m := _PASSAGE.search(turn.content))), None)
    is_over = _AGAIN.search(messages[-1].content) is not None and _PASSAGE.search(messages[-1].content) is None
    passage = "" if is_over else asked.group(1) if asked else messages[-1].content
    names, pairs = _names_and_pairs(passage)
    if as_json:
        return _json_rows(names, pairs)
    rows = [_FIELD.join(("entity", name, type_of(name), told)) for name, told in names.items()]
    rows += [_FIELD.join(("relation", a, b, "together", told)) for (a, b), told in pairs.items()]
    return "\n".join([*rows, _END])


def _json_rows(names: dict[str, str], pairs: dict[tuple[str, str], str]) -> str:
    entities = [{"name": name, "type": type_of(name), "description": told} for name, told in names.items()]
    relations = [
        {"source": a, "target": b, "keywords": "together", "description": told} for (a, b), told in pairs.items()
    ]
    return orjson.dumps({"entities": entities, "relationships": relations}).decode()


def _names_and_pairs(passage: str) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Each name with the first sentence that has it, and each two that follow one another in a sentence."""
    names: dict[str, str] = {}
    pairs: dict[tuple[str, str], str] = {}
    for sentence in _SENTENCE_END.split(" ".join(passage.split())):
        sentence = sentence[:300]
        found = [name for match in _NAME.finditer(sentence) if (name := _trimmed(match.group()))]
        known = [name for name in dict.fromkeys(found) if name in names or len(names) < MAX_ENTITIES]
        for name in known:
            if name in names or len(names) < MAX_ENTITIES:
                names.setdefault(name, sentence)
        pairs.update({pair: sentence for pair in pairwise(n for n in known if n in names) if pair not in pairs})
    return names, pairs


def _trimmed(name: str) -> str:
    words = name.strip("《》「」『』").split()
    while words and words[0] in _NO_NAMES:
        words.pop(0)
    return " ".join(words)


def type_of(name: str) -> str:
    return _TYPES[zlib.crc32(name.encode()) % len(_TYPES)]


def _value_of(schema: dict[str, Any], words: Iterator[str]) -> Any:
    """The simplest value of a schema; texts are words of the prompt."""
    match schema.get("type"):
        case "object":
            return {name: _value_of(inner, words) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [_value_of(schema.get("items", {}), words)]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case _:
            return schema["enum"][0] if "enum" in schema else next(words, "none")


def _answer(messages: Sequence[Turn]) -> str:
    question = messages[-1].content.strip().rpartition("\n")[2]
    context = "\n".join(turn.content for turn in messages).removesuffix(question)
    sentences = _SENTENCE_END.split(context)
    wanted = lexical.query_terms(question)
    folded = [sentence.lower() for sentence in sentences]
    scores = [sum(term in sentence for term in wanted) if len(sentence) > 20 else -1 for sentence in folded]
    best = max(range(len(sentences)), key=scores.__getitem__)
    if scores[best] < 0:
        return "The prompt holds nothing to answer from."
    cited = next((found[-1] for at in range(best, -1, -1) if (found := _CITED.findall(sentences[at]))), "1")
    return f"{' '.join(_CITED.sub('', sentences[best]).split())} [{cited}]"


# ----------------------------------------------------------------------------- embedding


def vectors_of(texts: Sequence[str], dimension: int) -> NDArray[np.float32]:
    """Unit vectors, shape (n, dimension). About 0.1 ms for 300 words."""
    return np.stack([_vector_of(text, dimension) for text in texts]) if texts else np.empty((0, dimension), np.float32)


def _vector_of(text: str, dimension: int) -> NDArray[np.float32]:
    terms = lexical.terms(text) or [text or "-"]
    hashes, weights = zip(*map(_hashed, terms), strict=True)
    trigrams = _trigrams(text)
    slots = np.concatenate([np.array(hashes, np.uint32), trigrams])
    size = np.concatenate([np.array(weights, np.float32), np.full(len(trigrams), 0.08, np.float32)])
    signs = np.where(slots & 0x80000000, -1.0, 1.0)
    vector = np.bincount(slots % dimension, size * signs, dimension).astype(np.float32)
    vector[0] += 1e-6  # opposite signs may cancel to nothing
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


@lru_cache(maxsize=65_536)
def _hashed(term: str) -> tuple[int, float]:
    """Hash and weight: short words of scripts with spaces say little."""
    weight = 1.0 if not term.isascii() or term[0].isdigit() else (min(len(term), 8) / 8) ** 3
    return zlib.crc32(term.encode("utf-8", "surrogatepass")), weight


def _trigrams(text: str) -> NDArray[np.uint32]:
    codes = np.frombuffer(text.lower().encode("utf-32-le", "surrogatepass"), np.uint32)
    if len(codes) < 3:
        return np.empty(0, np.uint32)
    mixed = codes[:-2] * np.uint32(2654435761) ^ codes[1:-1] * np.uint32(2246822519) ^ codes[2:] * np.uint32(3266489917)
    return mixed ^ (mixed >> np.uint32(15))
