"""A model vendor on a real port: OpenAI's, Ollama's and rerank vendors' wire, counters, and faults on demand.

`in_thread()` serves tests, `in_process()` serves benchmarks; both yield a `Vendor` to steer it by. By hand:
`python -m tests.vendor --port 8001 --dimension 1024`. The replies are those of the binding `fake`.

POST /control takes any of `Settings`' fields and "faults": a list of {"kind", "on", "next", …}:
  status (status, retry_after, code), timeout, hang_up, rubbish, empty, nonsense (words that are no rows),
  wrong_dimension, nan. With "match" a fault only meets requests whose body holds that text.
GET /stats gives the counters, POST /reset clears counters, settings and faults.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from queue import Queue
from typing import Any, cast

import httptools
import orjson

from lightrag_server.bindings.local.fake import deltas_of, reply_to, token_count, vectors_of, within
from lightrag_server.core.records import Turn

NONSENSE = 'Of course! (entity<|#|>\x00\nrelation<|#|>half a row\n{"entities": [\n%%% entity<|#|><|#|><|#|>'
STREAMS = {"openai": b"text/event-stream", "ollama": b"application/x-ndjson"}
FENCED = re.compile(r"-{3}Input Text-{3}\n```\n(.*?)\n```", re.DOTALL)
ASKED_FOR_KEYWORDS = re.compile(r"high_level_keywords.*User Query: ([^\n]+)", re.DOTALL)
"""How LightRAG asks, which benchmarks run beside."""


@dataclass(slots=True)
class Settings:
    """`refuses` names request parameters that are answered with 400; `ignores_base64` sends numbers all the same,
    `ignores_stop` writes on. A `reply` is sent in place of what the binding `fake` would say. More than `capacity`
    calls at once are answered with 429. Calls take longer by the power `drag` of how many times `swift` there are at
    once: with 1 more calls get no more done, with 2 they get less done."""

    latency_s: float = 0.0
    embed_latency_s: float = 0.0
    delta_delay_s: float = 0.0
    dimension: int = 256
    refuses: list[str] = field(default_factory=list[str])
    ignores_base64: bool = False
    ignores_stop: bool = False
    reply: str = ""
    rerank_shift: float = 0.0
    capacity: int = 0
    retry_after: str | None = None
    swift: int = 0
    drag: float = 1.0


@dataclass(slots=True)
class Stats:
    """`chat_tokens` are the part of `prompt_tokens` that is not embeddings'."""

    chat: int = 0
    stream: int = 0
    embed: int = 0
    rerank: int = 0
    other: int = 0
    texts: int = 0
    prompt_tokens: int = 0
    chat_tokens: int = 0
    completion_tokens: int = 0
    cancelled_streams: int = 0
    refused: int = 0
    connections: int = 0
    in_flight: int = 0
    max_in_flight: int = 0


@dataclass(slots=True)
class Fault:
    """Applies to the next `next` calls of kind `on` (chat, embed, rerank or any)."""

    kind: str
    on: str = "any"
    next: int = 1
    status: int = 500
    retry_after: str | None = None
    code: str | None = None
    match: str = ""


class State:
    def __init__(self, dimension: int) -> None:
        self.initial = dimension
        self.reset()

    def reset(self) -> None:
        self.settings = Settings(dimension=self.initial)
        self.stats = Stats()
        self.faults: list[Fault] = []
        self.last_body: dict[str, Any] = {}
        self.last_authorization = ""

    def control(self, wanted: dict[str, Any]) -> None:
        self.faults += [Fault(**fault) for fault in wanted.pop("faults", [])]
        for name, value in wanted.items():
            setattr(self.settings, name, value)

    def next_fault(self, kind: str, body: bytes) -> Fault | None:
        fault = next((f for f in self.faults if f.on in (kind, "any") and f.match.encode() in body), None)
        if fault is not None:
            fault.next -= 1
            if fault.next <= 0:
                self.faults.remove(fault)
        return fault


# ----------------------------------------------------------------------------- replies


@dataclass(slots=True)
class Reply:
    """`parts` are written one after the other, each as a chunk; without them `body` is the whole reply."""

    body: bytes = b""
    status: int = 200
    content_type: bytes = b"application/json"
    headers: bytes = b""
    parts: list[bytes] | None = None


def refused(status: int, code: str | None = None, param: str | None = None, retry_after: str | None = None) -> Reply:
    error = {"message": "as told by the test", "type": "test", "code": code, "param": param}
    headers = f"Retry-After: {retry_after}\r\n".encode() if retry_after is not None else b""
    return Reply(orjson.dumps({"error": error}), status, headers=headers)


def chat(state: State, body: dict[str, Any], wire: str, text: str | None = None) -> Reply:
    messages = [Turn(m["role"], text_of(m["content"])) for m in body["messages"]]
    text = text or state.settings.reply or peer_reply(messages) or reply_to(messages, schema_of(body, wire))
    limits = body if wire == "openai" else body.get("options", {})
    if not state.settings.ignores_stop:
        text = text[: min((text.index(s) for s in limits.get("stop", []) if s in text), default=None)]
    text, finish = within(text, limits.get("max_tokens", limits.get("num_predict")))
    tokens = sum(token_count(turn.content) for turn in messages), token_count(text)
    state.stats.prompt_tokens += tokens[0]
    state.stats.chat_tokens += tokens[0]
    state.stats.completion_tokens += tokens[1]
    make = openai_chat if wire == "openai" else ollama_chat
    return make(body, text, tokens, finish)


def peer_reply(messages: Sequence[Turn]) -> str:
    """What LightRAG asks in words that the binding `fake` does not know; else nothing."""
    asked = messages[-1].content
    if passage := FENCED.search(asked):
        return reply_to([*messages[:-1], Turn("user", f"Passage:\n{passage.group(1)}")])
    if question := ASKED_FOR_KEYWORDS.search(asked):
        names = re.findall(r"[A-Z][a-z]+(?: [A-Z][a-z]+)+", question.group(1))
        return orjson.dumps({"high_level_keywords": [question.group(1)], "low_level_keywords": names}).decode()
    return ""


def text_of(content: Any) -> str:
    """OpenAI's messages are a text, or parts of which some are images."""
    return content if isinstance(content, str) else "\n".join(p["text"] for p in content if p["type"] == "text")


def schema_of(body: dict[str, Any], wire: str) -> dict[str, Any] | None:
    if wire == "ollama":
        return body.get("format")
    return body.get("response_format", {}).get("json_schema", {}).get("schema")


def openai_chat(body: dict[str, Any], text: str, tokens: tuple[int, int], finish: str) -> Reply:
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    head = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        return Reply(orjson.dumps(head | {"object": "chat.completion", "choices": [choice], "usage": usage}))
    head["object"] = "chat.completion.chunk"
    rows = [head | {"choices": [{"index": 0, "delta": {"content": d}, "finish_reason": None}]} for d in deltas_of(text)]
    rows.append(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if body.get("stream_options", {}).get("include_usage"):
        rows.append(head | {"choices": [], "usage": usage})
    parts = [b"data: " + orjson.dumps(row) + b"\n\n" for row in rows]
    return Reply(content_type=STREAMS["openai"], parts=[*parts, b"data: [DONE]\n\n"])


def ollama_chat(body: dict[str, Any], text: str, tokens: tuple[int, int], finish: str) -> Reply:
    head = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z"}
    counts = {"done": True, "done_reason": finish, "prompt_eval_count": tokens[0], "eval_count": tokens[1]}
    if not body.get("stream"):
        return Reply(orjson.dumps(head | {"message": {"role": "assistant", "content": text}} | counts))
    rows = [head | {"message": {"role": "assistant", "content": d}, "done": False} for d in deltas_of(text)]
    rows.append(head | {"message": {"role": "assistant", "content": ""}} | counts)
    return Reply(content_type=STREAMS["ollama"], parts=[orjson.dumps(row) + b"\n" for row in rows])


def embed(state: State, body: dict[str, Any], wire: str, dimension: int, *, spoilt: bool = False) -> Reply:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    vectors = vectors_of(texts, dimension)
    if spoilt:
        vectors[-1, 0] = float("nan")
    state.stats.texts += len(texts)
    tokens = sum(map(token_count, texts))
    state.stats.prompt_tokens += tokens
    numbers = orjson.OPT_SERIALIZE_NUMPY
    if wire == "ollama":
        return Reply(
            orjson.dumps({"model": body["model"], "embeddings": vectors, "prompt_eval_count": tokens}, option=numbers)
        )
    is_base64 = body.get("encoding_format") == "base64" and not state.settings.ignores_base64
    rows = [base64.b64encode(v.tobytes()).decode() if is_base64 else v for v in vectors]
    data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
    # the interface promises an index for each, not an order
    whole = {"object": "list", "data": data[::-1], "model": body["model"], "usage": {"prompt_tokens": tokens}}
    return Reply(orjson.dumps(whole, option=numbers))


def rerank(state: State, body: dict[str, Any], wire: str) -> Reply:
    """Best first, by the cosine of question and text that the binding `fake` would give; `rerank_shift` moves all."""
    asked = body["input"] if wire == "aliyun" else body
    question, *texts = vectors_of([asked["query"], *asked["documents"]], 256)
    state.stats.texts += len(texts)
    scores = [float(question @ text) + state.settings.rerank_shift for text in texts]
    order = sorted(range(len(scores)), key=lambda n: -scores[n])
    results = [{"index": n, "relevance_score": scores[n]} for n in order]
    told = {"results": results}
    return Reply(orjson.dumps({"request_id": "1", "output": told} if wire == "aliyun" else {"id": "1", **told}))


CALLS = {
    "/v1/chat/completions": ("chat", "openai"),
    "/v1/embeddings": ("embed", "openai"),
    "/api/chat": ("chat", "ollama"),
    "/api/embed": ("embed", "ollama"),
    "/v2/rerank": ("rerank", "cohere"),
    "/v1/rerank": ("rerank", "jina"),
    "/api/v1/services/rerank/text-rerank/text-rerank": ("rerank", "aliyun"),
}


def refusal(state: State, body: dict[str, Any]) -> Reply | None:
    format_type = body.get("response_format", {}).get("type")
    given = {*body, format_type, body.get("encoding_format")}
    param = next((name for name in state.settings.refuses if name in given), None)
    if param is None:
        return None
    names = {"json_schema": "response_format", "json_object": "response_format", "base64": "encoding_format"}
    return refused(400, "unsupported_parameter", names.get(param, param))


def other(state: State, method: bytes, path: str, body: bytes) -> Reply:
    state.stats.other += path.startswith(("/v1", "/api"))
    match method.decode(), path:
        case "GET", "/v1/models":
            return Reply(
                orjson.dumps({"object": "list", "data": [{"id": "fake", "object": "model", "owned_by": "test"}]})
            )
        case "GET", "/api/tags":
            return Reply(orjson.dumps({"models": [{"name": "fake:latest", "model": "fake:latest"}]}))
        case "GET", "/api/version":
            return Reply(orjson.dumps({"version": "0.0.0"}))
        case "GET", "/stats":
            return Reply(
                orjson.dumps(
                    asdict(state.stats) | {"last_body": state.last_body, "last_authorization": state.last_authorization}
                )
            )
        case "POST", "/control":
            state.control(orjson.loads(body))
            return Reply(b"{}")
        case "POST", "/reset":
            state.reset()
            return Reply(b"{}")
        case _:
            return refused(404, "not_found")


# ----------------------------------------------------------------------------- the port


class Connection(asyncio.Protocol):
    """One request after the other; a reply without any delay is written before the next event is looked at."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._state.stats.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = b""
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self._state.last_authorization = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, body = self._url.decode().partition("?")[0], b"".join(self._body)
        if path not in CALLS:
            self._write(other(self._state, self._parser.get_method(), path, body))
            return
        kind, wire = CALLS[path]
        state = self._state
        wanted = orjson.loads(body)
        state.last_body = wanted
        fault = state.next_fault(kind, body)
        stats, settings = state.stats, state.settings
        setattr(stats, kind, getattr(stats, kind) + 1)
        is_stream = kind == "chat" and bool(wanted.get("stream", False))
        stats.stream += is_stream
        latency = settings.latency_s if kind == "chat" else settings.embed_latency_s
        if self._is_too_many():
            stats.refused += 1
            self._write(refused(429, retry_after=settings.retry_after))
            return
        if fault is None and not is_stream and not latency:
            stats.max_in_flight = max(stats.max_in_flight, stats.in_flight + 1)
            self._write(self._reply(kind, wire, wanted))
        else:
            stats.in_flight += 1
            stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
            self._task = asyncio.ensure_future(self._answer(kind, wire, wanted, fault, latency))
            self._task.add_done_callback(partial(self._answered, stats))

    def _slowness(self) -> float:
        swift, drag = self._state.settings.swift, self._state.settings.drag
        return max(1.0, self._state.stats.in_flight / swift) ** drag if swift else 1.0

    def _is_too_many(self) -> bool:
        return 0 < self._state.settings.capacity <= self._state.stats.in_flight

    def _reply(self, kind: str, wire: str, wanted: dict[str, Any], fault: Fault | None = None) -> Reply:
        match fault.kind if fault else None:
            case "status":
                assert fault
                return refused(fault.status, fault.code, retry_after=fault.retry_after)
            case "rubbish":
                return Reply(b"<html>It works!</html>")
            case "empty":
                return Reply(orjson.dumps({"choices": [], "data": [], "embeddings": [], "results": []}))
            case _:
                pass
        if (reply := refusal(self._state, wanted)) is not None:
            return reply
        if kind == "chat":
            is_nonsense = fault is not None and fault.kind == "nonsense"
            return chat(self._state, wanted, wire, NONSENSE if is_nonsense else None)
        if kind == "rerank":
            return rerank(self._state, wanted, wire)
        extra = 1 if fault and fault.kind == "wrong_dimension" else 0
        dimension = wanted.get("dimensions") or self._state.settings.dimension
        return embed(self._state, wanted, wire, dimension + extra, spoilt=fault is not None and fault.kind == "nan")

    async def _answer(self, kind: str, wire: str, wanted: dict[str, Any], fault: Fault | None, latency: float) -> None:
        stats = self._state.stats
        try:
            if fault and fault.kind == "timeout":
                await asyncio.Event().wait()
            await asyncio.sleep(latency * self._slowness())
            await self._send(
                self._reply(kind, wire, wanted, fault), hang_up=fault is not None and fault.kind == "hang_up"
            )
        except asyncio.CancelledError:
            stats.cancelled_streams += bool(wanted.get("stream"))
            raise

    def _answered(self, stats: Stats, task: asyncio.Task[None]) -> None:
        stats.in_flight -= 1
        if self._task is task:
            self._task = None

    async def _send(self, reply: Reply, *, hang_up: bool) -> None:
        if reply.parts is None and not hang_up:
            self._write(reply)
            return
        parts = reply.parts or [reply.body]
        self._write_head(reply, b"Transfer-Encoding: chunked\r\n")
        async for part in self._paced(parts[: max(1, len(parts) // 2)] if hang_up else parts):
            self._transport.write(b"%x\r\n%b\r\n" % (len(part), part))
        if hang_up:
            self._transport.close()
        else:
            self._transport.write(b"0\r\n\r\n")

    async def _paced(self, parts: list[bytes]) -> AsyncIterator[bytes]:
        delay = self._state.settings.delta_delay_s
        if not delay:
            yield parts[0]
            if parts[1:]:
                yield b"".join(parts[1:])
            return
        for part in parts:
            yield part
            await asyncio.sleep(delay)

    def _write(self, reply: Reply) -> None:
        self._write_head(reply, b"Content-Length: %d\r\n" % len(reply.body), reply.body)

    def _write_head(self, reply: Reply, length: bytes, body: bytes = b"") -> None:
        head = b"HTTP/1.1 %d -\r\nContent-Type: %b\r\n" % (reply.status, reply.content_type)
        self._transport.write(head + reply.headers + length + b"\r\n" + body)


# ----------------------------------------------------------------------------- running it


@dataclass(frozen=True, slots=True)
class Vendor:
    """A running vendor, seen from outside. Calls block for about a millisecond."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    def control(self, **wanted: Any) -> None:
        self._call("POST", "/control", wanted)

    def fault(self, kind: str, **details: Any) -> None:
        self.control(faults=[{"kind": kind, **details}])

    def stats(self) -> dict[str, Any]:
        return self._call("GET", "/stats")

    def reset(self) -> None:
        self._call("POST", "/reset", {})

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        data = None if body is None else orjson.dumps(body)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self.url + path, data, method=method), timeout=10) as reply:
            return orjson.loads(reply.read())


async def serve(state: State, port: int, ready: Callable[[int], None], stop: asyncio.Event) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(state), "127.0.0.1", port)
    ready(server.sockets[0].getsockname()[1])
    await stop.wait()
    server.close()


@contextmanager
def in_thread(dimension: int = 256) -> Iterator[Vendor]:
    started: Queue[tuple[int, Callable[[], object]]] = Queue()

    async def run() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        await serve(
            State(dimension), 0, lambda port: started.put((port, lambda: loop.call_soon_threadsafe(stop.set))), stop
        )

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="vendor")
    thread.start()
    port, stop = started.get()
    try:
        yield Vendor(port)
    finally:
        stop()
        thread.join()


@contextmanager
def in_process(dimension: int = 1024, port: int = 0) -> Iterator[Vendor]:
    command = [sys.executable, "-m", "tests.vendor", "--port", str(port), "--dimension", str(dimension)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            yield Vendor(int(process.stdout.readline()))
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--dimension", type=int, default=256)
    wanted = parser.parse_args()
    state = State(wanted.dimension)

    async def run() -> None:
        await serve(state, wanted.port, lambda port: print(port, flush=True), asyncio.Event())

    try:
        import uvloop
    except ImportError:
        asyncio.run(run())
    else:
        uvloop.run(run())


if __name__ == "__main__":
    main()
