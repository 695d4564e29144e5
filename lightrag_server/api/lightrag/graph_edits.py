"""LightRAG's routes that change the graph. They work at any time; what people decide survives indexing."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body
from pydantic import BaseModel, ValidationError

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.deps import ChosenWorkspace, OpenedApp
from lightrag_server.api.edits import applied
from lightrag_server.api.jobs import StillWaiting
from lightrag_server.api.lightrag.graph_render import entity_info, relation_info
from lightrag_server.api.lightrag.graph_schemas import (
    MAX_NAME_CHARS,
    DeleteEntityRequest,
    DeleteRelationRequest,
    DeletionResult,
    EntityChanges,
    EntityCreateRequest,
    EntityData,
    EntityEditResponse,
    EntityMergeRequest,
    EntityResponse,
    EntityUpdateRequest,
    OperationSummary,
    RelationChanges,
    RelationCreateRequest,
    RelationData,
    RelationResponse,
    RelationUpdateRequest,
)
from lightrag_server.api.lightrag.render import SEPARATOR
from lightrag_server.bootstrap import App
from lightrag_server.core.edits import (
    CreateEntity,
    CreateRelation,
    DeleteEntity,
    DeleteRelation,
    Edit,
    Edited,
    EditEntity,
    EditRelation,
    EntityFields,
    MergeEntities,
    RelationFields,
)
from lightrag_server.core.ids import display_name, name_flaw
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import Conflict, InvalidInput

router = APIRouter(tags=["graph"], route_class=GuardedRoute)

Model = TypeVar("Model", bound=BaseModel)
CREATING: dict[int | str, dict[str, Any]] = {400: {}, 409: {}, 503: {}}
CHANGING: dict[int | str, dict[str, Any]] = CREATING | {404: {}}


async def _applied(app: App, workspace: Workspace, edit: Edit) -> Edited:
    """LightRAG's clients know 400 for a name that is taken."""
    try:
        return await applied(app, workspace, edit)
    except StillWaiting:
        raise
    except Conflict as error:
        raise InvalidInput(error.message) from error


def _read(model: type[Model], data: dict[str, Any], field: str) -> Model:
    """The free-form part of a request. Raises `InvalidInput` naming the field, as LightRAG answers 400 for these."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part)[:MAX_NAME_CHARS] for part in (field, *first["loc"]))
        raise InvalidInput(f"{path}: {first['msg']}") from error


def _named(name: str) -> str:
    """A name that something new may have."""
    if flaw := name_flaw(name):
        raise InvalidInput(f"the name {name[:MAX_NAME_CHARS]!r} {flaw}")
    return display_name(name)


@router.post("/graph/entity/create", responses=CREATING)
async def create_entity(app: OpenedApp, workspace: ChosenWorkspace, request: EntityCreateRequest) -> EntityResponse:
    """Create an entity that no document has to mention."""
    name = _named(request.entity_name)
    data = _read(EntityData, request.entity_data, "entity_data")
    fields = EntityFields(data.entity_type, data.description, data.source_id, data.file_path)
    edited = await _applied(app, workspace, CreateEntity(name, fields))
    return await _entity_response(workspace, edited, "was created")


@router.post("/graph/entity/edit", responses=CHANGING)
async def edit_entity(app: OpenedApp, workspace: ChosenWorkspace, request: EntityUpdateRequest) -> EntityEditResponse:
    """Change what is known of an entity, or its name."""
    changes = _read(EntityChanges, request.updated_data, "updated_data")
    new_name = _named(changes.entity_name) if changes.entity_name else None
    if new_name and new_name != display_name(request.entity_name) and not request.allow_rename:
        raise InvalidInput("updated_data gives the entity another name; that needs allow_rename")
    fields = EntityFields(changes.entity_type, changes.description, changes.source_id, changes.file_path)
    edit = EditEntity(request.entity_name, fields, new_name, request.allow_merge)
    edited = await _applied(app, workspace, edit)
    did = "was merged" if edited.merged else "was renamed" if edited.renamed else "was changed"
    changed = await _entity_response(workspace, edited, did)
    return EntityEditResponse(
        message=changed.message,
        data=changed.data,
        operation_summary=OperationSummary(
            merged=edited.merged,
            merge_status="success" if edited.merged else "not_attempted",
            merge_error=None,
            operation_status="success",
            target_entity=new_name if edited.merged or edited.renamed else None,
            final_entity=changed.data.entity_name,
            renamed=edited.renamed,
        ),
    )


@router.post("/graph/entities/merge", responses=CHANGING)
async def merge_entities(app: OpenedApp, workspace: ChosenWorkspace, request: EntityMergeRequest) -> EntityResponse:
    """Let several entities become one. Later documents that use the old names tell of it too."""
    into = _named(request.entity_to_change_into)
    edited = await _applied(app, workspace, MergeEntities(tuple(request.entities_to_change), into))
    return await _entity_response(workspace, edited, "took in the others")


@router.delete("/graph/entity/delete", responses=CHANGING)
async def delete_entity(
    app: OpenedApp, workspace: ChosenWorkspace, request: Annotated[DeleteEntityRequest, Body()]
) -> DeletionResult:
    """Remove an entity and its relations. Documents that mention it later do not bring it back."""
    edited = await _applied(app, workspace, DeleteEntity(request.entity_name))
    return _deleted(f"The entity {edited.names[0]!r} was deleted.")


@router.post("/graph/relation/create", responses=CREATING)
async def create_relation(
    app: OpenedApp, workspace: ChosenWorkspace, request: RelationCreateRequest
) -> RelationResponse:
    """Relate two entities that exist."""
    data = _read(RelationData, request.relation_data, "relation_data")
    fields = RelationFields(
        description=data.description,
        keywords=data.keywords,
        # as LightRAG: each source counts for one at least
        weight=max(data.weight, float(len({part for part in data.source_id.split(SEPARATOR) if part}))),
        source_id=data.source_id,
        file_path=data.file_path,
    )
    edit = CreateRelation(request.source_entity, request.target_entity, fields)
    return await _relation_response(workspace, await _applied(app, workspace, edit), "was created")


@router.post("/graph/relation/edit", responses=CHANGING)
async def edit_relation(app: OpenedApp, workspace: ChosenWorkspace, request: RelationUpdateRequest) -> RelationResponse:
    """Change what is known of a relation."""
    changes = _read(RelationChanges, request.updated_data, "updated_data")
    edit = EditRelation(request.source_id, request.target_id, RelationFields(**changes.model_dump()))
    return await _relation_response(workspace, await _applied(app, workspace, edit), "was changed")


@router.delete("/graph/relation/delete", responses=CHANGING)
async def delete_relation(
    app: OpenedApp, workspace: ChosenWorkspace, request: Annotated[DeleteRelationRequest, Body()]
) -> DeletionResult:
    """Remove the relation between two entities. Documents that tell of it later do not bring it back."""
    edited = await _applied(app, workspace, DeleteRelation(request.source_entity, request.target_entity))
    return _deleted(f"The relation between {edited.names[0]!r} and {edited.names[1]!r} was deleted.")


router.add_api_route(
    "/documents/delete_entity", delete_entity, methods=["DELETE"], responses=CHANGING, name="delete_entity_twin"
)
router.add_api_route(
    "/documents/delete_relation", delete_relation, methods=["DELETE"], responses=CHANGING, name="delete_relation_twin"
)


async def _entity_response(workspace: Workspace, edited: Edited, did: str) -> EntityResponse:
    entity = await workspace.browse.known_entity(edited.names[0])
    return EntityResponse(message=f"The entity {entity.name!r} {did}.", data=entity_info(entity))


async def _relation_response(workspace: Workspace, edited: Edited, did: str) -> RelationResponse:
    info = relation_info(await workspace.browse.relation(*edited.names))
    return RelationResponse(
        message=f"The relation between {info.src_entity!r} and {info.tgt_entity!r} {did}.", data=info
    )


def _deleted(message: str) -> DeletionResult:
    return DeletionResult(status="success", doc_id="", message=message)
