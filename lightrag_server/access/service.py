"""Who a request's credentials belong to, and what changes that: logins, renewals, logouts."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightrag_server.access.accounts import Account
from lightrag_server.access.keys import PREFIX, Keys
from lightrag_server.access.ledger import Ledger
from lightrag_server.access.passwords import Passwords
from lightrag_server.access.rates import Rates
from lightrag_server.access.throttle import Throttle
from lightrag_server.access.tokens import GUEST, Token, Tokens, looks_like_token
from lightrag_server.access.whitelist import Whitelist
from lightrag_server.core.access import ADMINISTRATOR, EVERYBODY, AuditEntry, Caller
from lightrag_server.ports.access import AccessStore, AuditFilter
from lightrag_server.settings.access import AccessSettings

HOUR_S = 3600.0
MIN_RENEWAL_S = 60.0
"""A token younger than this is not renewed, however short its life."""


@dataclass(frozen=True, slots=True)
class Found:
    """What came of all credentials that were offered together. `caller` is None when none of them is good."""

    caller: Caller | None
    token: Token | None = None
    has_guest_token: bool = False


@dataclass(frozen=True, slots=True)
class Login:
    """`token` is None for a wrong name or password; then, after too many, `wait_s` says for how long."""

    token: str | None
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Access:
    """Everything that decides about callers. `clock` gives epoch seconds."""

    settings: AccessSettings
    api_key: str | None
    accounts: dict[str, Account]
    whitelist: Whitelist
    store: AccessStore
    keys: Keys
    tokens: Tokens
    passwords: Passwords
    throttle: Throttle
    rates: Rates
    ledger: Ledger
    clock: Callable[[], float]

    @property
    def has_accounts(self) -> bool:
        return bool(self.accounts)

    async def is_protected(self) -> bool:
        """Whether there is any credential to have. A key that has expired or was revoked counts: a server does not
        fall open with the last one."""
        return self.api_key is not None or self.has_accounts or await self.keys.exist()

    async def identify(self, offered: Sequence[str]) -> Found:
        """All offered credentials are looked at: a bad one beside a good one does no harm.

        The administrator's key and foreign secrets cost no look into the store.
        """
        if any(self._is_api_key(text) for text in offered):
            return Found(ADMINISTRATOR)
        has_guest_token = False
        for text in offered:
            if text.startswith(PREFIX) and (key := await self.keys.find(text)):
                self.ledger.used(key)
                return Found(key.caller)
            if looks_like_token(text) and (token := self.tokens.read(text, self.clock())):
                has_guest_token |= token.role == GUEST
                if caller := await self._caller_of(token):
                    return Found(caller, token)
        if not await self.is_protected():
            return Found(EVERYBODY)
        return Found(None, None, has_guest_token)

    async def login(self, name: str, password: str, address: str) -> Login:
        attempt = await self.throttle.begin(address, name)
        if attempt.id is None:
            return Login(None, attempt.wait_s)
        account = await self.passwords.check(name, password)
        if account is None:
            return Login(None)
        await self.throttle.succeeded(attempt, address, name)
        return Login(self._issue(account))

    def guest_token(self) -> str:
        return self.tokens.issue("guest", GUEST, self.clock(), self.settings.guest_token_hours * HOUR_S)

    def renewed(self, token: Token) -> str | None:
        """A fresh token of the same session, where little is left of this one's life."""
        if not self.settings.token_renewal or token.subject not in self.accounts:
            return None
        now = self.clock()
        is_old = now - token.issued_at >= MIN_RENEWAL_S
        is_due = token.expires_at - now < self.settings.renewal_threshold * token.life_s
        return self._issue(self.accounts[token.subject], token.id) if is_old and is_due else None

    async def logout(self, token: Token) -> None:
        """End the session: this token and those it was renewed to."""
        until = max(token.expires_at, self.clock() + self.settings.token_hours * HOUR_S)
        await self.keys.revoke_token(token.id, until)

    async def audit(self, which: AuditFilter, offset: int, limit: int) -> tuple[list[AuditEntry], int]:
        await self.ledger.flush()
        return await self.store.audit(which, offset, limit)

    def _is_api_key(self, text: str) -> bool:
        return self.api_key is not None and hmac.compare_digest(
            text.encode("utf-8", "surrogatepass"), self.api_key.encode("utf-8", "surrogatepass")
        )

    async def _caller_of(self, token: Token) -> Caller | None:
        account = self.accounts.get(token.subject) if token.role != GUEST else None
        if account is None or not hmac.compare_digest(token.proof, self.tokens.proof_of(account)):
            return None
        return None if await self.keys.is_revoked(token.id) else account.caller

    def _issue(self, account: Account, id: str = "") -> str:
        life_s = self.settings.token_hours * HOUR_S
        return self.tokens.issue(account.name, "user", self.clock(), life_s, proof=self.tokens.proof_of(account), id=id)
