"""Access put together: where credentials are kept, and who the settings let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from lightrag_server.access.accounts import Account, read_accounts
from lightrag_server.access.keys import Keys
from lightrag_server.access.ledger import Ledger
from lightrag_server.access.passwords import Passwords
from lightrag_server.access.placeholders import check_secrets
from lightrag_server.access.rates import Rates
from lightrag_server.access.service import Access
from lightrag_server.access.throttle import Throttle
from lightrag_server.access.tokens import Tokens, load_secret
from lightrag_server.access.whitelist import read_whitelist
from lightrag_server.engine.clock import Clock, utc_now
from lightrag_server.engine.register import clean_name
from lightrag_server.errors import ConfigError
from lightrag_server.ports.access import AccessStore
from lightrag_server.settings import Settings
from lightrag_server.storages.sqlite.access import SQLiteAccessStore

ACCESS_FILE = "access.sqlite"
DAY_S = 86_400.0


@asynccontextmanager
async def open_access(settings: Settings, clock: Clock = utc_now) -> AsyncGenerator[Access]:
    """Raises `ConfigError` for accounts that cannot be read and for secrets that everybody knows."""

    def now() -> float:
        return clock().timestamp()

    access = settings.access
    api_key = settings.server.key.get_secret_value() if settings.server.key else None
    accounts = _accounts(settings)
    given_secret = access.token_secret.get_secret_value() if access.token_secret else None
    check_secrets(api_key, given_secret, accounts.values())
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings))
        ledger = Ledger(store, now, access.audit_days * DAY_S)
        stack.push_async_callback(ledger.close)
        yield Access(
            settings=access,
            api_key=api_key,
            accounts=accounts,
            whitelist=read_whitelist(access.whitelist),
            store=store,
            keys=Keys(store, now, clean_name),
            tokens=Tokens(await _secret(settings, given_secret), access.token_algorithm),
            passwords=Passwords(accounts),
            throttle=Throttle(store, now, access.max_failed_logins, access.login_window_s),
            rates=Rates(store, now, access.requests_per_minute, access.request_burst),
            ledger=ledger,
            clock=now,
        )


@asynccontextmanager
async def open_keys(settings: Settings, clock: Clock = utc_now) -> AsyncGenerator[Keys]:
    """The keys of the working folder, for commands."""
    async with open_store(settings) as store:
        yield Keys(store, lambda: clock().timestamp(), clean_name)


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncGenerator[AccessStore]:
    store = SQLiteAccessStore(settings.server.working_dir / ACCESS_FILE, settings.sqlite)
    try:
        yield store
    finally:
        await store.close()


async def is_protected(settings: Settings) -> bool:
    """Whether any credential exists, looked up without making a file."""
    if settings.server.key or settings.access.accounts:
        return True
    if not await asyncio.to_thread((settings.server.working_dir / ACCESS_FILE).exists):
        return False
    async with open_keys(settings) as keys:
        return await keys.exist()


def _accounts(settings: Settings) -> dict[str, Account]:
    given = settings.access.accounts
    if given is None:
        return {}
    accounts = read_accounts(given.get_secret_value())
    if not accounts:
        raise ConfigError("AUTH_ACCOUNTS names no user.")
    return {
        name: replace(account, workspaces=tuple(map(clean_name, account.workspaces))) if account.workspaces else account
        for name, account in accounts.items()
    }


async def _secret(settings: Settings, given: str | None) -> bytes:
    return given.encode() if given else await asyncio.to_thread(load_secret, settings.server.working_dir)
