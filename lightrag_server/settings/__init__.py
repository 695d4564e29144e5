"""Every environment variable, once. Nothing outside this package reads the environment."""

from __future__ import annotations

from dataclasses import dataclass, field

from lightrag_server.settings.access import AccessSettings
from lightrag_server.settings.bindings import EmbeddingSettings, LLMSettings, VisionSettings
from lightrag_server.settings.ingest import IngestSettings
from lightrag_server.settings.ollama import OllamaSettings
from lightrag_server.settings.query import QuerySettings
from lightrag_server.settings.rerank import RerankSettings
from lightrag_server.settings.server import ServerSettings
from lightrag_server.settings.storages import SQLiteSettings, StorageSettings
from lightrag_server.settings.telemetry import TelemetrySettings


@dataclass(frozen=True, slots=True)
class Settings:
    """All groups put together. `loader.load` builds it from command line, environment, .env and config.ini."""

    server: ServerSettings = field(default_factory=ServerSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    llm: LLMSettings = field(default_factory=LLMSettings)
    vision: VisionSettings = field(default_factory=VisionSettings)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    rerank: RerankSettings = field(default_factory=RerankSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    ollama: OllamaSettings = field(default_factory=OllamaSettings)
    query: QuerySettings = field(default_factory=QuerySettings)
    storages: StorageSettings = field(default_factory=StorageSettings)
    sqlite: SQLiteSettings = field(default_factory=SQLiteSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
