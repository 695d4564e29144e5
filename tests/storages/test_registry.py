from __future__ import annotations

from pathlib import Path

import pytest

from lightrag_server.errors import ConfigError
from lightrag_server.settings import ServerSettings, Settings, StorageSettings
from lightrag_server.storages import registry
from lightrag_server.storages.registry import BackendEntry, backend_names, make_backend, open_backends


def settings(folder: Path, **names: str) -> Settings:
    return Settings(server=ServerSettings(working_dir=folder), storages=StorageSettings(**names))


async def test_one_backend_serves_all_roles_that_name_it(tmp_path: Path) -> None:
    async with open_backends(settings(tmp_path)) as backends:
        assert len(backends.distinct()) == 1
        assert backends.lexical is backends.kv
        await backends.kv.kv("", "things").put({"a": {}})
    assert (tmp_path / "default.sqlite").exists()


async def test_roles_may_be_spread_over_backends(tmp_path: Path) -> None:
    mixed = settings(tmp_path, kv="MemoryKVStorage", graph="MemoryGraphStorage")
    async with open_backends(mixed) as backends:
        assert backends.kv is backends.graph is backends.lexical
        assert backends.vectors is backends.doc_status
        assert [b.name for b in backends.distinct()] == ["memory", "sqlite"]


@pytest.mark.parametrize(
    ("role", "name", "variable", "known"),
    [
        ("kv", "NoSuchStorage", "LIGHTRAG_KV_STORAGE", "SQLiteKVStorage"),
        ("graph", "SQLiteKVStorage", "LIGHTRAG_GRAPH_STORAGE", "SQLiteGraphStorage"),
        ("vectors", "", "LIGHTRAG_VECTOR_STORAGE", "SQLiteVectorStorage"),
        ("doc_status", "sqlite", "LIGHTRAG_DOC_STATUS_STORAGE", "SQLiteDocStatusStorage"),
    ],
)
def test_a_wrong_name_is_one_sentence_with_the_variable_and_the_known_names(
    tmp_path: Path, role: str, name: str, variable: str, known: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        backend_names(settings(tmp_path, **{role: name}))
    assert variable in raised.value.message
    assert repr(name) in raised.value.message
    assert known in raised.value.message
    assert "\n" not in raised.value.message


def test_what_is_not_installed_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = BackendEntry("lightrag_server_absent.module:Backend", frozenset({"kv"}), lambda _: (), extra="absent")
    monkeypatch.setattr(registry, "BACKENDS", {**registry.BACKENDS, "absent": entry})
    with pytest.raises(ConfigError, match=r"pip install 'lightrag-server\[absent\]'"):
        make_backend("absent", settings(tmp_path))


def test_every_public_name_leads_to_a_backend_that_has_the_role() -> None:
    for name, (backend, role) in registry.PUBLIC_NAMES.items():
        assert role in registry.BACKENDS[backend].roles, name
