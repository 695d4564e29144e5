"""Pages of other sites in a browser on this machine: they reach what only this machine reaches.

Where a caller needs no credential, a page somewhere in the net could otherwise use a visitor's browser to change
things (browsers send simple requests without asking), or, under a name that it lets point here, to read them.
"""

from __future__ import annotations

import ipaddress
import re

from fastapi import HTTPException, Request

from lightrag_server.settings.server import ServerSettings

_HARMLESS_METHODS = ("GET", "HEAD", "OPTIONS")
_OWN_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
"""Endings of names that nobody can register in the net."""
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^:\[\]]*))(?::\d+)?")
_OWN_PAGES = ("same-origin", "none")
"""What browsers say in Sec-Fetch-Site, which pages cannot set, of our own pages and of what people type."""


def refuse_other_names(request: Request) -> None:
    """Raise 403 where this server, listening on this machine alone, was reached by a name out of the net."""
    server: ServerSettings = request.app.state.settings.server
    if server.host is None and not _is_local_name(request.headers.get("host", "")):
        raise HTTPException(403, "This name is not served without a credential; set LIGHTRAG_API_KEY, or HOST.")


def refuse_changes_by_other_origins(request: Request) -> None:
    """Raise 403 for what a page of another site sends for an anonymous caller, unless it only reads."""
    if request.method not in _HARMLESS_METHODS:
        refuse_other_origins(request)


def refuse_other_origins(request: Request) -> None:
    """Raise 403 for a request from a page that is neither our own nor one of CORS_ORIGINS, whoever calls."""
    server: ServerSettings = request.app.state.settings.server
    origin = request.headers.get("origin")
    if origin is None or request.headers.get("sec-fetch-site") in _OWN_PAGES:
        return
    # the second is what a proxy was asked for; a page that sets it has to be allowed to by CORS
    own = (request.headers.get("host"), request.headers.get("x-forwarded-host"))
    if origin.partition("://")[2] not in own and not _is_listed(origin, server.cors_origins):
        raise HTTPException(403, "Pages of this origin may not call this server; CORS_ORIGINS lists those that may.")


def _is_local_name(host: str) -> bool:
    """An address, or a name that leads nowhere outside: such names have no dot, or a reserved ending."""
    parts = _HOST.fullmatch(host.lower())
    if parts is None:
        return False
    name = (parts["v6"] or parts["name"]).rstrip(".")
    return "." not in name or name.endswith(_OWN_ENDINGS) or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_listed(origin: str, origins: str) -> bool:
    listed = [part.strip() for part in origins.split(",")]
    return "*" in listed or origin in listed
