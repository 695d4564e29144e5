"""Everything of one workspace, and the workspaces of a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from lightrag_server.engine.browse import Browse
from lightrag_server.engine.clear import Clear
from lightrag_server.engine.commit import EMBEDDING_KEY, Commit, mismatch_sentence
from lightrag_server.engine.documents import Documents
from lightrag_server.engine.drop import Drop
from lightrag_server.engine.duplicates import Duplicates
from lightrag_server.engine.edits import Edits
from lightrag_server.engine.intake import Intake
from lightrag_server.engine.prepare import Prepare
from lightrag_server.engine.query import Query
from lightrag_server.engine.register import Register, clean_name
from lightrag_server.engine.replies import ExtractionReplies
from lightrag_server.engine.resolve import Resolve
from lightrag_server.engine.status import Pipeline
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.summaries import Summaries
from lightrag_server.engine.workspace_settings import WorkspaceSettings, stored_settings
from lightrag_server.errors import DimensionMismatch
from lightrag_server.ports.directory import WorkspaceRow
from lightrag_server.ports.embedding import Embedder
from lightrag_server.settings.ingest import IngestSettings
from lightrag_server.settings.query import QuerySettings


@dataclass(frozen=True, slots=True)
class Workspace:
    """One tenant: its stores and the services that work on them."""

    key: str
    """What its data is kept under; never changes."""
    name: str
    """What people call it; changes when it is renamed."""
    stores: Stores
    intake: Intake
    documents: Documents
    prepare: Prepare
    replies: ExtractionReplies | None
    """None where no model extracts."""
    commit: Commit
    clear: Clear
    drop: Drop
    query: Query
    summaries: Summaries | None
    """None where descriptions are not summarised."""
    ingest_settings: IngestSettings
    query_settings: QuerySettings
    """What holds here, and for questions that leave it open: the workspace's own settings over the server's."""
    pipeline: Pipeline
    edits: Edits
    browse: Browse
    duplicates: Duplicates
    resolve: Resolve


@dataclass(frozen=True, slots=True)
class WorkspaceEdit:
    """None leaves a field as it is, and so does a setting that was not given; one given as None is taken back."""

    name: str | None = None
    description: str | None = None
    settings: WorkspaceSettings = field(default_factory=WorkspaceSettings)


class Workspaces:
    """Opened on first use and kept while name and settings stay; handles are cheap."""

    def __init__(
        self,
        register: Register,
        make: Callable[[WorkspaceRow], Workspace],
        check: Callable[[WorkspaceSettings], object],
    ) -> None:
        """`check` raises `InvalidInput` for settings that cannot work on this server; quick and pure, as `edit` of
        `Directory.change` is."""
        self.register = register
        self._make = make
        self._check = check
        self._open: dict[str, tuple[WorkspaceRow, Workspace]] = {}

    async def get(self, key: str) -> Workspace:
        """The workspace under this storage key: for jobs, which know keys."""
        return self.opened(await self.register.by_key(key))

    async def named(self, name: str, *, will_write: bool = False) -> Workspace:
        """The workspace that a request names (LightRAG's rule: odd characters become underscores). Raises as
        `Register.entered`, and `InvalidInput` for a name that is too long."""
        return self.opened(await self.register.entered(clean_name(name), will_write=will_write))

    async def create(self, name: str, edit: WorkspaceEdit) -> WorkspaceRow:
        """A new, empty one. Raises as `Register.create`, and `InvalidInput` for settings."""
        return await self.register.create(name, partial(self._edited, edit))

    async def change(self, name: str, edit: WorkspaceEdit) -> WorkspaceRow:
        """Raises as `Register.change`, and `InvalidInput` for settings."""
        return await self.register.change(name, partial(self._edited, edit))

    def _edited(self, edit: WorkspaceEdit, row: WorkspaceRow) -> WorkspaceRow:
        own = stored_settings(row.settings).changed(edit.settings)
        self._check(own)
        return replace(
            row,
            name=row.name if edit.name is None else edit.name,
            description=row.description if edit.description is None else edit.description,
            settings=own.given(),
        )

    def opened(self, row: WorkspaceRow) -> Workspace:
        kept = self._open.get(row.key)
        if kept is None or (kept[0].name, kept[0].settings) != (row.name, row.settings):
            self._open[row.key] = kept = row, self._make(row)
        return kept[1]


async def check_embedding(stores: Stores, embedder: Embedder, configured_dimension: int | None) -> None:
    """Raise `DimensionMismatch` when the stored vectors were made by another model than the one configured."""
    known = (await stores.meta.get([EMBEDDING_KEY])).get(EMBEDDING_KEY)
    if known is None:
        return
    dimension = embedder.dimension or configured_dimension or known["dimension"]
    configured = {"identity": embedder.identity, "dimension": dimension}
    if configured != known:
        raise DimensionMismatch(mismatch_sentence(known, configured))
