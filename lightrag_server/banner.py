"""What was chosen and how to change it, said once at start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from lightrag_server import __version__
from lightrag_server.bootstrap import App
from lightrag_server.core.records import DocStatus
from lightrag_server.engine.workspace import Workspaces
from lightrag_server.settings import Settings

MAX_WORKSPACES = 10
Origins = Mapping[str, str]


async def banner(app: App, origins: Origins, addresses: Sequence[str]) -> str:
    """Lines for people. `origins` says where each variable was set; secrets are never shown."""
    settings = app.settings
    credentials = await _credentials(app)
    rows = [
        ("address", "  ".join(addresses), "HOST, PORT"),
        ("access", credentials or "without a key", "LIGHTRAG_API_KEY, AUTH_ACCOUNTS"),
        ("data", str(settings.server.working_dir), "WORKING_DIR"),
        ("input folder", str(settings.server.input_dir), "INPUT_DIR"),
        ("workspaces", await _workspaces(app.workspaces), "WORKSPACE"),
        ("LLM", app.llm.identity if app.llm else "none: answers quote the documents", "LLM_BINDING, LLM_MODEL"),
        ("embedding", app.embedder.identity, "EMBEDDING_BINDING, EMBEDDING_MODEL"),
        ("reranking", app.reranker.identity if app.reranker else "none", "RERANK_BINDING, RERANK_MODEL"),
        ("profile", app.profile.value, "INDEX_PROFILE"),
        ("storages", _storages(settings), "LIGHTRAG_*_STORAGE"),
    ]
    lines = [f"lightrag-server {__version__}"]
    lines += [f"  {name:<13}{value}   ({_changed(names, origins)})" for name, value, names in rows]
    lines += [f"  note         {notice}" for notice in (*_address_notice(settings, bool(credentials)), *app.notices)]
    if settings.server.api_docs:
        lines.append(f"  try it       {addresses[0].replace('0.0.0.0', 'localhost')}/docs")
    lines.append("  All settings: lightrag-server --help, lightrag-server settings")
    return "\n".join(lines)


def _changed(names: str, origins: Origins) -> str:
    """Where it was set, else by what it can be changed."""
    found = [f"{name} from {origins[name]}" for name in origins if _is_one_of(name, names)]
    return ", ".join(found) or f"change: {names}"


def _is_one_of(name: str, patterns: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns.split(", "))


async def _credentials(app: App) -> str:
    access = app.access
    keys = [key for key in await access.keys.all() if key.is_valid(access.clock())]
    shown = [
        *(["the API key"] if access.api_key else []),
        *([f"{len(access.accounts)} account(s)"] if access.accounts else []),
        *([f"{len(keys)} key(s) made here"] if await access.keys.exist() else []),
    ]
    return f"with {', '.join(shown)}" if shown else ""


def _address_notice(settings: Settings, is_protected: bool) -> list[str]:
    server = settings.server
    if is_protected:
        return []
    if server.host is None:
        return [
            "no key is set, so only this machine can connect; with LIGHTRAG_API_KEY the server listens everywhere, "
            "and --host says it outright."
        ]
    if server.host in ("127.0.0.1", "localhost", "::1"):
        return []
    return [f"anybody who reaches {server.host} can read and change everything; set LIGHTRAG_API_KEY."]


async def _workspaces(workspaces: Workspaces) -> str:
    """Each with its documents; the one without name is called default."""
    rows = await workspaces.register.all()
    shown: list[str] = []
    for row in rows[:MAX_WORKSPACES]:
        counts = await workspaces.opened(row).stores.documents.counts()
        failed = f", {counts[DocStatus.FAILED]} failed" if counts[DocStatus.FAILED] else ""
        shown.append(f"{row.name or 'default'} ({sum(counts.values())} documents{failed})")
    more = f" and {len(rows) - MAX_WORKSPACES} more" if len(rows) > MAX_WORKSPACES else ""
    return ", ".join(shown) + more


def _storages(settings: Settings) -> str:
    storages = settings.storages
    return " ".join(dict.fromkeys((storages.kv, storages.vectors, storages.graph, storages.doc_status)))
