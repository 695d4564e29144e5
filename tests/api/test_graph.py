"""The graph routes: LightRAG's views and edits, and lists and details beyond them."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from lightrag_server.core.ids import pair_of
from lightrag_server.core.records import Entity, Fragment, Origin, Relation
from lightrag_server.engine.workspace import Workspace
from tests.api.conftest import STORY, Api, opened

NODE = {"entity_id", "entity_type", "description", "source_id", "file_path", "created_at", "truncate"}
EDGE = {"weight", "description", "keywords", "source_id", "file_path", "created_at", "truncate"}
INTERESTING = ["a/b", 'say "x"', "it's", "100%", "a&b=c?d#e", "知识图谱", "🦜🏽‍💻", "x" * 256, "..", "a+b"]
ARTICLE = "Ebenezer Scrooge met the ghost of Jacob Marley in London. Jacob Marley wore a chain."


async def get(api: Api, path: str, **params: Any) -> Any:
    reply = await api.client.get(path, params=params)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def post(api: Api, path: str, body: Any, status: int = 200) -> Any:
    reply = await api.client.post(path, json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


async def delete(api: Api, path: str, body: Any, status: int = 200) -> Any:
    reply = await api.client.request("DELETE", path, json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


async def create(api: Api, name: str, description: str = "known", **data: Any) -> Any:
    return await post(
        api, "/graph/entity/create", {"entity_name": name, "entity_data": {"description": description, **data}}
    )


async def relate(api: Api, source: str, target: str, **data: Any) -> Any:
    body = {"source_entity": source, "target_entity": target, "relation_data": {"description": "related", **data}}
    return await post(api, "/graph/relation/create", body)


async def workspace_of(api: Api) -> Workspace:
    return await api.app.state.opened.workspaces.get("")


async def fill(api: Api, entities: int, edges_each: int) -> None:
    """A large graph, put straight into the store."""

    def told(text: str) -> tuple[Fragment, ...]:
        return (Fragment(Origin(0, "doc-1-chunk-000"), text), Fragment(Origin(1, "doc-1-chunk-001"), text + "."))

    names = [f"Name {n:05}" for n in range(entities)]
    nodes = [
        Entity(n.lower(), n, "THING", told(f"All of {n}" * 10), {"THING": 2}, told(n)[:1], 2, ("a.txt",), "2026-01-01")
        for n in names
    ]
    pairs = {
        pair_of(names[n].lower(), names[(n * 7 + k + 1) % entities].lower())
        for n in range(entities)
        for k in range(edges_each)
    }
    edges = [Relation(p, p, told("they met" * 10), told("met")[:1], 1.0, 1, ("a.txt",), "2026-01-01") for p in pairs]
    await (await workspace_of(api)).stores.graph.put(nodes, edges)


# ----------------------------------------------------------------------------- without a graph


async def test_a_workspace_without_a_graph_answers_with_empty_lists(api: Api) -> None:
    assert await get(api, "/graph/label/list") == []
    assert await get(api, "/graph/label/popular") == []
    assert await get(api, "/graph/label/search", q="a") == []
    for label in ("*", "nobody"):
        assert await get(api, "/graphs", label=label) == {"nodes": [], "edges": [], "is_truncated": False}
    assert await get(api, "/graph/entity/exists", name="nobody") == {"exists": False}
    assert (await get(api, "/graph/entities"))["entities"] == []
    assert (await get(api, "/graph/relations"))["relations"] == []
    assert (await get(api, "/graph/relations", entity="nobody"))["pagination"]["total_count"] == 0


@pytest.mark.parametrize(
    "path",
    [
        "/graph/label/popular?limit=0",
        "/graph/label/popular?limit=1001",
        "/graph/label/search",
        "/graph/label/search?q=a&limit=101",
        "/graphs",
        "/graphs?label=*&max_depth=0",
        "/graphs?label=*&max_nodes=0",
        "/graph/entity/exists",
        "/graph/entities?page=0",
        "/graph/entities?page_size=201",
        "/graph/entities?page=99999999999999999999",
        "/graph/entities?sort=type",
        "/graph/relation?source=a",
        "/graph/export?format=xlsx",
    ],
)
async def test_parameters_out_of_bounds_are_refused(api: Api, path: str) -> None:
    assert (await api.client.get(path)).status_code == 422


# ----------------------------------------------------------------------------- LightRAG's views


async def test_labels_are_sorted_searched_and_ranked(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    labels = await get(api, "/graph/label/list")
    assert labels == sorted(labels)
    assert {"Ebenezer Scrooge", "Bob Cratchit", "Tiny Tim"} <= set(labels)
    popular = await get(api, "/graph/label/popular", limit=2)
    assert (popular[0], len(popular)) == ("Ebenezer Scrooge", 2)
    assert await get(api, "/graph/label/search", q="CRATCHIT") == ["Bob Cratchit"]
    assert await get(api, "/graph/label/search", q=" ") == []


async def test_search_ranks_exact_matches_before_beginnings_before_the_rest(api: Api) -> None:
    for name in ("London Bridge", "Greater London", "London"):
        await create(api, name)
    assert await get(api, "/graph/label/search", q="london") == ["London", "London Bridge", "Greater London"]
    assert await get(api, "/graph/label/search", q="london", limit=1) == ["London"]


async def test_a_subgraph_has_lightrags_form(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    graph = await get(api, "/graphs", label="Bob Cratchit", max_depth=1)
    assert set(graph) == {"nodes", "edges", "is_truncated"}
    assert graph["is_truncated"] is False
    first = graph["nodes"][0]
    assert (first["id"], first["labels"]) == ("Bob Cratchit", ["Bob Cratchit"])
    assert all(set(node["properties"]) == NODE for node in graph["nodes"])
    assert first["properties"]["entity_id"] == "Bob Cratchit"
    assert first["properties"]["source_id"].startswith("doc-")
    assert first["properties"]["file_path"] == "carol.txt"
    assert isinstance(first["properties"]["created_at"], int)
    ids = {node["id"] for node in graph["nodes"]}
    for edge in graph["edges"]:
        assert set(edge) == {"id", "type", "source", "target", "properties"}
        assert (edge["id"], edge["type"]) == (f"{edge['source']}-{edge['target']}", "DIRECTED")
        assert {edge["source"], edge["target"]} <= ids
        assert set(edge["properties"]) == EDGE
    assert len(graph["edges"]) >= 2


async def test_the_label_star_gives_the_busiest_entities(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    whole = await get(api, "/graphs", label="*")
    assert {node["id"] for node in whole["nodes"]} == set(await get(api, "/graph/label/list"))
    part = await get(api, "/graphs", label="*", max_nodes=2)
    assert part["is_truncated"] is True
    assert [node["id"] for node in part["nodes"]] == await get(api, "/graph/label/popular", limit=2)


async def test_no_subgraph_is_larger_than_the_setting(tmp_path: Any) -> None:
    async with opened(tmp_path, MAX_GRAPH_NODES="3") as api:
        await api.insert(STORY, "carol.txt")
        graph = await get(api, "/graphs", label="*", max_nodes=10**30, max_depth=10**30)
        assert (len(graph["nodes"]), graph["is_truncated"]) == (3, True)


async def test_large_graphs_are_listed_whole_and_leave_the_loop_to_others(api: Api) -> None:
    await fill(api, 5_000, 3)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(0.005)
            longest = max(longest, loop.time() - began)

    watcher = asyncio.create_task(watch())
    try:
        assert len(await get(api, "/graph/label/list")) == 5_000
        graph = await get(api, "/graphs", label="*")
    finally:
        watcher.cancel()
    assert (len(graph["nodes"]), graph["is_truncated"]) == (1_000, True)
    assert longest < 0.5


async def test_odd_names_are_found_by_query_parameters(api: Api) -> None:
    for name in INTERESTING:
        await create(api, name)
    for name in INTERESTING:
        assert await get(api, "/graph/entity/exists", name=name) == {"exists": True}
        assert (await get(api, "/graph/entity", name=name))["name"] == name
        assert [n["id"] for n in (await get(api, "/graphs", label=name))["nodes"]] == [name]
        assert name in await get(api, "/graph/label/search", q=name)
    assert (await api.client.get(f"/graph/entity?name={quote(INTERESTING[0], safe='')}")).status_code == 200


async def test_names_are_found_in_any_spelling(api: Api) -> None:
    await create(api, "Ｆｕｌｌ  Width")
    for name in ("full width", "FULL WIDTH", '"Full Width"', "  full   width "):
        assert await get(api, "/graph/entity/exists", name=name) == {"exists": True}


# ----------------------------------------------------------------------------- lists and details


async def test_entities_are_paged_filtered_and_sorted(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    await create(api, "Zanzibar", entity_type="PLACE")
    labels = await get(api, "/graph/label/list")
    pages = [await get(api, "/graph/entities", page=n, page_size=3) for n in (1, 2, 3, 4)]
    assert [entity["name"] for page in pages for entity in page["entities"]] == labels
    assert pages[0]["pagination"]["total_count"] == len(labels)
    assert [page["pagination"]["has_next"] for page in pages] == [True, True, len(labels) > 9, False]
    [place] = (await get(api, "/graph/entities", type="PLACE"))["entities"]
    assert (place["name"], place["degree"], place["is_curated"], place["mentions"]) == ("Zanzibar", 0, True, 0)
    found = await get(api, "/graph/entities", q="cratchit")
    assert [entity["name"] for entity in found["entities"]] == ["Bob Cratchit"]
    ranked = (await get(api, "/graph/entities", sort="degree"))["entities"]
    assert [e["name"] for e in ranked] == await get(api, "/graph/label/popular")
    assert [e["degree"] for e in ranked] == sorted((e["degree"] for e in ranked), reverse=True)


async def test_an_entity_tells_what_each_document_says_of_it(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    await api.insert(ARTICLE, "article.txt")
    entity = await get(api, "/graph/entity", name="jacob marley")
    assert entity["name"] == "Jacob Marley"
    assert entity["type"] in entity["types"]
    assert sum(entity["types"].values()) >= 2
    assert entity["names"][0]["text"] == "Jacob Marley"
    told = {fragment["file_path"]: fragment for fragment in entity["descriptions"]}
    assert set(told) == {"carol.txt", "article.txt"}
    for fragment in entity["descriptions"]:
        assert fragment["chunk_id"].startswith(fragment["document_id"])
        assert fragment["text"] in entity["description"]
    assert {(d["file_path"], d["chunks"]) for d in entity["documents"]} == {("carol.txt", 1), ("article.txt", 1)}
    assert entity["degree"] == len(entity["relations"]) > 0
    assert len((await get(api, "/graph/entity", name="jacob marley", max_relations=1))["relations"]) == 1
    listed = await get(api, "/graph/relations", entity="Jacob Marley", page_size=200)
    assert listed["relations"] == entity["relations"]


async def test_a_relation_tells_where_it_comes_from_in_either_direction(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    first = (await get(api, "/graph/relations", page_size=1))["relations"][0]
    relation = await get(api, "/graph/relation", source=first["target"], target=first["source"])
    assert {name: relation[name] for name in first} == first
    assert relation["descriptions"][0]["file_path"] == "carol.txt"
    assert [k["text"] for k in relation["told_keywords"]] == relation["keywords"]
    assert [d["file_path"] for d in relation["documents"]] == ["carol.txt"]


async def test_relations_are_paged_strongest_first(api: Api) -> None:
    for name in "ABCD":
        await create(api, name)
    for weight, (a, b) in enumerate(("AB", "AC", "BC", "AD"), 1):
        await relate(api, a, b, weight=weight)
    pages = [await get(api, "/graph/relations", page=n, page_size=3) for n in (1, 2)]
    assert [r["weight"] for page in pages for r in page["relations"]] == [4, 3, 2, 1]
    assert pages[1]["pagination"] == {
        "page": 2, "page_size": 3, "total_count": 4, "total_pages": 2, "has_next": False, "has_prev": True,
    }  # fmt: skip
    of_b = await get(api, "/graph/relations", entity="b")
    assert [(r["source"], r["target"]) for r in of_b["relations"]] == [("B", "C"), ("A", "B")]


async def test_details_of_what_is_unknown_are_not_found(api: Api) -> None:
    await create(api, "A")
    assert (await api.client.get("/graph/entity", params={"name": "nobody"})).status_code == 404
    for source, target in (("A", "nobody"), ("A", "A"), ("", "")):
        reply = await api.client.get("/graph/relation", params={"source": source, "target": target})
        assert reply.status_code == 404


# ----------------------------------------------------------------------------- LightRAG's edits


async def test_an_entity_is_created_with_lightrags_defaults(api: Api) -> None:
    reply = await create(api, "  Grace   Hopper ", "  An admiral.  ", unknown="passed over")
    assert reply["status"] == "success"
    assert reply["data"]["entity_name"] == "Grace Hopper"
    assert reply["data"]["source_id"] == "manual_creation"
    properties = reply["data"]["graph_data"]
    assert set(properties) == NODE
    assert (properties["entity_type"], properties["description"]) == ("UNKNOWN", "An admiral.")
    assert (properties["source_id"], properties["file_path"]) == ("manual_creation", "manual_creation")
    [node] = (await get(api, "/graphs", label="Grace Hopper"))["nodes"]
    assert node["properties"] == properties


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("Known", {"description": "again"}, "exists"),
        ("KNOWN", {"description": "again"}, "exists"),
        ("New", {}, "entity_data.description"),
        ("New", {"description": "  "}, "entity_data.description"),
        ("New", {"description": 5}, "entity_data.description"),
        ("New", {"description": "d", "entity_type": ["x"]}, "entity_data.entity_type"),
        ("  ", {"description": "d"}, "holds no letter"),
        ('""', {"description": "d"}, "holds no letter"),
        ("x" * 257, {"description": "d"}, "more than 256"),
        ("a\0b", {"description": "d"}, "control character"),
    ],
)
async def test_entities_that_cannot_be_created_are_refused_with_400(
    api: Api, name: str, data: dict[str, Any], said: str
) -> None:
    await create(api, "Known", "first")
    reply = await post(api, "/graph/entity/create", {"entity_name": name, "entity_data": data}, 400)
    assert said in reply["detail"]
    assert await get(api, "/graph/label/list") == ["Known"]
    assert (await get(api, "/graph/entity", name="Known"))["description"] == "first"


async def edit(
    api: Api, name: str, status: int = 200, /, *, rename: bool = False, merge: bool = False, **data: Any
) -> Any:
    body = {"entity_name": name, "updated_data": data, "allow_rename": rename, "allow_merge": merge}
    return await post(api, "/graph/entity/edit", body, status)


async def test_fields_of_an_entity_are_changed_and_the_others_stay(api: Api) -> None:
    await create(api, "Ada", "A poet.", entity_type="PERSON", file_path="a.txt")
    reply = await edit(api, "ada", description="A mathematician.")
    assert reply["data"]["graph_data"]["description"] == "A mathematician."
    assert reply["data"]["graph_data"]["entity_type"] == "PERSON"
    assert reply["data"]["graph_data"]["file_path"] == "a.txt"
    assert reply["operation_summary"] == {
        "merged": False,
        "merge_status": "not_attempted",
        "merge_error": None,
        "operation_status": "success",
        "target_entity": None,
        "final_entity": "Ada",
        "renamed": False,
    }


async def test_an_entity_is_renamed_only_where_that_is_allowed(api: Api) -> None:
    await create(api, "Ada")
    await create(api, "Charles")
    await relate(api, "Ada", "Charles")
    assert "allow_rename" in (await edit(api, "Ada", 400, entity_name="Lovelace"))["detail"]
    reply = await edit(api, "Ada", rename=True, entity_name="Lovelace", description="A countess.")
    assert reply["data"]["entity_name"] == "Lovelace"
    assert reply["data"]["graph_data"]["description"] == "A countess."
    summary = reply["operation_summary"]
    assert (summary["renamed"], summary["merged"], summary["final_entity"]) == (True, False, "Lovelace")
    assert summary["target_entity"] == "Lovelace"
    assert await get(api, "/graph/label/list") == ["Charles", "Lovelace"]
    assert await get(api, "/graph/entity/exists", name="Ada") == {"exists": False}
    graph = await get(api, "/graphs", label="Lovelace")
    assert [(e["source"], e["target"]) for e in graph["edges"]] == [("Charles", "Lovelace")]


async def test_the_same_name_is_no_renaming(api: Api) -> None:
    await create(api, "Ada")
    reply = await edit(api, "Ada", entity_name="Ada", entity_type="PERSON")
    assert reply["operation_summary"]["renamed"] is False


async def test_a_taken_name_is_refused_or_merged_into(api: Api) -> None:
    for name in ("Ada", "Countess", "Charles"):
        await create(api, name, f"about {name}")
    await relate(api, "Countess", "Charles")
    assert "exists" in (await edit(api, "Countess", 400, rename=True, entity_name="Ada"))["detail"]
    reply = await edit(api, "Countess", rename=True, merge=True, entity_name="Ada")
    summary = reply["operation_summary"]
    assert (summary["merged"], summary["merge_status"], summary["merge_error"]) == (True, "success", None)
    assert (summary["operation_status"], summary["target_entity"], summary["final_entity"]) == ("success", "Ada", "Ada")
    assert await get(api, "/graph/label/list") == ["Ada", "Charles"]
    [relation] = (await get(api, "/graph/relations"))["relations"]
    assert (relation["source"], relation["target"]) == ("Ada", "Charles")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"colour": "red"}, "updated_data.colour"),
        ({"description": ""}, "updated_data.description"),
        ({"description": ["x"]}, "updated_data.description"),
        ({"entity_name": " "}, "updated_data.entity_name"),
        ({"entity_name": "''"}, "holds no letter"),
    ],
)
async def test_changes_that_make_no_sense_are_refused_with_400(api: Api, data: dict[str, Any], said: str) -> None:
    await create(api, "Ada")
    assert said in (await edit(api, "Ada", 400, rename=True, **data))["detail"]


async def test_what_is_unknown_cannot_be_changed_merged_or_deleted(api: Api) -> None:
    await create(api, "Ada")
    await edit(api, "nobody", 404, description="d")
    merge = {"entities_to_change": ["nobody"], "entity_to_change_into": "Ada"}
    await post(api, "/graph/entities/merge", merge, 404)
    await delete(api, "/graph/entity/delete", {"entity_name": "nobody"}, 404)
    await delete(api, "/documents/delete_entity", {"entity_name": ""}, 400)
    pair = {"source_entity": "Ada", "target_entity": "nobody"}
    await delete(api, "/graph/relation/delete", pair, 404)
    await delete(api, "/documents/delete_relation", pair, 404)
    change = {"source_id": "Ada", "target_id": "nobody", "updated_data": {"description": "d"}}
    await post(api, "/graph/relation/edit", change, 404)


async def test_merging_moves_relations_and_makes_the_target(api: Api) -> None:
    for name in ("IBM", "Big Blue", "Watson"):
        await create(api, name, f"about {name}")
    await relate(api, "IBM", "Watson", keywords="employs")
    body = {"entities_to_change": ["IBM", "Big Blue"], "entity_to_change_into": "Int. Business Machines"}
    reply = await post(api, "/graph/entities/merge", body)
    assert reply["data"]["entity_name"] == "Int. Business Machines"
    description = reply["data"]["graph_data"]["description"]
    assert "about IBM" in description
    assert "about Big Blue" in description
    assert await get(api, "/graph/label/list") == ["Int. Business Machines", "Watson"]
    [relation] = (await get(api, "/graph/relations"))["relations"]
    assert (relation["source"], relation["target"]) == ("Int. Business Machines", "Watson")
    assert await get(api, "/graph/entity/exists", name="IBM") == {"exists": False}
    assert (await get(api, "/graph/entity", name="IBM"))["name"] == "Int. Business Machines"


async def test_a_merge_needs_something_to_merge(api: Api) -> None:
    await create(api, "IBM")
    body = {"entities_to_change": [], "entity_to_change_into": "IBM"}
    await post(api, "/graph/entities/merge", body, 422)
    await post(api, "/graph/entities/merge", body | {"entities_to_change": ["ibm"]}, 400)


async def test_documents_that_use_a_merged_name_tell_of_what_it_became(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    body = {"entities_to_change": ["Jacob Marley"], "entity_to_change_into": "The Ghost"}
    await post(api, "/graph/entities/merge", body)
    await api.insert(ARTICLE, "article.txt")
    assert await get(api, "/graph/entity/exists", name="Jacob Marley") == {"exists": False}
    ghost = await get(api, "/graph/entity", name="The Ghost")
    assert {d["file_path"] for d in ghost["documents"]} == {"carol.txt", "article.txt"}


async def test_a_relation_is_created_between_sorted_ends(api: Api) -> None:
    await create(api, "Carol")
    await create(api, "Bob")
    reply = await relate(api, "Carol", "Bob", keywords="friends, colleagues", other="passed over")
    data = reply["data"]
    assert (data["src_entity"], data["tgt_entity"], data["source_id"]) == ("Bob", "Carol", "manual_creation")
    assert set(data["graph_data"]) == EDGE
    assert (data["graph_data"]["weight"], data["graph_data"]["keywords"]) == (1.0, "friends, colleagues")
    [edge] = (await get(api, "/graphs", label="Bob"))["edges"]
    assert edge["id"] == "Bob-Carol"
    assert edge["properties"] == data["graph_data"]


async def test_a_relation_weighs_at_least_its_sources(api: Api) -> None:
    await create(api, "A")
    await create(api, "B")
    reply = await relate(api, "A", "B", weight=0.5, source_id="c1<SEP>c2<SEP>c1")
    assert (reply["data"]["graph_data"]["weight"], reply["data"]["source_id"]) == (2.0, "c1<SEP>c2<SEP>c1")


@pytest.mark.parametrize(
    ("source", "target", "data", "said"),
    [
        ("A", "B", {"description": "again"}, "exists"),
        ("b", "a", {"description": "again"}, "exists"),
        ("A", "a", {"description": "self"}, "itself"),
        ("A", "nobody", {"description": "d"}, "nobody"),
        ("A", "C", {}, "relation_data.description"),
        ("A", "C", {"description": "d", "weight": "heavy"}, "relation_data.weight"),
        ("A", "C", {"description": "d", "weight": -1}, "relation_data.weight"),
        ("A", "C", {"description": "d", "keywords": 5}, "relation_data.keywords"),
    ],
)
async def test_relations_that_cannot_be_created_are_refused_with_400(
    api: Api, source: str, target: str, data: dict[str, Any], said: str
) -> None:
    for name in "ABC":
        await create(api, name)
    await relate(api, "A", "B")
    body = {"source_entity": source, "target_entity": target, "relation_data": data}
    assert said in (await post(api, "/graph/relation/create", body, 400))["detail"]
    assert (await get(api, "/graph/relations"))["pagination"]["total_count"] == 1


async def test_a_relation_is_changed_from_either_end(api: Api) -> None:
    await create(api, "A")
    await create(api, "B")
    await relate(api, "A", "B", keywords="old", weight=2)
    body = {"source_id": "b", "target_id": "a", "updated_data": {"keywords": "new, newer", "weight": 3}}
    data = (await post(api, "/graph/relation/edit", body))["data"]
    assert (data["src_entity"], data["tgt_entity"]) == ("A", "B")
    properties = data["graph_data"]
    assert (properties["description"], properties["keywords"], properties["weight"]) == ("related", "new, newer", 3)
    refused = await post(api, "/graph/relation/edit", body | {"updated_data": {"color": 1}}, 400)
    assert "updated_data.color" in refused["detail"]


@pytest.mark.parametrize("path", ["/graph/entity/delete", "/documents/delete_entity"])
async def test_a_deleted_entity_takes_its_relations_along_and_stays_away(api: Api, path: str) -> None:
    await api.insert(STORY, "carol.txt")
    result = await delete(api, path, {"entity_name": "Jacob Marley"})
    assert result | {"message": ""} == {
        "status": "success", "doc_id": "", "message": "", "status_code": 200, "file_path": None,
    }  # fmt: skip
    assert "Jacob Marley" in result["message"]
    assert "Jacob Marley" not in await get(api, "/graph/label/list")
    relations = (await get(api, "/graph/relations", page_size=200))["relations"]
    assert all("Jacob Marley" not in (r["source"], r["target"]) for r in relations)
    await delete(api, path, {"entity_name": "Jacob Marley"}, 404)
    await api.insert(ARTICLE, "article.txt")
    assert "Jacob Marley" not in await get(api, "/graph/label/list")


@pytest.mark.parametrize("path", ["/graph/relation/delete", "/documents/delete_relation"])
async def test_a_deleted_relation_leaves_its_ends(api: Api, path: str) -> None:
    await create(api, "A")
    await create(api, "B")
    await relate(api, "A", "B")
    result = await delete(api, path, {"source_entity": "b", "target_entity": "A"})
    assert (result["status"], result["status_code"], result["doc_id"]) == ("success", 200, "")
    assert (await get(api, "/graph/relations"))["relations"] == []
    assert await get(api, "/graph/label/list") == ["A", "B"]
    await delete(api, path, {"source_entity": "A", "target_entity": "B"}, 404)


async def test_what_people_decided_survives_the_documents(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    await edit(api, "Tiny Tim", description="Did not die.", entity_type="CHILD")
    await api.insert(ARTICLE + " Tiny Tim was there.", "article.txt")
    entity = await get(api, "/graph/entity", name="Tiny Tim")
    assert (entity["description"], entity["type"], entity["is_curated"]) == ("Did not die.", "CHILD", True)
    told = entity["descriptions"][0]
    assert (told["chunk_id"], told["document_id"], told["file_path"]) == ("manual_creation", None, "")


async def test_a_new_name_leaves_what_people_wrote_as_it_is(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    await edit(api, "Tiny Tim", description="Did not die.")
    reply = await edit(api, "Tiny Tim", rename=True, entity_name="Timothy Cratchit")
    assert reply["data"]["graph_data"]["description"] == "Did not die."
    entity = await get(api, "/graph/entity", name="Timothy Cratchit")
    assert (entity["description"], entity["documents"][0]["file_path"]) == ("Did not die.", "carol.txt")


async def test_edits_work_while_documents_are_indexed(api: Api) -> None:
    texts = [f"Scrooge number {n} met Marley number {n} in London." * 20 for n in range(30)]
    reply = await api.client.post("/documents/texts", json={"texts": texts})
    edits = [create(api, f"Person {n}") for n in range(5)]
    replies = await asyncio.gather(*edits)
    assert [r["status"] for r in replies] == ["success"] * 5
    await edit(api, "Person 1", rename=True, entity_name="Number One")
    await api.settled(reply.json()["track_id"])
    assert {"Person 0", "Number One"} <= set(await get(api, "/graph/label/list"))
