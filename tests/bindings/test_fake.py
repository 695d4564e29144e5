from __future__ import annotations

import numpy as np
import orjson

from lightrag_server.bindings.local.fake import THRESHOLD, FakeChat, FakeEmbedder, reply_to
from lightrag_server.core.extraction_reply import read_reply
from lightrag_server.core.records import Turn
from lightrag_server.ports.llm import ChatReply, ChatRequest

PASSAGE = "In 1911 the potter Ilse Marn left Tolbach for Orm. 北海大学位于青山市。"
ASK = Turn("system", "Rows with <|#|> between fields.")
GIVEN = Turn("user", f"Passage:\n{PASSAGE}\n-----\nNow list the rows.")


def test_names_and_pairs_of_a_passage_are_returned_as_rows():
    rows = reply_to([ASK, GIVEN]).splitlines()
    entities = [row.split("<|#|>")[1] for row in rows if row.startswith("entity")]
    relations = [row.split("<|#|>")[1:3] for row in rows if row.startswith("relation")]
    assert {"Ilse Marn", "Tolbach", "Orm"} <= set(entities)
    assert any(name.endswith("大学") for name in entities)
    assert ["Ilse Marn", "Tolbach"] in relations
    assert all(end in entities for pair in relations for end in pair)
    assert rows[-1] == "<|COMPLETE|>"
    assert "Now" not in entities
    read = read_reply("\n".join(rows))
    assert [entity.name for entity in read.entities] == entities
    assert read.repairs == 0


def test_the_json_form_tells_the_same():
    value = orjson.loads(reply_to([Turn("system", 'Keys "entities" and "relationships".'), GIVEN]))
    assert {"Ilse Marn", "Tolbach", "Orm"} <= {entity["name"] for entity in value["entities"]}
    assert {"source", "target", "keywords", "description"} == set(value["relationships"][0])


def test_a_second_look_finds_nothing_more():
    again = Turn("user", "Look once more: what was missed?")
    assert reply_to([ASK, GIVEN, Turn("assistant", "…"), again]) == "<|COMPLETE|>"


def test_an_answer_quotes_the_context_and_cites_it():
    context = Turn(
        "system", "Sources\n[1] Rain fell on the hills all day. \n[2] Greta Holm built the lighthouse in 1902."
    )
    answer = reply_to([context, Turn("user", "Who built the lighthouse?")])
    assert "Greta Holm" in answer
    assert answer.endswith("[2]")


def test_a_schema_is_kept_to():
    schema = {
        "type": "object",
        "properties": {"high": {"type": "array", "items": {"type": "string"}}, "n": {"type": "integer"}},
    }
    value = orjson.loads(reply_to([Turn("user", "Who built the lighthouse?")], schema))
    assert isinstance(value["high"][0], str)
    assert isinstance(value["n"], int)


async def test_a_stream_is_the_reply_in_pieces():
    request = ChatRequest((ASK, GIVEN))
    items = [item async for item in FakeChat().stream(request)]
    assert isinstance(items[-1], ChatReply)
    assert "".join(map(str, items[:-1])) == (await FakeChat().complete(request)).text


async def test_similar_texts_are_near_and_others_are_not():
    texts = [
        "Greta Holm built the lighthouse of Kallnes.",
        "The lighthouse of Kallnes, built by Greta Holm",
        "Interest rates were raised again in spring.",
        "灯塔由霍尔姆建造",
        "霍尔姆建造的灯塔",
        "春季再次加息",
    ]
    scores = (v := await FakeEmbedder().embed(texts, "document")) @ v.T
    assert scores[0, 1] > 0.6
    assert scores[3, 4] > 0.4
    assert max(scores[0, 2], scores[3, 5], scores[0, 5]) < THRESHOLD + 0.1
    np.testing.assert_allclose(np.diag(scores), 1.0, atol=1e-5)
