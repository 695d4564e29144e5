"""What a request asks of the model reaches the vendor: temperature, limits, stop strings and pictures."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lightrag_server.bindings.limiter import Limiter
from lightrag_server.bindings.registry import open_llm, open_vision
from lightrag_server.bindings.stopping import StopCut, Stopping
from lightrag_server.bindings.wrappers import Counting
from lightrag_server.compute import Compute
from lightrag_server.core.images import image_of
from lightrag_server.core.records import Image, Turn, Usage
from lightrag_server.errors import ConfigError, InvalidInput
from lightrag_server.ports.llm import ChatReply, ChatRequest
from lightrag_server.settings.bindings import LLMSettings, VisionSettings
from tests.vendor import Vendor

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
ASK = (Turn("user", "Tell me about the harbour."),)
REPLY = "The harbour is old. END It was built in stone. STOP Nobody knows by whom."
BOTH = ("openai", "ollama")


@pytest.fixture
async def llm(request: pytest.FixtureRequest, vendor: Vendor, compute: Compute) -> AsyncIterator[Counting]:
    wire: Literal["openai", "ollama"] = request.param
    host = vendor.openai_url if wire == "openai" else vendor.url
    settings = LLMSettings(binding=wire, host=host, model="m", api_key=SecretStr("k"), timeout_s=2.0, max_retries=0)
    opened = open_llm(settings, None, compute)
    assert opened
    vendor.control(reply=REPLY)
    yield opened
    await opened.close()


async def written(llm: Counting, request: ChatRequest) -> tuple[str, ChatReply]:
    items = [item async for item in llm.stream(request)]
    assert isinstance(items[-1], ChatReply)
    return "".join(item for item in items[:-1] if isinstance(item, str)), items[-1]


@pytest.mark.parametrize("llm", BOTH, indirect=True)
async def test_temperature_limit_and_stop_are_sent(llm: Counting, vendor: Vendor):
    await llm.complete(ChatRequest(ASK, max_tokens=7, temperature=0.25, stop=("END", "STOP")))
    body = vendor.stats()["last_body"]
    options = body.get("options", body)
    assert (options["temperature"], options["stop"]) == (0.25, ["END", "STOP"])
    assert options.get("max_tokens", options.get("num_predict")) == 7


@pytest.mark.parametrize("llm", BOTH, indirect=True)
async def test_a_reply_that_is_cut_by_its_limit_says_so(llm: Counting):
    text, reply = await written(llm, ChatRequest(ASK, max_tokens=3))
    assert REPLY.startswith(text)
    assert text == reply.text
    assert (reply.finish_reason, reply.usage.completion_tokens) == ("length", 3)


@pytest.mark.parametrize("llm", BOTH, indirect=True)
@pytest.mark.parametrize("ignores_stop", [False, True])
async def test_the_text_ends_before_the_stop_whether_or_not_the_vendor_minds_it(
    llm: Counting, vendor: Vendor, ignores_stop: bool
):
    vendor.control(ignores_stop=ignores_stop)
    request = ChatRequest(ASK, stop=("STOP", "END"))
    assert (await llm.complete(request)).text == "The harbour is old. "
    text, reply = await written(llm, request)
    assert text == reply.text == "The harbour is old. "
    assert reply.finish_reason == "stop"
    assert reply.usage.completion_tokens > 0


@pytest.mark.parametrize("llm", ["openai"], indirect=True)
async def test_a_host_that_refuses_stop_is_asked_without_it(llm: Counting, vendor: Vendor):
    vendor.control(refuses=["stop"])
    text, _ = await written(llm, ChatRequest(ASK, stop=("END",)))
    assert text == "The harbour is old. "
    assert "stop" not in vendor.stats()["last_body"]


@pytest.mark.parametrize("llm", ["openai"], indirect=True)
async def test_openai_is_given_four_stops_and_the_others_hold_all_the_same(llm: Counting, vendor: Vendor):
    text, _ = await written(llm, ChatRequest(ASK, stop=("a1", "a2", "a3", "a4", "END")))
    assert vendor.stats()["last_body"]["stop"] == ["a1", "a2", "a3", "a4"]
    assert text == "The harbour is old. "


async def test_the_fake_model_keeps_to_stop_and_limit(compute: Compute):
    llm = open_llm(LLMSettings(binding="fake"), None, compute)
    assert llm
    turns = (Turn("system", "[1] The lighthouse of Kallnes was built by Greta Holm."), Turn("user", "Who built it?"))
    whole = (await llm.complete(ChatRequest(turns))).text
    text, _ = await written(llm, ChatRequest(turns, stop=("Greta",)))
    assert text == whole[: whole.index("Greta")]
    text, reply = await written(llm, ChatRequest(turns, max_tokens=2))
    assert (whole.startswith(text), reply.finish_reason, len(text) < len(whole)) == (True, "length", True)


# ----------------------------------------------------------------------------- stop strings


class Endless:
    """Writes on until it is closed."""

    identity = "endless"

    def __init__(self) -> None:
        self.is_closed = False

    async def complete(self, request: ChatRequest) -> ChatReply:
        raise NotImplementedError

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        try:
            while True:
                yield "and so on "
        finally:
            self.is_closed = True

    async def close(self) -> None: ...


async def test_nothing_is_written_after_the_stop():
    endless = Endless()
    async with aclosing(Stopping(endless).stream(ChatRequest(ASK, stop=("on and so on",)))) as items:
        received = [item async for item in items]
    assert endless.is_closed
    assert received[:-1] == ["and so "]
    last = received[-1]
    assert isinstance(last, ChatReply)
    assert (last.text, last.usage.calls) == ("and so ", Usage(1).calls)


letters = st.text("ab", max_size=12)


@given(deltas=st.lists(letters, max_size=6), stops=st.lists(st.text("ab", max_size=4), max_size=3))
def test_cutting_a_stream_is_cutting_its_text(deltas: list[str], stops: list[str]):
    cut = StopCut(tuple(stops))
    sent: list[str] = []
    for delta in deltas:
        sent += cut.feed(delta)
        if cut.is_over:
            break
    else:
        sent += cut.flush()
    whole = "".join(deltas)
    expected = whole[: min((whole.index(s) for s in stops if s and s in whole), default=len(whole))]
    assert "".join(sent) == cut.text == expected
    assert all(sent)


@given(deltas=st.lists(st.text("xyz", min_size=1, max_size=8), max_size=6))
def test_text_that_begins_no_stop_is_not_held_back(deltas: list[str]):
    cut = StopCut(("ab", "ba"))
    assert [ready for delta in deltas for ready in cut.feed(delta)] == deltas


# ----------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("llm", BOTH, indirect=True)
async def test_pictures_travel_beside_the_text(llm: Counting, vendor: Vendor, request: pytest.FixtureRequest):
    picture = Image("image/png", PNG)
    await written(llm, ChatRequest((Turn("user", "What is this?", (picture,)),)))
    message: dict[str, Any] = vendor.stats()["last_body"]["messages"][0]
    if "images" in message:
        assert message == {"role": "user", "content": "What is this?", "images": [PNG]}
    else:
        url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
        assert message["content"] == [{"type": "text", "text": "What is this?"}, url]


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff\xe0...", "image/jpeg"),
        (b"GIF89a...", "image/gif"),
        (b"RIFF\x0a\x00\x00\nWEBPVP8 ", "image/webp"),
    ],
)
def test_the_bytes_tell_what_a_picture_is(content: bytes, media_type: str):
    text = base64.b64encode(content).decode()
    assert image_of(text) == Image(media_type, text)
    assert image_of(f"data:image/png;base64,{text}") == Image(media_type, text)
    assert image_of(f"{text[:4]}\n{text[4:]}") == Image(media_type, text)


@pytest.mark.parametrize(
    "text", ["", "/etc/hostname.png", "not base64!", "aGVsbG8=", "data:image/png;base64,", PNG + "="]
)
def test_what_is_no_picture_is_refused(text: str):
    with pytest.raises(InvalidInput, match="image"):
        image_of(text)


def test_the_model_that_sees_inherits_what_is_left_open_but_no_key_of_another_vendor():
    llm = LLMSettings(binding="openai", model="writes", host="http://a/v1", api_key=SecretStr("secret"), timeout_s=7.0)
    assert VisionSettings().beside(llm) is None
    same = VisionSettings(model="sees").beside(llm)
    assert same
    assert same == llm.model_copy(update={"model": "sees"})
    elsewhere = VisionSettings(model="sees", host="http://b/v1").beside(llm)
    assert elsewhere
    assert (elsewhere.host, elsewhere.api_key) == ("http://b/v1", None)
    other = VisionSettings(model="sees", binding="ollama").beside(llm)
    assert other
    assert (other.binding, other.host, other.api_key, other.timeout_s) == ("ollama", None, None, 7.0)


def test_a_local_model_cannot_be_the_one_that_sees(compute: Compute):
    settings = VisionSettings(model="/m.gguf").beside(LLMSettings(binding="local"))
    with pytest.raises(ConfigError, match="VLM_LLM_BINDING"):
        open_vision(settings, compute, Limiter(1))
