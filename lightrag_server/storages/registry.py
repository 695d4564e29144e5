"""Every storage that can be named, once: which backend it is, what must be installed, how it is opened."""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

from lightrag_server.errors import ConfigError
from lightrag_server.ports.storage import Backend, Backends
from lightrag_server.settings import Settings

Role = Literal["kv", "vectors", "graph", "doc_status", "lexical"]


@dataclass(frozen=True, slots=True)
class BackendEntry:
    """`path` is "module:class", imported when the backend is first used; `arguments` are what the class is called
    with. `extra` names the optional dependencies that the module imports, `is_shared` says that several processes see
    the same data."""

    path: str
    roles: frozenset[Role]
    arguments: Callable[[Settings], tuple[Any, ...]]
    extra: str | None = None
    is_shared: bool = True


ALL_ROLES: frozenset[Role] = frozenset(("kv", "vectors", "graph", "doc_status", "lexical"))

BACKENDS: Mapping[str, BackendEntry] = {
    "sqlite": BackendEntry(
        "lightrag_server.storages.sqlite.backend:SQLiteBackend",
        ALL_ROLES,
        lambda settings: (settings.server.working_dir, settings.sqlite),
    ),
    "memory": BackendEntry(
        "lightrag_server.storages.memory:MemoryBackend", ALL_ROLES, lambda settings: (), is_shared=False
    ),
}

PUBLIC_NAMES: Mapping[str, tuple[str, Role]] = {
    "SQLiteKVStorage": ("sqlite", "kv"),
    "SQLiteVectorStorage": ("sqlite", "vectors"),
    "SQLiteGraphStorage": ("sqlite", "graph"),
    "SQLiteDocStatusStorage": ("sqlite", "doc_status"),
    "MemoryKVStorage": ("memory", "kv"),
    "MemoryVectorStorage": ("memory", "vectors"),
    "MemoryGraphStorage": ("memory", "graph"),
    "MemoryDocStatusStorage": ("memory", "doc_status"),
}
"""The names that settings use, LightRAG's where it has them."""

VARIABLES: Mapping[Role, str] = {
    "kv": "LIGHTRAG_KV_STORAGE",
    "vectors": "LIGHTRAG_VECTOR_STORAGE",
    "graph": "LIGHTRAG_GRAPH_STORAGE",
    "doc_status": "LIGHTRAG_DOC_STATUS_STORAGE",
}
LEXICAL_FALLBACK = "sqlite"
"""Searches text where no configured backend does."""


def backend_names(settings: Settings) -> dict[Role, str]:
    """The backend of each role. Lexical search has no setting: the chunks' backend does it if it can, else another
    configured one, else `LEXICAL_FALLBACK`. An unknown name raises `ConfigError`."""
    chosen = settings.storages
    names: dict[Role, str] = {
        "kv": _named("kv", chosen.kv),
        "vectors": _named("vectors", chosen.vectors),
        "graph": _named("graph", chosen.graph),
        "doc_status": _named("doc_status", chosen.doc_status),
    }
    able = [name for name in names.values() if "lexical" in BACKENDS[name].roles]
    names["lexical"] = able[0] if able else LEXICAL_FALLBACK
    return names


def are_shared(settings: Settings) -> bool:
    """Whether several processes can work on what the configured backends hold."""
    return all(BACKENDS[name].is_shared for name in backend_names(settings).values())


def modules(settings: Settings) -> set[str]:
    """What `open_backends` will import."""
    return {BACKENDS[name].path.partition(":")[0] for name in backend_names(settings).values()}


def make_backend(name: str, settings: Settings) -> Backend:
    """A backend that is not open yet. What must be installed for it and is not raises `ConfigError`."""
    entry = BACKENDS[name]
    module_name, _, class_name = entry.path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if entry.extra is None:
            raise
        raise ConfigError(
            f"the storage backend {name!r} needs the package {error.name!r}: "
            f"install it with pip install 'lightrag-server[{entry.extra}]'"
        ) from error
    return cast(Backend, getattr(module, class_name)(*entry.arguments(settings)))


@asynccontextmanager
async def open_backends(settings: Settings) -> AsyncGenerator[Backends]:
    """Open the configured backends, each once however many roles name it, and close them at the end."""
    names = backend_names(settings)
    async with AsyncExitStack() as stack:
        opened: dict[str, Backend] = {}
        for name in dict.fromkeys(names.values()):
            backend = make_backend(name, settings)
            stack.push_async_callback(backend.close)
            await backend.open()
            opened[name] = backend
        yield Backends(
            kv=opened[names["kv"]],
            vectors=opened[names["vectors"]],
            graph=opened[names["graph"]],
            doc_status=opened[names["doc_status"]],
            lexical=opened[names["lexical"]],
        )


def _named(role: Role, name: str) -> str:
    backend, served = PUBLIC_NAMES.get(name, (None, None))
    if backend is None or served != role:
        known = ", ".join(sorted(n for n, (_, r) in PUBLIC_NAMES.items() if r == role))
        raise ConfigError(f"{VARIABLES[role]}={name!r} is no storage for this; known are {known}")
    return backend
