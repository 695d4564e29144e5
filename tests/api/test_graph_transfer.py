"""The graph as a file, out and in, through the routes."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from lightrag_server.core.graph_formats import FORMATS, Format
from lightrag_server.core.graph_formats.rows import EntityRow, RelationRow
from tests.api.conftest import STORY, Api, opened
from tests.api.test_graph import INTERESTING, create, fill, get, relate, workspace_of

MEDIA = {"graphml": "application/xml", "json": "application/json", "csv": "application/zip"}


async def export(api: Api, format: str) -> bytes:
    reply = await api.client.get("/graph/export", params={"format": format})
    assert reply.status_code == 200, reply.text
    return reply.content


async def imported(api: Api, data: bytes | str, status: int = 200, **params: str) -> Any:
    reply = await api.client.post("/graph/import", content=data, params=params)
    assert reply.status_code == status, reply.text
    return reply.json()


def rows(format: Format, data: bytes) -> tuple[set[Any], set[Any]]:
    found = list(FORMATS[format].read(io.BytesIO(data)))
    entities = {row.values() for row in found if isinstance(row, EntityRow)}
    return entities, {row.values() for row in found if isinstance(row, RelationRow)}


async def everything(api: Api) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All entities and relations, without what an import cannot know."""
    lost = {"mentions", "is_curated", "created_at"}
    entities = (await get(api, "/graph/entities", page_size=200))["entities"]
    relations = (await get(api, "/graph/relations", page_size=200))["relations"]
    entities = [{name: value for name, value in row.items() if name not in lost} for row in entities]
    relations = [{name: value for name, value in row.items() if name not in lost} for row in relations]
    return entities, sorted(relations, key=lambda r: (r["source"], r["target"]))


@pytest.mark.parametrize("format", FORMATS)
async def test_export_clear_import_gives_the_same_graph(api: Api, format: Format) -> None:
    await api.insert(STORY, "carol.txt")
    for name in INTERESTING:
        await create(api, name, f"=1+1 about {name}\nand more", entity_type="@odd", file_path="a.txt<SEP>b.txt")
    for name in INTERESTING[1:]:
        await relate(api, name, INTERESTING[0], keywords="knows, likes", weight=2.5)
    before = await everything(api)
    data = await export(api, format)
    assert (await api.client.delete("/documents")).status_code == 200
    assert await everything(api) == ([], [])
    reply = await imported(api, data)
    assert (reply["entities"], reply["relations"], reply["implied_entities"]) == (len(before[0]), len(before[1]), 0)
    assert await everything(api) == before
    assert (await get(api, "/graph/label/search", q="scrooge")) == ["Ebenezer Scrooge"]
    assert rows(format, await export(api, format)) == rows(format, data)


async def test_what_was_imported_answers_questions(api: Api) -> None:
    row = {"entity_name": "Zork", "entity_type": "PLACE", "description": "An underground empire."}
    await imported(api, json.dumps({"entities": [row]}))
    data = (await api.client.post("/query/data", json={"query": "Where is Zork?", "mode": "local"})).json()["data"]
    assert [(e["entity_name"], e["description"]) for e in data["entities"]] == [("Zork", "An underground empire.")]


@pytest.mark.parametrize("format", FORMATS)
async def test_an_empty_graph_is_exported_and_imported(api: Api, format: str) -> None:
    reply = await imported(api, await export(api, format))
    assert (reply["entities"], reply["relations"]) == (0, 0)


@pytest.mark.parametrize("format", FORMATS)
async def test_an_export_is_an_attachment_of_its_type_and_sent_in_pieces(api: Api, format: Format) -> None:
    await fill(api, 1_500, 1)
    async with api.client.stream("GET", "/graph/export", params={"format": format}) as reply:
        assert reply.headers["content-type"] == MEDIA[format]
        assert reply.headers["content-disposition"].startswith('attachment; filename="graph.')
        assert "content-length" not in reply.headers
        data = b"".join([piece async for piece in reply.aiter_bytes()])
    if format == "csv":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.namelist() == ["entities.csv", "relations.csv"]
            assert archive.testzip() is None
    entities, relations = rows(format, data)
    assert (len(entities), len(relations)) == (1_500, 1_500)


async def test_an_import_of_many_rows_is_taken_in_by_batches(api: Api) -> None:
    entities = [{"entity_name": f"Name {n}", "description": f"about {n}"} for n in range(900)]
    relations = [{"source_entity": f"Name {n}", "target_entity": f"Name {n + 1}"} for n in range(899)]
    reply = await imported(api, json.dumps({"relations": relations, "entities": entities}))
    assert (reply["entities"], reply["relations"], reply["implied_entities"]) == (900, 899, 0)
    counts = await (await workspace_of(api)).stores.graph.counts()
    assert (counts.entities, counts.relations) == (900, 899)


async def test_a_file_may_come_in_a_form(api: Api) -> None:
    text = "entity_name,entity_type\nBob,PERSON\n"
    reply = await api.client.post("/graph/import", files={"file": ("people.csv", text.encode(), "text/csv")})
    assert reply.status_code == 200, reply.text
    assert (await get(api, "/graph/entity", name="Bob"))["type"] == "PERSON"
    wrong = await api.client.post("/graph/import", files={"graph": ("people.csv", text.encode())})
    assert (wrong.status_code, "field 'file'" in wrong.json()["detail"]) == (400, True)
    text_field = await api.client.post("/graph/import", files={"file": (None, text)})
    assert text_field.status_code == 400


async def test_the_format_is_what_the_request_says(api: Api) -> None:
    files = {"file": ("graph.json", b"entity_name\nBob\n")}
    assert (await api.client.post("/graph/import", files=files)).status_code == 400
    reply = await api.client.post("/graph/import", files=files, params={"format": "csv"})
    assert reply.json()["entities"] == 1
    await imported(api, b"x", 422, format="xlsx")


async def test_ends_that_are_nowhere_are_made_and_counted(api: Api) -> None:
    await create(api, "Ann")
    reply = await imported(api, "source_entity,target_entity,keywords\nann,Bob,knows\nBOB,Cid,knows\n")
    assert (reply["entities"], reply["relations"], reply["implied_entities"]) == (0, 2, 2)
    labels = await get(api, "/graph/label/list")
    assert [label.lower() for label in labels] == ["ann", "bob", "cid"]
    assert (await get(api, "/graph/entity", name="Bob"))["degree"] == 2


async def test_an_import_changes_what_exists_and_leaves_what_the_file_leaves_open(api: Api) -> None:
    await create(api, "Ann", "A baker.", entity_type="PERSON")
    await imported(api, "entity_name,description\nANN,A pilot.\n")
    ann = await get(api, "/graph/entity", name="Ann")
    assert (ann["name"], ann["description"], ann["type"]) == ("Ann", "A pilot.", "PERSON")


async def test_an_import_brings_back_what_was_deleted_by_hand(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    data = await export(api, "json")
    await api.client.request("DELETE", "/graph/entity/delete", json={"entity_name": "Tiny Tim"})
    await imported(api, data)
    assert (await get(api, "/graph/entity", name="Tiny Tim"))["degree"] > 0


BAD_ROWS = "entity_name,description\n" + "\n".join(f"Name {n},d" for n in range(900)) + "\n ,no name\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (BAD_ROWS, "line 902: entity_name is missing"),
        ("<graphml><graph>\n<node id='A'/>\n<edge source='A' target='Z'/></graph></graphml>", "line 3"),
        ("<!DOCTYPE g [<!ENTITY a 'ha'>]><graphml><graph><node id='A'/></graph></graphml>", "declarations are refused"),
        ('{"entities": [{"entity_name": "A"}],\n"relations": [5]}', "line 2, relations[0]"),
        (b"PK\x03\x04 no zip", "zip"),
        (b"\xff\xfe\x00", "UTF-8"),
        ("", "columns"),
    ],
)
async def test_nothing_is_taken_of_a_file_with_a_mistake(api: Api, data: bytes | str, said: str) -> None:
    assert said in (await imported(api, data, 400))["detail"]
    assert await get(api, "/graph/label/list") == []


async def test_a_relation_whose_ends_have_become_one_is_named(api: Api) -> None:
    for name in ("Ann", "Annie"):
        await create(api, name)
    merge = {"entities_to_change": ["Annie"], "entity_to_change_into": "Ann"}
    assert (await api.client.post("/graph/entities/merge", json=merge)).status_code == 200
    reply = await imported(api, "source_entity,target_entity\nBob,Ann\nAnnie,Ann\n", 400)
    assert "line 3: 'Annie' and 'Ann' have become one entity here" in reply["detail"]
    assert await get(api, "/graph/label/list") == ["Ann"]


async def test_an_import_may_be_as_large_as_an_upload(tmp_path: Path) -> None:
    async with opened(tmp_path, MAX_UPLOAD_SIZE="3000000") as api:
        row = '{"entity_name": "Bob", "description": "d"}'
        large = '{"padding": "' + "x" * 2_000_000 + f'", "entities": [{row}]}}'
        assert (await imported(api, large))["entities"] == 1
        assert (await api.client.post("/graph/import", content=b"x" * 4_100_000)).status_code == 413


async def test_workspaces_are_not_mixed(api: Api) -> None:
    here, there = {"LIGHTRAG-WORKSPACE": "here"}, {"LIGHTRAG-WORKSPACE": "there"}
    body = {"entities": [{"entity_name": "Bob"}]}
    reply = await api.client.post("/graph/import", json=body, headers=here)
    assert reply.status_code == 200

    async def labels(headers: dict[str, str]) -> httpx.Response:
        return await api.client.get("/graph/label/list", headers=headers)

    assert (await labels(here)).json() == ["Bob"]
    found = await labels(there)
    assert found.status_code == 404 or found.json() == []
