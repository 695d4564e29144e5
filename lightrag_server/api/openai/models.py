"""Model names: `lightrag:<mode>`, with `<workspace>/` before it where it is not the caller's own workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, get_args

from lightrag_server.api.deps import workspace_for
from lightrag_server.bootstrap import App
from lightrag_server.core.access import Caller
from lightrag_server.core.records import Mode
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import NotFound

FAMILY = "lightrag"
OLDER_NAME = "LightRAG"
"""How earlier servers of this kind list their one model; names are compared without regard to case."""
DEFAULT_MODE: Mode = "mix"
MODES: tuple[Mode, ...] = get_args(Mode)
EVIDENCE = "-context"
"""Ending of a mode that answers with the evidence and without an LLM call."""
ANY_VERSION = "latest"
"""What Ollama's clients put behind the colon."""


class ModelNotFound(NotFound):
    code = "model_not_found"


@dataclass(frozen=True, slots=True)
class Model:
    """What a name asks for. `workspace` is None where the name leaves it open."""

    workspace: str | None
    mode: Mode
    is_evidence: bool = False


def parse(name: str) -> Model | None:
    """The model behind a name, or None when there is none of this form."""
    workspace, slash, rest = name.strip().rpartition("/")
    family, _, mode = rest.lower().partition(":")
    is_evidence = mode.endswith(EVIDENCE)
    mode = mode.removesuffix(EVIDENCE)
    if mode in ("", ANY_VERSION) and not is_evidence:
        mode = DEFAULT_MODE
    if family != FAMILY or mode not in MODES or (slash and not workspace) or (is_evidence and mode == "bypass"):
        return None
    return Model(workspace or None, cast(Mode, mode), is_evidence)


async def find(app: App, caller: Caller, name: str) -> Model:
    """The model of this name, or `ModelNotFound`: equally for a workspace that the caller may not enter."""
    model = parse(name)
    if model is None:
        raise _unknown(name)
    if model.workspace is not None:
        if not caller.may_enter(model.workspace):
            raise _unknown(name)
        try:
            await app.workspaces.register.existing(model.workspace)
        except NotFound as error:
            raise _unknown(name) from error
    return model


async def workspace_of(app: App, caller: Caller, model: Model, header: str | None) -> Workspace:
    """The workspace of a request: the name's, else the header's, else the caller's own."""
    return await workspace_for(app, caller, model.workspace or header)


async def names(app: App, caller: Caller) -> list[str]:
    """The models of the caller's own workspace, then those of every other that it may enter."""
    own = await workspace_for(app, caller, None)
    rows = await app.workspaces.register.all()
    others = [row.name for row in rows if row.name not in ("", own.name) and caller.may_enter(row.name)]
    return [*_of(""), *(name for other in others for name in _of(f"{other}/")), OLDER_NAME]


def _of(prefix: str) -> list[str]:
    return [f"{prefix}{FAMILY}", *(f"{prefix}{FAMILY}:{mode}" for mode in MODES)]


def _unknown(name: str) -> ModelNotFound:
    return ModelNotFound(f"no such model: {name!r}; GET /v1/models lists them")
