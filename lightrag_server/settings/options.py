"""The command line of `lightrag-server serve`, made from the declarations."""

from __future__ import annotations

import argparse
import shutil

from lightrag_server import __version__
from lightrag_server.settings.declarations import Declaration, declarations, groups

DESCRIPTION = (
    "Serve documents as a knowledge graph with cited answers. "
    "An option wins over its environment variable, that over .env in the start directory, "
    "that over config.ini (storages only), that over the default."
)


class _Help(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=min(shutil.get_terminal_size().columns, 118))


def options_parser(prog: str, commands: str = "") -> argparse.ArgumentParser:
    """Every option stores its raw text under its variable's name, so that it is read like any other source."""
    parser = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, epilog=commands, formatter_class=_Help, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"lightrag-server {__version__}")
    for name, group in groups().items():
        own = [d for d in declarations() if d.group == name]
        flagged = [d for d in own if d.flag]
        unflagged = ", ".join(d.env for d in own if not d.flag)
        section = parser.add_argument_group(
            group.heading, f"Variables without option: {unflagged}" if unflagged else None
        )
        for declaration in flagged:
            _add(section, declaration)
    return parser


def _add(section: argparse._ArgumentGroup, declaration: Declaration) -> None:  # pyright: ignore[reportPrivateUsage]
    flag = str(declaration.flag)
    text = help_text(declaration).replace("%", "%%")
    if declaration.kind is bool:
        section.add_argument(flag, dest=declaration.env, nargs="?", const="true", metavar="BOOL", help=text)
    else:
        metavar = (declaration.unit or flag.rsplit("-", 1)[-1]).upper()
        section.add_argument(flag, dest=declaration.env, metavar=metavar, help=text)


def help_text(declaration: Declaration) -> str:
    default = f"default {declaration.shown_default}" if declaration.shown_default else "unset by default"
    unit = f" {declaration.unit}" if declaration.unit and declaration.shown_default else ""
    return f"{declaration.explanation} [{' or '.join(declaration.names)}; {default}{unit}]"
