"""Accounts, passwords, tokens, placeholders and the whitelist, each by itself."""

from __future__ import annotations

import multiprocessing
import stat
import time
from dataclasses import replace
from pathlib import Path

import bcrypt
import jwt
import pytest

from lightrag_server.access.accounts import Account, read_accounts
from lightrag_server.access.ledger import MAX_REFUSED_PER_MINUTE, Ledger
from lightrag_server.access.passwords import Passwords, hash_password, is_password
from lightrag_server.access.placeholders import check_secrets, is_placeholder
from lightrag_server.access.throttle import Throttle, network_of
from lightrag_server.access.tokens import Token, Tokens, load_secret
from lightrag_server.access.whitelist import read_whitelist
from lightrag_server.core.access import ApiKey, AuditEntry, Scope
from lightrag_server.errors import ConfigError, InvalidInput, StorageUnavailable
from lightrag_server.ports.access import AuditFilter
from lightrag_server.storages.memory_access import MemoryAccessStore

NOW = 1_700_000_000.0
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g"
spawning = multiprocessing.get_context("spawn")

# ----------------------------------------------------------------------------- accounts


def test_accounts_are_read_from_a_list() -> None:
    found = read_accounts(f"alice:p:w, bob:{{bcrypt}}$2b$12$x,carol:{HASH},dave:{{argon2}}{HASH}")
    assert {name: account.password for name, account in found.items()} == {
        "alice": "p:w",
        "bob": "{bcrypt}$2b$12$x",
        "carol": HASH,
        "dave": "{argon2}" + HASH,
    }
    assert {account.scope for account in found.values()} == {Scope.ADMIN}


def test_accounts_are_read_from_an_object() -> None:
    found = read_accounts('{"a": "x, y", "b": {"password": "z", "scope": "write", "workspaces": ["w"]}}')
    assert found == {"a": Account("a", "x, y"), "b": Account("b", "z", Scope.WRITE, ("w",))}


@pytest.mark.parametrize(
    "text",
    [
        "alice",
        "alice:t0p,s3cret",
        ":t0p-s3cret",
        "alice:",
        "alice:t0p-s3cret,alice:other",
        "{t0p-s3cret",
        '{"a": ""}',
        '{"a": {"scope": "read"}}',
        '{"a": {"password": "t0p-s3cret", "scope": "root"}}',
        '{"a": {"password": "t0p-s3cret", "role": "x"}}',
        '{"a": {"password": "t0p-s3cret", "scope": "read", "workspaces": "w"}}',
        '{"a": {"password": "t0p-s3cret", "workspaces": ["w"]}}',
        "x" * 257 + ":t0p-s3cret",
    ],
)
def test_accounts_that_cannot_be_read_are_refused_without_showing_a_password(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_accounts(text)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(Account("a", "s3cret"))


# ----------------------------------------------------------------------------- passwords


@pytest.mark.parametrize(
    "kept",
    [
        "pass wörd",
        hash_password("pass wörd", "argon2"),
        hash_password("pass wörd", "bcrypt"),
        hash_password("pass wörd", "bcrypt").removeprefix("{bcrypt}"),
        "{argon2}" + hash_password("pass wörd", "argon2"),
    ],
    ids=["plain", "argon2", "bcrypt", "bare bcrypt", "marked argon2"],
)
def test_a_password_is_known_again_plain_and_hashed(kept: str) -> None:
    assert is_password("pass wörd", kept)
    for wrong in ("pass word", "pass wörd ", "", kept if kept.startswith(("{", "$")) else "x"):
        assert not is_password(wrong, kept)


@pytest.mark.parametrize("kept", ["{bcrypt}nonsense", "$2b$12$short", "$argon2id$nonsense", "{argon2}$argon2id$v=19$x"])
def test_a_damaged_hash_fits_no_password(kept: str) -> None:
    assert not is_password(kept, kept)
    assert not is_password("", kept)


def test_bcrypt_is_not_given_more_than_it_reads() -> None:
    with pytest.raises(InvalidInput):
        hash_password("x" * 73, "bcrypt")
    elsewhere = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert is_password("x" * 80, elsewhere), "as with hashes that older libraries made of such a password"


async def test_unknown_users_take_the_time_of_known_ones() -> None:
    strong = "{bcrypt}" + bcrypt.hashpw(b"right", bcrypt.gensalt(10)).decode()
    passwords = Passwords({"hashed": Account("hashed", strong), "plain": Account("plain", "right")})
    assert await passwords.check("hashed", "right") == Account("hashed", strong)
    seconds: dict[str, float] = {}
    for name in ("hashed", "plain", "unknown"):
        best = float("inf")
        for _ in range(3):
            begun = time.thread_time(), time.process_time()
            assert await passwords.check(name, "wrong") is None
            best = min(best, time.process_time() - begun[1])
        seconds[name] = best
    assert min(seconds.values()) > max(seconds.values()) / 3, seconds


# ----------------------------------------------------------------------------- tokens


def test_a_token_is_read_as_it_was_issued() -> None:
    tokens = Tokens(b"secret", "HS256")
    found = tokens.read(tokens.issue("bob", "user", NOW, 60, proof="p", id="session"), NOW)
    assert found == Token("session", "bob", "user", NOW, NOW + 60, "p")


def test_a_token_of_another_time_secret_or_algorithm_is_none() -> None:
    tokens = Tokens(b"secret", "HS256")
    token = tokens.issue("bob", "user", NOW, 60)
    assert tokens.read(token, NOW + 59) is not None
    assert tokens.read(token, NOW + 60) is None
    assert Tokens(b"other", "HS256").read(token, NOW) is None
    assert Tokens(b"secret", "HS512").read(token, NOW) is None
    assert tokens.read(token[:-2], NOW) is None
    for text in ("", "..", "a.b.c", "x" * 10_000):
        assert tokens.read(text, NOW) is None


def test_a_token_without_signature_is_none() -> None:
    claims = {"sub": "bob", "iat": int(NOW), "exp": int(NOW) + 60, "role": "user", "jti": "x"}
    forged = jwt.encode(claims, "", algorithm="none")
    assert Tokens(b"secret", "HS256").read(forged, NOW) is None


def test_processes_that_start_together_get_the_same_secret(tmp_path: Path) -> None:
    with spawning.Pool(4) as pool:
        secrets = set(pool.map(load_secret, [tmp_path] * 8))
    assert len(secrets) == 1
    [file] = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(secrets.pop()) == 64


def test_a_secret_that_others_can_read_is_closed_and_a_damaged_one_refused(tmp_path: Path) -> None:
    secret = load_secret(tmp_path)
    [file] = tmp_path.iterdir()
    file.chmod(0o644)
    assert load_secret(tmp_path) == secret
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_bytes(b"short")
    with pytest.raises(ConfigError):
        load_secret(tmp_path)


# ----------------------------------------------------------------------------- placeholders


@pytest.mark.parametrize(
    "secret",
    [
        "your-key",
        "Your-Secure-API-Key-here-123",
        "your-key-for-LightRAG-API-Server-xxx",
        "changeme",
        "PassWord",
        "your_api_key",
    ],
)
def test_secrets_out_of_examples_are_known(secret: str) -> None:
    assert is_placeholder(secret)
    for given in ((secret, None, ()), (None, secret, ()), (None, None, [Account("bob", secret)])):
        with pytest.raises(ConfigError) as caught:
            check_secrets(*given)
        assert secret not in str(caught.value)


def test_own_secrets_pass() -> None:
    check_secrets("a-long-random-text", "s3cret-but-mine", [Account("admin", "Xk2-not-in-any-list")])


# ----------------------------------------------------------------------------- throttle


async def test_failures_of_one_user_and_of_one_address_are_limited_and_a_success_clears_the_user() -> None:
    throttle = Throttle(MemoryAccessStore(), lambda: NOW, 2, 60)
    for _ in range(5):
        attempt = await throttle.begin("10.0.0.1", "bob")
        assert attempt.id is not None
        await throttle.succeeded(attempt, "10.0.0.1", "bob")
    for n in range(20):
        assert (await throttle.begin("10.0.0.1", f"user{n % 10}")).id is not None
    assert (await throttle.begin("10.0.0.1", "yet another")).wait_s == 60
    assert (await throttle.begin("10.0.0.2", "yet another")).id is not None


async def test_a_limit_of_zero_is_none() -> None:
    store = MemoryAccessStore()
    throttle = Throttle(store, lambda: NOW, 0, 60)
    assert all([(await throttle.begin("a", "b")).id is not None for _ in range(100)])


def test_addresses_of_one_subscriber_count_together() -> None:
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert network_of("2001:db8:1:3::1") != network_of("2001:db8:1:2::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") == "10.0.0.1"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("unix socket") == "unix socket"


# ----------------------------------------------------------------------------- whitelist


@pytest.mark.parametrize(
    ("listed", "path", "is_open"),
    [
        ("/health", "/health", True),
        ("/health", "/healthy", False),
        ("/health", "/health/ready", False),
        ("/health,/api/*", "/api/chat", True),
        ("/health, /api/*", "/api", True),
        ("/api/*", "/apis", False),
        ("/api/*", "/api/v1/chat/completions", False),
        ("/api/*", "/api/v1", False),
        ("/api/v1/*", "/api/v1/models", True),
        ("/api/v1/models", "/api/v1/models", True),
        ("/*", "/query", True),
        ("/*", "/api/v1/models", True),
        ("/api/*", "/api/../query", False),
        ("/api/*", "/api/./chat", False),
        ("/api/*", "/api//chat", False),
        ("/api/*", "//api/chat", False),
        ("/api/*", "/api/%2e%2e/query", False),
        ("/api/*", "/api/chat;x", False),
        ("/api/*", "/api\\chat", False),
        ("/api/*", "/api/..", False),
        ("/query*", "/query", False),
        ("*", "/query", False),
        ("query/", "/query", True),
        ("", "/", False),
        ("", "/health", False),
    ],
)
def test_the_whitelist_opens_what_it_names(listed: str, path: str, is_open: bool) -> None:
    assert read_whitelist(listed).has(path) is is_open


# ----------------------------------------------------------------------------- ledger

ENTRY = AuditEntry(NOW, "bob", "user", None, "10.0.0.1", None, "POST", "/x", 200, "r")


class Away(MemoryAccessStore):
    """A store that is away at first."""

    failures = 1

    async def append_audit(self, entries: object) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("away")
        await super().append_audit(entries)  # pyright: ignore[reportArgumentType]


async def test_entries_wait_for_a_store_that_is_away() -> None:
    store = Away()
    ledger = Ledger(store, lambda: NOW, 60)
    ledger.record(ENTRY)
    ledger.record(replace(ENTRY, path="/y"))
    await ledger.flush()
    assert [entry.path for entry in (await store.audit(AuditFilter(), 0, 9))[0]] == ["/y", "/x"]


async def test_closing_writes_what_waits_and_does_not_wait_for_a_store_that_stays_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Away()
    ledger = Ledger(store, lambda: NOW, 60)
    ledger.record(ENTRY)
    await ledger.close()
    assert (await store.audit(AuditFilter(), 0, 9))[1] + caplog.text.count("are lost") == 1
    store.failures = 1_000
    ledger = Ledger(store, lambda: NOW, 60)
    ledger.record(ENTRY)
    begun = time.monotonic()
    await ledger.close()
    assert time.monotonic() - begun < 1
    assert "are lost" in caplog.text


async def test_strangers_cannot_fill_the_trail_and_callers_are_all_on_record() -> None:
    store = MemoryAccessStore()
    ledger = Ledger(store, lambda: NOW, 60)
    for _ in range(MAX_REFUSED_PER_MINUTE + 50):
        ledger.record(replace(ENTRY, kind="anonymous", status=401))
        ledger.record(ENTRY)
    ledger.record(replace(ENTRY, kind="anonymous", status=401, at=NOW + 61))
    await ledger.close()
    _, total = await store.audit(AuditFilter(), 0, 1)
    assert total == 2 * MAX_REFUSED_PER_MINUTE + 50 + 1


async def test_the_use_of_a_key_is_written_once_in_a_while() -> None:
    now = [NOW]
    store = MemoryAccessStore()
    key = ApiKey("k", "n", Scope.READ, None, NOW)
    await store.add_key(key, "d")
    ledger = Ledger(store, lambda: now[0], 60)
    for now[0] in (NOW + 1, NOW + 100, NOW + 299):
        ledger.used(key)
        await ledger.flush()
    assert [each.last_used_at for each in await store.keys()] == [NOW + 1]
    now[0] = NOW + 302
    ledger.used(key)
    await ledger.close()
    assert [each.last_used_at for each in await store.keys()] == now
