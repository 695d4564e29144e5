"""Looking at the graph: LightRAG's routes, and lists and details beyond them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query, Response

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.deps import ChosenWorkspace, OpenedApp
from lightrag_server.api.lightrag.graph_render import (
    entity_details,
    knowledge_graph,
    listed_entity,
    listed_relation,
    relation_details,
)
from lightrag_server.api.lightrag.graph_schemas import (
    EntitiesPage,
    EntityDetails,
    ExistsResponse,
    KnowledgeGraph,
    RelationDetails,
    RelationsPage,
)
from lightrag_server.api.lightrag.schemas import PaginationInfo
from lightrag_server.ports.graph import EntityFilter, Extent

router = APIRouter(tags=["graph"], route_class=GuardedRoute)

MAX_PAGE = 10_000_000
EntityName = Annotated[str, Query(description="In any spelling: case, width and quotes make no difference.")]
PageNumber = Annotated[int, Query(ge=1, le=MAX_PAGE, description="From 1.")]
PageSize = Annotated[int, Query(ge=1, le=200)]


def _json(body: bytes | memoryview) -> Response:
    """For bodies of thousands of rows, which need no second look at every field."""
    return Response(body, media_type="application/json")


@router.get("/graph/label/list", responses={200: {"model": list[str]}})
async def label_list(workspace: ChosenWorkspace) -> Response:
    """The names of all entities, sorted."""
    return _json(orjson.dumps(await workspace.browse.labels()))


@router.get("/graph/label/popular")
async def label_popular(workspace: ChosenWorkspace, limit: Annotated[int, Query(ge=1, le=1000)] = 300) -> list[str]:
    """The entities with the most relations."""
    return await workspace.browse.popular(limit)


@router.get("/graph/label/search")
async def label_search(
    workspace: ChosenWorkspace,
    q: Annotated[str, Query(description="Part of a name.")],
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> list[str]:
    """Entities whose name contains a text: exact matches first, then beginnings."""
    return await workspace.browse.search(q, limit)


@router.get("/graphs", responses={200: {"model": KnowledgeGraph}})
async def graphs(
    app: OpenedApp,
    workspace: ChosenWorkspace,
    label: Annotated[str, Query(description="The entity to begin with; * for those with the most relations.")],
    max_depth: Annotated[int, Query(ge=1)] = 3,
    max_nodes: Annotated[int, Query(ge=1, description="Never more than MAX_GRAPH_NODES.")] = 1000,
) -> Response:
    """The neighbourhood of an entity, nearest first. An unknown one has none."""
    nodes = min(max_nodes, app.settings.server.max_graph_nodes)
    graph = await workspace.browse.subgraph(label, max_depth, nodes)
    return _json(await asyncio.to_thread(knowledge_graph, graph))


@router.get("/graph/entity/exists")
async def entity_exists(workspace: ChosenWorkspace, name: EntityName) -> ExistsResponse:
    """Whether there is an entity of this name."""
    return ExistsResponse(exists=await workspace.browse.exists(name))


@router.get("/graph/entities")
async def entities(
    workspace: ChosenWorkspace,
    page: PageNumber = 1,
    page_size: PageSize = 50,
    q: Annotated[str, Query(description="Part of the name.")] = "",
    type: Annotated[str | None, Query(description="Exactly this type.")] = None,
    sort: Literal["name", "degree"] = "name",
) -> EntitiesPage:
    """One page of entities, by name or with the most connected first."""
    extent = Extent((page - 1) * page_size, page_size)
    found, total = await workspace.browse.entities(EntityFilter(q, type), extent, sort)
    return EntitiesPage(
        entities=[listed_entity(listed.entity, listed.degree) for listed in found],
        pagination=PaginationInfo.of(page, page_size, total),
    )


@router.get("/graph/entity", responses={404: {}})
async def entity(
    workspace: ChosenWorkspace, name: EntityName, max_relations: Annotated[int, Query(ge=0, le=200)] = 20
) -> EntityDetails:
    """Everything known of an entity: spellings, votes for its type, what each source says, relations, documents."""
    return entity_details(await workspace.browse.entity(name, max_relations))


@router.get("/graph/relations")
async def relations(
    workspace: ChosenWorkspace,
    page: PageNumber = 1,
    page_size: PageSize = 50,
    entity: Annotated[str | None, Query(description="Only relations of this entity; an unknown one has none.")] = None,
) -> RelationsPage:
    """One page of relations, the strongest first."""
    extent = Extent((page - 1) * page_size, page_size)
    found, ends, total = await workspace.browse.relations(extent, entity)
    return RelationsPage(
        relations=[listed_relation(relation, ends) for relation in found],
        pagination=PaginationInfo.of(page, page_size, total),
    )


@router.get("/graph/relation", responses={404: {}})
async def relation(workspace: ChosenWorkspace, source: EntityName, target: EntityName) -> RelationDetails:
    """Everything known of the relation between two entities, in whichever order they are named."""
    return relation_details(await workspace.browse.relation(source, target))
