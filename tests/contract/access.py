"""What every access store must do; `test_access.py` runs it over all of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lightrag_server.core.access import ApiKey, AuditEntry, Scope
from lightrag_server.errors import Conflict
from lightrag_server.ports.access import AccessStore, AuditFilter, Known

NOW = 1_700_000_000.0
KEY = ApiKey("k1", "website", Scope.READ, ("a", "b"), NOW)
EVERYTHING = AuditFilter()


def entry(at: float, **changes: object) -> AuditEntry:
    plain = AuditEntry(at, "bob", "user", None, "10.0.0.1", "a", "POST", "/documents/text", 200, "r-1")
    return replace(plain, **changes)  # pyright: ignore[reportArgumentType]


async def known(store: AccessStore) -> Known:
    found = await store.known()
    assert found is not None
    return found


class AccessStoreContract:
    """A subclass gives the fixture `store`."""

    # -- keys

    async def test_an_empty_store_knows_nothing(self, store: AccessStore):
        assert await store.keys() == []
        found = await known(store)
        assert (found.keys, found.revoked_tokens) == ({}, {})

    async def test_a_key_is_found_by_its_digest_as_it_was_given(self, store: AccessStore):
        other = ApiKey("k2", 'o"dd; 名', Scope.ADMIN, None, NOW + 1, expires_at=NOW + 9)
        await store.add_key(KEY, "d1")
        await store.add_key(other, "d2")
        assert (await known(store)).keys == {"d1": KEY, "d2": other}
        assert await store.keys() == [KEY, other]

    async def test_an_id_or_digest_that_is_taken_is_refused_and_changes_nothing(self, store: AccessStore):
        await store.add_key(KEY, "d1")
        for key, digest in ((KEY, "d2"), (replace(KEY, id="k2"), "d1")):
            with pytest.raises(Conflict):
                await store.add_key(key, digest)
        assert (await known(store)).keys == {"d1": KEY}

    async def test_the_first_revocation_stays(self, store: AccessStore):
        await store.add_key(KEY, "d1")
        revoked = replace(KEY, revoked_at=NOW + 5)
        assert await store.revoke_key("k1", NOW + 5) == revoked
        assert await store.revoke_key("k1", NOW + 9) == revoked
        assert (await known(store)).keys == {"d1": revoked}
        assert await store.revoke_key("unknown", NOW) is None

    async def test_keys_go_on_opening_a_workspace_that_was_renamed(self, store: AccessStore):
        others = [replace(KEY, id="k2", workspaces=None), replace(KEY, id="k3", workspaces=("b", "new"))]
        for number, key in enumerate((KEY, *others)):
            await store.add_key(key, f"d{number}")
        before = (await known(store)).revision
        await store.rename_workspace("unknown", "x")
        assert await store.known(before) is None
        await store.rename_workspace("b", "new")
        assert [key.workspaces for key in await store.keys()] == [("a", "new"), None, ("new",)]
        assert (await known(store)).revision > before

    async def test_the_latest_use_of_a_key_is_kept(self, store: AccessStore):
        await store.add_key(KEY, "d1")
        await store.mark_used({"k1": NOW + 7, "unknown": NOW})
        await store.mark_used({"k1": NOW + 3})
        assert [key.last_used_at for key in await store.keys()] == [NOW + 7]

    async def test_only_what_is_added_or_revoked_moves_the_revision(self, store: AccessStore):
        seen = [(await known(store)).revision]
        await store.add_key(KEY, "d1")
        seen.append((await known(store)).revision)
        await store.revoke_key("k1", NOW)
        seen.append((await known(store)).revision)
        await store.revoke_token("t", NOW, NOW + 1)
        seen.append((await known(store)).revision)
        assert len(set(seen)) == 4
        await store.mark_used({"k1": NOW})
        await store.revoke_key("k1", NOW)
        await store.attempt({"x": 1}, NOW, 60)
        await store.append_audit([entry(NOW)])
        assert await store.known(seen[-1]) is None

    # -- tokens

    async def test_revoked_tokens_are_kept_until_they_would_expire(self, store: AccessStore):
        await store.revoke_token("short", NOW, NOW + 10)
        await store.revoke_token("long", NOW, NOW + 100)
        assert (await known(store)).revoked_tokens == {"short": NOW + 10, "long": NOW + 100}
        await store.revoke_token("third", NOW + 50, NOW + 60)
        assert (await known(store)).revoked_tokens == {"long": NOW + 100, "third": NOW + 60}

    # -- attempts

    async def test_tries_are_counted_until_the_limit_and_again_when_the_window_has_passed(self, store: AccessStore):
        for second in range(3):
            assert (await store.attempt({"a": 3}, NOW + second, 60)).id is not None
        refused = await store.attempt({"a": 3}, NOW + 10, 60)
        assert (refused.id, refused.wait_s) == (None, 50)
        assert (await store.attempt({"b": 3}, NOW + 10, 60)).id is not None
        assert (await store.attempt({"a": 3}, NOW + 60.5, 60)).id is not None
        assert (await store.attempt({"a": 3}, NOW + 60.6, 60)).id is None, "the second of the four is still inside"

    async def test_a_refused_try_counts_for_nobody(self, store: AccessStore):
        await store.attempt({"full": 1}, NOW, 60)
        assert (await store.attempt({"full": 1, "other": 1}, NOW, 60)).id is None
        assert (await store.attempt({"other": 1}, NOW, 60)).id is not None

    async def test_forgiving_takes_back_the_try_and_all_of_the_subjects(self, store: AccessStore):
        await store.attempt({"pair": 9, "address": 3}, NOW, 60)
        last = await store.attempt({"pair": 9, "address": 3}, NOW, 60)
        assert last.id is not None
        await store.forgive(last.id, ["pair"])
        assert (await store.attempt({"pair": 1}, NOW, 60)).id is not None
        for _ in range(2):
            assert (await store.attempt({"address": 3}, NOW, 60)).id is not None
        assert (await store.attempt({"address": 3}, NOW, 60)).id is None

    async def test_tries_at_the_same_time_count_each_other(self, store: AccessStore):
        tries = await asyncio.gather(*(store.attempt({"a": 5}, NOW, 60) for _ in range(20)))
        assert sum(each.id is not None for each in tries) == 5

    # -- requests

    async def test_requests_come_at_once_up_to_the_burst_and_then_one_by_one(self, store: AccessStore):
        assert [await store.admit("a", 2.0, 3, NOW) for _ in range(5)] == [0.0, 0.0, 0.0, 2.0, 2.0]
        assert await store.admit("b", 2.0, 3, NOW) == 0.0
        assert await store.admit("a", 2.0, 3, NOW + 1.5) == 0.5
        assert [await store.admit("a", 2.0, 3, NOW + 2) for _ in range(2)] == [0.0, 2.0]
        assert [await store.admit("a", 2.0, 3, NOW + 99) for _ in range(4)] == [0.0, 0.0, 0.0, 2.0]

    async def test_a_clock_that_was_set_back_keeps_nobody_out_for_long(self, store: AccessStore):
        await store.admit("a", 2.0, 1, NOW + 3600)
        assert await store.admit("a", 2.0, 1, NOW) == 2.0

    async def test_requests_at_the_same_time_count_each_other(self, store: AccessStore):
        waits = await asyncio.gather(*(store.admit("a", 1.0, 5, NOW) for _ in range(20)))
        assert waits.count(0.0) == 5

    # -- audit

    async def test_entries_come_newest_first_and_in_pages(self, store: AccessStore):
        entries = [entry(NOW + n, path=f"/p{n}") for n in range(5)]
        await store.append_audit(entries[:2])
        await store.append_audit(entries[2:])
        await store.append_audit([])
        assert await store.audit(EVERYTHING, 0, 2) == ([entries[4], entries[3]], 5)
        assert await store.audit(EVERYTHING, 4, 2) == ([entries[0]], 5)
        assert await store.audit(EVERYTHING, 5, 2) == ([], 5)

    async def test_filters_narrow_together(self, store: AccessStore):
        rows = [
            entry(NOW, caller="eve", kind="key", key_id="k1"),
            entry(NOW + 1, workspace="b"),
            entry(NOW + 2, workspace=None),
            entry(NOW + 3),
        ]
        await store.append_audit(rows)
        assert (await store.audit(AuditFilter(caller="eve"), 0, 9))[0] == [rows[0]]
        assert (await store.audit(AuditFilter(workspace="a"), 0, 9))[0] == [rows[3], rows[0]]
        assert (await store.audit(AuditFilter(since=NOW + 2), 0, 9))[0] == [rows[3], rows[2]]
        assert await store.audit(AuditFilter("bob", "a", NOW + 1), 0, 9) == ([rows[3]], 1)
        assert await store.audit(AuditFilter("' OR 1=1 --"), 0, 9) == ([], 0)

    async def test_old_entries_are_forgotten(self, store: AccessStore):
        rows = [entry(NOW), entry(NOW + 1)]
        await store.append_audit(rows)
        await store.prune_audit(NOW + 1)
        assert await store.audit(EVERYTHING, 0, 9) == ([rows[1]], 1)
