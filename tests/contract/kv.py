"""The laws of `ports.kv`."""

from __future__ import annotations

import pytest

from lightrag_server.errors import InvalidInput
from lightrag_server.ports.kv import KVStore
from lightrag_server.ports.storage import Backend

from .values import MANY, ODD_IDS


class KVContract:
    @pytest.fixture
    def store(self, backend: Backend) -> KVStore:
        return backend.kv("", "things")

    async def test_empty_input_is_fine(self, store: KVStore) -> None:
        await store.put({})
        await store.delete([])
        assert await store.get([]) == {}
        assert await store.missing([]) == set()
        assert await store.count() == 0
        assert [row async for row in store.scan()] == []

    async def test_unknown_keys_are_absent_and_missing(self, store: KVStore) -> None:
        await store.put({"a": {"n": 1}})
        assert await store.get(["a", "b"]) == {"a": {"n": 1}}
        assert await store.missing(["a", "b", "c"]) == {"b", "c"}

    async def test_an_empty_row_is_present(self, store: KVStore) -> None:
        await store.put({"a": {}})
        assert await store.get(["a"]) == {"a": {}}
        assert await store.missing(["a"]) == set()

    async def test_the_second_put_wins_whole(self, store: KVStore) -> None:
        await store.put({"a": {"old": 1, "both": 1}})
        await store.put({"a": {"both": 2}})
        assert await store.get(["a"]) == {"a": {"both": 2}}
        assert await store.count() == 1

    async def test_rows_of_all_json_types_come_back_equal(self, store: KVStore) -> None:
        row = {
            "s": "知识 🦜 \u0000 \"'\\",
            "i": 2**53,
            "f": 0.1,
            "b": True,
            "n": None,
            "l": [1, [2, {}]],
            "o": {"": ""},
        }
        await store.put({"a": row})
        assert await store.get(["a"]) == {"a": row}

    async def test_what_comes_back_is_not_what_was_put(self, store: KVStore) -> None:
        row = {"list": [1]}
        await store.put({"a": row})
        row["list"].append(2)
        (await store.get(["a"]))["a"]["list"].append(3)
        assert await store.get(["a"]) == {"a": {"list": [1]}}

    async def test_a_row_that_is_no_json_is_refused_and_nothing_is_written(self, store: KVStore) -> None:
        with pytest.raises(InvalidInput):
            await store.put({"a": {"fine": 1}, "b": {"not": object()}})
        assert await store.count() == 0

    async def test_odd_keys_are_keys(self, store: KVStore) -> None:
        rows = {key: {"key": key} for key in ODD_IDS}
        await store.put(rows)
        assert await store.get(ODD_IDS) == rows
        assert {key: row async for key, row in store.scan()} == rows
        await store.delete(ODD_IDS[:4])
        assert await store.missing(ODD_IDS) == set(ODD_IDS[:4])

    async def test_batches_of_thousands(self, store: KVStore) -> None:
        rows = {f"key-{n}": {"n": n} for n in range(MANY)}
        await store.put(rows)
        assert await store.get(rows) == rows
        assert await store.count() == MANY
        await store.delete([f"key-{n}" for n in range(0, MANY, 2)])
        assert await store.missing(rows) == {f"key-{n}" for n in range(0, MANY, 2)}

    async def test_delete_of_unknown_keys_is_no_error(self, store: KVStore) -> None:
        await store.put({"a": {}})
        await store.delete(["b"])
        assert await store.count() == 1

    async def test_scan_is_in_key_order_over_pages(self, store: KVStore) -> None:
        rows = {f"key-{n:04}": {"n": n} for n in range(1_234)}
        await store.put(dict(reversed(rows.items())))
        assert [key async for key, _ in store.scan()] == sorted(rows)

    @pytest.mark.parametrize("prefix", ["a%", "a_", "a", "ab", "b", "z", "\U0010ffff", "\ud7ff", "a\U0010ffff"])
    async def test_scan_takes_a_prefix_literally(self, store: KVStore, prefix: str) -> None:
        keys = [
            "a",
            "a%",
            "a%1",
            "a_",
            "a_1",
            "aXb",
            "ab",
            "abc",
            "b",
            "c",
            "\U0010ffffx",
            "\ud7ffx",
            "\ue000",
            "a\U0010ffff1",
        ]
        await store.put({key: {} for key in keys})
        assert [key async for key, _ in store.scan(prefix)] == sorted(k for k in keys if k.startswith(prefix))

    async def test_scan_goes_on_while_rows_are_deleted(self, store: KVStore) -> None:
        await store.put({f"key-{n:04}": {} for n in range(1_200)})
        seen: list[str] = []
        async for key, _ in store.scan():
            seen.append(key)
            if len(seen) % 100 == 0:
                await store.delete(seen[-50:])
        assert len(seen) == 1_200

    async def test_clear_empties_only_its_namespace(self, backend: Backend, store: KVStore) -> None:
        other = backend.kv("", "others")
        await store.put({"a": {"n": 1}})
        await other.put({"a": {"n": 2}})
        assert await store.get(["a"]) == {"a": {"n": 1}}
        await store.clear()
        assert await store.count() == 0
        assert await other.get(["a"]) == {"a": {"n": 2}}
