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
    rows = [
        ("address", "  ".join(addresses), "HOST, PORT"),
        ("access", _access(settings), "LIGHTRAG_API_KEY"),
        ("data", str(settings.server.working_dir), "WORKING_DIR"),
        ("input folder", str(settings.server.input_dir), "INPUT_DIR"),
        ("workspaces", await _workspaces(app.workspaces, settings.server.workspace), "WORKSPACE"),
        ("LLM", app.llm.identity if app.llm else "none: answers quote the documents", "LLM_BINDING, LLM_MODEL"),
        ("embedding", app.embedder.identity, "EMBEDDING_BINDING, EMBEDDING_MODEL"),
        ("profile", app.profile.value, "INDEX_PROFILE"),
        ("storages", _storages(settings), "LIGHTRAG_*_STORAGE"),
    ]
    lines = [f"lightrag-server {__version__}"]
    lines += [f"  {name:<13}{value}   ({_changed(names, origins)})" for name, value, names in rows]
    lines += [f"  note         {notice}" for notice in (*_address_notice(settings), *app.notices)]
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


def _access(settings: Settings) -> str:
    return "with the API key" if settings.server.key else "without a key"


def _address_notice(settings: Settings) -> list[str]:
    server = settings.server
    if server.key:
        return []
    if server.host is None:
        return [
            "no key is set, so only this machine can connect; with LIGHTRAG_API_KEY the server listens everywhere, "
            "and --host says it outright."
        ]
    if server.host in ("127.0.0.1", "localhost", "::1"):
        return []
    return [f"anybody who reaches {server.host} can read and change everything; set LIGHTRAG_API_KEY."]


async def _workspaces(workspaces: Workspaces, default: str) -> str:
    """Each with its documents; the one without name is called default."""
    names = sorted({*await workspaces.names(), default})
    shown: list[str] = []
    for name in names[:MAX_WORKSPACES]:
        counts = await (await workspaces.get(name)).stores.documents.counts()
        failed = f", {counts[DocStatus.FAILED]} failed" if counts[DocStatus.FAILED] else ""
        shown.append(f"{name or 'default'} ({sum(counts.values())} documents{failed})")
    more = f" and {len(names) - MAX_WORKSPACES} more" if len(names) > MAX_WORKSPACES else ""
    return ", ".join(shown) + more


def _storages(settings: Settings) -> str:
    storages = settings.storages
    return " ".join(dict.fromkeys((storages.kv, storages.vectors, storages.graph, storages.doc_status)))
