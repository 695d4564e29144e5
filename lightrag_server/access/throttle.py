"""How often a login may fail: by address and user, and by address; counted in the store, so for all processes."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from lightrag_server.core.access import digest_of
from lightrag_server.ports.access import AccessStore, Attempt

USERS_PER_ADDRESS = 10
"""An address may fail as often for this many users: many people may share one."""
IPV6_NETWORK_BITS = 64
"""What one subscriber is given, and can choose addresses from."""


class Throttle:
    """`limit` tries within `window_s` seconds; 0 means any number."""

    def __init__(self, store: AccessStore, clock: Callable[[], float], limit: int, window_s: float) -> None:
        self._store = store
        self._clock = clock
        self._limit = limit
        self._window_s = window_s

    async def begin(self, address: str, user: str) -> Attempt:
        """Count a try before it is checked, so that tries sent at once count each other."""
        if not self._limit:
            return Attempt(0)
        network = network_of(address)
        limits = {_pair(network, user): self._limit, network: self._limit * USERS_PER_ADDRESS}
        return await self._store.attempt(limits, self._clock(), self._window_s)

    async def succeeded(self, attempt: Attempt, address: str, user: str) -> None:
        if self._limit and attempt.id is not None:
            await self._store.forgive(attempt.id, [_pair(network_of(address), user)])


def network_of(address: str) -> str:
    """The address, or of one in IPv6 the network."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, IPV6_NETWORK_BITS), strict=False))


def _pair(network: str, user: str) -> str:
    # what is typed as a user name may be a password
    return f"{network} {digest_of(user)}"
