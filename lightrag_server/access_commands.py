"""`lightrag-server hash-password` and `lightrag-server keys`."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from lightrag_server.access.keys import Keys, NewKey
from lightrag_server.access.passwords import Algorithm
from lightrag_server.access.passwords import hash_password as hashed
from lightrag_server.core.access import ApiKey, Scope
from lightrag_server.entrance import open_keys
from lightrag_server.errors import InvalidInput
from lightrag_server.settings.loader import from_process

DAY_S = 86_400.0


def hash_password(program: str, arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog=program, description="Print the hash of a password, for AUTH_ACCOUNTS.")
    algorithms: tuple[Algorithm, ...] = ("argon2", "bcrypt")
    parser.add_argument("--algorithm", choices=algorithms, default="argon2", help="LightRAG itself reads bcrypt only")
    print(hashed(_password(), parser.parse_args(arguments).algorithm))
    return 0


def keys(program: str, arguments: Sequence[str]) -> int:
    """Messages go to standard error, so that the output of `create` is the key and nothing else."""
    given = _keys_parser(program).parse_args(arguments)
    options = {"WORKING_DIR": given.working_dir} if given.working_dir else {}
    settings = from_process(options).settings

    async def run() -> None:
        async with open_keys(settings) as opened:
            await given.action(opened, given)

    settings.server.working_dir.mkdir(parents=True, exist_ok=True)
    asyncio.run(run())
    return 0


def _keys_parser(program: str) -> argparse.ArgumentParser:
    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument("--working-dir", help="folder of all data [WORKING_DIR]")
    parser = argparse.ArgumentParser(
        prog=program, description="Make, list and revoke API keys. A server that runs sees the change within a second."
    )
    actions = parser.add_subparsers(required=True, metavar="create|list|revoke")
    create = actions.add_parser("create", parents=[folder], help="make a key and print it, this once")
    create.add_argument("--name", required=True, help="who or what will use it")
    create.add_argument("--scope", choices=[scope.value for scope in Scope], default=Scope.READ.value)
    create.add_argument(
        "--workspace", action="append", metavar="NAME", help="one that it opens, the first by default; none: all"
    )
    create.add_argument("--expires-days", type=float, metavar="N", help="its life; none: for ever")
    create.set_defaults(action=_create)
    actions.add_parser("list", parents=[folder], help="show all keys ever made").set_defaults(action=_list)
    revoke = actions.add_parser("revoke", parents=[folder], help="end a key")
    revoke.add_argument("id", metavar="ID", help="as in the list")
    revoke.set_defaults(action=_revoke)
    return parser


async def _create(keys: Keys, given: argparse.Namespace) -> None:
    life_s = given.expires_days * DAY_S if given.expires_days is not None else None
    key, secret = await keys.create(NewKey(given.name, Scope(given.scope), given.workspace, life_s))
    print(f"key {key.id} for {key.name!r}; it is shown this once:", file=sys.stderr)
    print(secret)


async def _list(keys: Keys, given: argparse.Namespace) -> None:
    rows = [("ID", "NAME", "SCOPE", "WORKSPACES", "CREATED", "STATE", "LAST USED")]
    rows += [_row(key) for key in await keys.all()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


async def _revoke(keys: Keys, given: argparse.Namespace) -> None:
    key = await keys.revoke(given.id)
    print(f"key {key.id} for {key.name!r} opens nothing any more", file=sys.stderr)


def _row(key: ApiKey) -> tuple[str, ...]:
    workspaces = "all" if key.workspaces is None else ",".join(name or '""' for name in key.workspaces)
    return (key.id, key.name, key.scope.value, workspaces, _day(key.created_at), _state(key), _day(key.last_used_at))


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    if key.expires_at is None:
        return "valid"
    is_valid = key.is_valid(datetime.now(UTC).timestamp())
    return f"{'valid until' if is_valid else 'expired'} {_day(key.expires_at)}"


def _day(at: float | None) -> str:
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def _password() -> str:
    """Typed twice without echo, or the first line of what is piped in."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise InvalidInput("the two passwords differ")
    return password
